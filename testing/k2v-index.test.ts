import { describe, expect, it } from 'vitest'
import { ItemValue, type K2vItem } from '../src/model/k2v/item.js'
import { SimCluster, type SimNode } from './sim-cluster.js'

const LATENCY_MS = 50
const ITEMS = 1200
const HOUR_US = 3600e6

/**
 * ReadIndex where replicas differ. Invariant: whichever node is asked counts what all of them have together, as a read of the items
 * finds it.
 */
describe('the index of K2V where replicas differ', { timeout: 120_000 }, () => {
  it('counts exactly what was written a moment ago, of a partition key with many items, in a few round trips', async () => {
    await withItems(async (cluster, bucket) => {
      await differ(cluster, bucket, Math.floor(cluster.clock.nowMs() * 1000) - 1e6)
      for (const node of cluster.nodes) {
        const before = cluster.clock.monotonicMs()
        expect(await countOf(node, bucket)).toEqual([{ pk: 'many', entries: ITEMS + 3, values: ITEMS + 3 }])
        expect(cluster.clock.monotonicMs() - before).toBeLessThan(4 * 2 * LATENCY_MS)
      }
    })
  })

  it('counts exactly what a replica has missed long ago, by comparing the items, which repairs it', async () => {
    await withItems(async (cluster, bucket) => {
      await differ(cluster, bucket, Math.floor(cluster.clock.nowMs() * 1000) - HOUR_US)
      for (const node of cluster.nodes) {
        expect(await countOf(node, bucket)).toEqual([{ pk: 'many', entries: ITEMS + 3, values: ITEMS + 3 }])
      }
    })
  })

  it('ends before a partition key that is too long to compare, and goes on where it stopped', async () => {
    await withItems(async (cluster, bucket) => {
      const [node] = cluster.nodes as [SimNode]
      const { k2v } = node.core!.model
      const few = { partitionKey: Buffer.from('few'), sortKey: Buffer.from('s'), context: undefined }
      await k2v.write(bucket, [{ ...few, content: Buffer.from('x') }])
      await cluster.clock.sleep(60_000)
      await differ(cluster, bucket, Math.floor(cluster.clock.nowMs() * 1000) - HOUR_US)
      const first = await k2v.readIndex(bucket, {}, 700)
      expect(first.entries.map(({ partitionKey }) => partitionKey.toString())).toEqual(['few'])
      expect(first.nextStart?.toString()).toBe('many')
      const rest = () => k2v.readIndex(bucket, { start: first.nextStart }, 700)
      await expect(rest()).rejects.toMatchObject({ code: 'QuorumUnavailable' })
      // Each request compares some more.
      let found: Awaited<ReturnType<typeof rest>> | undefined
      for (let i = 0; i < 4 && !found; i++) found = await rest().catch(() => undefined)
      expect(found?.entries).toMatchObject([{ entries: ITEMS + 3 }])
    })
  })
})

/** Three items, each of which another one of three replicas lacks: all count as many, and no two the same. */
async function differ(cluster: SimCluster, bucket: Buffer, timeUs: number): Promise<void> {
  for (const [i, missing] of cluster.nodes.entries()) {
    const item: K2vItem = {
      ...{ bucket, partitionKey: Buffer.from('many'), sortKey: Buffer.from(`z-differs-${i}`) },
      entries: [
        { origin: `origin-${i}`, discard: 0, values: [ItemValue.of(timeUs + i, Buffer.from('value'))] },
      ],
    }
    for (const node of cluster.nodes) {
      if (node === missing) continue
      const { local } = node.core!.model.k2v.items
      await node.machine.platform!.db.transact((tx) => local.update(tx, item))
    }
  }
}

async function countOf(node: SimNode, bucket: Buffer) {
  const { entries } = await node.core!.model.k2v.readIndex(bucket, {})
  return entries.map(({ partitionKey, entries, values }) => ({
    pk: partitionKey.toString(),
    entries,
    values,
  }))
}

/** A cluster of three zones with a partition key of many items, on all replicas for an hour. */
async function withItems(run: (cluster: SimCluster, bucket: Buffer) => Promise<void>): Promise<void> {
  const cluster = new SimCluster({
    seed: 11,
    nodes: 3,
    zones: 3,
    replicationFactor: 3,
    blockBytes: 4096,
    clockSkewMs: 0,
    path: { latencyMs: LATENCY_MS, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    // Anti-entropy would level what the test makes different.
    tables: { syncIntervalMs: 24 * 3600_000 },
    graces: { unreferencedMs: 600_000, unclaimedMs: 3_600_000 },
  })
  await cluster.clock.runUntil(
    (async () => {
      await cluster.start()
      const { model } = cluster.nodes[0]!.core!
      const { id } = await model.buckets.create('items')
      const writes = Array.from({ length: ITEMS }, (_, i) => ({
        ...{ partitionKey: Buffer.from('many'), sortKey: Buffer.from(`s${i}`) },
        ...{ context: undefined, content: Buffer.from('value') },
      }))
      await model.k2v.write(id, writes)
      await cluster.clock.sleep(3600_000)
      await run(cluster, id)
    })(),
    24 * 3600_000,
  )
}
