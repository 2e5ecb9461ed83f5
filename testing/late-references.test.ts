/**
 * Histories in which the references of an acknowledged object reach its blocks late: the nodes with its row were away. Invariant:
 * the blocks are there, however long that took; blocks of nobody go once it is known that no reference will come.
 */
import { describe, expect, it } from 'vitest'
import { encodeReferrer } from '../src/model/content/referrer.js'
import { roleOf, type SimCluster, type SimNode } from './sim-cluster.js'
import {
  bucketOn,
  copyOn,
  cut,
  get,
  liveLayouts,
  onCluster,
  put,
  remove,
  waitUntil,
} from './sim-histories.js'

const TIMEOUT_MS = 180_000
const MINUTE_MS = 60_000
/** A day of claims lasts an hour here, and so an hour of claims of a process that is gone two and a half minutes. */
const GRACES = { unreferencedMs: MINUTE_MS, unclaimedMs: 60 * MINUTE_MS }

function content(blocks: number): Buffer {
  return Buffer.from(Array.from({ length: blocks * 4096 }, (_, i) => (i >> 12) + i))
}

/** A bucket, the nodes with its rows, and one that coordinates writes to it and has none. */
async function placed(c: SimCluster) {
  const bucket = await bucketOn(c, c.nodes[0]!)
  const ids = c.nodes[0]!.core!.cluster.layout.storageSet(bucket[0]!)
  const replicas = c.nodes.filter(({ id }) => ids.includes(id))
  const [coordinator] = c.nodes.filter((node) => !replicas.includes(node)) as [SimNode]
  return { bucket, replicas, coordinator }
}

/** The number of files of blocks on all nodes that are up. */
function files(c: SimCluster): number {
  return c.nodes.reduce((sum, { machine }) => sum + (machine.platform?.disk.paths().length ?? 0), 0)
}

async function restart(c: SimCluster, node: SimNode): Promise<void> {
  c.crash(node, 'process')
  await c.boot(node)
}

describe('references that come late', { timeout: TIMEOUT_MS }, () => {
  it.each([
    ['one copy of everything', 1, 4],
    ['three copies of everything', 3, 7],
  ])('find their blocks, though the writer has restarted: %s', async (_, replicationFactor, nodes) => {
    await onCluster({ replicationFactor, nodes, zones: nodes, graces: GRACES }, async (c) => {
      const { bucket, replicas, coordinator } = await placed(c)
      await put(coordinator, bucket, 'key', content(30))
      for (const node of replicas) c.crash(node, 'machine')
      await restart(c, coordinator)
      await c.clock.sleep(15 * MINUTE_MS)
      for (const node of replicas) await c.boot(node)
      await c.clock.sleep(5 * MINUTE_MS)
      expect(await get(coordinator, bucket, 'key')).toMatch(/^122880 bytes/)
    })
  })

  it('find their blocks, after more than the day for which these are claimed', async () => {
    await onCluster({ replicationFactor: 1, nodes: 4, zones: 4, graces: GRACES }, async (c) => {
      const { bucket, replicas, coordinator } = await placed(c)
      await put(coordinator, bucket, 'key', content(8))
      for (const node of replicas) c.crash(node, 'machine')
      await c.clock.sleep(90 * MINUTE_MS)
      for (const node of replicas) await c.boot(node)
      await c.clock.sleep(5 * MINUTE_MS)
      expect(await get(coordinator, bucket, 'key')).toMatch(/^32768 bytes/)
    })
  })

  it('keep blocks of nobody from going only as long as a node is away', async () => {
    await onCluster({ nodes: 4, zones: 4, graces: GRACES }, async (c) => {
      const [a, , , away] = c.nodes as [SimNode, SimNode, SimNode, SimNode]
      const { blobs } = a.core!.model
      const body = content(8)
      await blobs.write({
        length: body.length,
        readAll: async () => body,
        async *stream() {
          yield body
        },
      })
      c.crash(away, 'machine')
      await restart(c, a)
      await c.clock.sleep(15 * MINUTE_MS)
      expect(files(c)).toBeGreaterThan(0)
      await c.boot(away)
      await waitUntil(c, 'no block is left', () => files(c) === 0, 30 * MINUTE_MS)
    })
  })
})

describe('references that are deleted', { timeout: TIMEOUT_MS }, () => {
  // What is not on the disk yet, a power cut takes back or not: with this seed it does.
  it('stay until the row that deletes them is on the disk', async () => {
    await onCluster({ seed: 2, nodes: 7, zones: 7, graces: GRACES }, async (c) => {
      const { bucket, replicas, coordinator } = await placed(c)
      await put(coordinator, bucket, 'key', content(30))
      await c.clock.sleep(MINUTE_MS)
      const [first, ...others] = replicas as [SimNode, ...SimNode[]]
      // What it writes now can be read at once, and is on its disk long after references are carried.
      first.machine.platform!.db.slowMs = 20_000
      const heal = cut(c, [first], others)
      const overwritten = put(first, bucket, 'key', 'short').catch(() => 'failed')
      await c.clock.sleep(15_000)
      c.crash(first, 'machine')
      heal()
      await c.boot(first)
      void overwritten
      await c.clock.sleep(3 * 60 * MINUTE_MS)
      for (const node of c.nodes) expect(await get(node, bucket, 'key')).toMatch(/^122880 bytes|^short/)
    })
  })

  it('stay while their version is on its way to the noncurrent ones', async () => {
    await onCluster({ nodes: 4, zones: 4, graces: GRACES }, async (c) => {
      const { bucket, replicas, coordinator } = await placed(c)
      const [s, t, r] = replicas as [SimNode, SimNode, SimNode]
      const { id } = await put(t, bucket, 'key', content(30))
      await c.clock.sleep(1000)
      cut(c, [coordinator], [t, r])
      void remove(coordinator, bucket, 'key').catch(() => 'failed')
      await waitUntil(c, 'it is deleted on one replica', () => copyOn(s, bucket, 'key') !== 'object', 1000)
      c.crash(coordinator, 'machine')
      cut(c, [r], [t])
      const heal = cut(c, [r], [s])
      await put(t, bucket, 'key', 'later', 'enabled')
      // The one that asks hears of the replacement from one replica, and then asks another one, which has not heard of it.
      const { model } = s.core!
      const { object } = model.tables
      const get = object.get.bind(object)
      const source = encodeReferrer({ kind: 'version', bucket, id, key: Buffer.from('key'), isNull: true })
      let isSwitched = false
      object.get = async (...args) => {
        const row = await get(...args)
        if (isSwitched) return row
        isSwitched = true
        heal()
        cut(c, [t], [s])
        const { transport } = s.machine.platform!
        await waitUntil(c, 'the third is there', () => transport.isConnected(r.id), MINUTE_MS)
        return row
      }
      const gone = await model.isGone(s.machine.platform!.db, source)
      expect([isSwitched, copyOn(r, bucket, 'key'), gone]).toEqual([true, 'object', false])
    })
  })

  it.each([
    ['an object of few blocks', 30],
    ['one whose blocks are listed in rows of their own', 70],
  ])('stay if the deletion was lost with the copy of a node that was replaced: %s', async (_, blocks) => {
    const tables = { tombstoneDelayMs: MINUTE_MS }
    await onCluster({ nodes: 4, zones: 4, graces: GRACES, tables }, async (c) => {
      const [a, , , gone] = c.nodes as [SimNode, SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, gone)
      await put(a, bucket, 'key', content(blocks))
      await put(a, bucket, 'other', 'short')
      await c.clock.sleep(MINUTE_MS)
      const others = c.nodes.filter((node) => node !== gone)
      const heal = cut(c, [gone], others)
      void remove(gone, bucket, 'key').catch(() => 'failed')
      await waitUntil(c, 'it is deleted on one replica', () => copyOn(gone, bucket, 'key') !== 'object', 1000)
      await c.clock.sleep(100)
      c.crash(gone, 'machine')
      // What was on its way is given up.
      await c.clock.sleep(MINUTE_MS)
      heal()
      const successor = await c.grow()
      const changes = [
        { node: gone.id, role: null },
        { node: successor.id, role: roleOf(successor) },
      ]
      await c.changeLayout(changes, a)
      const isDone = () => [...others, successor].every((node) => liveLayouts(node).join() === '2')
      await waitUntil(c, 'only the new layout is live', isDone, 20 * MINUTE_MS)
      // After this, what the replaced node alone has may be what was deleted meanwhile.
      await remove(a, bucket, 'other')
      const isCollected = () => others.every((node) => copyOn(node, bucket, 'other') === '-')
      await waitUntil(c, 'tombstones are collected', isCollected, 60 * MINUTE_MS)
      await c.boot(gone)
      await c.clock.sleep(3 * 60 * MINUTE_MS)
      for (const node of others) expect(await get(node, bucket, 'key')).toMatch(`${blocks * 4096} bytes`)
      expect(gone.core!.blocks.refs.stats().queued).toBe(0)
    })
  })
})
