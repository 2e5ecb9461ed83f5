/**
 * Histories in which deleted objects came back, or acknowledged ones were answered with "not found": nodes that leave the
 * layout and return, databases that go back in time or are lost, hand-overs that overlap with collections. Invariant: what
 * was deleted stays deleted, and what was acknowledged is read, or the read is refused.
 */
import { describe, expect, it } from 'vitest'
import { clockOf, valuesOf } from '../src/model/k2v/item.js'
import { roleOf, type SimCluster, type SimNode } from './sim-cluster.js'
import {
  bucketOn,
  copyOn,
  cut,
  get,
  getWhenServed,
  HOUR_MS,
  liveLayouts,
  onCluster,
  put,
  remove,
  waitUntil,
} from './sim-histories.js'

/** Of a busy machine. */
const TIMEOUT_MS = 180_000
const MINUTE_MS = 60_000
/** A tenth of the usual time until tombstones are collected, and enough for that. */
const TABLES = { tombstoneDelayMs: 2 * HOUR_MS }
const COLLECTED_MS = 3 * HOUR_MS
type Four = [SimNode, SimNode, SimNode, SimNode]
type Three = [SimNode, SimNode, SimNode]

describe('what was deleted stays deleted', { timeout: TIMEOUT_MS }, () => {
  it('when a node that was removed from the layout is switched on again, without a role', async () => {
    await onCluster({ nodes: 4, zones: 4, tables: TABLES }, async (c) => {
      const [a, , , x] = c.nodes as Four
      const bucket = await bucketOn(c, x)
      await put(a, bucket, 'k', 'secret')
      await c.clock.sleep(MINUTE_MS)
      await c.changeLayout([{ node: x.id, role: null }], a)
      await waitUntil(c, 'the change is complete', () => liveLayouts(a).join() === '2', 30 * MINUTE_MS)
      c.crash(x, 'process')
      await remove(a, bucket, 'k')
      await c.clock.sleep(COLLECTED_MS)
      expect(copyOn(a, bucket, 'k')).toBe('-')
      await c.boot(x)
      await c.clock.sleep(30 * MINUTE_MS)
      expect(await get(a, bucket, 'k')).toBe('nothing')
      expect(copyOn(a, bucket, 'k')).toBe('-')
      expect(copyOn(x, bucket, 'k')).toBe('-')
    })
  })

  it('when that node gets a role again', async () => {
    await onCluster({ nodes: 4, zones: 4, tables: TABLES }, async (c) => {
      const [a, , , x] = c.nodes as Four
      const bucket = await bucketOn(c, x)
      await put(a, bucket, 'k', 'secret')
      await put(a, bucket, 'kept', 'kept')
      await c.clock.sleep(MINUTE_MS)
      await c.changeLayout([{ node: x.id, role: null }], a)
      await waitUntil(c, 'the change is complete', () => liveLayouts(a).join() === '2', 30 * MINUTE_MS)
      c.crash(x, 'process')
      await remove(a, bucket, 'k')
      await c.clock.sleep(COLLECTED_MS)
      await c.changeLayout([{ node: x.id, role: roleOf(x) }], a)
      await c.boot(x)
      await waitUntil(c, 'the change is complete', () => liveLayouts(a).join() === '3', 30 * MINUTE_MS)
      await c.clock.sleep(30 * MINUTE_MS)
      for (const node of c.nodes) {
        expect(await get(node, bucket, 'k')).toBe('nothing')
        expect(await get(node, bucket, 'kept')).toBe('kept')
      }
    })
  })

  it('when a node that was removed while it was dead comes back', async () => {
    await onCluster({ nodes: 4, zones: 4, tables: TABLES }, async (c) => {
      const [a, , , x] = c.nodes as Four
      const bucket = await bucketOn(c, x)
      await put(a, bucket, 'k', 'secret')
      await put(a, bucket, 'big', Buffer.alloc(20_000, 7))
      await c.clock.sleep(MINUTE_MS)
      c.crash(x, 'machine')
      await c.clock.sleep(30_000)
      await remove(a, bucket, 'k')
      await remove(a, bucket, 'big')
      await c.changeLayout([{ node: x.id, role: null }], a)
      await c.clock.sleep(30_000)
      await a.core!.cluster.skipDeadNodes({ version: 2, allowMissingData: false })
      await c.clock.sleep(COLLECTED_MS)
      expect(copyOn(a, bucket, 'k')).toBe('-')
      await c.boot(x)
      await c.clock.sleep(30 * MINUTE_MS)
      expect(await get(a, bucket, 'k')).toBe('nothing')
      expect(await get(a, bucket, 'big')).toBe('nothing')
    })
  })

  it('when a node goes back to a snapshot of before the deletion', async () => {
    await onCluster({ tables: TABLES }, async (c) => {
      const [a, , x] = c.nodes as Three
      const bucket = await bucketOn(c, x)
      await put(a, bucket, 'k', 'secret')
      await put(a, bucket, 'kept', 'kept')
      await c.clock.sleep(MINUTE_MS)
      await x.machine.platform!.db.snapshot('snap')
      await c.clock.sleep(MINUTE_MS)
      await remove(a, bucket, 'k')
      await put(a, bucket, 'kept', 'newer')
      await c.clock.sleep(COLLECTED_MS)
      c.crash(x, 'machine')
      x.machine.restoreSnapshot('snap')
      await c.boot(x)
      await c.clock.sleep(30 * MINUTE_MS)
      for (const node of c.nodes) {
        expect(await get(node, bucket, 'k')).toBe('nothing')
        expect(await get(node, bucket, 'kept')).toBe('newer')
        expect(copyOn(node, bucket, 'k')).toBe('-')
        expect(node.core!.cluster.ownStatus().queueLength).toBe(0)
      }
    })
  })

  it('when two of three nodes go back to snapshots, one after the other', async () => {
    await onCluster({ tables: TABLES }, async (c) => {
      const [a, y, x] = c.nodes as Three
      const bucket = await bucketOn(c, x)
      await put(a, bucket, 'k', 'secret')
      await c.clock.sleep(MINUTE_MS)
      for (const node of [x, y]) await node.machine.platform!.db.snapshot('snap')
      await c.clock.sleep(MINUTE_MS)
      await remove(a, bucket, 'k')
      await c.clock.sleep(COLLECTED_MS)
      for (const node of [x, y]) {
        c.crash(node, 'machine')
        node.machine.restoreSnapshot('snap')
        await c.boot(node)
        await c.clock.sleep(30 * MINUTE_MS)
      }
      for (const node of c.nodes) expect(await get(node, bucket, 'k')).toBe('nothing')
    })
  })

  it('when a version was deleted that a replica still took for the current one', async () => {
    await onCluster({ tables: TABLES }, async (c) => {
      const [a, b, r] = c.nodes as Three
      const bucket = await bucketOn(c, r)
      const v1 = await put(a, bucket, 'k', Buffer.alloc(20_000, 3), 'enabled')
      await c.clock.sleep(5000)
      const heal = cut(c, [r], [a, b])
      await c.clock.sleep(12_000)
      await put(a, bucket, 'k', 'v2', 'enabled')
      await a.core!.model.objects.deleteVersion(bucket, Buffer.from('k'), v1.id)
      // The replica is reached again when the tombstone is due, before its copy is compared.
      await c.clock.sleep(2 * HOUR_MS + 12 * MINUTE_MS)
      heal()
      const isLinked = () => [a, b].every((node) => node.core!.parts.transport.isConnected(r.id))
      await waitUntil(c, 'the replica is linked', isLinked, MINUTE_MS)
      await a.core!.tables.gc.collectNow()
      await c.clock.sleep(2 * HOUR_MS)
      expect(await get(a, bucket, 'k', v1.id)).toBe('nothing')
      const { noncurrent } = a.core!.model.objects
      const key = Buffer.from('k')
      expect(await noncurrent.list(bucket, key, undefined, { limit: 1 })).toEqual({ versions: [] })
    })
  })
})

/** Puts an object at the first node while one is cut off, which misses it. Returns what ends the cut. */
async function putMissedBy(missing: SimNode, c: SimCluster, bucket: Buffer): Promise<() => void> {
  const heal = cut(
    c,
    [missing],
    c.nodes.filter((node) => node !== missing),
  )
  await c.clock.sleep(9000)
  await put(c.nodes[0]!, bucket, 'k', 'acknowledged')
  return heal
}

describe('an empty replica does not vote', { timeout: TIMEOUT_MS }, () => {
  it('so an acknowledged object is refused rather than not found, and found when the others are back', async () => {
    await onCluster({ tables: TABLES }, async (c) => {
      const [a, b, d] = c.nodes as Three
      const bucket = await bucketOn(c, d)
      const heal = await putMissedBy(d, c, bucket)
      c.crash(b, 'machine')
      b.machine.wipe()
      c.crash(a, 'process')
      heal()
      await c.boot(b)
      const refusals: string[] = []
      const read = getWhenServed(c, d, bucket, 'k', refusals)
      await c.clock.sleep(5 * MINUTE_MS)
      expect(new Set(refusals)).toEqual(new Set(['QuorumUnavailable']))
      await c.boot(a)
      expect(await read).toBe('acknowledged')
    })
  })

  it('also when the node that has the object is the farther one', async () => {
    await onCluster({ tables: TABLES }, async (c) => {
      const [a, b, d] = c.nodes as Three
      const bucket = await bucketOn(c, d)
      const heal = await putMissedBy(d, c, bucket)
      c.crash(b, 'machine')
      b.machine.wipe()
      c.network.setPath(a.id, d.id, { latencyMs: 40, jitterMs: 1, lossShare: 0, bytesPerMs: 10_000 })
      heal()
      await c.boot(b)
      expect(await getWhenServed(c, d, bucket, 'k')).toBe('acknowledged')
      const isWhole = () => c.nodes.every(({ core }) => core!.tables.standing.joining().length === 0)
      await waitUntil(c, 'the empty node has caught up', isWhole, 10 * MINUTE_MS)
      expect(copyOn(b, bucket, 'k')).toBe('object')
    })
  })

  it('nor one that goes back to an image of two minutes ago, of which the node knows nothing', async () => {
    await onCluster({ tables: TABLES }, async (c) => {
      const [a, b, d] = c.nodes as Three
      const bucket = await bucketOn(c, d)
      await c.clock.sleep(MINUTE_MS)
      await b.machine.save()
      await c.clock.sleep(2 * MINUTE_MS)
      const heal = await putMissedBy(d, c, bucket)
      c.crash(b, 'machine')
      b.machine.restoreSaved()
      c.crash(a, 'process')
      heal()
      await c.boot(b)
      const refusals: string[] = []
      const read = getWhenServed(c, d, bucket, 'k', refusals)
      await c.clock.sleep(MINUTE_MS)
      await c.boot(a)
      expect(await read).toBe('acknowledged')
      expect(new Set(refusals)).toEqual(new Set(['QuorumUnavailable']))
    })
  })

  it('and catches up though a write reached it alone that replaced another version', async () => {
    await onCluster({ nodes: 4, zones: 4, tables: TABLES }, async (c) => {
      const bucket = await bucketOn(c, c.nodes[0]!)
      const ids = c.nodes[0]!.core!.cluster.layout.storageSet(bucket[0]!)
      const [a, b, d] = c.nodes.filter(({ id }) => ids.includes(id)) as Three
      const writer = c.nodes.find(({ id }) => !ids.includes(id))!
      const first = await put(a, bucket, 'k', 'first', 'enabled')
      await c.clock.sleep(MINUTE_MS)
      c.crash(b, 'machine')
      b.machine.wipe()
      await c.boot(b)
      await waitUntil(c, 'the empty node has the row', () => copyOn(b, bucket, 'k') === 'object', HOUR_MS)
      expect(b.core!.tables.standing.joining().length).toBeGreaterThan(0)
      const heal = cut(c, [b], [a, d])
      // It does not know that its messages get lost.
      const healWriter = c.network.block([writer.id], [a.id, d.id])
      await expect(put(writer, bucket, 'k', 'second', 'enabled')).rejects.toThrow()
      const { object } = b.core!.model.tables
      const here = object.local.get(b.machine.platform!.db, bucket, Buffer.from('k'))
      expect(here?.id.equals(first.id)).toBe(false)
      healWriter()
      heal()
      const isWhole = () => b.core!.tables.standing.joining().length === 0
      await waitUntil(c, 'the empty node has caught up', isWhole, HOUR_MS)
      await c.clock.sleep(10 * MINUTE_MS)
      // A write that failed may take effect later, and then the version before it is kept.
      for (const node of c.nodes) {
        expect(await get(node, bucket, 'k', first.id)).toBe('first')
        expect(await get(node, bucket, 'k')).toBe('second')
      }
    })
  })

  it('and after a restart of all nodes with their databases every copy counts at once', async () => {
    await onCluster({ tables: TABLES }, async (c) => {
      const [a] = c.nodes as Three
      const bucket = await bucketOn(c, a)
      await put(a, bucket, 'k', 'content')
      for (const node of c.nodes) c.crash(node, 'machine')
      await Promise.all(c.nodes.map((node) => c.boot(node)))
      const startMs = c.clock.monotonicMs()
      for (const node of c.nodes) expect(await getWhenServed(c, node, bucket, 'k')).toBe('content')
      expect(c.clock.monotonicMs() - startMs).toBeLessThan(5_000)
    })
  })

  it('and a single node serves from its first start', async () => {
    await onCluster({ nodes: 1, zones: 1, replicationFactor: 1 }, async (c) => {
      const [a] = c.nodes as [SimNode]
      const bucket = await bucketOn(c, a)
      await put(a, bucket, 'k', 'content')
      expect(await get(a, bucket, 'k')).toBe('content')
    })
  })
})

describe('what was written since on a condition stays', { timeout: TIMEOUT_MS }, () => {
  it.each([
    ['an object that was deleted for good', false],
    ['the tombstone of one', true],
  ])('when a database goes back to a time at which the key had %s', async (_, isDeleted) => {
    await onCluster({ tables: TABLES }, async (c) => {
      const [a, b, back] = c.nodes as Three
      const bucket = await bucketOn(c, back)
      await put(a, bucket, 'k', 'secret')
      await put(a, bucket, 'other', 'short')
      if (isDeleted) await remove(a, bucket, 'k')
      await c.clock.sleep(MINUTE_MS)
      await back.machine.save()
      if (!isDeleted) await remove(a, bucket, 'k')
      await c.clock.sleep(COLLECTED_MS)
      expect([a, b, back].map((node) => copyOn(node, bucket, 'k'))).toEqual(['-', '-', '-'])
      c.crash(back, 'machine')
      back.machine.restoreSaved()
      const { id } = await put(a, bucket, 'k', 'written since', 'off', () => {})
      await c.boot(back)
      const isWhole = () => back.core!.cluster.ownStatus().copies?.whole === 257
      await waitUntil(c, 'it has begun to join', () => !isWhole(), 10 * MINUTE_MS)
      await waitUntil(c, 'it is whole again', isWhole, 60 * MINUTE_MS)
      await c.clock.sleep(30 * MINUTE_MS)
      for (const node of c.nodes) {
        expect(await get(node, bucket, 'k')).toBe('written since')
        expect(await get(node, bucket, 'other')).toBe('short')
        const row = node.core!.model.tables.object.local.get(
          node.machine.platform!.db,
          bucket,
          Buffer.from('k'),
        )
        expect(row?.id).toEqual(id)
      }
    })
  })

  it('or as a K2V item, when a database goes back to a time at which the key had a value', async () => {
    await onCluster({ tables: TABLES }, async (c) => {
      const [a, b, back] = c.nodes as Three
      const bucket = await bucketOn(c, back)
      const place = { partitionKey: Buffer.from('p'), sortKey: Buffer.from('s') }
      const values = async ({ core }: SimNode) => {
        const item = await core!.model.k2v.read(bucket, place)
        return item ? valuesOf(item).map((value) => value.content()?.toString()) : []
      }
      const write = async (node: SimNode, text: string | null, isSeen: boolean) => {
        const { k2v } = node.core!.model
        const seen = isSeen ? await k2v.read(bucket, place) : undefined
        const context = seen && clockOf(seen)
        await k2v.write(bucket, [{ ...place, context, content: text === null ? null : Buffer.from(text) }])
      }
      await write(a, 'secret', false)
      await write(b, 'another', false)
      await c.clock.sleep(MINUTE_MS)
      await back.machine.save()
      await write(a, null, true)
      await c.clock.sleep(COLLECTED_MS)
      expect(await a.core!.model.k2v.read(bucket, place)).toBeUndefined()
      c.crash(back, 'machine')
      back.machine.restoreSaved()
      await write(a, 'written since', false)
      await c.boot(back)
      const isWhole = () => back.core!.cluster.ownStatus().copies?.whole === 257
      await waitUntil(c, 'it has begun to join', () => !isWhole(), 10 * MINUTE_MS)
      // What is written all the while it joins neither goes nor holds that up.
      let count = 0
      while (!isWhole() && count < 200) {
        await write(b, `again ${count++}`, true)
        await c.clock.sleep(20_000)
      }
      expect(count).toBeLessThan(200)
      await c.clock.sleep(30 * MINUTE_MS)
      for (const node of c.nodes) expect(await values(node)).toEqual([`again ${count - 1}`])
      await write(back, 'at last', false)
      for (const node of c.nodes)
        expect((await values(node)).sort()).toEqual([`again ${count - 1}`, 'at last'].sort())
    })
  })
})
