/**
 * Bodies stream through a node, so its memory stays the same however large they are. To run it with more data:
 * `CARPORT_MEMORY_TEST_MIB=5120 npm test -- test/memory.test.ts` (the largest body of one PutObject).
 */
import { createHash, type Hash, randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePorts } from '../bench/stores/server-process.js'
import { NodeProcess, ProcessCluster, singleNodeEnv } from './support/processes.js'

const MIB = 1024 * 1024
const BODY_MIB = Number(process.env.CARPORT_MEMORY_TEST_MIB ?? 300)
const RSS_MAX_MIB = 300
/** The program in one file is Node.js 26 with all its own pages, most of which the system can take back. */
const IDLE_RSS_MAX_MIB = process.env.CARPORT_TEST_EXECUTABLE ? 160 : 88
/** With everything that an operator can turn on: tracing loads some MiB of code. */
const TRACED_RSS_MAX_MIB = 92
/** Bytes per second that a loaded machine of two cores should reach at the least, for the time-out. */
const MIB_PER_S_MIN = 4

const credentials = { accessKeyId: `GK${'0c'.repeat(12)}`, secretAccessKey: '1d'.repeat(32) }
const dir = mkdtempSync(join(tmpdir(), 'carport-memory-'))
const clientOf = (endpoint: string, region: string, key: typeof credentials) =>
  new S3Client({ endpoint, region, forcePathStyle: true, credentials: key, maxAttempts: 1 })

/** A figure of a node's process in MiB: VmRSS, or VmHWM for the most that it ever was. */
function memoryMib(node: NodeProcess, figure: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${node.pid}/status`, 'latin1')
  return Number(new RegExp(`${figure}:\\s+(\\d+) kB`).exec(status)![1]) / 1024
}

/** Yields bytes that do not compress, a MiB at a time and all different, and updates `hash` with them. */
async function* body(hash: Hash): AsyncGenerator<Buffer> {
  const noise = randomBytes(MIB)
  for (let i = 0; i < BODY_MIB; i++) {
    const chunk = Buffer.from(noise)
    chunk.writeUInt32BE(i)
    hash.update(chunk)
    yield chunk
  }
}

/** Uploads and downloads an object of BODY_MIB; each client may speak to another node. */
async function roundTrip(uploader: S3Client, downloader: S3Client): Promise<void> {
  const object = { Bucket: 'memory', Key: 'large' }
  const sent = createHash('sha256')
  await uploader.send(
    new PutObjectCommand({ ...object, Body: Readable.from(body(sent)), ContentLength: BODY_MIB * MIB }),
  )
  const { Body, ContentLength } = await downloader.send(new GetObjectCommand(object))
  expect(ContentLength).toBe(BODY_MIB * MIB)
  const received = createHash('sha256')
  for await (const chunk of Body as Readable) received.update(chunk as Buffer)
  expect(received.digest('hex')).toBe(sent.digest('hex'))
  await uploader.send(new DeleteObjectCommand(object))
}

const timeoutMs = ((2 * BODY_MIB) / MIB_PER_S_MIN) * 1000

describe.runIf(existsSync('/proc/self/status'))('one node', () => {
  let node: NodeProcess
  let s3: S3Client

  beforeAll(async () => {
    const { env, ports } = await singleNodeEnv({ credentials, bucket: 'memory' })
    node = new NodeProcess(
      ['server', '--single-node', '--default-bucket'],
      { ...env, CARPORT_DATA_DIR: dir },
      dir,
    )
    await node.start()
    s3 = clientOf(`http://127.0.0.1:${ports.s3}`, 'us-east-1', credentials)
  })

  afterAll(async () => {
    s3?.destroy()
    await node?.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  // What the start leaves behind is given back some seconds later, when V8 finds that little is allocated.
  test(`takes less than ${IDLE_RSS_MAX_MIB} MiB when it has nothing to do, with admin API, metrics and web sites`, async () => {
    await expect.poll(() => memoryMib(node, 'VmRSS'), { timeout: 45_000 }).toBeLessThan(IDLE_RSS_MAX_MIB)
  })

  test(
    `passes an object of ${BODY_MIB} MiB in and out in less than ${RSS_MAX_MIB} MiB`,
    async () => {
      await roundTrip(s3, s3)
      const most = memoryMib(node, 'VmHWM')
      console.log(`most memory of one node: ${most.toFixed()} MiB`)
      expect(most).toBeLessThan(RSS_MAX_MIB)
    },
    timeoutMs,
  )
})

describe.runIf(existsSync('/proc/self/status'))('one node that tells all that it can', () => {
  const folder = mkdtempSync(join(tmpdir(), 'carport-memory-'))
  let node: NodeProcess
  let metrics: string

  beforeAll(async () => {
    const [s3, rpc, web, admin, collector] = await freePorts(5)
    metrics = `http://127.0.0.1:${admin}/metrics`
    const config = join(folder, 'carport.toml')
    writeFileSync(
      config,
      `metadata_dir = "${folder}/meta"
data_dir = "${folder}/data"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:${rpc}"
rpc_secret = "${'5a'.repeat(32)}"
access_log = "all"
access_log_file = "${folder}/access.log"
[s3_api]
api_bind_addr = "127.0.0.1:${s3}"
s3_region = "garage"
[s3_web]
bind_addr = "127.0.0.1:${web}"
[admin]
api_bind_addr = "127.0.0.1:${admin}"
trace_sink = "http://127.0.0.1:${collector}"
`,
    )
    const env = { PATH: process.env.PATH, CARPORT_LOG: 'debug', CARPORT_LOG_FORMAT: '' }
    node = new NodeProcess(['server', '-c', config, '--single-node'], env, folder)
    await node.start()
  })

  afterAll(async () => {
    await node?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test(`takes less than ${TRACED_RSS_MAX_MIB} MiB when it is only asked for its metrics, with request log, debug log and traces`, async () => {
    const scraped = async () => {
      expect((await fetch(metrics)).status).toBe(200)
      return memoryMib(node, 'VmRSS')
    }
    await expect.poll(scraped, { timeout: 60_000, interval: 10_000 }).toBeLessThan(TRACED_RSS_MAX_MIB)
  }, 70_000)

  test('logs a line of JSON each where stderr is no terminal', () => {
    const lines = node.output.trim().split('\n')
    const entries = lines.map((line) => JSON.parse(line) as { level: string; time: string; message: string })
    expect(entries.map(({ message }) => message)).toContain('ready')
    for (const { level, time } of entries)
      expect([level, new Date(time).toISOString()]).toEqual([level, time])
  })
})

describe.runIf(existsSync('/proc/self/status'))('three nodes', () => {
  let cluster: ProcessCluster
  let clients: S3Client[]

  beforeAll(async () => {
    cluster = await ProcessCluster.create(3, 3)
    await cluster.startAndLayOut()
    const key = await cluster.createKey('memory')
    clients = cluster.nodes.map((_, i) => clientOf(cluster.endpoint(i), 'garage', key))
    await clients[0]!.send(new CreateBucketCommand({ Bucket: 'memory' }))
  })

  afterAll(async () => {
    for (const client of clients ?? []) client.destroy()
    await cluster?.dispose()
  })

  test(
    `pass an object of ${BODY_MIB} MiB from one to the others in less than ${RSS_MAX_MIB} MiB each`,
    async () => {
      await roundTrip(clients[0]!, clients[1]!)
      const most = cluster.nodes.map((node) => memoryMib(node, 'VmHWM'))
      console.log(`most memory of three nodes: ${most.map((mib) => mib.toFixed()).join(', ')} MiB`)
      expect(Math.max(...most)).toBeLessThan(RSS_MAX_MIB)
    },
    3 * timeoutMs,
  )
})
