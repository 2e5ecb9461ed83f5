/** Snapshots of the metadata on a schedule, on a real node, and what a restore of one brings back. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { afterEach, expect, test } from 'vitest'
import { openLmdb } from '../src/db/lmdb.js'
import { ALL_TREES } from '../src/node/core.js'
import { realClock } from '../src/platform/clock-and-random.js'
import { silentLog } from '../src/util/log.js'
import { ProcessCluster } from './support/processes.js'
import { startTestNode, type TestNode } from './support/test-node.js'

let node: TestNode | undefined
let cluster: ProcessCluster | undefined
afterEach(async () => {
  await node?.dispose()
  await cluster?.dispose()
  node = undefined
  cluster = undefined
})

test('metadata_auto_snapshot_interval writes snapshots, each a whole database, and keeps the newest two', async () => {
  node = await startTestNode({ metadataAutoSnapshotIntervalMs: 1500 })
  const folder = join(node.dir, 'meta/snapshots')
  const names = () =>
    existsSync(folder)
      ? readdirSync(folder)
          .filter((name) => name.endsWith('Z'))
          .sort()
      : []
  const seen = new Set<string>()
  await expect
    .poll(
      () => {
        for (const name of names()) seen.add(name)
        return seen.size
      },
      { timeout: 30_000, interval: 100 },
    )
    .toBeGreaterThanOrEqual(3)
  await expect.poll(names, { timeout: 10_000, interval: 20 }).toHaveLength(2)
  await node.stop()
  expect(names().at(-1)).toBe([...seen, ...names()].sort().at(-1))
  const snapshot = await openLmdb({
    path: join(folder, names().at(-1)!),
    ...{ trees: ALL_TREES, fsync: true, clock: realClock, log: silentLog },
  })
  expect(snapshot.count('cluster')).toBeGreaterThan(0)
  await snapshot.close()
})

test('a node that is restored is as it was at the snapshot', async () => {
  cluster = await ProcessCluster.create(1, 1)
  await cluster.startAndLayOut()
  const credentials = await cluster.createKey('k')
  const client = new S3Client({
    ...{ endpoint: cluster.endpoint(0), region: 'garage', forcePathStyle: true, maxAttempts: 1, credentials },
  })
  const put = (key: string) => client.send(new PutObjectCommand({ Bucket: 'kept', Key: key, Body: key }))
  const get = async (key: string) =>
    client.send(new GetObjectCommand({ Bucket: 'kept', Key: key })).then(
      async ({ Body }) => Body!.transformToString(),
      (error: Error) => error.name,
    )
  await client.send(new CreateBucketCommand({ Bucket: 'kept' }))
  await put('before')
  await cluster.cli(0, 'meta', 'snapshot')
  await put('after')
  await expect(cluster.cli(0, 'meta', 'restore', '--yes')).rejects.toThrow(
    /is in use by another node: process \d+/,
  )
  await cluster.nodes[0]!.stop()
  expect(await cluster.cli(0, 'meta', 'restore', '--yes')).toMatch(
    /The database is that of the snapshot .*Z now\./,
  )
  await cluster.nodes[0]!.start()
  expect([await get('before'), await get('after')]).toEqual(['before', 'NoSuchKey'])
  client.destroy()
})
