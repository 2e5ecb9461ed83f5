/** A store that the first release wrote is opened, read, changed and reopened by this one; see fixtures/first-release. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'
import {
  CompleteMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { unpack } from 'msgpackr'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { singleNodeConfig } from '../src/config/single-node.js'
import { type CarportNode, startNode } from '../src/node/node.js'
import { loadOrCreateNodeIdentity } from '../src/node/node-key.js'
import { realClock, systemRandom } from '../src/platform/clock-and-random.js'
import { createLog } from '../src/platform/logger.js'
import { survey } from './support/survey.js'

const FIXTURE = new URL('./fixtures/first-release/', import.meta.url)
const BUCKETS = ['plain', 'locked', 'versions', 'settings']
const ALICE = { accessKeyId: 'GK0000000000000000000000a1', secretAccessKey: 'a1'.repeat(32) }
const BOB = { accessKeyId: 'GK0000000000000000000000b2', secretAccessKey: 'b2'.repeat(32) }

let dir: string
let node: CarportNode
let alice: S3Client
let bob: S3Client

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'carport-test-'))
  const packed = brotliDecompressSync(readFileSync(new URL('store.msgpack.br', FIXTURE)))
  for (const [path, content] of Object.entries(unpack(packed) as Record<string, Buffer>)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true })
    writeFileSync(join(dir, path), content, { mode: 0o600 })
  }
  await start()
}, 60_000)

afterAll(async () => {
  await stop()
  rmSync(dir, { recursive: true, force: true })
})

async function start(): Promise<void> {
  const any = '127.0.0.1:0'
  const config = singleNodeConfig({
    dataDir: dir,
    env: { CARPORT_RPC_SECRET: 'ab'.repeat(32), CARPORT_SSE_MASTER_KEY: 'cd'.repeat(32) },
    readSecretFile: () => {
      throw new Error('no secret files in tests')
    },
    listen: { s3: any, rpc: any, web: any, admin: any },
  })
  node = await startNode(config, {
    clock: realClock,
    random: systemRandom,
    log: createLog({ level: 'error', format: 'text' }, realClock, (line) => process.stderr.write(line)),
    identity: loadOrCreateNodeIdentity(join(dir, 'meta'), systemRandom),
    version: 'test',
    hashThreads: 0,
  })
  const client = (credentials: typeof ALICE) =>
    new S3Client({
      endpoint: `http://${node.s3!.address}`,
      region: 'us-east-1',
      forcePathStyle: true,
      maxAttempts: 1,
      credentials,
    })
  alice = client(ALICE)
  bob = client(BOB)
}

async function stop(): Promise<void> {
  alice.destroy()
  bob.destroy()
  await node.stop()
}

const contentOf = async (s3: S3Client, Bucket: string, Key: string) => {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
  return Body!.transformToString()
}

test('everything reads as the first release told it', async () => {
  const expected = JSON.parse(readFileSync(new URL('expected.json', FIXTURE), 'utf8')) as unknown
  expect(await survey(alice, BUCKETS)).toEqual(expected)
}, 60_000)

test('names, permissions, quotas, counters and what an operator set are there', async () => {
  const { model, blocks, cluster } = node.core
  const bucket = model.buckets.localByName('plain', undefined)!
  expect(bucket.aliases).toEqual(['plain', 'second-name'])
  expect(bucket.quotas).toEqual({ maxSize: 2 ** 30, maxObjects: 1000 })
  expect(await model.usage.of(bucket.id)).toMatchObject({ objects: 11, uploads: 1, parts: 3 })
  expect(await contentOf(bob, 'mine', 'folder/ümlaut\u0001')).toBe('folder/üm')
  expect(await contentOf(bob, 'settings', 'shared/note')).toContain('shared/note')
  await expect(bob.send(new PutObjectCommand({ Bucket: 'mine', Key: 'no' }))).rejects.toMatchObject({
    name: 'AccessDenied',
  })
  expect(blocks.resync.settings.tranquility).toBe(3)
  expect(cluster.layout.layoutVersion).toBe(1)
})

test('what is there can be changed, completed and deleted, and is as it was left after a restart', async () => {
  const { UploadId, Parts } = await alice.send(
    new ListPartsCommand({ Bucket: 'plain', Key: 'open', UploadId: openUploadId() }),
  )
  const parts = Parts!.map(({ PartNumber, ETag, ChecksumCRC32 }) => ({ PartNumber, ETag, ChecksumCRC32 }))
  // The last part but one is too short to be followed by another.
  await alice.send(
    new CompleteMultipartUploadCommand({
      Bucket: 'plain',
      Key: 'open',
      UploadId,
      MultipartUpload: { Parts: parts.slice(0, 2) },
    }),
  )
  await alice.send(new PutObjectCommand({ Bucket: 'plain', Key: 'inline', Body: 'overwritten' }))
  await alice.send(new PutObjectCommand({ Bucket: 'versions', Key: 'hidden', Body: 'seen again' }))
  await alice.send(new DeleteObjectCommand({ Bucket: 'plain', Key: 'lists' }))
  await alice.send(new DeleteObjectCommand({ Bucket: 'plain', Key: 'blocks' }))
  await alice.send(
    new PutObjectTaggingCommand({
      Bucket: 'plain',
      Key: 'copy',
      Tagging: { TagSet: [{ Key: 'new', Value: 'tag' }] },
    }),
  )
  await node.core.model.lifecycle.runNow()
  await node.core.model.orphans.runNow()
  const left = await survey(alice, BUCKETS)
  expect(await contentOf(alice, 'plain', 'copy')).toMatch(/^blocks blocks /)
  expect((await contentOf(alice, 'plain', 'open')).length).toBe((5 << 20) + 70_000)
  await stop()
  await start()
  expect(await survey(alice, BUCKETS)).toEqual(left)
  const { id } = node.core.model.buckets.localByName('plain', undefined)!
  expect(await node.core.model.usage.of(id)).toMatchObject({ objects: 10, uploads: 0, parts: 0 })
}, 60_000)

function openUploadId(): string {
  const text = readFileSync(new URL('expected.json', FIXTURE), 'utf8')
  const { found } = JSON.parse(text) as { found: { plain: { uploads: { Uploads: { UploadId: string }[] } } } }
  return found.plain.uploads.Uploads[0]!.UploadId
}
