import fc from 'fast-check'
import { expect, test } from 'vitest'
import { backoffMs } from './backoff.js'

const least = { float: () => 0 }
const most = { float: () => 1 }

test('the wait doubles from the base up to the limit, and half of it is left to chance', () => {
  const backoff = { baseMs: 500, maxMs: 30_000 }
  expect([0, 1, 2, 5, 6, 1e9].map((failures) => backoffMs(backoff, failures, most))).toEqual([
    500, 1000, 2000, 16_000, 30_000, 30_000,
  ])
  expect([0, 1, 1e9].map((failures) => backoffMs(backoff, failures, least))).toEqual([250, 500, 15_000])
})

test('factor and jitter are as told', () => {
  expect(backoffMs({ baseMs: 10, maxMs: 1e6, factor: 3, jitter: 0 }, 2, least)).toBe(90)
  expect(backoffMs({ baseMs: 10, maxMs: 1e6, factor: 1, jitter: 1 }, 50, least)).toBe(0)
})

test('every wait is a finite number within the limit', () => {
  const backoff = fc.record({
    baseMs: fc.nat(1e6),
    maxMs: fc.nat(1e9),
    factor: fc.double({ min: 1, max: 10, noNaN: true }),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  fc.assert(
    fc.property(
      backoff,
      fc.nat(),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (b, n, float) => {
        const waitMs = backoffMs(b, n, { float: () => float })
        expect(waitMs).toBeGreaterThanOrEqual(0)
        expect(waitMs).toBeLessThanOrEqual(b.maxMs)
      },
    ),
  )
  expect(() => backoffMs({ baseMs: 1, maxMs: 1 }, -1, least)).toThrow('not negative')
})
