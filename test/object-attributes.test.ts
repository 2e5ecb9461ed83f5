import { createHash, randomBytes } from 'node:crypto'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTorrentCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  type ObjectAttributes,
  PutObjectCommand,
  RestoreObjectCommand,
  type S3Client,
  SelectObjectContentCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'attributes'
const MIB = 1024 * 1024
const ALL: ObjectAttributes[] = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize']
let node: TestNode
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('attributes'))
  await s3.send(new CreateBucketCommand({ Bucket }))
})

afterAll(() => node?.dispose())

const sha256 = (...data: Buffer[]) => {
  const hash = createHash('sha256')
  for (const piece of data) hash.update(piece)
  return hash.digest()
}
const attributes = (Key: string, more: object = {}) =>
  s3.send(new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes: ALL, ...more }))

test('an object put whole has size, ETag and checksum, and no parts', async () => {
  const Body = randomBytes(1000)
  const { ETag } = await s3.send(
    new PutObjectCommand({ Bucket, Key: 'whole', Body, ChecksumAlgorithm: 'SHA256' }),
  )
  const got = await attributes('whole')
  expect(got).toMatchObject({ ETag: ETag!.slice(1, -1), ObjectSize: 1000, StorageClass: 'STANDARD' })
  expect(got.Checksum).toEqual({
    ChecksumSHA256: sha256(Body).toString('base64'),
    ChecksumType: 'FULL_OBJECT',
  })
  expect(got.ObjectParts).toBeUndefined()
  const some = await s3.send(
    new GetObjectAttributesCommand({ Bucket, Key: 'whole', ObjectAttributes: ['ObjectSize'] }),
  )
  expect(some).toMatchObject({ ObjectSize: 1000 })
  expect(some.ETag ?? some.Checksum ?? some.StorageClass).toBeUndefined()
  await expect(
    s3.send(
      new GetObjectAttributesCommand({ Bucket, Key: 'whole', ObjectAttributes: ['Nonsense' as 'ETag'] }),
    ),
  ).rejects.toMatchObject({ name: 'InvalidArgument' })
  await expect(attributes('missing')).rejects.toMatchObject({ name: 'NoSuchKey' })
})

test('a multipart object tells of its parts: in attributes by pages, in heads, and when one is read', async () => {
  const upload = { Bucket, Key: 'parts' }
  const bodies = [randomBytes(5 * MIB), randomBytes(5 * MIB), randomBytes(10)]
  const digests = bodies.map((body) => sha256(body))
  const { UploadId } = await s3.send(
    new CreateMultipartUploadCommand({ ...upload, ChecksumAlgorithm: 'SHA256' }),
  )
  const Parts = []
  for (const [i, PartNumber] of [2, 5, 9].entries()) {
    const part = { ...upload, UploadId, PartNumber, Body: bodies[i]! }
    await expect(
      s3.send(new UploadPartCommand({ ...part, ChecksumAlgorithm: 'CRC32' })),
    ).rejects.toMatchObject({ name: 'InvalidRequest' })
    const { ETag, ChecksumSHA256 } = await s3.send(
      new UploadPartCommand({ ...part, ChecksumAlgorithm: 'SHA256' }),
    )
    expect(ChecksumSHA256).toBe(digests[i]!.toString('base64'))
    Parts.push({ PartNumber, ETag, ChecksumSHA256 })
  }
  const listed = await s3.send(new ListPartsCommand({ ...upload, UploadId }))
  expect(listed.Parts?.map((p) => p.ChecksumSHA256)).toEqual(digests.map((d) => d.toString('base64')))
  const done = await s3.send(
    new CompleteMultipartUploadCommand({ ...upload, UploadId, MultipartUpload: { Parts } }),
  )
  const composite = `${sha256(...digests).toString('base64')}-3`
  expect(done).toMatchObject({ ChecksumSHA256: composite, ChecksumType: 'COMPOSITE' })

  const all = await attributes('parts')
  expect(all.Checksum).toEqual({ ChecksumSHA256: composite, ChecksumType: 'COMPOSITE' })
  expect(all.ObjectParts).toMatchObject({ TotalPartsCount: 3, IsTruncated: false })
  expect(all.ObjectParts?.Parts).toEqual(
    [2, 5, 9].map((PartNumber, i) => ({
      PartNumber,
      Size: bodies[i]!.length,
      ChecksumSHA256: digests[i]!.toString('base64'),
    })),
  )
  const first = await attributes('parts', { MaxParts: 2 })
  expect(first.ObjectParts).toMatchObject({ IsTruncated: true, MaxParts: 2, NextPartNumberMarker: '5' })
  const rest = await attributes('parts', { PartNumberMarker: first.ObjectParts!.NextPartNumberMarker })
  expect(rest.ObjectParts?.Parts?.map((p) => p.PartNumber)).toEqual([9])

  const head = await s3.send(new HeadObjectCommand({ ...upload, PartNumber: 3, ChecksumMode: 'ENABLED' }))
  expect(head).toMatchObject({
    ContentLength: 10,
    PartsCount: 3,
    ContentRange: `bytes ${10 * MIB}-${10 * MIB + 9}/${10 * MIB + 10}`,
    ChecksumSHA256: digests[2]!.toString('base64'),
    ETag: done.ETag,
  })
  const whole = await s3.send(new HeadObjectCommand({ ...upload, ChecksumMode: 'ENABLED' }))
  expect(whole).toMatchObject({ ChecksumSHA256: composite, ChecksumType: 'COMPOSITE' })
  expect((await s3.send(new HeadObjectCommand(upload))).ChecksumSHA256).toBeUndefined()
  const second = await s3.send(new GetObjectCommand({ ...upload, PartNumber: 2 }))
  const bytes = Buffer.from(await second.Body!.transformToByteArray())
  expect(bytes.equals(bodies[1]!)).toBe(true)
  await expect(s3.send(new GetObjectCommand({ ...upload, PartNumber: 4 }))).rejects.toMatchObject({
    name: 'InvalidPart',
  })
  const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'parts' }))
  expect(Contents).toMatchObject([{ ChecksumAlgorithm: ['SHA256'], ChecksumType: 'COMPOSITE' }])

  // A copy keeps the parts; with another checksum it has one of the whole.
  const copy = { Bucket, CopySource: `${Bucket}/parts` }
  await s3.send(new CopyObjectCommand({ ...copy, Key: 'kept' }))
  expect((await attributes('kept')).ObjectParts).toEqual(all.ObjectParts)
  const other = await s3.send(new CopyObjectCommand({ ...copy, Key: 'other', ChecksumAlgorithm: 'SHA1' }))
  const sha1 = createHash('sha1').update(Buffer.concat(bodies)).digest('base64')
  expect(other.CopyObjectResult).toMatchObject({ ChecksumSHA1: sha1, ChecksumType: 'FULL_OBJECT' })
  expect((await attributes('other')).Checksum).toEqual({ ChecksumSHA1: sha1, ChecksumType: 'FULL_OBJECT' })
}, 60_000)

test('what is not offered is refused as such', async () => {
  await s3.send(new PutObjectCommand({ Bucket, Key: 'here', Body: 'x' }))
  const object = { Bucket, Key: 'here' }
  await expect(s3.send(new GetObjectTorrentCommand(object))).rejects.toMatchObject({ name: 'NotImplemented' })
  await expect(
    s3.send(new RestoreObjectCommand({ ...object, RestoreRequest: { Days: 1 } })),
  ).rejects.toMatchObject({ name: 'InvalidObjectState' })
  await expect(
    s3.send(
      new SelectObjectContentCommand({
        ...object,
        Expression: 'select * from s3object',
        ExpressionType: 'SQL',
        InputSerialization: { CSV: {} },
        OutputSerialization: { CSV: {} },
      }),
    ),
  ).rejects.toMatchObject({ name: 'NotImplemented' })
})
