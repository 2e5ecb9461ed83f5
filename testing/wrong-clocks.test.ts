import { describe, expect, it } from 'vitest'
import { CarportError } from '../src/util/errors.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { roleOf } from './sim-cluster.js'
import { get, HOUR_MS, onCluster, put, remove } from './sim-histories.js'

const DAY_MS = 24 * HOUR_MS
const YEARS_MS = 30 * 365 * DAY_MS
/** The bound that nodes have unless told. */
const DRIFT_MS = 60_000

const clockOf = (node: SimNode) => node.machine.platform!.clock
const skewed = { code: 'ClockSkew' }

/** What the copies of a key look like, by node. */
function copies(nodes: readonly SimNode[], bucket: Buffer, key: string): string {
  return nodes
    .map((node) => {
      const { local } = node.core!.model.tables.object
      return local.get(node.machine.platform!.db, bucket, Buffer.from(key))?.state ?? '-'
    })
    .join(' ')
}

async function bucketOf(cluster: SimCluster): Promise<Buffer> {
  const bucket = await cluster.nodes[0]!.core!.model.buckets.create('bucket')
  await cluster.clock.sleep(20_000)
  return bucket.id
}

describe('a node whose clock is off from the others’', () => {
  it.each([
    ['years ahead', YEARS_MS],
    ['a day behind', -DAY_MS],
    ['two minutes ahead', 120_000],
  ])(
    '(%s) writes nothing, stamps nobody’s objects, and serves again when it is right',
    async (_, offsetMs) => {
      await onCluster({}, async (cluster) => {
        const [a, b] = cluster.nodes as [SimNode, SimNode]
        const bucket = await bucketOf(cluster)
        await put(b, bucket, 'x', 'before')
        clockOf(a).offsetMs = offsetMs
        await expect(put(a, bucket, 'x', '1')).rejects.toMatchObject(skewed)
        await expect(a.core!.model.buckets.create('other')).rejects.toMatchObject(skewed)
        await expect(remove(a, bucket, 'x')).rejects.toMatchObject(skewed)
        expect(await get(a, bucket, 'x')).toBe('before')
        for (const key of ['x', 'y']) {
          const { createdUs } = await put(b, bucket, key, 'by b')
          expect(Math.abs(createdUs / 1000 - cluster.clock.nowMs())).toBeLessThan(DRIFT_MS)
        }
        expect(await get(a, bucket, 'x')).toBe('by b')
        await cluster.clock.sleep(15_000)
        const seen = b.core!.cluster.status().find((node) => node.id === a.id)!
        expect(seen.clockDoubt).toContain(offsetMs > 0 ? 'ahead of' : 'behind')
        expect(Math.abs(seen.clockOffMs! - offsetMs)).toBeLessThan(100)
        clockOf(a).offsetMs = 0
        const { createdUs } = await put(a, bucket, 'x', 'right again')
        expect(Math.abs(createdUs / 1000 - cluster.clock.nowMs())).toBeLessThan(1000)
        await cluster.clock.sleep(15_000)
        expect(b.core!.cluster.status().every((node) => node.clockDoubt === null)).toBe(true)
      })
    },
  )

  it('is found out although it started that way', async () => {
    await onCluster({}, async (cluster) => {
      const [a, b] = cluster.nodes as [SimNode, SimNode]
      const bucket = await bucketOf(cluster)
      cluster.crash(a, 'machine')
      a.machine.clockOffsetMs = 2 * DAY_MS
      await cluster.boot(a)
      while (a.core!.cluster.peering.connected().length < 2) await cluster.clock.sleep(1)
      const stamped: number[] = []
      for (let i = 0; i < 50; i++) {
        await put(a, bucket, `k${i}`, 'v').then(
          ({ createdUs }) => stamped.push(createdUs / 1000),
          (error) => expect(error).toBeInstanceOf(CarportError),
        )
        await cluster.clock.sleep(1)
      }
      for (const ms of stamped) expect(ms - cluster.clock.nowMs()).toBeLessThan(DRIFT_MS)
      await expect(put(a, bucket, 'late', 'v')).rejects.toMatchObject(skewed)
      await cluster.clock.sleep(30 * 60_000)
      for (let i = 0; i < 50; i++) {
        const row = await b.core!.model.objects.get(bucket, Buffer.from(`k${i}`))
        if (row) expect(row.createdUs / 1000 - cluster.clock.nowMs()).toBeLessThan(DRIFT_MS)
      }
    })
  })

  it('leaves objects alone that a rule expires after a year', async () => {
    await onCluster({}, async (cluster) => {
      const [a, b] = cluster.nodes as [SimNode, SimNode]
      const bucket = await bucketOf(cluster)
      const { buckets } = a.core!.model
      await buckets.setDocument(buckets.byId(bucket)!, 'lifecycle', [
        { id: 'r', enabled: true, form: 'filter', filter: {}, expiration: { days: 365 } },
      ])
      await put(b, bucket, 'k', 'data')
      clockOf(a).offsetMs = YEARS_MS
      await expect(a.core!.model.lifecycle.runNow()).rejects.toMatchObject(skewed)
      await expect(a.core!.model.orphans.runNow()).rejects.toMatchObject(skewed)
      await cluster.clock.sleep(2 * HOUR_MS)
      expect(await get(b, bucket, 'k')).toBe('data')
    })
  })

  it('collects no tombstone before its time, so that nothing comes back', async () => {
    await onCluster({ nodes: 4, zones: 4, tables: { tombstoneDelayMs: DAY_MS } }, async (cluster) => {
      const [a] = cluster.nodes as [SimNode]
      const gateway = await cluster.grow()
      const role = { zone: 'g', capacityBytes: null, tags: [] }
      await cluster.changeLayout([{ node: gateway.id, role }], a)
      await cluster.clock.sleep(60_000)
      const bucket = await bucketOf(cluster)
      const ids = a.core!.cluster.layout.storageSet(bucket[0]!)
      const replicas = cluster.nodes.filter((node) => ids.includes(node.id))
      const [x, y, r] = replicas as [SimNode, SimNode, SimNode]
      const heal = cluster.network.partition([gateway.id], [r.id])
      await cluster.clock.sleep(9_000)
      await put(gateway, bucket, 'k', 'old')
      await cluster.clock.sleep(1_000)
      await remove(y, bucket, 'k')
      await cluster.clock.sleep(1_000)
      clockOf(x).offsetMs = 2 * DAY_MS
      await cluster.clock.sleep(150_000)
      expect(copies(replicas, bucket, 'k')).toBe('tombstone tombstone tombstone')
      expect(await x.core!.tables.gc.collectNow()).toBe(0)
      heal()
      await cluster.clock.sleep(15 * 60_000)
      expect(copies(replicas, bucket, 'k')).toBe('tombstone tombstone tombstone')
      expect(await get(y, bucket, 'k')).toBe('nothing')
    })
  })

  it('keeps blocks whose grace is not over', async () => {
    await onCluster({}, async (cluster) => {
      const [a, b] = cluster.nodes as [SimNode, SimNode]
      const bucket = await bucketOf(cluster)
      await cluster.clock.sleep(20 * 60_000)
      await put(b, bucket, 'big', Buffer.alloc(20_000, 7))
      await cluster.clock.sleep(60_000)
      await remove(b, bucket, 'big')
      await cluster.clock.sleep(60_000)
      const known = a.core!.blocks.stats().known
      expect(known).toBeGreaterThan(0)
      clockOf(a).offsetMs = 2 * DAY_MS
      await cluster.clock.sleep(5 * 60_000)
      expect(a.core!.blocks.stats().known).toBe(known)
      clockOf(a).offsetMs = 0
      await cluster.clock.sleep(30 * 60_000)
      expect(a.core!.blocks.stats().known).toBe(0)
    })
  })
})

describe('a row that a wrong clock stamped in an earlier version', () => {
  it('can be read, replaced and deleted, and what replaces it was made now', async () => {
    await onCluster({}, async (cluster) => {
      const [a, b, d] = cluster.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOf(cluster)
      for (const versioning of ['off', 'enabled', 'suspended'] as const) {
        const key = `k-${versioning}`
        const row = await put(a, bucket, key, 'from 2055', versioning)
        // As the earlier version took it: into the copies of two of the three.
        const futureUs = row.timeUs + YEARS_MS * 1000
        const stored = { ...row, timeUs: futureUs, createdUs: futureUs }
        for (const node of [a, b]) {
          const { local } = node.core!.model.tables.object
          await node.machine.platform!.db.transact((tx) => local.update(tx, stored))
        }
        expect(await get(d, bucket, key)).toBe('from 2055')
        const next = await put(d, bucket, key, 'from now', versioning)
        expect(next.timeUs).toBeGreaterThan(futureUs)
        expect(Math.abs(next.createdUs / 1000 - cluster.clock.nowMs())).toBeLessThan(DRIFT_MS)
        for (const node of [a, b, d]) expect(await get(node, bucket, key)).toBe('from now')
        await remove(b, bucket, key)
        for (const node of [a, b, d]) expect(await get(node, bucket, key)).toBe('nothing')
      }
    })
  })

  it('is not made by a node of a later version: replicas refuse it', async () => {
    await onCluster({}, async (cluster) => {
      const [a, b, d] = cluster.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOf(cluster)
      const row = await put(a, bucket, 'k', 'v')
      const futureUs = row.timeUs + DAY_MS * 1000
      const insert = a.core!.model.tables.object.insert({
        ...row,
        key: Buffer.from('other'),
        timeUs: futureUs,
      })
      await expect(insert).rejects.toThrow('too far ahead')
      await cluster.clock.sleep(60_000)
      expect(copies([a, b, d], bucket, 'other')).toBe('- - -')
      const field = { id: Buffer.from('n'), deleted: false, fields: { f: [futureUs, 1] as const } }
      await expect(a.core!.model.tables.alias.insert(field)).rejects.toThrow('too far ahead')
    })
  })
})

it('clocks within the bound stop nobody, however they are spread', async () => {
  await onCluster({ nodes: 5, zones: 5, clockSkewMs: 25_000 }, async (cluster) => {
    const bucket = await bucketOf(cluster)
    for (let i = 0; i < 40; i++) {
      const node = cluster.random.pick(cluster.nodes)
      const { createdUs } = await put(node, bucket, `k${i % 5}`, `v${i}`)
      expect(createdUs / 1000 - cluster.clock.nowMs()).toBeLessThan(DRIFT_MS)
      expect(await get(cluster.random.pick(cluster.nodes), bucket, `k${i % 5}`)).toBe(`v${i}`)
      await cluster.clock.sleep(200)
    }
  })
})

it('a node that joins with a wrong clock takes nothing from the others but their time', async () => {
  await onCluster({}, async (cluster) => {
    const bucket = await bucketOf(cluster)
    const [a] = cluster.nodes as [SimNode]
    const late = await cluster.grow()
    clockOf(late).offsetMs = 40_000
    await cluster.changeLayout([{ node: late.id, role: roleOf(late) }], a)
    await cluster.clock.sleep(5 * 60_000)
    const { createdUs } = await put(late, bucket, 'k', 'v')
    expect(createdUs / 1000 - cluster.clock.nowMs()).toBeLessThan(DRIFT_MS)
  })
})
