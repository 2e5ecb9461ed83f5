import { describe, expect, test } from 'vitest'
import { names, quorumOf, watch } from '../../testing/quorum-nodes.js'
import type { JudgedWriteOptions } from './placement.js'

describe('a write that may be overruled', () => {
  const setA = ['a', 'b', 'c']
  type Said = 'taken' | 'blind' | 'overruled' | 'unknown'
  /** `said` by each node, 'taken' where nothing is told. */
  const write = (
    s: ReturnType<typeof quorumOf>,
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
    const s = quorumOf(setA, { c: { afterMs: 100 } })
    const result = write(s, { b: 'overruled' })
    await s.clock.advance(50)
    expect(verdictOf(result)).toBe('open')
    await s.clock.advance(100)
    expect(verdictOf(result)).toEqual(['taken', ['a', 'c']])
  })

  test('does not succeed by nodes that are blind, unless it needs no order', async () => {
    const s = quorumOf(setA, { c: { afterMs: 100 } })
    const result = write(s, { b: 'blind' })
    await s.clock.advance(50)
    expect(verdictOf(result)).toBe('open')
    expect(s.quorum.mayBeAway(s.id('b'))).toBe(true)
    await s.clock.advance(100)
    expect(verdictOf(result)).toEqual(['taken', ['a', 'b', 'c']])
    const alone = quorumOf(setA, { c: { fails: 'down' } })
    const [unsafe, safe, again] = [{}, { isSafe: true }, { mayRepeat: true }].map((options) =>
      write(alone, { b: 'blind' }, options),
    ) as [typeof result, typeof result, typeof result]
    await alone.clock.advance(50)
    expect(verdictOf(unsafe)).toEqual(['undecided', []])
    for (const each of [safe, again]) expect(verdictOf(each)).toEqual(['taken', ['a', 'b']])
  })

  test('is not safe by the word of a node that is blind', async () => {
    const s = quorumOf(setA)
    const result = write(s, { b: 'blind', c: 'overruled' })
    await s.clock.advance(50)
    expect(verdictOf(result)).toEqual(['undecided', ['c']])
  })

  test('needs no order where quorums do not meet', async () => {
    const s = quorumOf(setA, { b: { fails: 'down' }, c: { fails: 'down' } })
    const result = write(s, { a: 'blind' }, { quorum: 1 })
    await s.clock.advance(50)
    expect(verdictOf(result)).toEqual(['taken', ['a']])
  })

  test('is overruled when no quorum is left for it, and tells by whom', async () => {
    const s = quorumOf(setA, { c: { afterMs: 500 } })
    const result = write(s, { a: 'overruled', b: 'overruled' })
    await s.clock.advance(50)
    expect(verdictOf(result)).toEqual(['overruled', ['a', 'b']])
  })

  test('is undecided when the node that would decide it fails', async () => {
    const s = quorumOf(setA, { c: { afterMs: 10, fails: 'down' } })
    const result = write(s, { b: 'overruled' })
    await s.clock.advance(50)
    expect(verdictOf(result)).toEqual(['undecided', ['b']])
  })

  test('is undecided when a node does not know whether it had it', async () => {
    const s = quorumOf(setA)
    const result = write(s, { b: 'overruled', c: 'unknown' })
    await s.clock.advance(50)
    expect(verdictOf(result)).toEqual(['undecided', ['b']])
  })

  test('is overruled if the own node, which told nobody, takes its vote back', async () => {
    const s = quorumOf(setA, { c: { fails: 'down' } })
    const result = write(s, { b: 'overruled' }, withVote)
    await s.clock.advance(50)
    expect(verdictOf(result)).toEqual(['overruled', ['b']])
    const told = write(s, { b: 'overruled' }, { ...withVote, canWithdraw: () => false })
    await s.clock.advance(50)
    expect(verdictOf(told)).toEqual(['undecided', ['b']])
  })

  test('does not wait for a silent node that could only have made it a success', async () => {
    const s = quorumOf(setA, { c: { afterMs: 1e9 } })
    const result = write(s, { b: 'overruled' }, withVote)
    await s.clock.advance(100)
    expect(verdictOf(result)).toEqual(['overruled', ['b']])
    expect(s.quorum.mayBeAway(s.id('c'))).toBe(true)
    expect(s.quorum.mayBeAway(s.id('b'))).toBe(false)
  })

  test('gives a node a moment to make it a success', async () => {
    const s = quorumOf(setA, { c: { afterMs: 4 } })
    const result = write(s, { b: 'overruled' }, withVote)
    await s.clock.advance(100)
    expect(verdictOf(result)).toEqual(['taken', ['a', 'c']])
  })

  test('was replaced if only the own node has something later, which looked when it began', async () => {
    const s = quorumOf(setA, { c: { fails: 'down' } })
    const result = write(s, { a: 'overruled' }, withVote)
    await s.clock.advance(50)
    expect(verdictOf(result)).toEqual(['replaced', ['a']])
    const blind = write(s, { a: 'overruled' })
    await s.clock.advance(50)
    expect(verdictOf(blind)).toEqual(['undecided', ['a']])
  })

  test('was replaced if its time is safe, as soon as a quorum answers', async () => {
    const s = quorumOf(setA, { c: { afterMs: 1e9 } })
    const result = write(s, { a: 'overruled', b: 'overruled' }, { isSafe: true })
    await s.clock.advance(5)
    expect(verdictOf(result)).toEqual(['replaced', ['a', 'b']])
  })

  test('fails when too few answer, whatever those say', async () => {
    const s = quorumOf(setA, { b: { fails: 'down' }, c: { fails: 'down' } })
    const result = write(s, { a: 'overruled' }, withVote)
    await s.clock.advance(50)
    expect(result.error).toMatchObject({ code: 'QuorumUnavailable', message: /1 of 2.*down/ })
  })

  test('ends undecided soon if its writer would rather look again', async () => {
    const s = quorumOf(setA, { c: { afterMs: 1e9 } })
    const result = write(s, { b: 'overruled' }, { mayRepeat: true })
    await s.clock.advance(100)
    expect(verdictOf(result)).toEqual(['undecided', ['b']])
  })

  test('of two nodes was replaced if one took it: no earlier write had both', async () => {
    const s = quorumOf(['a', 'b'])
    const result = write(s, { b: 'overruled' }, { sets: [['a', 'b']] })
    await s.clock.advance(50)
    expect(verdictOf(result)).toEqual(['replaced', ['b']])
  })

  test('is undecided when one set has it and another one overrules it, unless its time is safe', async () => {
    const s = quorumOf(['a', 'b', 'c', 'd', 'e'])
    const sets = [setA, ['c', 'd', 'e']]
    const said = { d: 'overruled', e: 'overruled' } as const
    const result = write(s, said, { sets })
    const safe = write(s, said, { sets, isSafe: true })
    await s.clock.advance(50)
    expect(verdictOf(result)).toEqual(['undecided', ['d', 'e']])
    expect(verdictOf(safe)).toMatchObject(['replaced', { length: expect.any(Number) }])
  })
})
