import { describe, expect, test } from 'vitest'
import { settle } from '../../testing/cluster-fakes.js'
import { names, quorumOf, watch } from '../../testing/quorum-nodes.js'
import type { NodeId } from '../net/transport.js'

describe('write', () => {
  test('to the own node alone sets no timer', async () => {
    const { quorum, here, clock } = quorumOf(['a'], {})
    const before = clock.pendingTimers
    const result = quorum.write([[here.self]], 'test/op', 'x', { timeoutMs: 1000, quorum: 1 })
    expect(clock.pendingTimers - before).toBe(1) // The handler sets the one timer.
    await clock.advance(1)
    expect(await result).toEqual([{ node: here.self, body: ['a', 'x'] }])
  })

  test('resolves at the quorum, and goes on with the slow replica', async () => {
    const { quorum, clock, id, served } = quorumOf(['a', 'b', 'c'], { c: { afterMs: 500 } })
    const result = watch(
      quorum.write([['a', 'b', 'c'].map(id)], 'test/op', 1, { timeoutMs: 1000, quorum: 2 }),
    )
    await clock.advance(5)
    expect(names(result.value!).sort()).toEqual(['a', 'b'])
    expect(served.sort()).toEqual(['a', 'b', 'c'])
  })

  test('counts a node that has what is written already, and sends it nothing', async () => {
    const { quorum, clock, id, served } = quorumOf(['a', 'b', 'c'], { c: { afterMs: 500 } })
    const options = { timeoutMs: 1000, quorum: 2, heldBy: id('b') }
    const spread = watch(quorum.write([['b', 'c'].map(id), ['a', 'b'].map(id)], 'test/op', 1, options))
    await clock.advance(100)
    expect(spread.settled).toBe(false)
    await clock.advance(500)
    expect(spread.value!.map(({ node }) => node).sort()).toEqual(['a', 'b', 'c'].map(id).sort())
    expect(served.sort()).toEqual(['a', 'c'])
    const alone = watch(quorum.write([[id('b')]], 'test/op', 1, { ...options, quorum: 1 }))
    await clock.advance(0)
    expect(alone.value).toEqual([{ node: id('b'), body: null }])
    // Of a set that it is no member of it says nothing.
    const elsewhere = watch(quorum.write([['a', 'c'].map(id)], 'test/op', 1, { ...options, timeoutMs: 100 }))
    await clock.advance(200)
    expect(elsewhere.error?.code).toBe('QuorumUnavailable')
    expect(served).toHaveLength(4)
  })
  test('tells of a failure that comes after the quorum', async () => {
    const { quorum, clock, id } = quorumOf(['a', 'b', 'c'], { c: { afterMs: 500, fails: 'disk broken' } })
    const failed: [NodeId, string][] = []
    const onFailure = (node: NodeId, error: unknown) => failed.push([node, (error as Error).message])
    await Promise.all([
      quorum.write([['a', 'b', 'c'].map(id)], 'test/op', 1, { timeoutMs: 1000, quorum: 2, onFailure }),
      clock.advance(5),
    ])
    expect(failed).toEqual([])
    await clock.advance(600)
    expect(failed).toEqual([[id('c'), 'disk broken']])
  })

  test('tells of a replica that is silent until the deadline', async () => {
    const { quorum, clock, id } = quorumOf(['a', 'b', 'c'], { c: { afterMs: 1e9 } })
    const failed: NodeId[] = []
    const onFailure = (node: NodeId) => failed.push(node)
    void quorum.write([['a', 'b', 'c'].map(id)], 'test/op', 1, { timeoutMs: 1000, quorum: 2, onFailure })
    await clock.advance(999)
    expect(failed).toEqual([])
    await clock.advance(2)
    expect(failed).toEqual([id('c')])
  })

  test('fails as soon as the quorum is out of reach, while a replica is still silent', async () => {
    const { quorum, clock, id } = quorumOf(['a', 'b', 'c'], {
      a: { fails: 'disk full' },
      b: { fails: 'disk full' },
      c: { afterMs: 900 },
    })
    const result = watch(
      quorum.write([['a', 'b', 'c'].map(id)], 'test/op', 1, { timeoutMs: 1000, quorum: 2 }),
    )
    await clock.advance(5)
    expect(result.error).toMatchObject({ code: 'QuorumUnavailable' })
    expect(result.error!.cause).toMatchObject({ message: 'disk full' })
  })

  test('fails at once when too few nodes are connected', async () => {
    const { quorum, net, clock, id } = quorumOf(['a', 'b', 'c'])
    net.unlink(id('a'), id('b'))
    net.unlink(id('a'), id('c'))
    const failed: NodeId[] = []
    const result = watch(
      quorum.write([['a', 'b', 'c'].map(id)], 'test/op', 1, {
        timeoutMs: 1000,
        quorum: 2,
        onFailure: (node) => failed.push(node),
      }),
    )
    await settle()
    expect(result.error).toMatchObject({ code: 'QuorumUnavailable' })
    expect(failed.sort()).toEqual([id('b'), id('c')].sort())
    await clock.advance(5)
  })

  test('needs the quorum in each set, and sends once to a node of several', async () => {
    const { quorum, clock, id, served } = quorumOf(['a', 'b', 'c', 'd', 'e'], {
      d: { afterMs: 100 },
      e: { afterMs: 200 },
    })
    const sets = [['a', 'b', 'c'].map(id), ['a', 'd', 'e'].map(id)]
    const result = watch(quorum.write(sets, 'test/op', 1, { timeoutMs: 1000, quorum: 2 }))
    await clock.advance(50)
    expect(result.settled).toBe(false)
    await clock.advance(60)
    expect(names(result.value!).sort()).toEqual(['a', 'b', 'c', 'd'])
    expect(served.sort()).toEqual(['a', 'b', 'c', 'd', 'e'])
  })

  test('fails when one of two sets cannot reach the quorum', async () => {
    const { quorum, clock, id } = quorumOf(['a', 'b', 'c', 'd', 'e'], {
      d: { fails: 'x' },
      e: { fails: 'y' },
    })
    const sets = [['a', 'b', 'c'].map(id), ['a', 'd', 'e'].map(id)]
    const result = watch(quorum.write(sets, 'test/op', 1, { timeoutMs: 1000, quorum: 2 }))
    await clock.advance(50)
    expect(result.error).toMatchObject({ code: 'QuorumUnavailable' })
  })

  test('without a layout is refused', async () => {
    const { quorum, id } = quorumOf(['a'])
    await expect(quorum.write([], 'test/op', 1, { timeoutMs: 9, quorum: 1 })).rejects.toMatchObject({
      code: 'LayoutNotReady',
    })
    await expect(quorum.write([[id('a')]], 'test/op', 1, { timeoutMs: 9, quorum: 2 })).rejects.toMatchObject({
      code: 'QuorumUnavailable',
    })
  })
})

describe('read', () => {
  const rtt = { b: 40, c: 10, d: 20 }

  test('asks the own node and the nearest first, and leaves no timer', async () => {
    const { quorum, clock, id, served } = quorumOf(['a', 'b', 'c'], {}, rtt)
    const result = watch(quorum.read(['b', 'c', 'a'].map(id), 'test/op', 1, { timeoutMs: 1000, quorum: 2 }))
    await clock.advance(12)
    expect(names(result.value!)).toEqual(['a', 'c'])
    await clock.advance(1000)
    expect(served.sort()).toEqual(['a', 'c'])
    expect(clock.pendingTimers).toBe(0)
  })

  test('asks the next node when one is silent for twice its round trip', async () => {
    const { quorum, clock, id, served } = quorumOf(['a', 'b', 'c'], { c: { afterMs: 5000 } }, rtt)
    const result = watch(quorum.read(['a', 'b', 'c'].map(id), 'test/op', 1, { timeoutMs: 10_000, quorum: 2 }))
    await clock.advance(19)
    expect(served).not.toContain('b')
    await clock.advance(50)
    expect(names(result.value!)).toEqual(['a', 'b'])
  })

  test('asks the next node at once when one fails', async () => {
    const { quorum, clock, id } = quorumOf(
      ['a', 'b', 'c', 'd'],
      { c: { fails: 'broken' }, a: { fails: 'x' } },
      rtt,
    )
    const result = watch(
      quorum.read(['a', 'b', 'c', 'd'].map(id), 'test/op', 1, { timeoutMs: 1000, quorum: 2 }),
    )
    await clock.advance(11 + 41)
    expect(names(result.value!)).toEqual(['d', 'b'])
  })

  test('tries nodes without a link last', async () => {
    const { quorum, net, clock, id, served } = quorumOf(['a', 'b', 'c'], {}, rtt)
    net.unlink(id('a'), id('c'))
    expect(quorum.nearestFirst(['c', 'b', 'a'].map(id))).toEqual(['a', 'b', 'c'].map(id))
    await Promise.all([
      quorum.read(['c', 'b', 'a'].map(id), 'test/op', 1, { timeoutMs: 1000, quorum: 2 }),
      clock.advance(50),
    ])
    expect(served.sort()).toEqual(['a', 'b'])
  })

  test('fails as soon as too few can answer', async () => {
    const { quorum, clock, id } = quorumOf(['a', 'b', 'c'], { b: { fails: 'x' }, c: { fails: 'y' } }, rtt)
    const result = watch(quorum.read(['a', 'b', 'c'].map(id), 'test/op', 1, { timeoutMs: 1000, quorum: 2 }))
    await clock.advance(60)
    expect(result.error).toMatchObject({ code: 'QuorumUnavailable' })
    await expect(quorum.read([], 'test/op', 1, { timeoutMs: 1, quorum: 1 })).rejects.toMatchObject({
      code: 'LayoutNotReady',
    })
  })
})

describe('read of several sets', () => {
  test('asks first who counts in all of them, and no more than needed', async () => {
    const { quorum, clock, id, served } = quorumOf(['a', 'b', 'c', 'd', 'e'], {}, { b: 40, c: 10, d: 2 })
    const sets = [['a', 'b', 'c'].map(id), ['a', 'b', 'd'].map(id)]
    const result = watch(quorum.readSets(sets, 'test/op', 1, { timeoutMs: 1000, quorum: 2 }))
    await clock.advance(100)
    expect(names(result.value!).sort()).toEqual(['a', 'b'])
    expect(served.sort()).toEqual(['a', 'b'])
  })

  test('needs a quorum of each', async () => {
    const { quorum, clock, id } = quorumOf(['a', 'b', 'c', 'd', 'e'], {
      e: { fails: 'x' },
      d: { afterMs: 50 },
    })
    const sets = [['a', 'b', 'c'].map(id), ['c', 'd', 'e'].map(id)]
    const result = watch(quorum.readSets(sets, 'test/op', 1, { timeoutMs: 1000, quorum: 2 }))
    await clock.advance(20)
    expect(result.settled).toBe(false)
    await clock.advance(100)
    expect(names(result.value!).sort()).toEqual(['a', 'c', 'd'])
    const none = [sets[0]!, ['d', 'e'].map(id)]
    const failing = watch(quorum.readSets(none, 'test/op', 1, { timeoutMs: 1000, quorum: 2 }))
    await clock.advance(100)
    expect(failing.error).toMatchObject({ code: 'QuorumUnavailable' })
  })
})

describe('draining', () => {
  test('waits for the writes that began before, not for later ones', async () => {
    const { quorum, clock, id } = quorumOf(['a', 'b'], { b: { afterMs: 100 } })
    const write = () => quorum.write([[id('b')]], 'test/op', 1, { timeoutMs: 1000, quorum: 1 })
    const endStream = quorum.beginWrite()
    void write()
    const first = watch(quorum.drainWrites())
    await clock.advance(50)
    void write()
    const second = watch(quorum.drainWrites())
    await clock.advance(60)
    expect(first.settled).toBe(false)
    endStream()
    endStream()
    await settle()
    expect([first.settled, second.settled]).toEqual([true, false])
    await clock.advance(60)
    expect(second.settled).toBe(true)
  })

  test('of nothing ends at once, and a failed call counts as ended', async () => {
    const { quorum, clock, id } = quorumOf(['a', 'b'], { b: { fails: 'x' } })
    await quorum.drainWrites()
    void quorum.read([id('b')], 'test/op', 1, { timeoutMs: 1000, quorum: 1 }).catch(() => {})
    void quorum.read([id('a'), id('b')], 'test/op', 1, { timeoutMs: 1000, quorum: 2 }).catch(() => {})
    const drained = watch(quorum.drainReads())
    await settle()
    expect(drained.settled).toBe(false)
    await clock.advance(10)
    expect(drained.settled).toBe(true)
  })
})
