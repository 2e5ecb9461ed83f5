import { createHash, randomBytes } from 'node:crypto'
import { Agent } from 'node:http'
import type { LookupFunction } from 'node:net'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'multipart'
const PART_BYTES = 5 * 1024 * 1024
let node: TestNode
let s3: S3Client
let key: AccessKey

beforeAll(async () => {
  node = await startTestNode()
  key = await node.createKey('multipart')
  s3 = node.client(key)
  await s3.send(new CreateBucketCommand({ Bucket }))
})

afterAll(() => node?.dispose())

async function start(Key: string): Promise<string> {
  return (await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))).UploadId!
}

async function uploadPart(Key: string, UploadId: string, PartNumber: number, Body: Buffer) {
  const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
  return { PartNumber, ETag }
}

async function read(Key: string, Range?: string): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key, Range }))
  return Buffer.from(await Body!.transformToByteArray())
}

test('parts become one object, and the upload is over', async () => {
  const Key = 'two-parts'
  const UploadId = await start(Key)
  const bodies = [randomBytes(PART_BYTES), randomBytes(1000)]
  const Parts = []
  for (const [i, body] of bodies.entries()) Parts.push(await uploadPart(Key, UploadId, i + 1, body))
  const done = await s3.send(
    new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }),
  )
  const md5 = (data: Buffer) => createHash('md5').update(data).digest()
  expect(done.ETag).toBe(`"${md5(Buffer.concat(bodies.map(md5))).toString('hex')}-2"`)
  expect((await read(Key)).equals(Buffer.concat(bodies))).toBe(true)
  const around = await read(Key, `bytes=${PART_BYTES - 10}-${PART_BYTES + 9}`)
  expect(around.equals(Buffer.concat([bodies[0]!.subarray(-10), bodies[1]!.subarray(0, 10)]))).toBe(true)
  await expect(s3.send(new ListPartsCommand({ Bucket, Key, UploadId }))).rejects.toMatchObject({
    name: 'NoSuchUpload',
  })
  const listed = await s3.send(new ListMultipartUploadsCommand({ Bucket }))
  expect(listed.Uploads ?? []).toEqual([])

  // A client that lost the answer sends the request again.
  const again = await s3.send(
    new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }),
  )
  expect(again.ETag).toBe(done.ETag)
})

test('the location of the object is its URL, as the client asked', async () => {
  // All names lead to the node.
  const lookup: LookupFunction = (_host, { all }, found) =>
    all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4)
  const endpoint = `http://s3.localhost:${node.s3!.port}`
  const options = { endpoint, requestHandler: { httpAgent: new Agent({ lookup }) } }
  const Key = 'a folder/50% & ä'
  const path = 'a%20folder/50%25%20%26%20%C3%A4'
  for (const [forcePathStyle, url] of [
    [true, `${endpoint}/${Bucket}/${path}`],
    [false, `http://${Bucket}.s3.localhost:${node.s3!.port}/${path}`],
  ] as const) {
    const client = node.client(key, { ...options, forcePathStyle })
    const upload = { Bucket, Key, UploadId: await start(Key) }
    const Parts = [await uploadPart(Key, upload.UploadId, 1, randomBytes(10))]
    const complete = new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } })
    // Once more for a client that lost the answer.
    for (const done of [await client.send(complete), await client.send(complete)]) {
      expect(done.Location).toBe(url)
    }
  }
})

test('more blocks than a row holds', async () => {
  const Key = 'many-blocks'
  const UploadId = await start(Key)
  const body = randomBytes(40 * 1024 * 1024)
  const Parts = [await uploadPart(Key, UploadId, 1, body), await uploadPart(Key, UploadId, 7, body)]
  await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
  const all = await read(Key)
  expect(all.equals(Buffer.concat([body, body]))).toBe(true)
})

test('a part can be a range of another object', async () => {
  const Key = 'copied-part'
  const UploadId = await start(Key)
  const copied = await s3.send(
    new UploadPartCopyCommand({
      ...{ Bucket, Key, UploadId, PartNumber: 1 },
      CopySource: `${Bucket}/two-parts`,
      CopySourceRange: 'bytes=100-5242979',
    }),
  )
  const Parts = [{ PartNumber: 1, ETag: copied.CopyPartResult!.ETag }]
  await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
  expect((await read(Key)).equals((await read('two-parts')).subarray(100, 5_242_980))).toBe(true)
})

test('an aborted upload leaves nothing', async () => {
  const Key = 'aborted'
  const UploadId = await start(Key)
  const part = await uploadPart(Key, UploadId, 1, randomBytes(PART_BYTES))
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
  await expect(
    s3.send(
      new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: [part] } }),
    ),
  ).rejects.toMatchObject({ name: 'NoSuchUpload' })
  const { model } = node.core
  await expect.poll(() => model.purge.backlog).toBe(0)
  const bucket = (await model.buckets.walk().next()).value!
  expect(await model.usage.of(bucket.id)).toMatchObject({ uploads: 0, uploadBytes: 0 })
})

test('a part that is too small is refused at the end', async () => {
  const Key = 'too-small'
  const UploadId = await start(Key)
  const Parts = [
    await uploadPart(Key, UploadId, 1, randomBytes(100)),
    await uploadPart(Key, UploadId, 2, randomBytes(100)),
  ]
  await expect(
    s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } })),
  ).rejects.toMatchObject({ name: 'EntityTooSmall' })
})
