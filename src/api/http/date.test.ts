import fc from 'fast-check'
import { expect, test } from 'vitest'
import { amzDate, httpDate, httpDateOf, isoDate, parseAmzDate, parseHttpDate } from './date.js'

const MAX_MS = 253402300799000

test('dates read back what they wrote, to the second', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: MAX_MS }), (ms) => {
      const second = Math.floor(ms / 1000) * 1000
      expect(parseHttpDate(httpDate(ms))).toBe(second)
      expect(httpDate(ms)).toBe(new Date(ms).toUTCString())
      expect(httpDateOf(ms)).toBe(httpDate(ms))
      expect(parseAmzDate(amzDate(ms))).toBe(second)
      expect(parseHttpDate(isoDate(ms))).toBe(ms)
    }),
  )
})

test('all three formats of RFC 9110 are read', () => {
  const ms = Date.UTC(1994, 10, 6, 8, 49, 37)
  expect(parseHttpDate('Sun, 06 Nov 1994 08:49:37 GMT')).toBe(ms)
  expect(parseHttpDate('Sunday, 06-Nov-94 08:49:37 GMT')).toBe(ms)
  expect(parseHttpDate('Sun Nov  6 08:49:37 1994')).toBe(ms)
})

test.each([
  '',
  'now',
  '0',
  'Sun, 31 Feb 2026 00:00:00 GMT',
  'Sun, 06 Xyz 1994 08:49:37 GMT',
  '2026-13-01T00:00:00Z',
])('%j is no date', (text) => {
  expect(parseHttpDate(text)).toBeUndefined()
})

test.each([
  '20260230T000000Z',
  '20261301T000000Z',
  '20260101T250000Z',
  '20260101T000000',
  '2026-01-01T00:00:00Z',
])('%j is no x-amz-date', (text) => {
  expect(parseAmzDate(text)).toBeUndefined()
})
