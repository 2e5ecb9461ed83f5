import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  ListPartsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  type S3Client,
  StorageClass,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'classes'
let node: TestNode
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('classes'))
  await s3.send(new CreateBucketCommand({ Bucket }))
})

afterAll(() => node?.dispose())

const CLASSES = Object.values(StorageClass)

describe.each(CLASSES)('%s', (name) => {
  const shown = name === 'STANDARD' ? undefined : name

  test('is taken with an object, and told back wherever AWS tells it', async () => {
    const object = { Bucket, Key: `put/${name}` }
    await s3.send(new PutObjectCommand({ ...object, Body: 'content', StorageClass: name }))
    expect((await s3.send(new HeadObjectCommand(object))).StorageClass).toBe(shown)
    const got = await s3.send(new GetObjectCommand(object))
    expect(got.StorageClass).toBe(shown)
    expect(await got.Body!.transformToString()).toBe('content')
    const attributes = { ...object, ObjectAttributes: ['StorageClass' as const] }
    expect((await s3.send(new GetObjectAttributesCommand(attributes))).StorageClass).toBe(name)
    const list = { Bucket, Prefix: object.Key }
    const { Contents } = await s3.send(new ListObjectsV2Command(list))
    expect(Contents?.map((entry) => entry.StorageClass)).toEqual([name])
    // Still so when something else of the object changed.
    const Tagging = { TagSet: [{ Key: 'a', Value: 'b' }] }
    await s3.send(new PutObjectTaggingCommand({ ...object, Tagging }))
    expect((await s3.send(new HeadObjectCommand(object))).StorageClass).toBe(shown)
  })

  test('is taken with copies and uploads', async () => {
    await s3.send(new PutObjectCommand({ Bucket, Key: 'source', Body: 'x', StorageClass: 'GLACIER' }))
    const copy = { Bucket, Key: `copy/${name}`, CopySource: `${Bucket}/source` }
    await s3.send(new CopyObjectCommand({ ...copy, StorageClass: name }))
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: copy.Key }))).StorageClass).toBe(shown)
    const object = { Bucket, Key: `upload/${name}` }
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...object, StorageClass: name }))
    const upload = { ...object, UploadId }
    const { ETag } = await s3.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: 'part' }))
    expect((await s3.send(new ListPartsCommand(upload))).StorageClass).toBe(name)
    const { Uploads } = await s3.send(new ListMultipartUploadsCommand({ Bucket, Prefix: object.Key }))
    expect(Uploads?.map((one) => one.StorageClass)).toEqual([name])
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] }
    await s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload }))
    expect((await s3.send(new HeadObjectCommand(object))).StorageClass).toBe(shown)
  })
})

test('a copy has the class that it asks for, not that of its source', async () => {
  await s3.send(new CopyObjectCommand({ Bucket, Key: 'plain-copy', CopySource: `${Bucket}/source` }))
  expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'plain-copy' }))).StorageClass).toBeUndefined()
})

test('older versions keep theirs', async () => {
  const versioned = 'classes-versioned'
  await s3.send(new CreateBucketCommand({ Bucket: versioned }))
  const VersioningConfiguration = { Status: 'Enabled' as const }
  await s3.send(new PutBucketVersioningCommand({ Bucket: versioned, VersioningConfiguration }))
  const object = { Bucket: versioned, Key: 'k', Body: 'x' }
  await s3.send(new PutObjectCommand({ ...object, StorageClass: 'STANDARD_IA' }))
  await s3.send(new PutObjectCommand(object))
  const { Versions } = await s3.send(new ListObjectVersionsCommand({ Bucket: versioned }))
  expect(Versions?.map((version) => version.StorageClass)).toEqual(['STANDARD', 'STANDARD_IA'])
})

test('an unknown class is refused, and with accept_storage_classes = false all but STANDARD', async () => {
  const put = (client: S3Client, name: string) =>
    client.send(
      new PutObjectCommand({ Bucket, Key: 'refused', Body: 'x', StorageClass: name as StorageClass }),
    )
  await expect(put(s3, 'COLD')).rejects.toMatchObject({ name: 'InvalidStorageClass' })
  await expect(put(s3, 'glacier')).rejects.toMatchObject({ name: 'InvalidStorageClass' })
  const s3Api = {
    bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 },
    region: 'us-east-1',
    publicEndpoint: null,
    publicEndpointPathStyle: null,
    rootDomain: null,
    tls: null,
  } as const
  const strict = await startTestNode({
    s3Api: { ...s3Api, acceptSignatureV2: true, acceptStorageClasses: false, bucketNamespace: 'global' },
  })
  try {
    const client = strict.client(await strict.createKey('strict'))
    await client.send(new CreateBucketCommand({ Bucket }))
    await expect(put(client, 'GLACIER')).rejects.toMatchObject({ name: 'InvalidStorageClass' })
    await put(client, 'STANDARD')
  } finally {
    await strict.dispose()
  }
})
