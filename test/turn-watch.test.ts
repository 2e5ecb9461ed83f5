import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { TurnWatch } from './support/turn-watch.js'

const watch = new TurnWatch(5)

afterEach(() => watch.stop())

test('the longest turn is told, and forgotten when it was taken', async () => {
  watch.start()
  await sleep(50)
  for (const end = performance.now() + 120; performance.now() < end; );
  await sleep(50)
  expect(watch.longestMs).toBeGreaterThanOrEqual(110)
  const longest = watch.longestMs
  expect(watch.takeLongestMs()).toBe(longest)
  expect(watch.longestMs).toBe(0)
})
