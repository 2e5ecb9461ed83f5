import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hasMoreJsonValues } from './json-values.js'

/** Values and names of a parsed document. */
function count(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1
  const inside = Array.isArray(value) ? value : Object.values(value)
  return 1 + inside.reduce<number>((sum, one) => sum + count(one), 0)
}

test('a document never has more than the values that are found', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(hasMoreJsonValues(Buffer.from(text), count(JSON.parse(text)) - 1)).toBe(true)
    }),
  )
})

test('what strings contain does not count', () => {
  const keys = [',,,,', '"[,{:"', '\\', '\\\\"', 'a\\"b,', '\n[', 'é,']
  const text = JSON.stringify(Object.fromEntries(keys.map((key) => [key, key])))
  // Of an object each name, each value and the first place inside.
  expect(hasMoreJsonValues(Buffer.from(text), 1 + 2 * keys.length)).toBe(false)
  expect(hasMoreJsonValues(Buffer.from(text), 2 * keys.length)).toBe(true)
})

test('a string that does not end', () => {
  for (const text of ['"', '["a', '"\\"', `"${'\\'.repeat(1001)}"`]) {
    expect(hasMoreJsonValues(Buffer.from(text), 2)).toBe(false)
  }
})

test('a body of millions of values is told in a turn that is short', () => {
  const body = Buffer.from(`[${'[],'.repeat(1_300_000)}[]]`)
  expect(hasMoreJsonValues(body, 100_000)).toBe(true)
})
