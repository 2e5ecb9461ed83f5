import { expect, test, vi } from 'vitest'
import { sleep } from '../util/clock.js'
import { realClock } from './clock-and-random.js'

test('work that gives way goes on in another turn of the event loop, however long it took', async () => {
  let turn = 0
  let isOver = false
  const count = () => {
    turn++
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  for (let i = 0; i < 20; i++) {
    const before = turn
    const next = sleep(realClock, 0)
    // Longer than the shortest timer: that would be due when this ends.
    for (const startMs = performance.now(); performance.now() - startMs < 3; );
    await next
    expect(turn).toBeGreaterThan(before)
  }
  isOver = true
})

test('a timer of no time can be cancelled', async () => {
  let hasRun = false
  realClock
    .after(0, () => {
      hasRun = true
    })
    .cancel()
  await sleep(realClock, 0)
  await sleep(realClock, 5)
  expect(hasRun).toBe(false)
})

test('a wait of more than 25 days, the longest that Node knows, lasts as long, and can be cancelled in each part', () => {
  const day = 86_400_000
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    let ran = 0
    realClock.after(60 * day, () => ran++)
    const cancelled = realClock.after(60 * day, () => ran++)
    vi.advanceTimersByTime(59 * day)
    expect(ran).toBe(0)
    cancelled.cancel()
    vi.advanceTimersByTime(2 * day)
    expect(ran).toBe(1)
    expect(vi.getTimerCount()).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})
