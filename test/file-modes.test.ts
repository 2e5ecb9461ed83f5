/**
 * Other users of the machine cannot read what a node keeps: the compiled program is started as its users start it, with
 * the usual umask, also over folders that were made with the rights that the umask gives.
 */
import { execFile } from 'node:child_process'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { NodeProcess, PROGRAM, singleNodeEnv } from './support/processes.js'

const credentials = { accessKeyId: `GK${'1'.repeat(24)}`, secretAccessKey: 'a'.repeat(64) }
const MASK = process.umask()
let dir: string
let node: NodeProcess
let s3: S3Client
let env: NodeJS.ProcessEnv

beforeEach(async () => {
  process.umask(0o022) // that of most systems, which the node inherits
  dir = mkdtempSync(join(tmpdir(), 'carport-modes-'))
  const single = await singleNodeEnv({ credentials, bucket: 'bucket' })
  env = { ...single.env, CARPORT_DATA_DIR: join(dir, 'store') }
  const endpoint = `http://127.0.0.1:${single.ports.s3}`
  s3 = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials })
})

afterEach(async () => {
  process.umask(MASK)
  s3.destroy()
  await node?.stop()
  rmSync(dir, { recursive: true, force: true })
})

async function start(extra: NodeJS.ProcessEnv = {}): Promise<void> {
  node = new NodeProcess(['server', '--single-node', '--default-bucket'], { ...env, ...extra }, dir)
  await node.start()
}

/** Paths below a folder, itself too, that others than their owner have rights to. */
function openTo(path: string): string[] {
  const stat = lstatSync(path)
  const below = stat.isDirectory() ? readdirSync(path).flatMap((name) => openTo(join(path, name))) : []
  return (stat.mode & 0o077) === 0 ? below : [path, ...below]
}

const put = (Key: string, bytes: number) =>
  s3.send(new PutObjectCommand({ Bucket: 'bucket', Key, Body: Buffer.alloc(bytes, Key) }))

test('everything that a node makes is for its user alone: database, blocks, snapshots, keys, secrets', async () => {
  await start()
  await put('inline', 1000)
  await put('blocks', 3_000_000)
  const [command, ...first] = PROGRAM
  await promisify(execFile)(command, [...first, 'meta', 'snapshot'], { env, cwd: dir })
  const store = join(dir, 'store')
  const names = readdirSync(store, { recursive: true, encoding: 'utf8' })
  for (const name of ['rpc_secret', 'sse_master_key', 'meta/db/data.mdb', 'meta/node_key.pem']) {
    expect(names).toContain(name)
  }
  expect(names.some((name) => /^meta\/snapshots\/.*data\.mdb$/.test(name))).toBe(true)
  expect(names.filter((name) => name.startsWith('data/')).length).toBeGreaterThan(3)
  expect(openTo(store)).toEqual([])
})

test('a node makes the master key by which AES256 just works, and keeps it', async () => {
  await start()
  const object = { Bucket: 'bucket', Key: 'sealed' }
  const written = await s3.send(
    new PutObjectCommand({ ...object, Body: 'secret', ServerSideEncryption: 'AES256' }),
  )
  expect(written.ServerSideEncryption).toBe('AES256')
  const key = readFileSync(join(dir, 'store/sse_master_key'), 'utf8')
  expect(key).toMatch(/^[0-9a-f]{64}\n$/)
  await node.stop()
  await node.start()
  const read = await s3.send(new GetObjectCommand(object))
  expect(await read.Body!.transformToString()).toBe('secret')
  expect(readFileSync(join(dir, 'store/sse_master_key'), 'utf8')).toBe(key)
})

test('folders that others could read are mended at the start, with a line in the log', async () => {
  await start()
  await put('k', 1000)
  await node.stop()
  const meta = join(dir, 'store/meta')
  chmodSync(meta, 0o755)
  chmodSync(join(meta, 'db'), 0o755)
  chmodSync(join(meta, 'db/data.mdb'), 0o644)
  mkdirSync(join(meta, 'snapshots/2026-01-01T00:00:00Z'), { recursive: true, mode: 0o755 })
  writeFileSync(join(meta, 'snapshots/2026-01-01T00:00:00Z/data.mdb'), '', { mode: 0o644 })
  chmodSync(join(dir, 'store/data'), 0o750)
  await node.start()
  expect(openTo(meta)).toEqual([])
  expect(openTo(join(dir, 'store/data'))).toEqual([])
  expect(node.output).toMatch(/other users could read this folder.*meta.*before="?0755/)
  expect(node.output).toMatch(/other users could read this folder.*data.*before="?0750/)
  await node.stop()
  await node.start()
  expect(node.output).not.toContain('other users')
})

test('allow_world_readable_secrets leaves the rights that somebody gave on purpose', async () => {
  await start({ CARPORT_ALLOW_WORLD_READABLE_SECRETS: 'true' })
  await node.stop()
  const meta = join(dir, 'store/meta')
  chmodSync(meta, 0o750)
  await node.start()
  expect(openTo(meta)).toContain(meta)
  expect(node.output).not.toContain('other users')
})
