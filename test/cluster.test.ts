import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ProcessCluster } from './support/processes.js'

let cluster: ProcessCluster
let clients: S3Client[]

beforeAll(async () => {
  cluster = await ProcessCluster.create(3, 3)
  await cluster.startAndLayOut()
  const credentials = await cluster.createKey('cluster')
  clients = cluster.nodes.map(
    (_, i) =>
      new S3Client({ endpoint: cluster.endpoint(i), region: 'garage', forcePathStyle: true, credentials }),
  )
  await clients[0]!.send(new CreateBucketCommand({ Bucket: 'shared' }))
})

afterAll(async () => {
  for (const client of clients ?? []) client.destroy()
  await cluster?.dispose()
})

const put = (i: number, Key: string, Body: Buffer) =>
  clients[i]!.send(new PutObjectCommand({ Bucket: 'shared', Key, Body }))

async function get(i: number, Key: string): Promise<Buffer> {
  const { Body } = await clients[i]!.send(new GetObjectCommand({ Bucket: 'shared', Key }))
  return Buffer.from(await Body!.transformToByteArray())
}

const bodies = new Map<string, Buffer>()

test('what one node takes, the others give', async () => {
  for (const [i, size] of [4096, 100_000, 5_000_000].entries()) {
    const body = randomBytes(size)
    bodies.set(`all-up/${size}`, body)
    await put(i, `all-up/${size}`, body)
    for (const reader of [0, 1, 2]) expect((await get(reader, `all-up/${size}`)).equals(body)).toBe(true)
  }
})

test('the loss of one node of three stops neither reads nor writes', async () => {
  await cluster.nodes[2]!.stop('SIGKILL')
  for (const size of [10, 4096, 3_000_000]) {
    const body = randomBytes(size)
    bodies.set(`one-down/${size}`, body)
    await put(size % 2, `one-down/${size}`, body)
  }
  for (const [key, body] of bodies) expect((await get(0, key)).equals(body)).toBe(true)
  const listed = await clients[1]!.send(new ListObjectsV2Command({ Bucket: 'shared' }))
  expect(listed.Contents?.map((o) => o.Key)).toEqual([...bodies.keys()].sort())
})

test('the node that comes back catches up by itself, and holds what it missed', async () => {
  await cluster.nodes[2]!.start()
  await expect
    .poll(
      async () => {
        const status = JSON.parse(await cluster.cli(0, 'status', '--json')) as {
          nodes: { isUp: boolean; syncQueueLength: number | null }[]
        }
        return status.nodes.every((node) => node.isUp && node.syncQueueLength === 0)
      },
      { timeout: 50_000, interval: 500 },
    )
    .toBe(true)
  // With only one other node up, this node must serve everything: a read needs both.
  await cluster.nodes[1]!.stop('SIGKILL')
  for (const [key, body] of bodies) expect((await get(2, key)).equals(body)).toBe(true)
  await cluster.nodes[1]!.start()
})

test('virtual-host style finds the bucket in the name of the host', async () => {
  const get = request({
    port: cluster.s3Ports[0],
    path: '/all-up/4096',
    headers: { host: 'shared.s3.localhost' },
  }).end()
  const [response] = (await once(get, 'response')) as [IncomingMessage]
  response.resume()
  // The anonymous request is refused, but not for the lack of a bucket.
  expect(response.statusCode).toBe(403)
})

test('SIGTERM stops a node cleanly', async () => {
  expect(await cluster.nodes[0]!.stop('SIGTERM')).toBe(0)
})
