import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { bucketPartition } from '../src/model/sort-keys.js'
import { SeededRandom } from './seeded-random.js'
import { SimCluster } from './sim-cluster.js'
import { EVENT_RULE, Events } from './sim-events.js'
import { newVersion, sourceOf } from './sim-objects.js'

const ROUNDS = 25

/**
 * Two clients write one key at the same moment, again and again, while a replica is away. Their writes ask for the time first, and
 * so the earlier one of two may be hidden on both other replicas when it arrives, and is a noncurrent version from the beginning.
 */
test('each version is told, also one that was never the current one on any node', {
  timeout: 60_000,
}, async () => {
  const random = new SeededRandom('replaced events')
  const events = new Events(random.fork('target'))
  const cluster = new SimCluster({
    ...{
      seed: 'replaced events',
      nodes: 5,
      zones: 5,
      replicationFactor: 3,
      blockBytes: 4096,
      clockSkewMs: 20,
    },
    path: { latencyMs: 10, jitterMs: 30, lossShare: 0, bytesPerMs: 10_000 },
    tables: { syncIntervalMs: 60_000, syncSoonMs: 2000 },
    ...{ graces: { unreferencedMs: 60_000, unclaimedMs: 300_000 }, events: () => events.options() },
  })
  const written: string[] = []
  let replaced = 0
  const work = async () => {
    await cluster.start()
    const bucket = await cluster.retried(random, ({ core }) => core!.model.buckets.create('versioned'))
    for (const [name, document] of [
      ['versioning', 'enabled'],
      ['notification', [EVENT_RULE]],
    ] as const)
      await cluster.retried(random, ({ core }) =>
        core!.model.buckets.setDocument(bucket, name, document as never),
      )
    await cluster.clock.sleep(5_000)
    const replicas = cluster.nodes[0]!.core!.cluster.layout.storageSet(bucketPartition(bucket.id))
    const away = cluster.nodes.find(({ id }) => id === replicas[2])!
    cluster.crash(away, 'machine')
    await cluster.clock.sleep(60_000)
    const writers = cluster.nodes.filter(({ id }) => !replicas.includes(id))
    for (let i = 0; i < ROUNDS; i++) {
      await Promise.all(
        writers.map(async ({ core }) => {
          const content = random.bytes(64)
          const stored = await core!.model.blobs.write(sourceOf(content, random))
          const version = newVersion(bucket, 'a', stored.md5)
          const outcome = await core!.model.objects.write(version, stored, 'enabled')
          written.push(createHash('md5').update(content).digest('hex'))
          if (outcome.replaced) replaced++
        }),
      )
      await cluster.clock.sleep(random.exponential(200))
    }
    await cluster.boot(away)
    await cluster.clock.sleep(10 * 60_000)
  }
  await cluster.clock.runUntil(work(), 3_600_000)
  const told = events.told.map(({ etag }) => etag)
  expect(written.filter((etag) => !told.includes(etag))).toEqual([])
  // The run is of use only if that comes up.
  expect(replaced).toBeGreaterThan(0)
})
