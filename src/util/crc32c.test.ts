import { crc32c as native } from '@node-rs/crc32'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { crc32c } from './crc32c.js'

test('is the CRC-32C of RFC 3720', () => {
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
  expect(crc32c(Buffer.alloc(0))).toBe(0)
})

test('is that of the library for any data, from any byte on, after any other', () => {
  const bytes = fc.uint8Array({ maxLength: 450 }).map((array) => Buffer.from(array))
  fc.assert(
    fc.property(bytes, bytes, fc.nat(450), (before, data, skip) => {
      const start = Math.min(skip, data.length)
      const expected = native(Buffer.concat([before, data.subarray(start)]))
      expect(crc32c(data, start, crc32c(before))).toBe(expected)
    }),
    { numRuns: 500 },
  )
})
