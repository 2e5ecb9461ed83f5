/**
 * Bytes that change on the disk of a node, behind its back: a node that is stopped gets its database or its block files
 * edited, and is started again. What it then answers is right or an error, and never other bytes.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterEach, expect, test } from 'vitest'
import { FILE_HEAD_BYTES, fileHead, makeBlock } from '../src/block/format.js'
import type { Db } from '../src/db/db.js'
import { openLmdb } from '../src/db/lmdb.js'
import { ALL_TREES } from '../src/node/core.js'
import { realClock } from '../src/platform/clock-and-random.js'
import { silentLog } from '../src/util/log.js'
import { ProcessCluster } from './support/processes.js'

const BUCKET = 'rot'
let cluster: ProcessCluster
const clients: S3Client[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy()
  await cluster?.dispose()
})

async function start(nodes: number, settings = ''): Promise<S3Client[]> {
  cluster = await ProcessCluster.create(nodes, nodes)
  for (let i = 0; i < nodes; i++) {
    const config = join(cluster.dir, `n${i}.toml`)
    writeFileSync(config, `${settings}\n${readFileSync(config, 'utf8')}`)
  }
  await cluster.startAndLayOut()
  const credentials = await cluster.createKey('rot')
  for (let i = 0; i < nodes; i++) {
    clients.push(
      new S3Client({
        endpoint: cluster.endpoint(i),
        region: 'garage',
        forcePathStyle: true,
        maxAttempts: 1,
        credentials,
      }),
    )
  }
  await cluster.cli(0, 'bucket', 'create', BUCKET)
  await cluster.cli(
    0,
    'bucket',
    'allow',
    '--read',
    '--write',
    '--owner',
    BUCKET,
    '--key',
    credentials.accessKeyId,
  )
  return clients
}

const bodyOf = (key: string) => createHash('sha512').update(key).digest()

async function get(s3: S3Client, key: string): Promise<Buffer | number> {
  try {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }))
    return Buffer.from(await Body!.transformToByteArray())
  } catch (error) {
    return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode ?? 0
  }
}

const status = (promise: Promise<unknown>): Promise<number> =>
  promise.then(
    () => 200,
    (error: { $metadata?: { httpStatusCode?: number } }) => error.$metadata?.httpStatusCode ?? 0,
  )

const put = (s3: S3Client, key: string, body = bodyOf(key)) =>
  s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: body }))

/** Opens the database of a node that is stopped. */
async function edit<T>(node: number, work: (db: Db) => Promise<T>): Promise<T> {
  const path = join(cluster.dir, `n${node}/meta/db`)
  const db = await openLmdb({ path, trees: ALL_TREES, fsync: true, clock: realClock, log: silentLog })
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}

/** Restarts a node whose database was edited in between. */
async function damage(node: number, work: (db: Db) => Promise<unknown>): Promise<void> {
  await cluster.nodes[node]!.stop()
  await edit(node, work)
  await cluster.nodes[node]!.start()
}

const keyOf = (rowKey: Buffer) => rowKey.subarray(17).toString()
const rows = (db: Db, tree: string) => [...db.range(tree)].map(({ key, value }) => ({ key, value }))

/** Flips one bit of each value of a tree: of the first one bit 0, of the second bit 9, and so on. */
async function flipAll(db: Db, tree: string): Promise<string[]> {
  const all = rows(db, tree)
  await db.transact((tx) => {
    for (const [i, { key, value }] of all.entries()) {
      const bit = (i * 37) % (8 * value.length)
      value[bit >> 3]! ^= 1 << (bit & 7)
      tx.put(tree, key, value)
    }
  })
  return all.map(({ key }) => keyOf(key))
}

/** A whole scrub of a node; and until its status tells of no damaged rows any more. */
async function scrub(node: number): Promise<void> {
  await cluster.cli(node, 'repair', '--yes', 'scrub', 'start')
  await expect.poll(() => cluster.nodes[node]!.output, { timeout: 60_000 }).toMatch(/scrub completed/)
  await expect
    .poll(() => cluster.cli(node, 'status'), { timeout: 60_000, interval: 200 })
    .not.toMatch(/damaged rows/)
}

test('a single node never answers with other bytes than were stored, says what it lost, and takes it anew', async () => {
  const [s3] = (await start(1)) as [S3Client]
  const keys = Array.from({ length: 60 }, (_, i) => `key-${i}`)
  for (const key of keys) await put(s3, key)
  await damage(0, async (db) => {
    await flipAll(db, 'object:body')
  })
  for (const key of keys) expect(await get(s3, key)).toBe(500)
  await expect
    .poll(() => /a damaged row is lost.*key-/.test(cluster.nodes[0]!.output), { timeout: 20_000 })
    .toBe(true)
  // The heads are as they were.
  expect(await status(s3.send(new HeadObjectCommand({ Bucket: BUCKET, Key: keys[0]! })))).toBe(200)
  const { KeyCount } = await s3.send(new ListObjectsV2Command({ Bucket: BUCKET }))
  expect(KeyCount).toBe(60)

  await damage(0, async (db) => {
    await flipAll(db, 'object:head')
  })
  for (const key of keys) expect(await get(s3, key)).toBe(500)
  expect(await status(s3.send(new ListObjectsV2Command({ Bucket: BUCKET })))).toBe(500)
  expect(await status(s3.send(new HeadObjectCommand({ Bucket: BUCKET, Key: 'never' })))).toBe(404)
  await expect
    .poll(() => status(put(s3, keys[0]!, Buffer.from('anew'))), { timeout: 20_000, interval: 100 })
    .toBe(200)
  expect(await get(s3, keys[0]!)).toEqual(Buffer.from('anew'))
  for (const key of keys.slice(1)) {
    expect(await status(s3.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: key })))).toBe(200)
  }
  expect((await s3.send(new ListObjectsV2Command({ Bucket: BUCKET }))).KeyCount).toBe(1)
}, 120_000)

test('a cluster answers right whatever rots on one node, and after the scrub its copy is as it was', async () => {
  const all = await start(3)
  const keys = Array.from({ length: 150 }, (_, i) => `key-${i}`)
  for (const key of keys) await put(all[0]!, key)
  await cluster.nodes[0]!.stop()
  const trees = ['head', 'body', 'index', 'leaf'].map((tree) => `object:${tree}`)
  const dump = (db: Db) =>
    trees.map((tree) => rows(db, tree).map(({ key, value }) => [key.toString('hex'), value.toString('hex')]))
  const before = await edit(0, async (db) => dump(db))
  const damages = [
    ...trees.map((tree) => (db: Db) => flipAll(db, tree)),
    // Heads as the first release wrote them, without a checksum.
    (db: Db) =>
      db.transact((tx) => {
        for (const { key, value } of [...tx.range('object:head')])
          tx.put('object:head', key, value.subarray(9))
      }),
  ]
  for (const change of damages) {
    await edit<unknown>(0, change)
    await cluster.nodes[0]!.start()
    for (const s3 of all) {
      for (const key of keys.slice(0, 40)) expect(await get(s3, key)).toEqual(bodyOf(key))
    }
    await scrub(0)
    await cluster.nodes[0]!.stop()
    expect(await edit(0, async (db) => dump(db))).toEqual(before)
  }
}, 300_000)

test('a block that passes its checksum and is not what was stored is read from another replica', async () => {
  const all = await start(3, `sse_master_key = "${'07'.repeat(32)}"\ncompression_level = "none"`)
  const body = createHash('sha512').update('sealed').digest()
  const sealed = Buffer.concat(Array.from({ length: 4096 }, () => body))
  await all[0]!.send(
    new PutObjectCommand({ Bucket: BUCKET, Key: 'sealed', Body: sealed, ServerSideEncryption: 'AES256' }),
  )
  const data = join(cluster.dir, 'n0/data')
  const files = () =>
    (readdirSync(data, { recursive: true }) as string[])
      .map((name) => join(data, name))
      .filter((path) => /[0-9a-f]{64}$/.test(path))
  await expect.poll(() => files().length, { timeout: 20_000 }).toBe(1)
  const [path] = files() as [string]
  const changes: [string, (file: Buffer) => Buffer][] = [
    [
      'a flipped bit',
      (file) => {
        file[file.length - 100]! ^= 4
        return file
      },
    ],
    ['a content that is too short', (file) => file.subarray(0, file.length - 100)],
    [
      'a content that does not decompress',
      (file) => {
        file[4] = 1
        return file
      },
    ],
  ]
  for (const [what, change] of changes) {
    await expect.poll(() => existsSync(path), { timeout: 60_000 }).toBe(true)
    writeFileSync(path, withChecksums(change(readFileSync(path))))
    expect([what, await get(all[0]!, 'sealed')]).toEqual([what, sealed])
  }
}, 180_000)

/** A block's file whose head says the length of its bytes, with both of its checksums made anew. */
function withChecksums(file: Buffer): Buffer {
  const payload = file.subarray(FILE_HEAD_BYTES)
  const isCompressed = file[4] === 1
  const { head } = makeBlock(payload, isCompressed ? file.readUInt32BE(8) : payload.length, isCompressed)
  return Buffer.concat([fileHead({ head }, file.subarray(16, 48)), payload])
}

test('rows of the first release stay readable on a single node, and a rotten one among them is not', async () => {
  const [s3] = (await start(1)) as [S3Client]
  const keys = Array.from({ length: 20 }, (_, i) => `key-${i}`)
  for (const key of keys) await put(s3, key)
  await damage(0, (db) =>
    db.transact((tx) => {
      for (const { key, value } of [...tx.range('object:head')]) tx.put('object:head', key, value.subarray(9))
      const [first] = [...tx.range('object:head', { limit: 1 })]
      first!.value[30]! ^= 1
      tx.put('object:head', first!.key, first!.value)
      // The body of another: its checksum comes with the scrub, and its ETag tells before.
      const [, second] = [...tx.range('object:body', { limit: 2 })]
      second!.value[3]! ^= 1
      tx.put('object:body', second!.key, second!.value)
    }),
  )
  const [rottenHead, rottenBody] = [...keys].sort()
  expect(await get(s3, rottenHead!)).toBe(500)
  for (const key of keys.filter((each) => each !== rottenHead && each !== rottenBody)) {
    expect(await get(s3, key)).toEqual(bodyOf(key))
  }
  await cluster.cli(0, 'repair', '--yes', 'scrub', 'start')
  await expect.poll(() => cluster.nodes[0]!.output, { timeout: 60_000 }).toMatch(/scrub completed/)
  expect(await get(s3, rottenBody!)).toBe(500)
  await expect
    .poll(() => cluster.cli(0, 'status'), { timeout: 30_000, interval: 200 })
    .toMatch(/2 damaged rows/)
  await cluster.cli(0, 'repair', '--yes', 'damaged-rows')
  await expect.poll(() => get(s3, rottenHead!), { timeout: 20_000, interval: 100 }).toBe(404)
  expect(await get(s3, rottenBody!)).toBe(404)
  expect((await s3.send(new ListObjectsV2Command({ Bucket: BUCKET }))).KeyCount).toBe(18)
}, 120_000)

test('a second node on the same folders, with other ports, ends and says who holds them', async () => {
  cluster = await ProcessCluster.create(2, 1)
  const config = (i: number) => join(cluster.dir, `n${i}.toml`)
  const first = readFileSync(config(0), 'utf8')
  const folders = first.split('\n').slice(0, 2).join('\n')
  writeFileSync(
    config(1),
    readFileSync(config(1), 'utf8').split('\n').slice(2).join('\n').replace(/^/, `${folders}\n`),
  )
  await cluster.nodes[0]!.start()
  await expect(cluster.nodes[1]!.start()).rejects.toThrow(
    new RegExp(`node ended \\(1\\).*in use by another node: process ${cluster.nodes[0]!.pid} on `, 's'),
  )
  // A node that was killed leaves no lock behind.
  await cluster.nodes[0]!.stop('SIGKILL')
  await cluster.nodes[1]!.start()
})

test('a database that was cut short ends the start with one sentence that says what to do', async () => {
  cluster = await ProcessCluster.create(1, 1)
  await cluster.nodes[0]!.start()
  await cluster.nodes[0]!.stop()
  truncateSync(join(cluster.dir, 'n0/meta/db/data.mdb'), 20_000)
  await expect(cluster.nodes[0]!.start()).rejects.toThrow(
    /node ended \(1\).*data\.mdb is damaged \(it is cut short: .*run "carport meta restore --from-replicas --yes" and start again/s,
  )
  expect(cluster.nodes[0]!.output).not.toMatch(/\n +at /)
})
