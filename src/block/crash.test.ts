/**
 * Crashes of a node that writes or deletes a block.
 *
 * Invariant: whatever the point of the crash,
 *  - a block that the node acknowledged is intact on it after the restart;
 *  - no read of the node ever returns other bytes than the block's;
 *  - a block that is referenced comes to be intact on the node, though it was not acknowledged;
 *  - a block that is not referenced leaves neither file nor record behind, after the graces and a scrub.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  BlockCluster,
  type BlockNode,
  blockOf,
  type DiskStep,
  ownerOf,
  pathOf,
  syncCompression,
} from '../../testing/block-cluster.js'
import { settle } from '../../testing/cluster-fakes.js'
import { compressBlock } from './compression.js'
import { WRITE_STEPS } from './disk.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

type CrashPoint =
  /** During the write of the file; its claim is durable. */
  | { at: 'write'; step: (typeof WRITE_STEPS)[number] }
  /** The file is durable, its claim is not. */
  | { at: 'file without claim' }
  /** After the acknowledgement. */
  | { at: 'acknowledged' }
  /** While the deleter is at work: marked and not removed, or removed and not forgotten. */
  | { at: 'delete'; step: 'remove' | 'removed' }

const CRASH_POINTS: readonly CrashPoint[] = [
  ...WRITE_STEPS.map((step) => ({ at: 'write', step }) as const),
  { at: 'file without claim' },
  { at: 'acknowledged' },
  { at: 'delete', step: 'remove' },
  { at: 'delete', step: 'removed' },
]

/** Stops everything on the node's disk at a step, for ever, as a crash does. */
function stopAt(node: BlockNode, step: DiskStep): Promise<void> {
  return new Promise((resolve) => {
    node.disk.onStep = (reached) => {
      if (reached !== step) return
      resolve()
      return new Promise(() => {})
    }
  })
}

interface Scenario {
  point: CrashPoint
  /** Whether the crash leaves all names that were not synced. */
  keepNames: boolean
  /** The reference arrives after the restart. */
  referenced: boolean
}

async function play({ point, keepNames, referenced }: Scenario): Promise<void> {
  const cluster = new BlockCluster({ nodes: 3 })
  const { clock } = cluster
  await cluster.start()
  await clock.advance(20 * MINUTE)
  const { hash, data } = blockOf(1)
  const owner = ownerOf(1)
  const node = cluster.nodes[2]!
  let acknowledged = false

  if (point.at === 'write') {
    const reached = stopAt(node, point.step)
    await cluster.run(cluster.nodes[0]!.blocks.put(hash, data, owner))
    await cluster.run(reached)
  } else if (point.at === 'file without claim') {
    const { transact } = node.db
    node.db.transact = () => new Promise(() => {})
    await cluster.run(cluster.nodes[0]!.blocks.put(hash, data, owner))
    await clock.advance(100)
    node.db.transact = transact
    expect(node.disk.files.has(pathOf(hash))).toBe(true)
  } else if (point.at === 'acknowledged') {
    await cluster.run(cluster.nodes[0]!.blocks.put(hash, data, owner))
    await clock.advance(100)
    acknowledged = true
  } else {
    await cluster.run(cluster.nodes[0]!.blocks.put(hash, data, owner))
    await cluster.reference(cluster.nodes[0]!, owner, [hash])
    const reached = stopAt(node, point.step)
    await cluster.reference(cluster.nodes[0]!, owner, [hash], true)
    await cluster.run(reached, HOUR)
  }

  // A service of the crashed node that goes on would be a ghost: its database and disk are dead.
  const revived = cluster.crash(2, keepNames)
  const before = revived.disk.files.get(pathOf(hash))
  if (acknowledged) expect(before).toBeDefined()
  const read = await cluster.run(revived.blocks.local.read(hash)).catch(() => undefined)
  if (read) expect((await cluster.run(revived.blocks.get(hash))).equals(data)).toBe(true)
  if (acknowledged) expect(read).toBeDefined()
  await cluster.start([revived])

  if (referenced) {
    const again = point.at === 'delete' ? ownerOf(2) : owner
    // A reference that comes after the grace of a deleted block must have claimed it before.
    if (point.at === 'delete') await cluster.run(cluster.nodes[0]!.blocks.put(hash, data, again))
    await cluster.reference(cluster.nodes[0]!, again, [hash])
    await clock.advance(15 * MINUTE)
    await cluster.run(revived.blocks.scrub.begin())
    await clock.advance(26 * HOUR)
    for (const { blocks, disk } of cluster.nodes) {
      expect(disk.files.has(pathOf(hash))).toBe(true)
      expect((await cluster.run(blocks.get(hash))).equals(data)).toBe(true)
    }
    expect(revived.blocks.stats().remoteGets).toBe(0)
  } else {
    await clock.advance(15 * MINUTE)
    await cluster.run(revived.blocks.scrub.begin())
    await clock.advance(26 * HOUR)
    await cluster.run(revived.blocks.scrub.begin())
    await clock.advance(26 * HOUR)
    expect([...revived.disk.files.keys()].filter((path) => !path.endsWith('.corrupted'))).toEqual([])
    expect(revived.blocks.stats()).toMatchObject({ known: 0, queued: 0, claims: 0 })
  }
  await cluster.stop()
}

describe('a crash of a replica', () => {
  for (const point of CRASH_POINTS) {
    const name = 'step' in point ? `${point.at}: after ${point.step}` : point.at
    for (const referenced of [true, false]) {
      it(`${name}, ${referenced ? 'then the reference arrives' : 'and no reference arrives'}`, async () => {
        await play({ point, keepNames: false, referenced })
      })
    }
  }

  it('at any point, with any rest of what was not synced', async () => {
    const scenarios = fc.record({
      point: fc.constantFrom(...CRASH_POINTS),
      keepNames: fc.boolean(),
      referenced: fc.boolean(),
    })
    await fc.assert(fc.asyncProperty(scenarios, play), { numRuns: 12, endOnFailure: true })
  })
})

describe('a block that is written or referenced while it is being deleted', () => {
  async function untilRemoval(step: DiskStep): Promise<{ cluster: BlockCluster; go: () => void }> {
    const cluster = new BlockCluster({ nodes: 1 })
    const [node] = cluster.nodes
    node!.placement.writeQuorum = 1
    node!.placement.readQuorum = 1
    await cluster.start()
    await cluster.clock.advance(20 * MINUTE)
    const { hash, data } = blockOf(1)
    await cluster.run(node!.blocks.put(hash, data, ownerOf(1)))
    await cluster.reference(node!, ownerOf(1), [hash])
    let go = () => {}
    const reached = new Promise<void>((resolve) => {
      node!.disk.onStep = (at) => {
        if (at !== step) return
        resolve()
        return new Promise<void>((continues) => {
          go = continues
        })
      }
    })
    await cluster.reference(node!, ownerOf(1), [hash], true)
    await cluster.run(reached, HOUR)
    return { cluster, go }
  }

  for (const step of ['remove', 'removed'] as const) {
    it(`survives a put by the same process (${step})`, async () => {
      const { cluster, go } = await untilRemoval(step)
      const [node] = cluster.nodes
      const { hash, data } = blockOf(1)
      const put = node!.blocks.put(hash, data, ownerOf(2))
      await settle()
      go()
      await cluster.run(put)
      await cluster.clock.advance(12 * HOUR)
      expect((await cluster.run(node!.blocks.get(hash))).equals(data)).toBe(true)
      await cluster.reference(node!, ownerOf(2), [hash])
      await cluster.clock.advance(30 * HOUR)
      expect((await cluster.run(node!.blocks.get(hash))).equals(data)).toBe(true)
      await cluster.stop()
    })

    it(`survives a put by another process of the node (${step})`, async () => {
      const { cluster, go } = await untilRemoval(step)
      const [node] = cluster.nodes
      const { hash, data } = blockOf(1)
      const other = cluster.sibling(0)
      const put = other.local.put(hash, ownerOf(2), await compressBlock(data, syncCompression))
      await cluster.clock.advance(100)
      go()
      await cluster.run(put)
      expect(node!.disk.files.has(pathOf(hash))).toBe(true)
      await cluster.clock.advance(12 * HOUR)
      expect((await cluster.run(node!.blocks.get(hash))).equals(data)).toBe(true)
      await cluster.stop()
    })
  }

  it('is decided again in the transaction that marks it: a reference before that keeps the file', async () => {
    const cluster = new BlockCluster({ nodes: 1 })
    const [node] = cluster.nodes
    node!.placement.writeQuorum = 1
    const { hash, data } = blockOf(1)
    await cluster.run(node!.blocks.put(hash, data, ownerOf(1)))
    await cluster.reference(node!, ownerOf(1), [hash])
    await cluster.reference(node!, ownerOf(1), [hash], true)
    await cluster.clock.advance(HOUR)
    expect(node!.counts.judge(node!.db, hash, true).kind).toBe('delete')
    await cluster.reference(node!, ownerOf(2), [hash])
    expect(await cluster.run(node!.blocks.local.delete(hash))).toBe(false)
    expect(node!.disk.files.has(pathOf(hash))).toBe(true)
  })
})
