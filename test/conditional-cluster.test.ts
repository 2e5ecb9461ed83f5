import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Wan } from '../bench/stores/wan.js'
import { ProcessCluster } from './support/processes.js'

const Bucket = 'conditional'
const Counted = 'counted'
/** How long a node is cut off from the others, in ms. */
const CUT_MS = 2_000
/** How long a client goes on over refusals: longer than a node asks for votes. In ms. */
const PERSISTENT_MS = 45_000
const TEST_MS = 240_000
/** How long a version may be listed that never took effect: the replicas ask each other once more after a minute. */
const DOUBT_MS = 90_000
/** Increments of one client, so that all versions are on one page. */
const INCREMENTS_MAX = 60

type Outcome = 'won' | 'lost' | 'unknown'

/** A write on a condition, and what its client knows of it afterwards. */
async function attempt(run: () => Promise<unknown>): Promise<Outcome> {
  try {
    await run()
    return 'won'
  } catch (error) {
    const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
    return status === 412 || status === 409 || status === 404 ? 'lost' : 'unknown'
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** A client's loop goes on over refusals of nodes that are down. */
async function persistently<T>(run: () => Promise<T>): Promise<T> {
  const untilMs = performance.now() + PERSISTENT_MS
  for (;;) {
    try {
      return await run()
    } catch (error) {
      if (performance.now() > untilMs) throw error
      await sleep(50)
    }
  }
}

const create = (client: S3Client, Key: string, Body: string) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body, IfNoneMatch: '*' }))

async function get(
  client: S3Client,
  bucket: string,
  Key: string,
): Promise<{ text: string; etag: string } | undefined> {
  try {
    const { Body, ETag } = await client.send(new GetObjectCommand({ Bucket: bucket, Key }))
    return { text: await Body!.transformToString(), etag: ETag! }
  } catch (error) {
    if ((error as Error).name === 'NoSuchKey') return undefined
    throw error
  }
}

/** The proxy between the nodes is a process of its own, of the compiled benchmark. */
const WAN = join(import.meta.dirname, '../dist/bench/stores/wan.js')

describe.skipIf(process.platform !== 'linux' || !existsSync(WAN)).each([3, 5])('%i nodes', (count) => {
  let cluster: ProcessCluster
  let wan: Wan
  let clients: S3Client[]

  beforeAll(async () => {
    cluster = await ProcessCluster.create(count, 3, '', '', true)
    const { nodes, publicPorts, rpcPorts } = cluster
    const links = nodes.map((_, zone) => ({ port: publicPorts[zone]!, target: rpcPorts[zone]!, zone }))
    const { Wan: Links } = (await import(WAN)) as { Wan: typeof Wan }
    wan = await Links.open(links, 0, 0)
    await cluster.startAndLayOut(() => wan.setPids(nodes.map((node) => node.pid)))
    const credentials = await cluster.createKey('conditional')
    clients = nodes.map(
      (_, i) =>
        new S3Client({
          ...{ endpoint: cluster.endpoint(i), region: 'garage', forcePathStyle: true, credentials },
          // A client that tries again by itself cannot tell its own success from another's.
          maxAttempts: 1,
        }),
    )
    for (const name of [Bucket, Counted])
      await persistently(() => clients[0]!.send(new CreateBucketCommand({ Bucket: name })))
    const VersioningConfiguration = { Status: 'Enabled' } as const
    await clients[0]!.send(new PutBucketVersioningCommand({ Bucket: Counted, VersioningConfiguration }))
  }, TEST_MS)

  afterAll(async () => {
    for (const client of clients ?? []) client.destroy()
    await cluster?.dispose()
    wan?.close()
  })

  /** One node dies and comes back, another one is cut off, then both at the same time. */
  async function disturb(): Promise<void> {
    const { nodes } = cluster
    const last = nodes.at(-1)!
    const kill = async () => {
      await last.stop('SIGKILL')
      const starting = last.start()
      await wan.setPids(nodes.map((node) => node.pid))
      await starting
    }
    const cut = async () => {
      await wan.setZone(1, 'silent')
      await sleep(CUT_MS)
      await wan.setZone(1, 'normal')
    }
    await kill()
    await cut()
    await Promise.all([kill(), cut()])
  }

  /** What all versions of the counter say, as one node tells them. */
  async function counted(): Promise<string[]> {
    const { Versions = [], IsTruncated } = await persistently(() =>
      clients[0]!.send(new ListObjectVersionsCommand({ Bucket: Counted, MaxKeys: 1000 })),
    )
    expect(IsTruncated).toBe(false)
    return Promise.all(
      Versions.map(({ VersionId }) =>
        persistently(async () => {
          const { Body } = await clients[0]!
            .send(new GetObjectCommand({ Bucket: Counted, Key: 'counter', VersionId }))
            .catch((error: unknown) => {
              // A version that never took effect may go between the listing and this.
              if ((error as Error).name === 'NoSuchVersion') return { Body: undefined }
              throw error
            })
          return Body?.transformToString()
        }),
      ),
    ).then((texts) => texts.filter((text) => text !== undefined))
  }

  test('one of many creates wins, the counter is exact and the lock has one holder, while nodes die and are cut off', {
    timeout: TEST_MS,
  }, async () => {
    let isOver = false
    const goesOn = (done: number) => !isOver || done < 3

    const creates = async () => {
      let winners = 0
      for (let i = 0; goesOn(i); i++) {
        const key = `create/${i}`
        const names = clients.flatMap((_, node) => [`${node}/a`, `${node}/b`])
        const outcomes = await Promise.all(
          names.map((name) => attempt(() => create(clients[Number(name[0])]!, key, name))),
        )
        const won = names.filter((_, at) => outcomes[at] === 'won')
        expect(won.length).toBeLessThanOrEqual(1)
        winners += won.length
        const found = await persistently(() => get(clients[0]!, Bucket, key))
        if (won.length === 1) expect(found?.text).toBe(won[0])
        // Who was told that it lost was not there first.
        if (found) expect(outcomes[names.indexOf(found.text)]).not.toBe('lost')
        else expect(outcomes).not.toContain('won')
      }
      return winners
    }

    const acknowledged: string[] = []
    const increments = async (client: S3Client, name: string) => {
      for (let done = 0; goesOn(done) && done < INCREMENTS_MAX; ) {
        const before = await get(client, Counted, 'counter').catch(() => undefined)
        if (!before) {
          await sleep(20)
          continue
        }
        const Body = `${Number(before.text.split(' ')[0]) + 1} ${name}/${done}`
        const outcome = await attempt(() =>
          client.send(new PutObjectCommand({ Bucket: Counted, Key: 'counter', Body, IfMatch: before.etag })),
        )
        if (outcome === 'won') acknowledged.push(Body)
        if (outcome !== 'lost') done++
      }
    }

    let holder: string | undefined
    let held = 0
    const locks = async (client: S3Client, name: string) => {
      for (let done = 0; goesOn(done); done++) {
        const own = `${name}/${done}`
        const outcome = await attempt(() => create(client, 'lock', own))
        const mine = outcome === 'lost' ? undefined : await persistently(() => get(client, Bucket, 'lock'))
        if (outcome === 'won') expect(mine?.text).toBe(own)
        // With an unknown outcome the content tells whose lock it is.
        if (mine?.text !== own) continue
        expect(holder).toBeUndefined()
        holder = name
        held++
        await sleep(5)
        holder = undefined
        await persistently(() =>
          client.send(new DeleteObjectCommand({ Bucket, Key: 'lock', IfMatch: mine.etag })),
        )
      }
    }

    await persistently(() =>
      clients[0]!.send(new PutObjectCommand({ Bucket: Counted, Key: 'counter', Body: '0 first' })),
    )
    const disturbing = disturb().finally(() => {
      isOver = true
    })
    const [winners] = await Promise.all([
      creates(),
      ...clients.map((client, i) => increments(client, `${i}`)),
      ...clients.map((client, i) => locks(client, `${i}`)),
      disturbing,
    ])
    expect(winners).toBeGreaterThan(2)
    expect(held).toBeGreaterThan(2)

    // Each increment that took effect is a version: all numbers are there, each once, and all that were acknowledged. One that a
    // replica alone took, whose client heard nothing, is listed until the replicas have told each other.
    const exactly = async () => {
      const texts = await counted()
      const numbers = texts.map((text) => Number(text.split(' ')[0])).sort((a, b) => a - b)
      expect(numbers).toEqual(numbers.map((_, i) => i))
      return texts
    }
    const texts = await vi.waitFor(exactly, { timeout: DOUBT_MS, interval: 500 })
    for (const text of acknowledged) expect(texts).toContain(text)
    expect(acknowledged.length).toBeGreaterThan(5)
  })
})
