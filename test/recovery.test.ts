/** What is lost on one of three real nodes comes back from the others by one command, and its users see nothing of it. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { ProcessCluster } from './support/processes.js'

/** Nodes are stopped and started, and tell each other how far they are every ten seconds. */
vi.setConfig({ testTimeout: 240_000 })

let cluster: ProcessCluster
const clients: S3Client[] = []
const keys: string[] = []
const BUCKET = 'kept'

/** Contents that are in a row, in a block, and in several. */
const bodyOf = (key: string) => {
  const seed = createHash('sha512').update(key).digest()
  return Buffer.concat(
    Array.from({ length: Number(key.split('/')[1]) / 64 }, (_, i) =>
      Buffer.concat([seed.subarray(4), Buffer.from([i, i >> 8, i >> 16, 0])]),
    ),
  )
}

async function put(i: number, key: string): Promise<void> {
  await clients[i]!.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: bodyOf(key) }))
  keys.push(key)
}

async function readAll(i: number): Promise<void> {
  for (const key of keys) {
    const { Body } = await clients[i]!.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }))
    expect(Buffer.from(await Body!.transformToByteArray()).equals(bodyOf(key)), key).toBe(true)
  }
}

const dataOf = (i: number) => join(cluster.dir, `n${i}/data`)
const blocksOf = (i: number) =>
  (readdirSync(dataOf(i), { recursive: true }) as string[])
    .filter((name) => /[0-9a-f]{64}$/.test(name))
    .sort()

interface Status {
  nodes: {
    id: string
    isUp: boolean
    syncQueueLength: number | null
    lostFolders: number | null
    partitions: { compared: number; total: number } | null
  }[]
}
const status = async (i: number) => JSON.parse(await cluster.cli(i, 'status', '--json')) as Status

/** Waits until each node sees all of them up, with all of their partitions and nothing left to do. */
async function whole(): Promise<void> {
  for (const i of [0, 1, 2]) {
    await expect
      .poll(
        async () =>
          (await status(i)).nodes.map((node) => [
            node.isUp,
            node.syncQueueLength,
            node.partitions && node.partitions.total - node.partitions.compared,
          ]),
        { timeout: 120_000, interval: 500 },
      )
      .toEqual([0, 1, 2].map(() => [true, 0, 0]))
  }
}

async function findings(i: number): Promise<string[]> {
  const text = await cluster.cli(i, 'doctor', '--json').catch((error: { stdout: string }) => error.stdout)
  const diagnosis = JSON.parse(text) as { findings: { check: string; severity: string }[] }
  return diagnosis.findings.filter(({ severity }) => severity !== 'info').map(({ check }) => check)
}

beforeAll(async () => {
  cluster = await ProcessCluster.create(3, 3)
  await cluster.startAndLayOut()
  const credentials = await cluster.createKey('k')
  for (const i of [0, 1, 2]) {
    clients.push(
      new S3Client({ endpoint: cluster.endpoint(i), region: 'garage', forcePathStyle: true, credentials }),
    )
  }
  await cluster.cli(0, 'bucket', 'create', BUCKET)
  await cluster.cli(0, 'bucket', 'allow', '--read', '--write', BUCKET, '--key', credentials.accessKeyId)
  for (const size of [640, 65_536 * 2, 3_200_000]) for (const n of [1, 2]) await put(n, `${n}/${size}`)
})
afterAll(async () => {
  for (const client of clients) client.destroy()
  await cluster?.dispose()
})

test('a data folder that is wiped under a running node is seen, read around, and filled by one command', async () => {
  await expect.poll(() => blocksOf(2).length, { timeout: 20_000 }).toBe(blocksOf(0).length)
  rmSync(dataOf(2), { recursive: true })
  mkdirSync(dataOf(2))
  expect(await findings(0)).toContain('data-folder-lost')
  await readAll(2)
  await expect
    .poll(async () => (await status(0)).nodes.map(({ lostFolders }) => lostFolders).sort(), {
      timeout: 30_000,
    })
    .toEqual([0, 0, 1])
  expect(await cluster.cli(0, 'status')).toContain('misses 1 data folder(s)')
  // Nothing is written there meanwhile, and writes go on at the others.
  await put(2, '3/640000')
  expect(blocksOf(2)).toEqual([])

  await cluster.cli(2, 'repair', '--yes', 'blocks')
  await expect.poll(() => blocksOf(2), { timeout: 60_000, interval: 500 }).toEqual(blocksOf(0))
  expect(await findings(0)).not.toContain('data-folder-lost')
})

test('a data folder that is wiped while its node is stopped is seen at the start, and filled by one command', async () => {
  await cluster.nodes[1]!.stop()
  rmSync(dataOf(1), { recursive: true })
  await cluster.nodes[1]!.start()
  expect(await findings(1)).toContain('data-folder-lost')
  await readAll(1)
  await cluster.cli(1, 'repair', '--yes', 'blocks')
  await expect.poll(() => blocksOf(1), { timeout: 60_000, interval: 500 }).toEqual(blocksOf(0))
})

test('a database that is cut short ends the start, and comes back from the other replicas by one command', async () => {
  await whole()
  await cluster.nodes[1]!.stop()
  truncateSync(join(cluster.dir, 'n1/meta/db/data.mdb'), 20_000)
  await expect(cluster.nodes[1]!.start()).rejects.toThrow(/meta restore --from-replicas --yes/)
  expect(await findings(1)).toEqual(expect.arrayContaining(['server-stopped', 'database-damaged']))
  await cluster.cli(1, 'meta', 'restore', '--from-replicas', '--yes')
  await cluster.nodes[1]!.start()
  await whole()
  // With one other node up, this one must serve everything: a read needs both.
  await cluster.nodes[0]!.stop('SIGKILL')
  await readAll(1)
  await cluster.nodes[0]!.start()
  await whole()
})

test('a database with bytes that changed comes back from a snapshot, and copies what came after it', async () => {
  await cluster.cli(2, 'meta', 'snapshot')
  await put(0, '4/640')
  await put(0, '5/640000')
  await whole()
  await cluster.nodes[2]!.stop()
  const file = openSync(join(cluster.dir, 'n2/meta/db/data.mdb'), 'r+')
  for (const page of [0, 1]) writeSync(file, Buffer.from('flipped'), 0, 7, page * 4096 + 24)
  closeSync(file)
  await expect(cluster.nodes[2]!.start()).rejects.toThrow(/is damaged/)
  await cluster.cli(2, 'meta', 'restore', '--yes')
  await cluster.nodes[2]!.start()
  await whole()
  await cluster.nodes[0]!.stop('SIGKILL')
  await readAll(2)
  await cluster.nodes[0]!.start()
})

/** Whether this machine lets the test mount a small disk. */
function mount(path: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=300m,mode=700', 'tmpfs', path], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

test('a disk that is full takes no blocks, says so, and gets them once there is room', async ({ skip }) => {
  await whole()
  await cluster.nodes[2]!.stop()
  const small = join(cluster.dir, 'small')
  mkdirSync(small)
  if (!mount(small)) {
    await cluster.nodes[2]!.start()
    skip('nothing may be mounted here')
  }
  try {
    const config = join(cluster.dir, 'n2.toml')
    const text = readFileSync(config, 'utf8')
    writeFileSync(config, text.replace(dataOf(2), small))
    await cluster.nodes[2]!.start()
    await cluster.cli(2, 'repair', '--yes', 'blocks')
    const names = () =>
      (readdirSync(small, { recursive: true }) as string[])
        .filter((name) => /[0-9a-f]{64}$/.test(name))
        .sort()
    await expect.poll(names, { timeout: 60_000, interval: 500 }).toEqual(blocksOf(0))

    writeFileSync(join(small, 'filler'), Buffer.alloc(60 * 1024 * 1024))
    // The free space is believed for two seconds.
    await expect.poll(() => findings(0), { timeout: 20_000, interval: 1000 }).toContain('disk-full')
    let objects = 0
    const takesBlocks = async () => {
      const before = names().length
      await put(0, `6${objects++}/1280000`)
      await readAll(2)
      return names().length > before
    }
    await expect.poll(takesBlocks, { timeout: 20_000 }).toBe(false)

    rmSync(join(small, 'filler'))
    await cluster.cli(2, 'repair', '--yes', 'blocks')
    await expect.poll(names, { timeout: 150_000, interval: 500 }).toEqual(blocksOf(0))
    await cluster.nodes[2]!.stop()
  } finally {
    await cluster.nodes[2]!.stop('SIGKILL')
    execFileSync('umount', [small])
  }
})
