/** Copies and completions of contents of many blocks wait for the memory that their pointers take. */
import { randomBytes } from 'node:crypto'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { StoredBody } from '../src/model/content/blobs.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'long'
/** More than are written without asking, in several writes of lists. */
const BLOCKS = 40_000
const BLOCK = randomBytes(1000)

let node: TestNode
let s3: S3Client
let bucket: Buffer
/** A content that has the same block many times. */
let stored: StoredBody

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('long'))
  await s3.send(new CreateBucketCommand({ Bucket }))
  const { blobs, buckets } = node.core.model
  bucket = (await buckets.byName(Bucket, undefined))!.id
  const source = {
    length: BLOCK.length,
    readAll: async () => BLOCK,
    stream: async function* () {
      yield BLOCK
    },
  }
  const { blocks, md5 } = await blobs.write(source, { inline: false })
  stored = { size: BLOCKS * BLOCK.length, md5, blocks: Array(BLOCKS).fill(blocks[0]) }
})
afterAll(() => node?.dispose())

/** Runs a write while all of that memory is held, and lets it go once the write waits. */
async function waited(Key: string, write: () => Promise<unknown>): Promise<void> {
  const { pointerMemory } = node.core.model.blobs
  await pointerMemory.acquire(pointerMemory.limitBytes)
  const done = write()
  await expect.poll(() => pointerMemory.waiting).toBe(1)
  await expect(s3.send(new HeadObjectCommand({ Bucket, Key }))).rejects.toMatchObject({ name: 'NotFound' })
  pointerMemory.release(pointerMemory.limitBytes)
  await done
  expect(pointerMemory.usedBytes).toBe(0)
  const Range = `bytes=${stored.size - 2 * BLOCK.length}-`
  const { Body, ContentRange } = await s3.send(new GetObjectCommand({ Bucket, Key, Range }))
  expect(ContentRange).toMatch(`/${stored.size}`)
  expect(Buffer.from(await Body!.transformToByteArray())).toEqual(Buffer.concat([BLOCK, BLOCK]))
}

test('a copy', async () => {
  const none = { headers: {}, metadata: {}, mutable: {}, owner: '' }
  const version = { bucket, key: Buffer.from('source'), etag: stored.md5, etagParts: 0, ...none }
  await node.core.model.objects.put(version, stored, 'off')
  await waited('copy', () =>
    s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/source` })),
  )
})

test('a completion', async () => {
  const Key = 'completed'
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const { uploads } = node.core.model
  const upload = (await uploads.get(bucket, Buffer.from(Key), Buffer.from(UploadId!, 'hex')))!
  await uploads.putPart(upload, { number: 1, etag: stored.md5 }, stored)
  const Parts = [{ PartNumber: 1, ETag: `"${stored.md5.toString('hex')}"` }]
  const MultipartUpload = { Parts }
  await waited(Key, () =>
    s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload })),
  )
})
