/** A shadow bucket of three nodes, one of which is killed while it reads through: nothing is lost, nothing comes back. */
import { createHash } from 'node:crypto'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ProcessCluster } from './support/processes.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const TOKEN = 'shadow-token'
const Bucket = 'moving'
const COUNT = 24
/** The node that is killed. */
const VICTIM = 1

let old: TestNode
let source: S3Client
let cluster: ProcessCluster
let nodes: S3Client[]

beforeAll(async () => {
  cluster = await ProcessCluster.create(3, 3, `admin_token = "${TOKEN}"`)
  ;[old] = await Promise.all([startTestNode(), cluster.startAndLayOut()])
  const oldKey = await old.createKey('old')
  source = old.client(oldKey)
  await source.send(new CreateBucketCommand({ Bucket }))
  for (const key of keys())
    await source.send(new PutObjectCommand({ Bucket, Key: key, Body: contentOf(key) }))

  const credentials = await cluster.createKey('app')
  nodes = cluster.s3Ports.map(
    (_, i) =>
      new S3Client({
        ...{ endpoint: cluster.endpoint(i), region: 'garage', forcePathStyle: true, credentials },
        maxAttempts: 1,
      }),
  )
  await settled((client) => client.send(new CreateBucketCommand({ Bucket })))
  const { id } = JSON.parse(await cluster.cli(0, 'bucket', 'info', Bucket, '--json')) as { id: string }
  const shadow = {
    ...{ endpoint: old.endpoint, region: 'us-east-1', bucket: Bucket },
    ...{ accessKeyId: oldKey.id, secretAccessKey: oldKey.secret },
  }
  const set = await fetch(`http://127.0.0.1:${cluster.adminPorts[0]}/v2/UpdateBucketSettings?id=${id}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}` },
    body: JSON.stringify({ shadow }),
  })
  expect(set.status, await set.text()).toBe(200)
  // The setting counts once each node knows it.
  for (const client of nodes) await until(() => head(client, 'read-0'))
}, 120_000)

afterAll(async () => {
  for (const client of nodes ?? []) client.destroy()
  await Promise.all([old?.dispose(), cluster?.dispose()])
})

/** What becomes of a key: it is read, deleted or written over. */
const KINDS = ['read', 'deleted', 'written'] as const
const keys = () => Array.from({ length: COUNT }, (_, i) => `${KINDS[i % 3]}-${i}`)
const of = (kind: (typeof KINDS)[number]) => keys().filter((key) => key.startsWith(kind))

/** Some fit into a row, some are of several blocks. */
function contentOf(key: string): Buffer {
  const seed = createHash('sha256').update(key).digest()
  const isLong = seed[0]! % 4 === 0
  return Buffer.alloc(isLong ? 2_500_000 : 3000, seed)
}

async function head(client: S3Client, Key: string): Promise<boolean> {
  return client.send(new HeadObjectCommand({ Bucket, Key })).then(
    () => true,
    () => false,
  )
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}

/** Whether a request may or may not have taken effect, or was refused for now. */
function isPassing(error: unknown): boolean {
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
  return status === undefined || status >= 500
}

/** Asks the nodes in turn, from `first` on, until one answers. */
async function settled<T>(ask: (client: S3Client) => Promise<T>, first = 0): Promise<T> {
  for (let i = first; ; i++) {
    try {
      return await ask(nodes[i % 3]!)
    } catch (error) {
      if (!isPassing(error)) throw error
    }
  }
}

/** The content of a key, as a digest; 'gone' where there is none. */
async function read(Key: string, first: number): Promise<string> {
  return settled(async (client) => {
    try {
      const got = await client.send(new GetObjectCommand({ Bucket, Key }))
      return digest(await got.Body!.transformToByteArray())
    } catch (error) {
      if ((error as Error).name === 'NoSuchKey') return 'gone'
      throw error
    }
  }, first)
}

const digest = (content: Uint8Array) => createHash('sha256').update(content).digest('hex')
const originalOf = (key: string) => digest(contentOf(key))
const NEW = 'written here'
const expectedOf = (key: string) =>
  key.startsWith('read') ? originalOf(key) : key.startsWith('deleted') ? 'gone' : digest(Buffer.from(NEW))

test('a node that dies while it reads through takes nothing with it, and brings nothing back', async () => {
  let done = 0
  let kill = () => {}
  const halfDone = new Promise<void>((resolve) => {
    kill = resolve
  })
  const one = async (key: string, i: number) => {
    // Reads through the node that dies go on elsewhere; they race with the change of the key.
    const racing = [read(key, VICTIM), read(key, 0)]
    if (key.startsWith('deleted'))
      await settled((client) => client.send(new DeleteObjectCommand({ Bucket, Key: key })), i)
    if (key.startsWith('written'))
      await settled((client) => client.send(new PutObjectCommand({ Bucket, Key: key, Body: NEW })), i)
    // What was acknowledged is seen by everybody from now on.
    const after = await Promise.all([read(key, 0), read(key, 2), read(key, VICTIM)])
    expect([key, ...after]).toEqual([key, ...Array(3).fill(expectedOf(key))])
    for (const found of await Promise.all(racing))
      expect([originalOf(key), expectedOf(key)], key).toContain(found)
    // Also when those reads are over, which may have kept what they read.
    expect([key, await read(key, 2)]).toEqual([key, expectedOf(key)])
    if (++done === COUNT / 4) kill()
  }
  const waiting = keys()
  const worker = async () => {
    for (let key = waiting.shift(); key !== undefined; key = waiting.shift())
      await one(key, COUNT - waiting.length)
  }
  const all = Promise.all(Array.from({ length: 6 }, worker))
  await Promise.race([halfDone, all])
  await cluster.nodes[VICTIM]!.stop('SIGKILL')
  await all
  expect(done).toBe(COUNT)

  await cluster.nodes[VICTIM]!.start()
  await until(() => head(nodes[VICTIM]!, 'read-0'))
  const left = [...of('read'), ...of('written')].sort()
  for (const client of nodes) {
    const listed = await client.send(new ListObjectsV2Command({ Bucket }))
    expect(listed.Contents!.map(({ Key }) => Key)).toEqual(left)
  }
  for (const key of keys()) expect([key, await read(key, VICTIM)]).toEqual([key, expectedOf(key)])

  // All that was read is here, on a quorum, whatever became of the node that read it: the source may go.
  await until(async () => {
    const { Versions = [] } = await nodes[0]!.send(new ListObjectVersionsCommand({ Bucket }))
    if (Versions.length === left.length) return true
    for (const key of of('read')) await read(key, 0)
    return false
  })
  await old.stop()
  for (const first of [0, 1, 2])
    for (const key of keys())
      expect([first, key, await read(key, first)]).toEqual([first, key, expectedOf(key)])
}, 180_000)
