import { describe, expect, it } from 'vitest'
import { RETRY_TREE } from '../src/table/row-keys.js'
import { roleOf, type SimNode } from './sim-cluster.js'
import { bucketOn, get, liveLayouts, onCluster, put, waitUntil } from './sim-histories.js'

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
