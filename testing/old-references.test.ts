/**
 * Histories in which a node carries references to blocks that it queued long ago, while the objects were deleted and the
 * tombstones of the references collected. Invariant: every reference is that of a row, so that blocks of nobody go.
 */
import { describe, expect, it } from 'vitest'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { bucketOn, copyOn, get, HOUR_MS, onCluster, put, remove, waitUntil } from './sim-histories.js'
import { checkReferences } from './sim-invariants.js'

const TIMEOUT_MS = 180_000
const MINUTE_MS = 60_000
/** A tenth of the usual time until tombstones are collected, and enough for that. */
const TABLES = { tombstoneDelayMs: 2 * HOUR_MS }
const COLLECTED_MS = 3 * HOUR_MS
const BIG = Buffer.alloc(20_000, 7)

/** Waits until the node has the row of a big object, and has not carried its references yet. */
async function hasQueued(c: SimCluster, node: SimNode, bucket: Buffer, key: string): Promise<void> {
  await waitUntil(c, 'the row is there', () => copyOn(node, bucket, key) === 'object', 1000)
  expect(node.core!.blocks.refs.stats().queued).toBeGreaterThan(0)
}

/** All that is queued is carried, and every reference is that of a row. */
async function checkSettled(c: SimCluster): Promise<void> {
  await c.clock.sleep(30 * MINUTE_MS)
  expect(checkReferences(c)).toEqual([])
  for (const { core } of c.nodes) expect(core!.blocks.refs.stats().queued).toBe(0)
}

describe('references that were queued long ago', { timeout: TIMEOUT_MS }, () => {
  it('are of nobody, when the node goes back to a snapshot of before the deletion', async () => {
    await onCluster({ tables: TABLES }, async (c) => {
      const [a, b, x] = c.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, x)
      await put(a, bucket, 'deleted', BIG)
      await put(a, bucket, 'kept', Buffer.alloc(20_000, 8))
      await hasQueued(c, x, bucket, 'kept')
      await x.machine.platform!.db.snapshot('snap')
      await c.clock.sleep(MINUTE_MS)
      await remove(a, bucket, 'deleted')
      await c.clock.sleep(COLLECTED_MS)
      c.crash(x, 'machine')
      x.machine.restoreSnapshot('snap')
      await c.boot(x)
      await checkSettled(c)
      for (const node of [a, b, x]) {
        expect(await get(node, bucket, 'deleted')).toBe('nothing')
        expect(await get(node, bucket, 'kept')).toMatch(/^20000 bytes/)
      }
    })
  })

  it('are of nobody, when the node was removed while it was dead, and comes back', async () => {
    await onCluster({ nodes: 4, zones: 4, tables: TABLES }, async (c) => {
      const [a, , , x] = c.nodes as [SimNode, SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, x)
      await put(a, bucket, 'deleted', BIG)
      await hasQueued(c, x, bucket, 'deleted')
      c.crash(x, 'process')
      await c.clock.sleep(30_000)
      await remove(a, bucket, 'deleted')
      await c.changeLayout([{ node: x.id, role: null }], a)
      await c.clock.sleep(30_000)
      await a.core!.cluster.skipDeadNodes({ version: 2, allowMissingData: false })
      await c.clock.sleep(COLLECTED_MS)
      expect(copyOn(a, bucket, 'deleted')).toBe('-')
      await c.boot(x)
      await checkSettled(c)
    })
  })
})
