import { expect, test } from 'vitest'
import { ManualClock } from '../../testing/cluster-fakes.js'
import { LinkPulse } from './link-pulse.js'

/** The time, in ms, after which a peer that never answers is given up. */
async function silentAfterMs(timeoutMs?: number): Promise<number> {
  const clock = new ManualClock()
  let silent = false
  const pulse = new LinkPulse(clock, { ping: () => {}, onSilent: () => (silent = true) }, timeoutMs)
  pulse.start()
  let waitedMs = 0
  for (; !silent && waitedMs < 100_000; waitedMs += 100) await clock.advance(100)
  pulse.stop()
  return waitedMs
}

test.each([
  [undefined, 6000, 8100],
  [600, 600, 1000],
  [5000, 5000, 7000],
  [30_000, 30_000, 32_100],
])(
  'with a ping timeout of %s ms a silent peer is given up after %i to %i ms',
  async (timeoutMs, min, max) => {
    const waitedMs = await silentAfterMs(timeoutMs)
    expect(waitedMs).toBeGreaterThanOrEqual(min)
    expect(waitedMs).toBeLessThanOrEqual(max)
  },
)
