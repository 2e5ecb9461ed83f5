import { describe, expect, it } from 'vitest'
import { DECISION_TREE } from '../src/model/buckets/decisions.js'
import { roleOf, type SimCluster, type SimNode } from './sim-cluster.js'
import { cut, get, liveLayouts, onCluster, put, waitUntil } from './sim-histories.js'

/** The longest that a test may take on a busy machine, in ms. */
const TIMEOUT_MS = 120_000

/**
 * Two newcomers get a role, each on one side of a cut network, in layouts of one number. @returns the one whose layout loses, and
 * the other one, before the sides hear of each other; and what heals the network
 */
async function applyOnTwoSides(
  c: SimCluster,
): Promise<{ loser: SimNode; winner: SimNode; heal: () => void }> {
  const [a, b, other] = c.nodes as [SimNode, SimNode, SimNode]
  const newcomers = [await c.grow(), await c.grow()] as const
  const heal = cut(c, [a, newcomers[0]], [b, other, newcomers[1]])
  for (const [i, by] of [a, b].entries()) {
    const { layout } = by.core!.cluster
    await layout.stage({ roles: [{ node: newcomers[i]!.id, role: roleOf(newcomers[i]!) }] })
    await layout.applyStaged(2)
  }
  const isKnown = () => newcomers.every((node) => liveLayouts(node).join() === '1,2')
  await waitUntil(c, 'both newcomers know their layout', isKnown, 5000)
  const [first, second] = newcomers.map(({ core }) => core!.cluster.layout.history.versions.at(-1)!.stamp)
  const [loser, winner] = first! < second! ? newcomers : [newcomers[1], newcomers[0]]
  return { loser, winner, heal }
}

/** Lets the sides hear of each other, until the change is through for `members`; `loser` hears of it `lateMs` later. */
async function healWithout(
  c: SimCluster,
  { loser, heal }: { loser: SimNode; heal: () => void },
  members: readonly SimNode[],
  lateMs: number,
): Promise<void> {
  loser.machine.platform!.db.slowMs = lateMs
  heal()
  const isThrough = () => members.every((node) => liveLayouts(node).join() === '2')
  await waitUntil(c, 'the change is through', isThrough, 15_000)
  expect(liveLayouts(loser)).toEqual([1, 2])
}

describe('of two layouts that were applied under one number', { timeout: TIMEOUT_MS }, () => {
  it('the losing one lets a node that has a role there alone acknowledge and show nothing that the others do not', async () => {
    await onCluster({ replicationFactor: 1 }, async (c) => {
      const members = [...c.nodes]
      const [a] = members as [SimNode]
      const sides = await applyOnTwoSides(c)
      const { loser, winner } = sides
      // It learns late that its layout has lost: nobody waits for it.
      await healWithout(c, sides, members, 20_000)

      const known = loser.core!.cluster.layout
      const moved = Array.from({ length: 256 }, (_, p) => p).find(
        (p) =>
          a.core!.cluster.layout.storageSet(p)[0] === winner.id && !known.storageSet(p).includes(loser.id),
      )
      const bucket = Buffer.alloc(16, moved!)
      await put(a, bucket, 'known', 'content')
      const attempts = [
        put(loser, bucket, 'plain', 'content'),
        put(loser, bucket, 'conditional', 'content', 'off', () => {}),
        get(loser, bucket, 'known'),
      ]
      const settled = await Promise.allSettled(attempts)
      expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
      expect(settled[0]).toMatchObject({ reason: { code: 'LayoutNotReady' } })
      for (const key of ['plain', 'conditional']) expect(await get(a, bucket, key)).toBe('nothing')
      loser.machine.platform!.db.slowMs = 0
      await waitUntil(c, 'it knows the other layout', () => liveLayouts(loser).join() === '2', 10 * 60_000)
    })
  })

  it('the losing one gives a node that knows no other no votes on names and permissions', async () => {
    await onCluster({ replicationFactor: 1 }, async (c) => {
      const members = [...c.nodes]
      const [a] = members as [SimNode]
      const { keys, buckets } = a.core!.model
      const bucket = await buckets.create('name')
      const key = await keys.create('key')
      const sides = await applyOnTwoSides(c)
      const { loser } = sides
      await healWithout(c, sides, members, 60_000)
      const votes = () => members.map((node) => node.machine.platform!.db.count(DECISION_TREE))
      const before = votes()
      const all = { read: true, write: true, owner: true }
      // It learns of the other layout too late for this change.
      await expect(loser.core!.model.keys.setPermissions(key.id, bucket.id, all)).rejects.toMatchObject({
        code: 'QuorumUnavailable',
      })
      expect(votes()).toEqual(before)
      await keys.setPermissions(key.id, bucket.id, all)
      expect(votes()).not.toEqual(before)
    })
  })
})
