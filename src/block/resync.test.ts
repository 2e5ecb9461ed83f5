import { describe, expect, it, vi } from 'vitest'
import { type BlockNode, blockOf, ownerOf, pathOf } from '../../testing/block-cluster.js'
import { HOUR, has, MINUTE, make, store } from '../../testing/block-nodes.js'
import { NO_OWNER } from './rc.js'

describe('a disk that was full', () => {
  it('keeps no node from starting, and lets it look at its last blocks once there is room', async () => {
    const c = await make()
    const { hash } = await store(c, 1)
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    await c.clock.advance(1000)
    const node = c.crash(2)
    // Its file was not on the disk yet.
    await c.run(node.disk.remove(pathOf(hash)))
    node.db.full = true
    await c.start([node])
    await c.clock.advance(MINUTE)
    expect(has(node, hash)).toBe(false)
    node.db.full = false
    await c.clock.until(() => has(node, hash), MINUTE)
  })

  it('lets no block be tried without a pause whose failure the database does not take', async () => {
    const c = await make()
    const { hash } = await store(c, 1)
    await c.clock.advance(1000)
    const node = c.nodes[2]!
    await c.run(node.disk.remove(pathOf(hash)))
    await c.run(node.db.transact((tx) => node.counts.enqueue(tx, hash, c.clock.nowMs(), true)))
    node.db.full = true
    const looks = vi.spyOn(node.counts, 'judge')
    await c.clock.advance(MINUTE)
    expect(looks.mock.calls.length).toBeGreaterThan(0)
    expect(looks.mock.calls.length).toBeLessThan(100)
    node.db.full = false
    await c.clock.until(() => has(node, hash), MINUTE)
  })

  it('gets what it lacks once anything is written, not when each block would have been tried again', async () => {
    const c = await make()
    const [a, , late] = c.nodes as [BlockNode, BlockNode, BlockNode]
    late.disk.freeBytes = 0
    const lacking: Buffer[] = []
    for (let n = 1; n <= 20; n++) lacking.push((await store(c, n)).hash)
    await c.clock.advance(3 * HOUR)
    const { resync } = late.blocks
    expect(resync.stats().errors).toBe(20)
    late.disk.freeBytes = 2 ** 40
    const nextTryMs = Math.min(...resync.listErrors().map((error) => error.nextTryMs))
    const another = blockOf(21)
    await c.run(a.blocks.put(another.hash, another.data, ownerOf(21)))
    await c.clock.until(() => lacking.every((hash) => has(late, hash)), MINUTE)
    expect(c.clock.nowMs()).toBeLessThan(nextTryMs)
    expect(resync.stats().errors).toBe(0)
  })
})

describe('resync', () => {
  it('lists what it cannot bring here, backs off, and tries at once when told', async () => {
    const c = await make()
    const { hash, data } = await store(c, 1)
    for (const node of c.nodes) node.disk.files.delete(pathOf(hash))
    const node = c.nodes[2]!
    await expect(c.run(node.blocks.get(hash))).rejects.toMatchObject({ code: 'BlockMissing' })
    await c.clock.until(() => node.blocks.resync.listErrors().length === 1, MINUTE)
    const [error] = node.blocks.resync.listErrors()
    expect(error).toMatchObject({ attempts: 1, refCount: 1 })
    expect(error!.nextTryMs - c.clock.nowMs()).toBeGreaterThan(30_000)
    await c.clock.advance(10 * MINUTE)
    expect(node.blocks.resync.listErrors()[0]!.attempts).toBeGreaterThan(2)
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
    node.disk.files.delete(pathOf(hash))
    await c.run(node.db.transact((tx) => node.counts.setPresent(tx, hash, false)))
    await c.run(node.blocks.resync.retryNow([hash]))
    await c.clock.until(() => has(node, hash), 10_000)
    await c.clock.advance(100)
    expect(node.blocks.resync.listErrors()).toEqual([])
  })

  it('moves blocks with their partition: the new replica fetches, the old one offers and deletes', async () => {
    const c = await make({ nodes: 4 })
    await c.clock.advance(HOUR)
    const { hash, data } = await store(c, 1)
    const ids = c.ids()
    const [, , old, fresh] = c.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
    // Both layouts live: the new one's rows have come (the table's anti-entropy is not a part of this test).
    for (const node of c.nodes) {
      node.placement.set(ids, 2, () => [ids.slice(0, 3), [ids[0]!, ids[1]!, ids[3]!]])
    }
    const row = { hash, owner: ownerOf(1), deleted: false }
    await c.run(fresh.db.transact((tx) => fresh.table.local.update(tx, row)))
    fresh.blocks.refsSynced(2)
    await c.clock.until(() => fresh.placement.synced.get('blocks') === 2, MINUTE)
    expect(has(fresh, hash)).toBe(true)
    // The new replica loses its copy without knowing that another one still has it to give.
    for (const node of c.nodes) node.placement.set(ids, 3, () => [[ids[0]!, ids[1]!, ids[3]!]])
    fresh.disk.files.delete(pathOf(hash))
    await c.run(fresh.db.transact((tx) => fresh.counts.setPresent(tx, hash, false)))
    for (const node of c.nodes.slice(0, 2)) node.disk.files.delete(pathOf(hash))
    await c.run(
      old.db.transact((tx) => {
        old.counts.unreferenced(tx, hash)
        old.counts.renounced(tx, hash, NO_OWNER)
      }),
    )
    await c.clock.advance(HOUR)
    expect(has(old, hash)).toBe(false)
    expect(has(fresh, hash)).toBe(true)
    expect((await c.run(c.nodes[0]!.blocks.get(hash))).equals(data)).toBe(true)
  })

  it('keeps a block that it cannot offer, because a replica does not answer', async () => {
    const c = await make({ nodes: 4 })
    await c.clock.advance(HOUR)
    const { hash } = await store(c, 1)
    const ids = c.ids()
    for (const node of c.nodes) node.placement.set(ids, 2, () => [[ids[0]!, ids[1]!, ids[3]!]])
    const old = c.nodes[2]!
    c.net.cut(old.id, ids[3]!)
    await c.run(old.db.transact((tx) => old.counts.unreferenced(tx, hash)))
    await c.clock.advance(2 * HOUR)
    expect(has(old, hash)).toBe(true)
    expect(old.blocks.resync.listErrors()).toHaveLength(1)
    c.net.heal(old.id, ids[3]!)
    c.connect(old.id)
    await c.clock.advance(2 * HOUR)
    expect(has(old, hash)).toBe(false)
    expect(old.blocks.resync.listErrors()).toEqual([])
  })

  it('refuses nonsensical settings', async () => {
    const { resync } = (await make()).nodes[0]!.blocks
    for (const settings of [
      { workers: 0 },
      { workers: 9 },
      { workers: 1.5 },
      { tranquility: -1 },
      { tranquility: Number.NaN },
    ]) {
      expect(() => resync.configure(settings)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
    }
    resync.configure({ workers: 3, tranquility: 1 })
    expect(resync.settings).toEqual({ workers: 3, tranquility: 1 })
  })
})
