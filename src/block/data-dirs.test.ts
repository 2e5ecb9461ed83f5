import { describe, expect, it } from 'vitest'
import { pathOf } from '../../testing/block-cluster.js'
import { has, make, store } from '../../testing/block-nodes.js'

describe('several data folders', () => {
  const two = [
    { path: '/a', capacity: 100, readOnly: false },
    { path: '/b', capacity: 300, readOnly: false },
  ]

  it('share the blocks by capacity; blocks in the wrong folder are read, and moved by a rebalance', async () => {
    const c = await make({ dirs: two })
    const node = c.nodes[0]!
    const blocks = []
    for (let i = 0; i < 60; i++) blocks.push(await store(c, i))
    const inB = blocks.filter(({ hash }) => has(node, hash, '/b')).length
    expect(inB).toBeGreaterThan(33)
    expect(inB).toBeLessThan(57)
    for (const { hash } of blocks.slice(0, 10)) {
      const [from, to] = has(node, hash, '/a') ? ['/a', '/b'] : ['/b', '/a']
      node.disk.files.set(pathOf(hash, to), node.disk.files.get(pathOf(hash, from))!)
      node.disk.files.delete(pathOf(hash, from))
    }
    for (const { hash, data } of blocks) expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
    expect(node.blocks.stats().remoteGets).toBe(0)
    const progress = await c.run(node.blocks.repair.rebalance())
    expect(progress).toMatchObject({ checked: 60, changed: 10, done: 1 })
    expect(await c.run(node.blocks.repair.rebalance())).toMatchObject({ checked: 60, changed: 0 })
    for (const { hash, data } of blocks) expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
  })

  it('empty a read-only folder by a rebalance', async () => {
    const c = await make({ dirs: [two[0]!, { ...two[1]!, readOnly: true }] })
    const node = c.nodes[0]!
    const { hash, data } = await store(c, 1)
    expect(has(node, hash, '/a')).toBe(true)
    node.disk.files.set(pathOf(hash, '/b'), node.disk.files.get(pathOf(hash, '/a'))!)
    node.disk.files.delete(pathOf(hash, '/a'))
    expect(await c.run(node.blocks.repair.rebalance())).toMatchObject({ changed: 1 })
    expect(has(node, hash, '/a')).toBe(true)
    expect(has(node, hash, '/b')).toBe(false)
    expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
  })
})
