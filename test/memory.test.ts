/**
 * Bodies stream through a node: its memory stays the same however large they are. By hand with more:
 * `CARPORT_MEMORY_TEST_MIB=5120 npm test -- test/memory.test.ts` (the largest body of one PutObject).
 */
import { createHash, type Hash, randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePorts, NodeProcess } from './support/processes.js'

const MIB = 1024 * 1024
const BODY_MIB = Number(process.env.CARPORT_MEMORY_TEST_MIB ?? 300)
const RSS_MAX_MIB = 300
const IDLE_RSS_MAX_MIB = 80
/** Bytes per second that a loaded machine of two cores should reach at the least, for the time-out. */
const MIB_PER_S_MIN = 4

const credentials = { accessKeyId: `GK${'0c'.repeat(12)}`, secretAccessKey: '1d'.repeat(32) }
const dir = mkdtempSync(join(tmpdir(), 'carport-memory-'))
let node: NodeProcess
let s3: S3Client

beforeAll(async () => {
  const [port, ...others] = await freePorts(4)
  const [rpc, web, admin] = others
  node = new NodeProcess(
    ['server', '--single-node', '--default-bucket'],
    {
      PATH: process.env.PATH,
      CARPORT_DATA_DIR: dir,
      CARPORT_S3_BIND_ADDR: `127.0.0.1:${port}`,
      CARPORT_RPC_BIND_ADDR: `127.0.0.1:${rpc}`,
      CARPORT_WEB_BIND_ADDR: `127.0.0.1:${web}`,
      CARPORT_ADMIN_BIND_ADDR: `127.0.0.1:${admin}`,
      CARPORT_DEFAULT_ACCESS_KEY: credentials.accessKeyId,
      CARPORT_DEFAULT_SECRET_KEY: credentials.secretAccessKey,
      CARPORT_DEFAULT_BUCKET: 'memory',
    },
    dir,
  )
  await node.start()
  s3 = new S3Client({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials,
    maxAttempts: 1,
  })
})

afterAll(async () => {
  s3?.destroy()
  await node?.stop()
  rmSync(dir, { recursive: true, force: true })
})

/** A figure of the node's process in MiB: VmRSS, or VmHWM for the most that it ever was. */
function memoryMib(figure: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${node.pid}/status`, 'latin1')
  return Number(new RegExp(`${figure}:\\s+(\\d+) kB`).exec(status)![1]) / 1024
}

/** Bytes that do not compress, a MiB at a time, all different, and what they hash to. */
async function* body(hash: Hash): AsyncGenerator<Buffer> {
  const noise = randomBytes(MIB)
  for (let i = 0; i < BODY_MIB; i++) {
    const chunk = Buffer.from(noise)
    chunk.writeUInt32BE(i)
    hash.update(chunk)
    yield chunk
  }
}

const onLinux = existsSync('/proc/self/status')

test.runIf(onLinux)(`a node that has nothing to do takes less than ${IDLE_RSS_MAX_MIB} MiB`, () => {
  expect(memoryMib('VmRSS')).toBeLessThan(IDLE_RSS_MAX_MIB)
})

test.runIf(onLinux)(
  `an object of ${BODY_MIB} MiB goes in and out of less than ${RSS_MAX_MIB} MiB`,
  async () => {
    const object = { Bucket: 'memory', Key: 'large' }
    const sent = createHash('sha256')
    await s3.send(
      new PutObjectCommand({ ...object, Body: Readable.from(body(sent)), ContentLength: BODY_MIB * MIB }),
    )
    const stored = memoryMib('VmHWM')
    const { Body, ContentLength } = await s3.send(new GetObjectCommand(object))
    expect(ContentLength).toBe(BODY_MIB * MIB)
    const received = createHash('sha256')
    for await (const chunk of Body as Readable) received.update(chunk as Buffer)
    expect(received.digest('hex')).toBe(sent.digest('hex'))
    const read = memoryMib('VmHWM')
    console.log(
      `most memory: ${stored.toFixed()} MiB after the upload, ${read.toFixed()} MiB after the download`,
    )
    expect(read).toBeLessThan(RSS_MAX_MIB)
    await s3.send(new DeleteObjectCommand(object))
  },
  ((2 * BODY_MIB) / MIB_PER_S_MIN) * 1000,
)
