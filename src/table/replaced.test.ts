import { expect, it } from 'vitest'
import { ManualClock } from '../../testing/cluster-fakes.js'
import { ReplacedRows } from './replaced.js'

const hash = (n: number) => Buffer.alloc(16, n)

it('remembers replaced rows for a while', async () => {
  const clock = new ManualClock()
  const replaced = new ReplacedRows(clock)
  expect(replaced.has(hash(1))).toBe(false)
  replaced.add(hash(1))
  await clock.advance(14_000)
  replaced.add(hash(2))
  expect(replaced.has(hash(1))).toBe(true)
  await clock.advance(14_000)
  replaced.add(hash(3))
  expect([1, 2, 3].map((n) => replaced.has(hash(n)))).toEqual([false, true, true])
})

it('says that it does not know after it had to forget', async () => {
  const clock = new ManualClock()
  const replaced = new ReplacedRows(clock, 2)
  for (const n of [1, 2, 3]) replaced.add(hash(n))
  expect([1, 2, 3, 4].map((n) => replaced.has(hash(n)))).toEqual([undefined, true, true, undefined])
  await clock.advance(16_000)
  expect(replaced.has(hash(4))).toBe(false)
})
