import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ProcessCluster } from './support/processes.js'

const Bucket = 'conditional'
let cluster: ProcessCluster
let clients: S3Client[]

beforeAll(async () => {
  cluster = await ProcessCluster.create(3, 3)
  await cluster.startAndLayOut()
  const credentials = await cluster.createKey('conditional')
  clients = cluster.nodes.map(
    (_, i) =>
      new S3Client({
        ...{ endpoint: cluster.endpoint(i), region: 'garage', forcePathStyle: true, credentials },
        // A client that tries again by itself cannot tell its own success from another's.
        maxAttempts: 1,
      }),
  )
  await clients[0]!.send(new CreateBucketCommand({ Bucket }))
})

afterAll(async () => {
  for (const client of clients ?? []) client.destroy()
  await cluster?.dispose()
})

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

const create = (client: S3Client, Key: string, Body: string) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body, IfNoneMatch: '*' }))

async function get(client: S3Client, Key: string): Promise<{ text: string; etag: string } | undefined> {
  try {
    const { Body, ETag } = await client.send(new GetObjectCommand({ Bucket, Key }))
    return { text: await Body!.transformToString(), etag: ETag! }
  } catch (error) {
    if ((error as Error).name === 'NoSuchKey') return undefined
    throw error
  }
}

/** A clients' loop goes on over refusals of nodes that are down. */
async function persistently<T>(run: () => Promise<T>): Promise<T> {
  for (let i = 0; ; i++) {
    try {
      return await run()
    } catch (error) {
      if (i === 200) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** Kills the third node while `load` runs, and starts it again. */
async function withKill<T>(load: Promise<T>): Promise<T> {
  const third = cluster.nodes[2]!
  await third.stop('SIGKILL')
  await third.start()
  return load
}

test('of many creates through all nodes one wins', async () => {
  const run = async () => {
    for (let i = 0; i < 8; i++) {
      const key = `create/${i}`
      const outcomes = await Promise.all(
        clients.flatMap((client, node) =>
          [0, 1, 2].map((n) => attempt(() => create(client, key, `${node}/${n}`))),
        ),
      )
      const won = outcomes.filter((outcome) => outcome === 'won').length
      expect(won).toBeLessThanOrEqual(1)
      const found = await persistently(() => get(clients[0]!, key))
      if (won === 1) expect(found).toBeDefined()
      // Somebody who was told that he lost was not there first.
      if (!found) expect(outcomes).not.toContain('lost')
    }
  }
  await withKill(run())
})

test('a counter counts every increment', async () => {
  await persistently(() => create(clients[0]!, 'counter', '0'))
  let certain = 0
  let unknown = 0
  const increment = async (client: S3Client, times: number) => {
    for (let done = 0; done < times; ) {
      const before = await get(client, 'counter').catch(() => undefined)
      if (!before) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        continue
      }
      const Body = String(Number(before.text) + 1)
      const outcome = await attempt(() =>
        client.send(new PutObjectCommand({ Bucket, Key: 'counter', Body, IfMatch: before.etag })),
      )
      if (outcome === 'lost') continue
      done++
      if (outcome === 'won') certain++
      else unknown++
    }
  }
  await withKill(Promise.all(clients.flatMap((client) => [increment(client, 4), increment(client, 4)])))
  const count = Number((await persistently(() => get(clients[1]!, 'counter')))!.text)
  expect(count).toBeGreaterThanOrEqual(certain)
  expect(count).toBeLessThanOrEqual(certain + unknown)
})

test('a lock has one holder', async () => {
  let holder: string | undefined
  let held = 0
  const lock = async (client: S3Client, name: string, times: number) => {
    for (let done = 0; done < times; done++) {
      const outcome = await attempt(() => create(client, 'lock', `${name}/${done}`))
      const mine = outcome === 'lost' ? undefined : await persistently(() => get(client, 'lock'))
      if (outcome === 'won') expect(mine?.text).toBe(`${name}/${done}`)
      // With an unknown outcome the content tells whose lock it is.
      if (mine?.text !== `${name}/${done}`) continue
      expect(holder).toBeUndefined()
      holder = name
      held++
      await new Promise((resolve) => setTimeout(resolve, 5))
      holder = undefined
      await persistently(() =>
        client.send(new DeleteObjectCommand({ Bucket, Key: 'lock', IfMatch: mine!.etag })),
      )
    }
  }
  await withKill(
    Promise.all(clients.flatMap((client, i) => [lock(client, `${i}a`, 12), lock(client, `${i}b`, 12)])),
  )
  expect(held).toBeGreaterThan(3)
})
