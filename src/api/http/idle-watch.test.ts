import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ManualClock } from '../../../testing/cluster-fakes.js'
import { type Idle, IdleWatch } from './idle-watch.js'

const TIMEOUT_MS = 8_000

class Wait implements Idle {
  lastMs = 0
  place = -1
  ends = 0
  /** Waits that end when this one does. */
  also: Wait[] = []

  constructor(private readonly watch: IdleWatch) {}

  onIdle(): void {
    this.ends++
    for (const other of this.also) this.watch.remove(other)
  }
}

test('in any order of beginnings and ends, those who were silent for too long end once, and no others', async () => {
  const step = fc.record({ wait: fc.nat(7), what: fc.constantFrom('add', 'remove', 'sign', 'time') })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = new ManualClock()
      const watch = new IdleWatch(clock, TIMEOUT_MS)
      const waits = Array.from({ length: 8 }, () => new Wait(watch))
      const since = new Map<Wait, number>()
      const ends = new Map<Wait, number>()
      for (const { wait: index, what } of steps) {
        const wait = waits[index]!
        if (what === 'add') {
          watch.add(wait)
          since.set(wait, clock.monotonicMs())
        } else if (what === 'remove') {
          watch.remove(wait)
          since.delete(wait)
        } else if (what === 'sign') {
          wait.lastMs = clock.monotonicMs()
          if (since.has(wait)) since.set(wait, wait.lastMs)
        } else await clock.advance(1_000)
        for (const other of waits) {
          const before = ends.get(other) ?? 0
          if (other.ends === before) {
            const waited = clock.monotonicMs() - (since.get(other) ?? clock.monotonicMs())
            expect(waited).toBeLessThan(TIMEOUT_MS * 1.25 + 1)
            continue
          }
          expect(other.ends).toBe(before + 1)
          expect(clock.monotonicMs() - since.get(other)!).toBeGreaterThanOrEqual(TIMEOUT_MS)
          ends.set(other, other.ends)
          since.delete(other)
        }
      }
    }),
  )
})

test('a wait that ends by the end of another one is not told of its own', async () => {
  const clock = new ManualClock()
  const watch = new IdleWatch(clock, TIMEOUT_MS)
  const [first, second, third] = [new Wait(watch), new Wait(watch), new Wait(watch)]
  first.also = [second]
  for (const wait of [first, second, third]) watch.add(wait)
  await clock.advance(TIMEOUT_MS * 1.25)
  expect([first.ends, second.ends, third.ends]).toEqual([1, 0, 1])
})
