import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { expectCrdtLaws } from '../../../testing/crdt-laws.js'
import { EMPTY_CLOCK, encodeToken, isNewer, joinClocks, parseToken, type VectorClock } from './causality.js'
import { countsOf } from './counts.js'
import {
  changeOf,
  checkSize,
  clockOf,
  ItemValue,
  isDeleted,
  type K2vItem,
  mergeItems,
  VALUES_MAX,
  valuesOf,
} from './item.js'
import { k2vItemTable, rowSortKey } from './table.js'

const KEY = { bucket: Buffer.alloc(16, 7), partitionKey: Buffer.from('pk'), sortKey: Buffer.from('sk') }
const schema = k2vItemTable(() => {})
const ORIGINS = ['aaaaaaaa', 'bbbbbbbb', 'cccccccc'] as const

const encoded = (item: K2vItem) => schema.encode(item).head.toString('hex')
const texts = (item: K2vItem) => valuesOf(item).map((value) => value.content()?.toString() ?? null)

/** What happens to copies of one item: a write at a replica by somebody who read at another, or a message between two. */
type Step =
  | { kind: 'write'; at: number; seen: number | undefined; deletes: boolean }
  | { kind: 'send'; from: number; to: number }

const replica = fc.integer({ min: 0, max: ORIGINS.length - 1 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('write' as const),
    at: replica,
    seen: fc.option(replica, { nil: undefined }),
    deletes: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('send' as const), from: replica, to: replica }),
)
const steps = fc.array(step, { maxLength: 24 })

interface Run {
  copies: (K2vItem | undefined)[]
  changes: K2vItem[]
  /** All writes: text, and the token with which it was made. */
  writes: { text: string | null; context: VectorClock; origin: string; time: number }[]
}

function run(history: readonly Step[], size = 4): Run {
  const copies: (K2vItem | undefined)[] = ORIGINS.map(() => undefined)
  const result: Run = { copies, changes: [], writes: [] }
  let time = 0
  const take = (i: number, item: K2vItem) => {
    copies[i] = copies[i] ? mergeItems(copies[i], item) : item
  }
  for (const each of history) {
    if (each.kind === 'send') {
      if (copies[each.from]) take(each.to, copies[each.from]!)
      continue
    }
    const seen = each.seen === undefined ? undefined : copies[each.seen]
    const context = seen ? clockOf(seen) : EMPTY_CLOCK
    const text = each.deletes ? null : `${time}`.padEnd(size, '.')
    const write = {
      origin: ORIGINS[each.at]!,
      time: ++time,
      context,
      content: text === null ? null : Buffer.from(text),
    }
    const change = changeOf(KEY, copies[each.at], write)
    take(each.at, change)
    result.changes.push(change)
    result.writes.push({ text, context, origin: write.origin, time })
  }
  return result
}

const states = steps.map((history) => run(history))
const state: fc.Arbitrary<K2vItem> = states.chain(({ copies, changes }) => {
  const all = [...copies.filter((copy) => copy !== undefined), ...changes]
  return all.length > 0 ? fc.constantFrom(...all) : fc.constant({ ...KEY, entries: [] })
})

describe('merging items', () => {
  it('is commutative, associative and idempotent, and returns the same item where nothing is new', () => {
    expectCrdtLaws(state, mergeItems, (a, b) => encoded(a) === encoded(b), 1000)
  })

  it('loses no write that nobody has superseded with a token that saw it', () => {
    fc.assert(
      fc.property(steps, fc.array(fc.integer({ min: 0, max: 100 }), { maxLength: 40 }), (history, order) => {
        const { changes, writes } = run(history)
        if (changes.length === 0) return
        // All changes reach one copy, in any order, some of them twice.
        let merged = changes[0]!
        for (const i of [...order.map((n) => n % changes.length), ...changes.keys()])
          merged = mergeItems(merged, changes[i]!)
        const live = writes.filter(
          ({ origin, time }) => !writes.some(({ context }) => (context.get(origin) ?? 0) >= time),
        )
        expect(new Set(texts(merged))).toEqual(new Set(live.map(({ text }) => text)))
      }),
      { numRuns: 1000 },
    )
  })

  it('lets tokens only grow, on every copy', () => {
    fc.assert(
      fc.property(steps, (history) => {
        const tokens: VectorClock[] = ORIGINS.map(() => EMPTY_CLOCK)
        for (let i = 1; i <= history.length; i++) {
          const { copies } = run(history.slice(0, i))
          for (const [at, copy] of copies.entries()) {
            const token = copy ? clockOf(copy) : EMPTY_CLOCK
            expect(isNewer(tokens[at]!, token)).toBe(false)
            tokens[at] = token
          }
        }
      }),
      { numRuns: 200 },
    )
  })

  it('never lets a token stand for a value that its copy has not had', () => {
    fc.assert(
      fc.property(states, ({ copies, writes }) => {
        for (const copy of copies) {
          if (!copy) continue
          const token = clockOf(copy)
          const seen = writes.filter(({ origin, time }) => (token.get(origin) ?? 0) >= time)
          const shown = texts(copy)
          for (const { text, origin, time } of seen) {
            const superseded = writes.some(({ context }) => (context.get(origin) ?? 0) >= time)
            if (!superseded) expect(shown).toContain(text)
          }
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('keeps one of two values under one dot, the same on both sides', () => {
    const write = { origin: ORIGINS[0], time: 5, context: EMPTY_CLOCK }
    const [a, b] = ['x', 'y'].map((text) =>
      changeOf(KEY, undefined, { ...write, content: Buffer.from(text) }),
    ) as [K2vItem, K2vItem]
    expect(texts(mergeItems(a, b))).toEqual(texts(mergeItems(b, a)))
    expect(texts(mergeItems(a, b))).toHaveLength(1)
  })
})

describe('an item', () => {
  const first = changeOf(KEY, undefined, {
    origin: ORIGINS[0],
    time: 10,
    context: EMPTY_CLOCK,
    content: Buffer.from('a'),
  })

  it('shows equal values once, and one deletion', () => {
    const twice = changeOf(KEY, first, {
      origin: ORIGINS[0],
      time: 11,
      context: EMPTY_CLOCK,
      content: Buffer.from('a'),
    })
    const merged = mergeItems(first, twice)
    expect(texts(merged)).toEqual(['a'])
    expect(countsOf(merged)).toMatchObject({ entries: 1, conflicts: 0, values: 1, bytes: 1 })
    const deletions = [12, 13].map((time) =>
      changeOf(KEY, merged, { origin: ORIGINS[1], time, context: clockOf(merged), content: null }),
    )
    const deleted = deletions.reduce(mergeItems, merged)
    expect([texts(deleted), isDeleted(deleted)]).toEqual([[null], true])
    expect(countsOf(deleted)).toMatchObject({ entries: 0, conflicts: 0, values: 0, bytes: 0 })
  })

  it('is in conflict with a deletion beside a value', () => {
    const deletion = changeOf(KEY, first, {
      origin: ORIGINS[1],
      time: 12,
      context: EMPTY_CLOCK,
      content: null,
    })
    const both = mergeItems(first, deletion)
    expect([texts(both), isDeleted(both)]).toEqual([['a', null], false])
    expect(countsOf(both)).toMatchObject({ entries: 1, conflicts: 1, values: 1, bytes: 1 })
  })

  it('takes no more than so many concurrent values', () => {
    let item = first
    for (let i = 1; i < VALUES_MAX; i++) {
      const content = Buffer.from(`${i}`)
      item = mergeItems(
        item,
        changeOf(KEY, item, { origin: ORIGINS[0], time: 10 + i, context: EMPTY_CLOCK, content }),
      )
    }
    expect(() => checkSize(item)).not.toThrow()
    const more = changeOf(KEY, item, {
      origin: ORIGINS[0],
      time: 500,
      context: EMPTY_CLOCK,
      content: Buffer.from('more'),
    })
    expect(() => checkSize(mergeItems(item, more))).toThrow(/too many concurrent values/)
  })
})

describe('stored items', () => {
  it('come back as they were, in the head or with a body, and have different heads where they differ', () => {
    for (const size of [4, 400, 5000]) {
      fc.assert(
        fc.property(steps, (history) => {
          const { copies, changes } = run(history, size)
          const heads = new Map<string, string>()
          for (const item of [...copies, ...changes]) {
            if (!item) continue
            const { head, body } = schema.encode(item)
            const read = schema.decode(head, () => body)
            expect(encoded(read)).toBe(head.toString('hex'))
            expect(texts(read)).toEqual(texts(item))
            expect(schema.sortKey(read)).toEqual(rowSortKey(KEY))
            const content = JSON.stringify([texts(item), [...clockOf(item)]])
            const known = heads.get(head.toString('hex'))
            if (known !== undefined) expect(content).toBe(known)
            heads.set(head.toString('hex'), content)
          }
        }),
        { numRuns: 60 },
      )
    }
  })

  it('tell bodies apart by their heads alone', () => {
    const write = { origin: ORIGINS[0], time: 5, context: EMPTY_CLOCK }
    const [a, b] = ['a', 'b'].map((letter) =>
      schema.encode(changeOf(KEY, undefined, { ...write, content: Buffer.alloc(5000, letter) })),
    )
    expect(a!.head.equals(b!.head)).toBe(false)
    expect(a!.body).toHaveLength(5000)
  })

  it('are refused when they are malformed', () => {
    const { head } = schema.encode(
      run([{ kind: 'write', at: 0, seen: undefined, deletes: false }]).copies[0]!,
    )
    for (const cut of [0, 1, head.length - 1])
      expect(() => schema.decode(head.subarray(0, cut), () => undefined)).toThrow()
    expect(() => schema.decode(Buffer.concat([Buffer.of(9), head.subarray(1)]), () => undefined)).toThrow(
      /later release/,
    )
  })
})

describe('causality tokens', () => {
  const clock: fc.Arbitrary<VectorClock> = fc
    .dictionary(fc.constantFrom(...ORIGINS), fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }))
    .map((times) => new Map(Object.entries(times)))

  it('come back as they were', () => {
    fc.assert(
      fc.property(clock, (each) => {
        expect(parseToken(encodeToken(each))).toEqual(new Map([...each].sort()))
      }),
    )
  })

  it('have the form that Garage writes', () => {
    // XOR of 4, 42 and 1928131023, 76, each 8 bytes, big endian.
    const four = '\0\0\0\0\0\0\0\x04'
    const other = Buffer.from('0000000072ecb9cf', 'hex').toString('latin1')
    const token = encodeToken(
      new Map([
        [four, 42],
        [other, 76],
      ]),
    )
    const bytes = Buffer.from(token, 'base64url')
    expect(bytes.toString('hex')).toBe(
      '0000000072ecb9ad' + '0000000000000004' + '000000000000002a' + '0000000072ecb9cf' + '000000000000004c',
    )
  })

  it('are refused when they are malformed, altered, or of times that are no times', () => {
    const token = encodeToken(new Map([[ORIGINS[0], 7]]))
    const changed = `${token.slice(0, -2)}${token.at(-2) === 'A' ? 'B' : 'A'}${token.at(-1)}`
    for (const wrong of ['', 'tra$sh', 'AAAA', token.slice(4), changed, 'A'.repeat(5000)]) {
      expect(parseToken(wrong)).toBeUndefined()
    }
    const huge = Buffer.alloc(24)
    huge.fill(0xff, 16)
    huge.fill(0xff, 0, 8)
    expect(parseToken(huge.toString('base64url'))).toBeUndefined()
  })

  it('join to what either has seen', () => {
    fc.assert(
      fc.property(clock, clock, (a, b) => {
        const joined = joinClocks(a, b)
        expect([isNewer(a, joined), isNewer(b, joined)]).toEqual([false, false])
        for (const [origin, time] of joined)
          expect(time).toBe(Math.max(a.get(origin) ?? 0, b.get(origin) ?? 0))
      }),
    )
  })
})

describe('values of equal content', () => {
  const itemOf = (contents: readonly (string | null)[]): K2vItem => {
    const values = contents.map((text, i) => ItemValue.of(i + 1, text === null ? null : Buffer.from(text)))
    return { ...KEY, entries: [{ origin: 'aaaaaaaa', discard: 0, values }] }
  }
  const stored = (item: K2vItem) => {
    const { head, body } = schema.encode(item)
    return schema.decode(head, () => body)
  }

  it('are one, whether they are short or long, in memory or stored, and deletions as well', () => {
    for (const fill of ['', 'x'.repeat(100), 'x'.repeat(2000)]) {
      const contents = [null, `a${fill}`, `b${fill}`, `a${fill}`, null, '', `${fill}ab`, '']
      const once = [null, `a${fill}`, `b${fill}`, '', `${fill}ab`]
      for (const item of [itemOf(contents), stored(itemOf(contents))]) expect(texts(item)).toEqual(once)
      // Some at hand, of the same length as stored ones.
      const both = mergeItems(stored(itemOf(contents)), {
        ...KEY,
        entries: [
          { origin: 'bbbbbbbb', discard: 0, values: itemOf([`b${fill}`, `c${fill}`]).entries[0]!.values },
        ],
      })
      expect(texts(both)).toEqual([...once, `c${fill}`])
    }
  })

  it('are found by looking at each value once or twice', () => {
    for (const fill of ['', 'x'.repeat(100)]) {
      const item = itemOf(Array.from({ length: 1000 }, (_, i) => String(i).padStart(4, '0') + fill))
      const digests = vi.spyOn(ItemValue.prototype, 'digest', 'get')
      const contents = vi.spyOn(ItemValue.prototype, 'content')
      expect(valuesOf(item)).toHaveLength(1000)
      expect(digests.mock.calls.length + contents.mock.calls.length).toBeLessThanOrEqual(2000)
      digests.mockRestore()
      contents.mockRestore()
    }
  })
})
