import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteObjectsCommand,
  HeadBucketCommand,
  ListMultipartUploadsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'long-keys'
/** The longest key, and keys that are too long. */
const LONGEST = 'k'.repeat(1024)
const LONGER = ['k'.repeat(1025), 'k'.repeat(5000), '\u0001'.repeat(1024)]

let node: TestNode
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('long keys'))
  await s3.send(new CreateBucketCommand({ Bucket }))
  await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }))
  for (const Key of [LONGEST, LONGEST, 'l', '\u0000'.repeat(749)]) {
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }))
  }
})

afterAll(() => node?.dispose())

describe.each(LONGER)('a text longer than any key (%#)', (long) => {
  const later = long.startsWith('k') ? ['l'] : [LONGEST, 'l']
  const keys = (page: { Contents?: { Key?: string }[] | undefined }) => page.Contents?.map(({ Key }) => Key)

  test('as a marker stands where it would if it were a key', async () => {
    expect(keys(await s3.send(new ListObjectsCommand({ Bucket, Marker: long })))).toEqual(later)
    expect(keys(await s3.send(new ListObjectsV2Command({ Bucket, StartAfter: long })))).toEqual(later)
    for (const VersionIdMarker of [undefined, 'null', 'f'.repeat(32)]) {
      const page = await s3.send(new ListObjectVersionsCommand({ Bucket, KeyMarker: long, VersionIdMarker }))
      expect([...new Set(page.Versions?.map(({ Key }) => Key))]).toEqual(later)
    }
    const uploads = new ListMultipartUploadsCommand({
      Bucket,
      KeyMarker: long,
      UploadIdMarker: 'f'.repeat(32),
    })
    expect((await s3.send(uploads)).Uploads).toBeUndefined()
  })

  test('as an owner, a grantee or a bucket is nobody', async () => {
    const owner = new HeadBucketCommand({
      Bucket,
      ExpectedBucketOwner: long.replace(/^\u0001+/, 'GK'.repeat(2000)),
    })
    await expect(s3.send(owner)).rejects.toMatchObject({ $metadata: { httpStatusCode: 403 } })
    const response = await fetch(`${node.endpoint}/${encodeURIComponent(long)}/a`)
    expect([response.status, /<Code>(\w+)/.exec(await response.text())?.[1]]).toEqual([404, 'NoSuchBucket'])
  })

  test('as a prefix is that of no key', async () => {
    expect((await s3.send(new ListObjectsV2Command({ Bucket, Prefix: long }))).KeyCount).toBe(0)
    expect((await s3.send(new ListObjectVersionsCommand({ Bucket, Prefix: long }))).Versions).toBeUndefined()
    expect((await s3.send(new ListMultipartUploadsCommand({ Bucket, Prefix: long }))).Uploads).toBeUndefined()
  })

  test('as a key is refused', async () => {
    const code = { name: 'KeyTooLongError' }
    await expect(s3.send(new PutObjectCommand({ Bucket, Key: long, Body: 'x' }))).rejects.toMatchObject(code)
    const CopySource = `${Bucket}/${encodeURIComponent(long)}`
    await expect(s3.send(new CopyObjectCommand({ Bucket, Key: 'l', CopySource }))).rejects.toMatchObject(code)
    const Delete = { Objects: [{ Key: long }, { Key: 'missing' }] }
    const { Errors, Deleted } = await s3.send(new DeleteObjectsCommand({ Bucket, Delete }))
    expect(Errors).toMatchObject([{ Code: 'KeyTooLongError' }])
    expect(Deleted).toHaveLength(1)
  })
})
