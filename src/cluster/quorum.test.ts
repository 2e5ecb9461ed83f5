import { describe, expect, test } from 'vitest'
import { FakeNet, type FakeNode, ManualClock, nodeId, settle } from '../../testing/cluster-fakes.js'
import type { NodeId } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import type { JudgedWriteOptions } from './placement.js'
import { Quorum } from './quorum.js'

/** What a node does with a call: answer after some ms, fail after some ms. */
type Behaviour = { afterMs?: number; fails?: string }

function setup(
  names: string[],
  behaviours: Record<string, Behaviour> = {},
  rttMs: Record<string, number> = {},
) {
  const clock = new ManualClock()
  const net = new FakeNet(clock)
  const nodes = names.map((name, i) => net.add(name, { host: `10.0.0.${i + 1}`, port: 3901 }))
  const rttOf = new Map(names.map((name) => [nodeId(name), rttMs[name] ?? 2]))
  const here = nodes[0]!
  net.latencyMs = (from, to) => rttOf.get(from === here.self ? to : from)! / 2
  const served: string[] = []
  for (const [i, node] of nodes.entries()) {
    const name = names[i]!
    node.handle('test/op', (body) => {
      served.push(name)
      const { afterMs = 0, fails } = behaviours[name] ?? {}
      return new Promise((resolve, reject) => {
        clock.after(afterMs, () =>
          fails ? reject(new CarportError('RemoteError', fails)) : resolve({ body: [name, body] }),
        )
      })
    })
    if (i > 0) net.link(here.self, node.self)
  }
  const id = (name: string) => nodeId(name)
  return { clock, net, nodes, here: here as FakeNode, served, quorum: new Quorum(here, clock), id }
}

/** Follows a promise without waiting for it. */
function watch<T>(promise: Promise<T>) {
  const state: { value?: T; error?: CarportError; settled: boolean } = { settled: false }
  promise.then(
    (value) => Object.assign(state, { value, settled: true }),
    (error) => Object.assign(state, { error, settled: true }),
  )
  return state
}

const names = (replies: { body: unknown }[]) => replies.map((reply) => (reply.body as [string])[0])

describe('write', () => {
  test('to the own node alone sets no timer', async () => {
    const { quorum, here, clock } = setup(['a'], {})
    const before = clock.pendingTimers
    const result = quorum.write([[here.self]], 'test/op', 'x', { timeoutMs: 1000, quorum: 1 })
    expect(clock.pendingTimers - before).toBe(1) // The handler sets the one timer.
    await clock.advance(1)
    expect(await result).toEqual([{ node: here.self, body: ['a', 'x'] }])
  })

  test('resolves at the quorum, and goes on with the slow replica', async () => {
    const { quorum, clock, id, served } = setup(['a', 'b', 'c'], { c: { afterMs: 500 } })
    const result = watch(
      quorum.write([['a', 'b', 'c'].map(id)], 'test/op', 1, { timeoutMs: 1000, quorum: 2 }),
    )
    await clock.advance(5)
    expect(names(result.value!).sort()).toEqual(['a', 'b'])
    expect(served.sort()).toEqual(['a', 'b', 'c'])
  })

  test('counts a node that has what is written already, and sends it nothing', async () => {
    const { quorum, clock, id, served } = setup(['a', 'b', 'c'], { c: { afterMs: 500 } })
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

  describe('that may be overruled', () => {
    const setA = ['a', 'b', 'c']
    type Said = 'taken' | 'blind' | 'overruled' | 'unknown'
    /** `said` by each node, 'taken' where nothing is told. */
    const write = (
      s: ReturnType<typeof setup>,
      said: Record<string, Said>,
      options: Partial<JudgedWriteOptions> & { sets?: string[][] } = {},
    ) => {
      const { sets = [setA], ...rest } = options
      return watch(
        s.quorum.writeJudged(
          sets.map((set) => set.map(s.id)),
          'test/op',
          1,
          {
            ...{ timeoutMs: 1000, quorum: 2 },
            judge: (body) => said[(body as [string])[0]] ?? 'taken',
            ...rest,
          },
        ),
      )
    }
    const verdictOf = ({ value, error, settled }: ReturnType<typeof write>) =>
      value ? [value.verdict, names(value.replies).sort()] : settled ? error!.code : 'open'
    const withVote = { ownLooked: true, canWithdraw: () => true }

    test('succeeds at a quorum, whatever the others say, and tells only who took it', async () => {
      const s = setup(setA, { c: { afterMs: 100 } })
      const result = write(s, { b: 'overruled' })
      await s.clock.advance(50)
      expect(verdictOf(result)).toBe('open')
      await s.clock.advance(100)
      expect(verdictOf(result)).toEqual(['taken', ['a', 'c']])
    })

    test('does not succeed by nodes that are blind, unless it needs no order', async () => {
      const s = setup(setA, { c: { afterMs: 100 } })
      const result = write(s, { b: 'blind' })
      await s.clock.advance(50)
      expect(verdictOf(result)).toBe('open')
      expect(s.quorum.mayBeAway(s.id('b'))).toBe(true)
      await s.clock.advance(100)
      expect(verdictOf(result)).toEqual(['taken', ['a', 'b', 'c']])
      const alone = setup(setA, { c: { fails: 'down' } })
      const [unsafe, safe, again] = [{}, { isSafe: true }, { mayRepeat: true }].map((options) =>
        write(alone, { b: 'blind' }, options),
      ) as [typeof result, typeof result, typeof result]
      await alone.clock.advance(50)
      expect(verdictOf(unsafe)).toEqual(['undecided', []])
      for (const each of [safe, again]) expect(verdictOf(each)).toEqual(['taken', ['a', 'b']])
    })

    test('is not safe by the word of a node that is blind', async () => {
      const s = setup(setA)
      const result = write(s, { b: 'blind', c: 'overruled' })
      await s.clock.advance(50)
      expect(verdictOf(result)).toEqual(['undecided', ['c']])
    })

    test('needs no order where quorums do not meet', async () => {
      const s = setup(setA, { b: { fails: 'down' }, c: { fails: 'down' } })
      const result = write(s, { a: 'blind' }, { quorum: 1 })
      await s.clock.advance(50)
      expect(verdictOf(result)).toEqual(['taken', ['a']])
    })

    test('is overruled when no quorum is left for it, and tells by whom', async () => {
      const s = setup(setA, { c: { afterMs: 500 } })
      const result = write(s, { a: 'overruled', b: 'overruled' })
      await s.clock.advance(50)
      expect(verdictOf(result)).toEqual(['overruled', ['a', 'b']])
    })

    test('is undecided when the node that would decide it fails', async () => {
      const s = setup(setA, { c: { afterMs: 10, fails: 'down' } })
      const result = write(s, { b: 'overruled' })
      await s.clock.advance(50)
      expect(verdictOf(result)).toEqual(['undecided', ['b']])
    })

    test('is undecided when a node does not know whether it had it', async () => {
      const s = setup(setA)
      const result = write(s, { b: 'overruled', c: 'unknown' })
      await s.clock.advance(50)
      expect(verdictOf(result)).toEqual(['undecided', ['b']])
    })

    test('is overruled if the own node, which told nobody, takes its vote back', async () => {
      const s = setup(setA, { c: { fails: 'down' } })
      const result = write(s, { b: 'overruled' }, withVote)
      await s.clock.advance(50)
      expect(verdictOf(result)).toEqual(['overruled', ['b']])
      const told = write(s, { b: 'overruled' }, { ...withVote, canWithdraw: () => false })
      await s.clock.advance(50)
      expect(verdictOf(told)).toEqual(['undecided', ['b']])
    })

    test('does not wait for a silent node that could only have made it a success', async () => {
      const s = setup(setA, { c: { afterMs: 1e9 } })
      const result = write(s, { b: 'overruled' }, withVote)
      await s.clock.advance(100)
      expect(verdictOf(result)).toEqual(['overruled', ['b']])
      expect(s.quorum.mayBeAway(s.id('c'))).toBe(true)
      expect(s.quorum.mayBeAway(s.id('b'))).toBe(false)
    })

    test('gives a node a moment to make it a success', async () => {
      const s = setup(setA, { c: { afterMs: 4 } })
      const result = write(s, { b: 'overruled' }, withVote)
      await s.clock.advance(100)
      expect(verdictOf(result)).toEqual(['taken', ['a', 'c']])
    })

    test('was replaced if only the own node has something later, which looked when it began', async () => {
      const s = setup(setA, { c: { fails: 'down' } })
      const result = write(s, { a: 'overruled' }, withVote)
      await s.clock.advance(50)
      expect(verdictOf(result)).toEqual(['replaced', ['a']])
      const blind = write(s, { a: 'overruled' })
      await s.clock.advance(50)
      expect(verdictOf(blind)).toEqual(['undecided', ['a']])
    })

    test('was replaced if its time is safe, as soon as a quorum answers', async () => {
      const s = setup(setA, { c: { afterMs: 1e9 } })
      const result = write(s, { a: 'overruled', b: 'overruled' }, { isSafe: true })
      await s.clock.advance(5)
      expect(verdictOf(result)).toEqual(['replaced', ['a', 'b']])
    })

    test('fails when too few answer, whatever those say', async () => {
      const s = setup(setA, { b: { fails: 'down' }, c: { fails: 'down' } })
      const result = write(s, { a: 'overruled' }, withVote)
      await s.clock.advance(50)
      expect(result.error).toMatchObject({ code: 'QuorumUnavailable', message: /1 of 2.*down/ })
    })

    test('ends undecided soon if its writer would rather look again', async () => {
      const s = setup(setA, { c: { afterMs: 1e9 } })
      const result = write(s, { b: 'overruled' }, { mayRepeat: true })
      await s.clock.advance(100)
      expect(verdictOf(result)).toEqual(['undecided', ['b']])
    })

    test('of two nodes was replaced if one took it: no earlier write had both', async () => {
      const s = setup(['a', 'b'])
      const result = write(s, { b: 'overruled' }, { sets: [['a', 'b']] })
      await s.clock.advance(50)
      expect(verdictOf(result)).toEqual(['replaced', ['b']])
    })

    test('is undecided when one set has it and another one overrules it, unless its time is safe', async () => {
      const s = setup(['a', 'b', 'c', 'd', 'e'])
      const sets = [setA, ['c', 'd', 'e']]
      const said = { d: 'overruled', e: 'overruled' } as const
      const result = write(s, said, { sets })
      const safe = write(s, said, { sets, isSafe: true })
      await s.clock.advance(50)
      expect(verdictOf(result)).toEqual(['undecided', ['d', 'e']])
      expect(verdictOf(safe)).toMatchObject(['replaced', { length: expect.any(Number) }])
    })
  })

  test('tells of a failure that comes after the quorum', async () => {
    const { quorum, clock, id } = setup(['a', 'b', 'c'], { c: { afterMs: 500, fails: 'disk broken' } })
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
    const { quorum, clock, id } = setup(['a', 'b', 'c'], { c: { afterMs: 1e9 } })
    const failed: NodeId[] = []
    const onFailure = (node: NodeId) => failed.push(node)
    void quorum.write([['a', 'b', 'c'].map(id)], 'test/op', 1, { timeoutMs: 1000, quorum: 2, onFailure })
    await clock.advance(999)
    expect(failed).toEqual([])
    await clock.advance(2)
    expect(failed).toEqual([id('c')])
  })

  test('fails as soon as the quorum is out of reach, while a replica is still silent', async () => {
    const { quorum, clock, id } = setup(['a', 'b', 'c'], {
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
    const { quorum, net, clock, id } = setup(['a', 'b', 'c'])
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
    const { quorum, clock, id, served } = setup(['a', 'b', 'c', 'd', 'e'], {
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
    const { quorum, clock, id } = setup(['a', 'b', 'c', 'd', 'e'], { d: { fails: 'x' }, e: { fails: 'y' } })
    const sets = [['a', 'b', 'c'].map(id), ['a', 'd', 'e'].map(id)]
    const result = watch(quorum.write(sets, 'test/op', 1, { timeoutMs: 1000, quorum: 2 }))
    await clock.advance(50)
    expect(result.error).toMatchObject({ code: 'QuorumUnavailable' })
  })

  test('without a layout is refused', async () => {
    const { quorum, id } = setup(['a'])
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
    const { quorum, clock, id, served } = setup(['a', 'b', 'c'], {}, rtt)
    const result = watch(quorum.read(['b', 'c', 'a'].map(id), 'test/op', 1, { timeoutMs: 1000, quorum: 2 }))
    await clock.advance(12)
    expect(names(result.value!)).toEqual(['a', 'c'])
    await clock.advance(1000)
    expect(served.sort()).toEqual(['a', 'c'])
    expect(clock.pendingTimers).toBe(0)
  })

  test('asks the next node when one is silent for twice its round trip', async () => {
    const { quorum, clock, id, served } = setup(['a', 'b', 'c'], { c: { afterMs: 5000 } }, rtt)
    const result = watch(quorum.read(['a', 'b', 'c'].map(id), 'test/op', 1, { timeoutMs: 10_000, quorum: 2 }))
    await clock.advance(19)
    expect(served).not.toContain('b')
    await clock.advance(50)
    expect(names(result.value!)).toEqual(['a', 'b'])
  })

  test('asks the next node at once when one fails', async () => {
    const { quorum, clock, id } = setup(
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
    const { quorum, net, clock, id, served } = setup(['a', 'b', 'c'], {}, rtt)
    net.unlink(id('a'), id('c'))
    expect(quorum.nearestFirst(['c', 'b', 'a'].map(id))).toEqual(['a', 'b', 'c'].map(id))
    await Promise.all([
      quorum.read(['c', 'b', 'a'].map(id), 'test/op', 1, { timeoutMs: 1000, quorum: 2 }),
      clock.advance(50),
    ])
    expect(served.sort()).toEqual(['a', 'b'])
  })

  test('fails as soon as too few can answer', async () => {
    const { quorum, clock, id } = setup(['a', 'b', 'c'], { b: { fails: 'x' }, c: { fails: 'y' } }, rtt)
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
    const { quorum, clock, id, served } = setup(['a', 'b', 'c', 'd', 'e'], {}, { b: 40, c: 10, d: 2 })
    const sets = [['a', 'b', 'c'].map(id), ['a', 'b', 'd'].map(id)]
    const result = watch(quorum.readSets(sets, 'test/op', 1, { timeoutMs: 1000, quorum: 2 }))
    await clock.advance(100)
    expect(names(result.value!).sort()).toEqual(['a', 'b'])
    expect(served.sort()).toEqual(['a', 'b'])
  })

  test('needs a quorum of each', async () => {
    const { quorum, clock, id } = setup(['a', 'b', 'c', 'd', 'e'], { e: { fails: 'x' }, d: { afterMs: 50 } })
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
    const { quorum, clock, id } = setup(['a', 'b'], { b: { afterMs: 100 } })
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
    const { quorum, clock, id } = setup(['a', 'b'], { b: { fails: 'x' } })
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
