import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

let node: TestNode
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('quotas'))
})

afterAll(() => node?.dispose())

async function bucketWith(Bucket: string, quotas: { maxObjects?: number; maxSize?: number }) {
  await s3.send(new CreateBucketCommand({ Bucket }))
  const { buckets } = node.core.model
  await buckets.setDocument(buckets.localByName(Bucket, undefined)!, 'quotas', quotas)
}

const REFUSED = { name: 'QuotaExceeded' }

test('parts of uploads in progress count for the size', async () => {
  const Bucket = 'parts'
  await bucketWith(Bucket, { maxSize: 3000 })
  const put = (bytes: number) =>
    s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: Buffer.alloc(bytes) }))
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'u' }))
  const part = (PartNumber: number) =>
    s3.send(new UploadPartCommand({ Bucket, Key: 'u', UploadId, PartNumber, Body: Buffer.alloc(1000) }))
  await part(1)
  await part(2)
  await expect(put(1001)).rejects.toMatchObject(REFUSED)
  await put(1000)
  await expect(part(3)).rejects.toMatchObject(REFUSED)
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'u', UploadId }))
  await expect
    .poll(() =>
      put(1000).then(
        () => 'stored',
        (error: Error) => error.name,
      ),
    )
    .toBe('stored')
})

test('versions and delete markers count for the objects, and deletions are not refused', async () => {
  const Bucket = 'versions'
  await bucketWith(Bucket, { maxObjects: 4 })
  const VersioningConfiguration = { Status: 'Enabled' as const }
  await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }))
  const put = () => s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x' }))
  const first = await put()
  await put()
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))
  await put() // two versions, a marker behind this one
  await expect(put()).rejects.toMatchObject(REFUSED)
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k', VersionId: first.VersionId }))
  await put()
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k' })) // the current row is a marker: one more
  await expect(put()).rejects.toMatchObject(REFUSED)
  const bucket = node.core.model.buckets.localByName(Bucket, undefined)!
  expect(await node.core.model.usage.of(bucket.id)).toMatchObject({ objects: 0, noncurrent: 4, markers: 1 })
})

test('uploads are begun only while there is room for what they become', async () => {
  const Bucket = 'uploads'
  await bucketWith(Bucket, { maxObjects: 2 })
  const begin = (Key: string) => s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x' }))
  const { UploadId } = await begin('a')
  await expect(begin('b')).rejects.toMatchObject(REFUSED)
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'a', UploadId }))
  await begin('b')
})
