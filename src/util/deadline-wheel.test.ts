import fc from 'fast-check'
import { expect, it } from 'vitest'
import { SimClock } from '../../testing/sim-clock.js'
import { DeadlineWheel, type Due } from './deadline-wheel.js'

class Wait implements Due {
  tick = 0
  overMs: number | undefined
  constructor(
    readonly dueMs: number,
    private readonly clock: SimClock,
  ) {}
  timeOver() {
    expect(this.overMs).toBeUndefined()
    this.overMs = this.clock.monotonicMs()
  }
}

const delayMs = fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.constantFrom(250, 251, 600_000))

it('lets each deadline pass once, within a quarter of a second, unless it was taken back', async () => {
  const step = fc.record({ delayMs, cancels: fc.boolean(), pauseMs: fc.integer({ min: 0, max: 300 }) })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = new SimClock()
      const wheel = new DeadlineWheel<Wait>(clock)
      const waits: Wait[] = []
      const cancelled = new Set<Wait>()
      for (const { delayMs, cancels, pauseMs } of steps) {
        const wait = new Wait(clock.monotonicMs() + delayMs, clock)
        wheel.add(wait, delayMs)
        waits.push(wait)
        await clock.run(pauseMs)
        const first = waits.find((each) => each.overMs === undefined && !cancelled.has(each))
        if (cancels && first) {
          expect(wheel.delete(first)).toBe(true)
          expect(wheel.delete(first)).toBe(false)
          cancelled.add(first)
        }
        const open = waits.filter((each) => each.overMs === undefined && !cancelled.has(each))
        expect(new Set(wheel)).toEqual(new Set(open))
        expect(wheel.size).toBe(open.length)
      }
      await clock.run(700_000)
      expect(wheel.size).toBe(0)
      for (const wait of waits) {
        if (cancelled.has(wait)) expect(wait.overMs).toBeUndefined()
        else {
          expect(wait.overMs).toBeGreaterThanOrEqual(wait.dueMs)
          expect(wait.overMs).toBeLessThanOrEqual(wait.dueMs + 251)
        }
      }
    }),
    { numRuns: 50 },
  )
})

it('lets no more than fifty pass in one turn', async () => {
  const clock = new SimClock()
  const wheel = new DeadlineWheel<Due>(clock)
  let turn = 0
  const passed: number[] = []
  const timeOver = () => {
    passed.push(turn)
    queueMicrotask(() => turn++)
  }
  for (let i = 0; i < 1000; i++) wheel.add({ tick: 0, timeOver }, 1000 + (i % 3) * 250)
  await clock.run(3000)
  expect(passed).toHaveLength(1000)
  const most = Math.max(...[...new Set(passed)].map((each) => passed.filter((t) => t === each).length))
  expect(most).toBeLessThanOrEqual(50)
})
