import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { expectCrdtLaws } from '../../testing/crdt-laws.js'
import { compareValues } from './compare.js'
import { type Lww, lwwUpdate, mergeLww, mergeLwwFields } from './lww.js'
import { type LwwMap, lwwMapEntries, lwwMapSet, mergeLwwMap } from './lww-map.js'

const plain = fc.oneof(
  fc.constant(null),
  fc.integer({ min: 0, max: 3 }),
  fc.string({ maxLength: 2 }),
  fc.uint8Array({ maxLength: 2 }).map((bytes) => Buffer.from(bytes)),
  fc.array(fc.boolean(), { maxLength: 2 }),
  fc.record(
    { a: fc.boolean(), b: fc.integer({ min: 0, max: 2 }) },
    { requiredKeys: [], noNullPrototype: true },
  ),
)
// Few timestamps, so that ties are common.
const register: fc.Arbitrary<Lww<unknown>> = fc.tuple(fc.integer({ min: 0, max: 3 }), plain)
const fields = fc.dictionary(fc.constantFrom('a', 'b', 'c'), register, { noNullPrototype: true })
const map: fc.Arbitrary<LwwMap<unknown>> = fc
  .array(fc.tuple(fc.constantFrom('a', 'b', 'c'), register), { maxLength: 4 })
  .map((entries) => new Map(entries))
const sameMap = (a: LwwMap<unknown>, b: LwwMap<unknown>) =>
  isDeepStrictEqual(lwwMapEntries(a), lwwMapEntries(b))

describe('compareValues', () => {
  it('is a total order', () => {
    fc.assert(
      fc.property(plain, plain, plain, (a, b, c) => {
        expect(Math.sign(compareValues(a, b))).toBe(0 - Math.sign(compareValues(b, a)))
        expect(compareValues(a, b) === 0).toBe(isDeepStrictEqual(a, b))
        if (compareValues(a, b) <= 0 && compareValues(b, c) <= 0)
          expect(compareValues(a, c)).toBeLessThanOrEqual(0)
      }),
    )
  })

  it('ignores the order of fields and fields that are undefined', () => {
    expect(compareValues({ a: 1, b: 2 }, { b: 2, a: 1, c: undefined })).toBe(0)
  })
})

describe('Lww', () => {
  it('obeys the laws of a CRDT', () => {
    expectCrdtLaws(register, mergeLww, isDeepStrictEqual)
  })

  it('updates so that the new value wins, even when the clock went back', () => {
    const before: Lww<string> = [100, 'old']
    const after = lwwUpdate(before, 7, 'new')
    expect(mergeLww(before, after)).toBe(after)
    expect(after).toEqual([101, 'new'])
    expect(lwwUpdate(undefined, 7, 'new')).toEqual([7, 'new'])
  })
})

describe('LwwMap', () => {
  it('obeys the laws of a CRDT', () => {
    expectCrdtLaws(map, mergeLwwMap, sameMap)
  })

  it('returns the incoming map itself when that has everything', () => {
    const before: LwwMap<string> = new Map([['a', [1, 'x']]])
    const after = lwwMapSet(before, 'b', 5, 'y')
    expect(mergeLwwMap(before, after)).toBe(after)
    expect(mergeLwwMap(after, before)).toBe(after)
    expect(lwwMapEntries(lwwMapSet(after, 'b', 2, 'z'))).toEqual([
      ['a', 1, 'x'],
      ['b', 6, 'z'],
    ])
  })
})

describe('registers by name', () => {
  it('obey the laws of a CRDT', () => {
    expectCrdtLaws(fields, mergeLwwFields, isDeepStrictEqual)
  })

  it('keep what only one side has, and are the current ones if the incoming add nothing', () => {
    const current = { a: [2, 'x'], b: [1, 'y'] }
    expect(mergeLwwFields(current, { a: [1, 'z'], b: undefined } as unknown as typeof current)).toBe(current)
    expect(mergeLwwFields<object>(current, { b: [3, 'z'], c: [1, 'new'] })).toEqual({
      a: [2, 'x'],
      b: [3, 'z'],
      c: [1, 'new'],
    })
  })
})

describe('expectCrdtLaws', () => {
  it('finds a merge that breaks a law', () => {
    expect(() => expectCrdtLaws(fc.integer(), (_, b) => b, Object.is)).toThrow(/commutative/)
    expect(() => expectCrdtLaws(fc.integer(), (a, b) => a + b, Object.is)).toThrow(/idempotent/)
  })
})
