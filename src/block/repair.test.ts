import { describe, expect, it } from 'vitest'
import { ownerOf } from '../../testing/block-cluster.js'
import { DAY, HOUR, has, make, store } from '../../testing/block-nodes.js'

describe('verify counters', () => {
  it('sets wrong counts right, and what follows from them', async () => {
    const c = await make()
    await c.clock.advance(HOUR)
    const node = c.nodes[0]!
    const blocks = []
    for (let i = 0; i < 30; i++) blocks.push(await store(c, i))
    const [tooMany, tooFew, leaked] = [blocks[0]!, blocks[1]!, blocks[2]!]
    // Give one block more rows than a page of the walk holds.
    for (let i = 0; i < 450; i += 150) {
      const owners = Array.from({ length: 150 }, (_, j) => ownerOf(1000 + i + j))
      await c.run(
        node.table.insertMany(owners.map((owner) => ({ hash: tooFew.hash, owner, deleted: false }))),
      )
    }
    await c.clock.advance(1000)
    await c.run(
      node.db.transact((tx) => {
        node.counts.repair(tx, tooMany.hash, 7)
        node.counts.repair(tx, tooFew.hash, 1)
        node.counts.repair(tx, leaked.hash, 0)
      }),
    )
    const progress = await c.run(node.blocks.repair.verifyCounters())
    expect(progress).toMatchObject({ checked: 30, changed: 3, done: 1 })
    expect(node.counts.get(node.db, tooMany.hash)!.count).toBe(1)
    expect(node.counts.get(node.db, tooFew.hash)!.count).toBe(451)
    await c.clock.advance(2 * DAY)
    expect(has(node, leaked.hash)).toBe(true)
    expect(await c.run(node.blocks.repair.verifyCounters())).toMatchObject({ checked: 30, changed: 0 })
  })
})
