import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { blockOf, ownerOf } from '../../testing/block-cluster.js'
import { MINUTE, make } from '../../testing/block-nodes.js'
import { CarportError } from '../util/errors.js'

describe('the reference queue', () => {
  it('carries references of a committed transaction to the replicas, and takes back what was deleted', async () => {
    const c = await make({ nodes: 4 })
    const gateway = c.nodes[3]!
    const hashes = Array.from({ length: 700 }, (_, i) => createHash('sha256').update(`${i}`).digest())
    await c.run(gateway.db.transact((tx) => gateway.blocks.refs.enqueue(tx, ownerOf(1), hashes, false)))
    await c.clock.until(() => gateway.blocks.refs.stats().queued === 0, MINUTE)
    for (const node of c.nodes.slice(0, 3)) {
      expect(hashes.every((hash) => node.counts.get(node.db, hash)?.count === 1)).toBe(true)
    }
    await c.run(gateway.db.transact((tx) => gateway.blocks.refs.enqueue(tx, ownerOf(1), hashes, true)))
    await c.clock.until(() => gateway.blocks.refs.stats().queued === 0, MINUTE)
    // A reference that comes late, after its deletion, changes nothing.
    await c.run(gateway.db.transact((tx) => gateway.blocks.refs.enqueue(tx, ownerOf(1), hashes, false)))
    await c.clock.until(() => gateway.blocks.refs.stats().queued === 0, MINUTE)
    await c.clock.advance(1000)
    for (const node of c.nodes.slice(0, 3)) {
      expect(hashes.every((hash) => !node.counts.get(node.db, hash)?.count)).toBe(true)
    }
  })

  it('does not send what its own replica has already', async () => {
    const c = await make()
    const { hash } = blockOf(1)
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    const node = c.nodes[1]!
    const before = node.transport.calls.length
    await c.run(node.db.transact((tx) => node.blocks.refs.enqueue(tx, ownerOf(1), [hash], false)))
    await c.clock.until(() => node.blocks.refs.stats().queued === 0, MINUTE)
    expect(node.transport.calls.slice(before).filter(({ method }) => method.startsWith('table'))).toEqual([])
    expect(node.blocks.refs.stats().carried).toBe(0)
  })

  it('lets one partition without a quorum not hold up the others, and survives a restart', async () => {
    const c = await make({ nodes: 5 })
    const [a, b, d, e, f] = c.ids() as [string, string, string, string, string]
    for (const node of c.nodes) node.placement.set(c.ids(), 2, (p) => (p < 128 ? [[a, b, d]] : [[a, e, f]]))
    for (const peer of [b, d]) c.net.cut(a, peer)
    const low = blockOf(1, 100, 5).hash
    const high = blockOf(2, 100, 200).hash
    const node = c.nodes[0]!
    await c.run(node.db.transact((tx) => node.blocks.refs.enqueue(tx, ownerOf(1), [low, high], false)))
    await c.clock.until(() => c.nodes[3]!.counts.get(c.nodes[3]!.db, high)?.count === 1, MINUTE)
    expect(node.blocks.refs.stats()).toMatchObject({ queued: 1 })
    for (const peer of [b, d]) c.net.heal(a, peer)
    const revived = c.crash(0)
    await c.start([revived])
    await c.clock.until(() => c.nodes[1]!.counts.get(c.nodes[1]!.db, low)?.count === 1, 2 * MINUTE)
    await c.clock.until(() => revived.blocks.refs.stats().queued === 0, 2 * MINUTE)
  })
})

describe('a reference that was queued', () => {
  const source = Buffer.from('row 1')

  it('is not carried once its row does not want it any more, though it was deleted and forgotten elsewhere', async () => {
    const c = await make()
    const [a, b, d] = c.ids() as [string, string, string]
    const { hash } = blockOf(1)
    const node = c.nodes[0]!
    const asked: string[] = []
    let wanted: 'yes' | 'no' = 'yes'
    node.blocks.refs.isWanted = (_, of) => {
      asked.push(of.toString())
      return wanted
    }
    for (const peer of [b, d]) c.net.cut(a, peer)
    await c.run(node.db.transact((tx) => node.blocks.refs.enqueue(tx, ownerOf(1), [hash], false, source)))
    await c.clock.until(() => node.blocks.refs.stats().failures > 0, MINUTE)
    wanted = 'no'
    for (const peer of [b, d]) c.net.heal(a, peer)
    const revived = c.crash(0)
    revived.blocks.refs.isWanted = node.blocks.refs.isWanted
    await c.start([revived])
    await c.clock.until(() => revived.blocks.refs.stats().queued === 0, 2 * MINUTE)
    expect(new Set(asked)).toEqual(new Set(['row 1']))
    for (const other of c.nodes.slice(1)) expect(other.counts.get(other.db, hash)).toBeUndefined()
  })

  it('waits while nobody knows whether its row wants it, and does not hold up others', async () => {
    const c = await make()
    const node = c.nodes[0]!
    let isKnown = false
    node.blocks.refs.isWanted = (_, of) => (of.equals(source) && !isKnown ? 'unknown' : 'yes')
    const [first, second] = [blockOf(1).hash, blockOf(2).hash]
    await c.run(
      node.db.transact((tx) => {
        node.blocks.refs.enqueue(tx, ownerOf(1), [first], false, source)
        node.blocks.refs.enqueue(tx, ownerOf(2), [second], false, Buffer.from('row 2'))
      }),
    )
    await c.clock.until(() => c.nodes[1]!.counts.get(c.nodes[1]!.db, second)?.count === 1, MINUTE)
    await c.clock.advance(MINUTE)
    expect(node.blocks.refs.stats().queued).toBe(1)
    expect(c.nodes[1]!.counts.get(c.nodes[1]!.db, first)).toBeUndefined()
    isKnown = true
    await c.clock.until(() => c.nodes[1]!.counts.get(c.nodes[1]!.db, first)?.count === 1, 3 * MINUTE)
    await c.clock.until(() => node.blocks.refs.stats().queued === 0, MINUTE)
  })

  it('is deleted only if a quorum knows that its row is gone, and the deletion waits while none tells', async () => {
    const c = await make()
    const [node, other] = c.nodes as [(typeof c.nodes)[0], (typeof c.nodes)[0]]
    const [gone, there, unknown] = [1, 2, 3].map((n) => ({ owner: ownerOf(n), hash: blockOf(n).hash }))
    const enqueue = (deleted: boolean) =>
      c.run(
        node.db.transact((tx) => {
          for (const [i, { owner, hash }] of [gone!, there!, unknown!].entries())
            node.blocks.refs.enqueue(tx, owner, [hash], deleted, Buffer.from(`row ${i + 1}`))
        }),
      )
    const isLive = ({ hash }: { hash: Buffer }) => other.counts.get(other.db, hash)?.count === 1
    let isKnown = false
    node.blocks.refs.isGone = async (source) => {
      if (source.toString() === 'row 3' && !isKnown)
        throw new CarportError('QuorumUnavailable', 'all are away')
      return source.toString() !== 'row 2'
    }
    await enqueue(false)
    await c.clock.until(() => [gone!, there!, unknown!].every(isLive), MINUTE)
    await enqueue(true)
    await c.clock.until(() => !isLive(gone!), MINUTE)
    await c.clock.advance(MINUTE)
    expect([isLive(there!), isLive(unknown!), node.blocks.refs.stats().queued]).toEqual([true, true, 1])
    isKnown = true
    await c.clock.until(() => !isLive(unknown!), 3 * MINUTE)
    expect([isLive(there!), node.blocks.refs.stats().queued]).toEqual([true, 0])
  })

  it('keeps its source whatever length that has', async () => {
    const c = await make()
    const node = c.nodes[0]!
    const asked: number[] = []
    node.blocks.refs.isWanted = (_, of) => {
      asked.push(of.length)
      return 'yes'
    }
    const hashes = [blockOf(1).hash, blockOf(2).hash]
    const lengths = Array.from({ length: 33 }, (_, i) => 20 + i)
    await c.run(
      node.db.transact((tx) => {
        for (const n of lengths) node.blocks.refs.enqueue(tx, ownerOf(n), hashes, false, Buffer.alloc(n, n))
      }),
    )
    await c.clock.until(() => node.blocks.refs.stats().queued === 0, MINUTE)
    expect(asked).toEqual(lengths)
    for (const hash of hashes) expect(c.nodes[1]!.counts.get(c.nodes[1]!.db, hash)?.count).toBe(33)
  })
})

describe('the reference queue of a node that lost its role', () => {
  it('is carried by a member of the layout', async () => {
    const c = await make({ nodes: 4 })
    const leaver = c.nodes[3]!
    const { hash } = blockOf(1)
    leaver.placement.writeSets = () => []
    c.net.cut(leaver.id, c.ids()[0]!)
    await c.run(leaver.db.transact((tx) => leaver.blocks.refs.enqueue(tx, ownerOf(1), [hash], false)))
    await c.clock.until(() => leaver.blocks.refs.stats().queued === 0, 2 * MINUTE)
    await c.clock.advance(50)
    for (const node of c.nodes.slice(0, 3)) expect(node.counts.get(node.db, hash)?.count).toBe(1)
  })
})
