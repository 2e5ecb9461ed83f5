import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RegisterHistory } from '../testing/register-history.js'
import { ProcessCluster } from './support/processes.js'

/** Operations of each client. */
const OPERATIONS = 60
const KEYS = ['a', 'b']
const WRITERS_PER_NODE = 4

let cluster: ProcessCluster
let clients: S3Client[]

beforeAll(async () => {
  cluster = await ProcessCluster.create(3, 3)
  await cluster.startAndLayOut()
  const credentials = await cluster.createKey('contention')
  clients = cluster.nodes.map(
    (_, i) =>
      new S3Client({
        ...{ endpoint: cluster.endpoint(i), region: 'garage', forcePathStyle: true, credentials },
        // Every refusal counts.
        maxAttempts: 1,
      }),
  )
  await clients[0]!.send(new CreateBucketCommand({ Bucket: 'hot' }))
})

afterAll(async () => {
  for (const client of clients ?? []) client.destroy()
  await cluster?.dispose()
})

const history = new RegisterHistory()
let written = 0

async function write(client: S3Client, key: string): Promise<void> {
  const value = `value ${written++}`
  const op = history.call(key, 'write', value, 'put')
  await client.send(new PutObjectCommand({ Bucket: 'hot', Key: key, Body: value }))
  history.answered(op)
}

async function read(client: S3Client, key: string): Promise<void> {
  const op = history.call(key, 'read', null, 'get')
  const { Body } = await client.send(new GetObjectCommand({ Bucket: 'hot', Key: key }))
  history.answered(op, await Body!.transformToString())
}

/** All clients of the first two nodes at once. Resolves with the refusals. */
async function load(meanwhile: () => Promise<unknown>): Promise<string[]> {
  const refusals: string[] = []
  const run = async (client: S3Client, index: number) => {
    for (let i = 0; i < OPERATIONS; i++) {
      const key = KEYS[(i + index) % KEYS.length]!
      const what = (i + index) % 3 === 2 ? read : write
      await what(client, key).catch((error: Error) => refusals.push(`${what.name} ${key}: ${error.message}`))
    }
  }
  const all = [0, 1].flatMap((node) =>
    Array.from({ length: WRITERS_PER_NODE }, (_, index) => run(clients[node]!, index)),
  )
  await Promise.all([...all, meanwhile()])
  return refusals
}

test('writers of few keys are not refused while two of three nodes answer, and see one order', async () => {
  for (const key of KEYS) await write(clients[0]!, key)
  const third = cluster.nodes[2]!
  // Paused in the middle: its links stay up, and nothing comes back.
  expect(await load(async () => void process.kill(third.pid, 'SIGSTOP'))).toEqual([])
  expect(await load(() => third.stop('SIGKILL'))).toEqual([])
  expect(await load(() => third.start())).toEqual([])
  expect(history.check()).toEqual([])
  expect(history.size).toBe(2 + 3 * 2 * WRITERS_PER_NODE * OPERATIONS)
})
