import { CreateBucketCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ProcessCluster } from './support/processes.js'

/** Nodes that were asleep, off, or left out of the layout: they answer what is true, or 503. */

let cluster: ProcessCluster
let clients: S3Client[]
let keyId: string

beforeAll(async () => {
  cluster = await ProcessCluster.create(4, 3)
  await cluster.startAndLayOut()
  const credentials = await cluster.createKey('honest')
  keyId = credentials.accessKeyId
  clients = cluster.nodes.map(
    (_, i) =>
      new S3Client({
        ...{ endpoint: cluster.endpoint(i), region: 'garage', forcePathStyle: true, credentials },
        maxAttempts: 1,
      }),
  )
  await clients[0]!.send(new CreateBucketCommand({ Bucket: 'first' }))
  await clients[0]!.send(new PutObjectCommand({ Bucket: 'first', Key: 'k', Body: 'v' }))
})

afterAll(async () => {
  for (const client of clients ?? []) client.destroy()
  await cluster?.dispose()
})

/** The status of a listing of a bucket at node `i`, and the answer's Retry-After. */
async function list(i: number, Bucket: string): Promise<{ status: number; retryAfter?: string }> {
  try {
    await clients[i]!.send(new ListObjectsV2Command({ Bucket }))
    return { status: 200 }
  } catch (error) {
    const { $metadata, $response } = error as {
      $metadata: { httpStatusCode: number }
      $response?: { headers: Record<string, string> }
    }
    return { status: $metadata.httpStatusCode, retryAfter: $response?.headers['retry-after'] }
  }
}

test('a node that was asleep neither honours what was revoked meanwhile nor denies what was made', async () => {
  process.kill(cluster.nodes[3]!.pid, 'SIGSTOP')
  await clients[0]!.send(new CreateBucketCommand({ Bucket: 'second' }))
  await cluster.cli(0, 'bucket', 'deny', '--read', '--write', '--owner', 'first', '--key', keyId)
  // So long that the others have given its links up.
  const isUp = async () => {
    const { nodes } = JSON.parse(await cluster.cli(0, 'status', '--json')) as { nodes: { isUp: boolean }[] }
    return nodes.every((node) => node.isUp)
  }
  await expect.poll(isUp, { timeout: 30_000 }).toBe(false)
  process.kill(cluster.nodes[3]!.pid, 'SIGCONT')
  const revoked = await list(3, 'first')
  const made = await list(3, 'second')
  expect([403, 503]).toContain(revoked.status)
  expect([200, 503]).toContain(made.status)
  await expect.poll(() => list(3, 'first').then(({ status }) => status)).toBe(403)
  await expect.poll(() => list(3, 'second').then(({ status }) => status)).toBe(200)
})

test('a node that starts without the others answers 503 and when to come back, and then serves by itself', async () => {
  await Promise.all(cluster.nodes.map((node) => node.stop('SIGKILL')))
  await cluster.nodes[1]!.start()
  for (const bucket of ['first', 'second', 'unknown']) {
    expect(await list(1, bucket)).toEqual({ status: 503, retryAfter: '1' })
  }
  await Promise.all([0, 2, 3].map((i) => cluster.nodes[i]!.start()))
  await expect.poll(() => list(1, 'second').then(({ status }) => status), { timeout: 20_000 }).toBe(200)
  await expect.poll(() => list(1, 'first').then(({ status }) => status)).toBe(403)
})

test('a node that the layout leaves out answers 503, and says so once in its log', async () => {
  const id = (await cluster.cli(3, 'node', 'id', '-q')).trim().split('@')[0]!
  await cluster.cli(0, 'layout', 'remove', id)
  await cluster.cli(0, 'layout', 'apply', '--version', '2')
  await expect.poll(() => list(3, 'second').then(({ status }) => status), { timeout: 20_000 }).toBe(503)
  for (let i = 0; i < 20; i++) expect((await list(3, 'second')).status).toBe(503)
  expect(cluster.nodes[3]!.output.match(/has no role in the layout/g)).toHaveLength(1)
  expect(cluster.nodes[3]!.output).not.toContain('request failed')
})
