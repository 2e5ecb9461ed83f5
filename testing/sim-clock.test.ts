import { expect, it } from 'vitest'
import { sleep } from '../src/util/clock.js'
import { SeededRandom } from './seeded-random.js'
import { SimClock } from './sim-clock.js'

it('runs timers in the order of time and creation, and promises between them', async () => {
  const clock = new SimClock(1000)
  const seen: string[] = []
  const note = (text: string) => seen.push(`${clock.monotonicMs()} ${text}`)
  clock.after(20, () => note('c'))
  clock.after(10, () => {
    note('a')
    void (async () => {
      for (let i = 0; i < 5; i++) await undefined
      note('a, five turns later')
      await sleep(clock, 0)
      note('a, slept')
    })()
  })
  clock.after(10, () => note('b'))
  clock.after(15, () => note('never')).cancel()
  clock.after(31, () => note('too late'))
  expect(clock.pending).toBe(4)
  await clock.run(30)
  expect(clock.pending).toBe(1)
  expect(seen).toEqual(['10 a', '10 a, five turns later', '10 b', '10 a, slept', '20 c'])
  expect(clock.nowMs()).toBe(1030)
  expect(clock.monotonicMs()).toBe(30)
})

it('orders many timers', async () => {
  const clock = new SimClock()
  const random = new SeededRandom(1)
  const times: number[] = []
  for (let i = 0; i < 500; i++) clock.after(random.below(100), () => times.push(clock.monotonicMs()))
  await clock.run(100)
  expect(times).toHaveLength(500)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
})

it('runs until a promise settles, and says when it does not', async () => {
  const clock = new SimClock()
  expect(
    await clock.runUntil(
      clock.sleep(50).then(() => 'done'),
      100,
    ),
  ).toBe('done')
  expect(clock.monotonicMs()).toBe(50)
  await expect(
    clock.runUntil(
      clock.sleep(50).then(() => Promise.reject(new Error('no'))),
      100,
    ),
  ).rejects.toThrow('no')
  await expect(clock.runUntil(new Promise(() => {}), 100)).rejects.toThrow('not settled')
})

it('gives each node a wall clock of its own, and stops its timers when it crashes', async () => {
  const clock = new SimClock(1000)
  const node = clock.skewed(-400)
  let fired = 0
  node.after(10, () => fired++)
  node.after(20, () => fired++)
  await clock.run(15)
  expect([node.nowMs(), node.monotonicMs(), fired]).toEqual([615, 15, 1])
  node.offsetMs = 100
  expect(node.nowMs()).toBe(1115)
  node.stop()
  node.after(1, () => fired++)
  await clock.run(100)
  expect(fired).toBe(1)
})

it('draws the same numbers from the same seed, evenly, and forks independently', () => {
  const draw = (random: SeededRandom) => Array.from({ length: 5 }, () => random.float())
  expect(draw(new SeededRandom(7))).toEqual(draw(new SeededRandom(7)))
  expect(draw(new SeededRandom(7))).not.toEqual(draw(new SeededRandom(8)))
  const used = new SeededRandom(7)
  draw(used)
  expect(draw(used.fork('x'))).toEqual(draw(new SeededRandom(7).fork('x')))
  expect(draw(used.fork('x'))).not.toEqual(draw(used.fork('y')))
  const random = new SeededRandom(3)
  const counts = new Array<number>(10).fill(0)
  for (let i = 0; i < 10_000; i++) counts[random.below(10)]!++
  expect(Math.min(...counts)).toBeGreaterThan(880)
  expect(Math.max(...counts)).toBeLessThan(1120)
  expect(random.bytes(7)).toHaveLength(7)
})
