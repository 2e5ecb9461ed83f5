import { type Backoff, backoffMs } from '../../util/backoff.js'
import type { Clock } from '../../util/clock.js'
import type { Random } from '../../util/random.js'

/** The waits after a target did not take a message. */
export const BACKOFF: Backoff = { baseMs: 1_000, maxMs: 5 * 60_000 }

/** What a node knows of a target of events since its start. */
export class TargetState {
  /** Whether so many events wait for it that new ones are dropped. */
  isFull = false
  /** How often in a row it took nothing. */
  #failures = 0
  /** Until when it is left alone, monotonic ms. */
  #pausedUntilMs = Number.NEGATIVE_INFINITY

  constructor(private readonly env: { clock: Clock; random: Random }) {}

  /** How long it is left alone yet, in ms; 0 if it may be tried. */
  pauseMs(): number {
    return Math.max(0, this.#pausedUntilMs - this.env.clock.monotonicMs())
  }

  /** It took nothing: it is left alone for a while, whatever comes for it. Returns how long, in ms. */
  pause(): number {
    const { clock, random } = this.env
    const waitMs = backoffMs(BACKOFF, this.#failures++, random)
    this.#pausedUntilMs = clock.monotonicMs() + waitMs
    return waitMs
  }

  /** It took something. */
  works(): void {
    this.#failures = 0
  }
}
