import { describe, expect, it } from 'vitest'
import { versionSortKey } from '../src/model/sort-keys.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { RETRY_TREE } from '../src/table/row-keys.js'
import { roleOf, type SimNode } from './sim-cluster.js'
import {
  bucketOn,
  copyOn,
  cut,
  get,
  HOUR_MS,
  liveLayouts,
  onCluster,
  put,
  remove,
  waitUntil,
} from './sim-histories.js'

/** The longest that a test may take on a busy machine, in ms. */
const TIMEOUT_MS = 120_000

describe('replacing a dead node', { timeout: TIMEOUT_MS }, () => {
  it('ends by itself, and leaves nothing to do', async () => {
    await onCluster({ nodes: 4, zones: 4 }, async (c) => {
      const [a, , , dead] = c.nodes as [SimNode, SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, dead)
      await put(a, bucket, 'before', 'kept')
      c.crash(dead, 'machine')
      await c.clock.sleep(20_000)
      await put(a, bucket, 'missed', 'kept too')
      await c.clock.sleep(5_000)
      expect(a.machine.platform!.db.count(RETRY_TREE)).toBeGreaterThan(0)

      const successor = await c.grow()
      await c.changeLayout(
        [
          { node: dead.id, role: null },
          { node: successor.id, role: roleOf(successor) },
        ],
        a,
      )
      await c.clock.sleep(60_000)
      expect(liveLayouts(a)).toEqual([1, 2])

      const up = c.nodes.filter((node) => node !== dead)
      const isDone = () =>
        up.every(
          (node) => liveLayouts(node).join() === '2' && node.core!.cluster.ownStatus().queueLength === 0,
        )
      await waitUntil(c, 'only the new layout is live and no node has anything to do', isDone, 20 * 60_000)
      for (const node of up) {
        expect(node.machine.platform!.db.count(RETRY_TREE)).toBe(0)
        expect(await get(node, bucket, 'before')).toBe('kept')
        expect(await get(node, bucket, 'missed')).toBe('kept too')
      }
    })
  })

  it('waits for a node that is down but has a role', async () => {
    await onCluster({ nodes: 4, zones: 4 }, async (c) => {
      const [a, , , down] = c.nodes as [SimNode, SimNode, SimNode, SimNode]
      c.crash(down, 'machine')
      await c.clock.sleep(1000)
      const more = await c.grow()
      await c.changeLayout([{ node: more.id, role: roleOf(more) }], a)
      await c.clock.sleep(30 * 60_000)
      expect(liveLayouts(a)).toEqual([1, 2])
      await c.boot(down)
      await waitUntil(c, 'only the new layout is live', () => liveLayouts(a).join() === '2', 10 * 60_000)
    })
  })
})

describe('a node that lives, and was skipped as dead', { timeout: TIMEOUT_MS }, () => {
  it('shows nothing of before once it reaches the others again', async () => {
    await onCluster({}, async (c) => {
      const [a, b, skipped] = c.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, skipped)
      for (const key of ['changed', 'deleted']) await put(a, bucket, key, 'before')
      await c.clock.sleep(1000)
      const successor = await c.grow()
      const reach = cut(c, [skipped], [a])
      const healAll = cut(c, [skipped], [b, successor])
      await c.clock.sleep(20_000)
      await c.changeLayout(
        [
          { node: skipped.id, role: null },
          { node: successor.id, role: roleOf(successor) },
        ],
        a,
      )
      await c.clock.sleep(5_000)
      await a.core!.cluster.skipDeadNodes({ version: 2, allowMissingData: false })
      await waitUntil(c, 'the change is through', () => liveLayouts(a).join() === '2', 20 * 60_000)
      // The others write without the one replica that the skipped node will reach.
      const heal = cut(c, [a], [b, successor])
      await c.clock.sleep(15_000)
      await put(b, bucket, 'changed', 'after')
      await remove(b, bucket, 'deleted')
      reach()
      const shown = new Set<string>()
      const isCurrent = () => liveLayouts(skipped).join() === '2'
      for (let ms = 0; ms < 20_000 && !isCurrent(); ms++) {
        for (const key of ['changed', 'deleted']) {
          get(skipped, bucket, key).then(
            (content) => shown.add(`${key}: ${content}`),
            () => {},
          )
        }
        await c.clock.sleep(1)
      }
      expect(isCurrent()).toBe(true)
      heal()
      healAll()
      await c.clock.sleep(10_000)
      expect([...shown].filter((what) => what.endsWith('before'))).toEqual([])
    })
  })
})

describe('a replica that was away', { timeout: TIMEOUT_MS }, () => {
  it('gets every version that was written meanwhile by hints, also those that were replaced', async () => {
    // No comparison helps within the time of this test.
    await onCluster({ tables: { syncIntervalMs: HOUR_MS, syncSoonMs: 10 * 60_000 } }, async (c) => {
      const [a, , away] = c.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, away)
      c.crash(away, 'process')
      await c.clock.sleep(10_000)
      const versions: VersionRecord[] = []
      for (let i = 0; i < 5; i++) versions.push(await put(a, bucket, 'k', `version ${i}`, 'enabled'))
      await c.clock.sleep(1000)
      await c.boot(away)
      await c.clock.sleep(60_000)
      const { version, object } = away.core!.model.tables
      const { db } = away.machine.platform!
      expect(object.local.get(db, bucket, Buffer.from('k'))!.id).toEqual(versions[4]!.id)
      for (const { id } of versions.slice(0, 4)) {
        const row = version.local.get(db, bucket, versionSortKey(Buffer.from('k'), id, false))
        expect(row?.state).toBe('object')
      }
      expect(a.machine.platform!.db.count(RETRY_TREE)).toBe(0)
    })
  })

  it('is not told to be in sync before it was compared with, whatever hints have arrived', async () => {
    await onCluster({ tables: { retryEntriesMax: 1, syncSoonMs: 20_000 } }, async (c) => {
      const [a, , away] = c.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, away)
      const isDone = () => c.nodes.every(({ core }) => core!.cluster.ownStatus().queueLength === 0)
      await waitUntil(c, 'nothing is to do', isDone, 10 * 60_000)
      // Short enough for the link to stay, and long enough for the writes to fail there.
      const heal = cut(c, [away], [a])
      await Promise.all(['x', 'y', 'z'].map((key) => put(a, bucket, key, key)))
      await c.clock.sleep(10_500)
      heal()
      const isEqual = () => ['x', 'y', 'z'].every((key) => copyOn(away, bucket, key) === 'object')
      const told: boolean[] = []
      for (let i = 0; i < 600 && !(isDone() && isEqual()); i++) {
        if (!isEqual()) told.push(a.core!.cluster.ownStatus().queueLength === 0)
        await c.clock.sleep(500)
      }
      expect(isEqual()).toBe(true)
      expect(told.filter((isOk) => isOk)).toEqual([])
      await waitUntil(c, 'nothing is to do', isDone, 10 * 60_000)
    })
  })
})

describe('a node whose database was lost', { timeout: TIMEOUT_MS }, () => {
  it('shows how far it is, until it has caught up', async () => {
    await onCluster({}, async (c) => {
      const [a, , lost] = c.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, lost)
      await put(a, bucket, 'k', 'content')
      await c.clock.sleep(1000)
      c.crash(lost, 'machine')
      lost.machine.wipe()
      await c.boot(lost)
      await waitUntil(c, 'the layout is known', () => lost.core!.cluster.layout.layoutVersion === 1, 60_000)
      const { copies, queueLength } = lost.core!.cluster.ownStatus()
      expect(copies).toEqual({ whole: 0, total: 257 })
      expect(queueLength).toBeGreaterThan(0)
      const isDone = () => c.nodes.every(({ core }) => core!.cluster.ownStatus().queueLength === 0)
      await waitUntil(c, 'nothing is to do', isDone, 10 * 60_000)
      expect(lost.core!.cluster.ownStatus().copies).toEqual({ whole: 257, total: 257 })
      const atA = a.core!.cluster.status().find(({ id }) => id === lost.id)
      expect(atA?.copies?.total).toBe(257)
      expect(copyOn(lost, bucket, 'k')).toBe('object')
    })
  })

  it('does not vote after a restart either, nor with peers that it has not reached', async () => {
    await onCluster({}, async (c) => {
      const [a, b, lost] = c.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, lost)
      await put(a, bucket, 'k', 'content')
      for (const node of [a, b]) c.crash(node, 'process')
      c.crash(lost, 'machine')
      lost.machine.wipe()
      await c.boot(b)
      await c.boot(lost)
      for (let i = 0; i < 3; i++) {
        await c.clock.sleep(60_000)
        expect(lost.core!.tables.standing.votes(bucket[0]!)).toBe(false)
        c.crash(lost, 'process')
        await c.boot(lost)
      }
      await c.boot(a)
      const isDone = () => lost.core!.tables.standing.votes(bucket[0]!)
      await waitUntil(c, 'the node has caught up', isDone, 10 * 60_000)
      expect(copyOn(lost, bucket, 'k')).toBe('object')
    })
  })
})
