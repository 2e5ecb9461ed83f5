import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareKeys } from '../../net/listing'
import { Parts, type Place, type Read } from './parts'

interface Named {
  readonly key: string
}

const PAGE = 10

/** A page of a sorted list of keys, from a key on. */
function read(keys: readonly string[], from: string | undefined): Read<Named, string> {
  let [start, end] = [0, keys.length]
  while (from !== undefined && start < end) {
    const middle = (start + end) >> 1
    if (compareKeys(keys[middle]!, from) < 0) start = middle + 1
    else end = middle
  }
  const entries = keys.slice(start, start + PAGE).map((key) => ({ key }))
  return { entries, last: entries.at(-1)?.key, next: keys[start + PAGE], seen: entries.length }
}

/** Reads all that is wanted while some rows are in sight. Tells how many parts that were. */
function look(parts: Parts<Named, string>, keys: readonly string[], first: number, rows = 20): number {
  for (let reads = 0; ; reads++) {
    const place: Place<string> | undefined = parts.wanted(first, first + rows, 0)
    if (!place) return reads
    parts.put(place, read(keys, place.marker))
    parts.drop(first, first + rows)
  }
}

/** Scrolls from the first row to the last and tells what was shown. */
function scrolled(parts: Parts<Named, string>, keys: readonly string[]): (string | undefined)[] {
  const shown: (string | undefined)[] = []
  look(parts, keys, 0)
  for (let row = 0; row < parts.total; row++) {
    look(parts, keys, row)
    shown.push(parts.at(row)?.key)
  }
  return shown
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `k${String(i).padStart(6, '0')}`)

describe('the parts of a listing', () => {
  test('far from what is in sight, nothing is kept, however long the listing is; it comes back when one looks', () => {
    const keys = numbered(25_000)
    const parts = new Parts<Named, string>()
    for (let row = 0; row < keys.length; row += 15) look(parts, keys, row)
    expect(parts.total).toBe(keys.length)
    expect(parts.hasMore).toBe(false)
    expect(parts.kept).toBeLessThan(17_000)
    expect(parts.at(12_000)).toBeUndefined()
    expect(look(parts, keys, 12_000)).toBeLessThanOrEqual(3)
    expect(parts.at(12_000)).toEqual({ key: keys[12_000] })
  })

  test('one looks anywhere without reading what is between', () => {
    const keys = numbered(20_000)
    const parts = new Parts<Named, string>()
    for (let row = 0; row < keys.length; row += 15) look(parts, keys, row)
    look(parts, keys, 0)
    expect(look(parts, keys, 9_000)).toBeLessThanOrEqual(3)
  })

  test('what is read is shown until it was read again', () => {
    const parts = new Parts<Named, string>()
    look(parts, numbered(30), 0)
    parts.outdate()
    expect(parts.at(3)).toEqual({ key: 'k000003' })
    look(parts, numbered(30).slice(3), 0)
    expect(parts.at(3)).toEqual({ key: 'k000006' })
  })

  test('a part that grew between two others shows all that is in it now', () => {
    const keys = numbered(40)
    const parts = new Parts<Named, string>()
    scrolled(parts, keys)
    parts.outdate()
    const grown = [...keys, ...Array.from({ length: 35 }, (_, i) => `k000015.${i + 10}`)].sort(compareKeys)
    expect(scrolled(parts, grown)).toEqual(grown)
  })

  test('whatever is added and taken away meanwhile: who looks through all of it again sees what there is', () => {
    const key = fc.string({ unit: 'binary', minLength: 1, maxLength: 3 })
    const set = fc.uniqueArray(key, { maxLength: 60 }).map((keys) => keys.toSorted(compareKeys))
    fc.assert(
      fc.property(set, fc.array(set, { minLength: 1, maxLength: 4 }), (before, later) => {
        const parts = new Parts<Named, string>()
        expect(scrolled(parts, before)).toEqual(before)
        for (const keys of later) {
          parts.outdate()
          expect(scrolled(parts, keys)).toEqual(keys)
          expect(parts.hasMore).toBe(false)
          expect(parts.seen).toBeGreaterThanOrEqual(keys.length)
        }
      }),
    )
  })
})

test('keys are in the order of their UTF-8', () => {
  const inHex = (text: string) =>
    [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  const signOf = (a: string, b: string) => Number(a > b) - Number(a < b)
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(signOf(inHex(a), inHex(b)))
    }),
  )
})
