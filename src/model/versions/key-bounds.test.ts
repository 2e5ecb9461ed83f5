import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { terminatedKey } from '../sort-keys.js'
import { boundedStart, isKeyWithinBounds, KEY_BYTES_MAX } from './key-bounds.js'

/** Bytes with long runs, so that many are near the bounds. */
const someBytes = fc
  .array(fc.tuple(fc.constantFrom(0, 1, 2, 97, 255), fc.integer({ min: 1, max: 1030 })), { maxLength: 4 })
  .map((runs) => Buffer.concat(runs.map(([byte, length]) => Buffer.alloc(length, byte))))

describe('the bounds of keys', () => {
  test('are 1024 bytes, and less for what is escaped', () => {
    expect(isKeyWithinBounds(Buffer.alloc(KEY_BYTES_MAX, 'x'))).toBe(true)
    expect(isKeyWithinBounds(Buffer.alloc(KEY_BYTES_MAX + 1, 'x'))).toBe(false)
    expect(isKeyWithinBounds(Buffer.alloc(749))).toBe(true)
    expect(isKeyWithinBounds(Buffer.alloc(750))).toBe(false)
    expect(boundedStart(Buffer.from('a'))).toEqual(Buffer.from('a'))
    expect(boundedStart(Buffer.alloc(5000, 'x'))).toEqual(Buffer.from(`${'x'.repeat(1024)}\0`))
  })

  test('keep the place of every key before or after a position', () => {
    fc.assert(
      fc.property(someBytes, someBytes, (start, key) => {
        fc.pre(isKeyWithinBounds(key))
        const bounded = boundedStart(start)
        expect(() => terminatedKey(bounded)).not.toThrow()
        expect(key.compare(bounded) >= 0).toBe(key.compare(start) >= 0)
      }),
    )
  })
})
