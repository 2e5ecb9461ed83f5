import type { Clock, Timer } from '../../util/clock.js'

/** Something that waits for a client. */
export interface Idle {
  /** Monotonic time of the last sign of life, in ms; the waiting code updates it. */
  lastMs: number
  /** Its place among those that wait, -1 while it does not; the watch keeps it. */
  place: number
  /** Whether the client is too slow by now, though it is not silent. */
  isTooSlow?(nowMs: number): boolean
  /** The wait took too long; called once, after the entry was removed. */
  onIdle(): void
}

const CHECK_MS_MAX = 5_000

/**
 * Ends waits for clients that neither send nor read, or do so too slowly. One timer serves all waits: it runs only while
 * there are any, and checks them four times per time-out and every five seconds, so that a wait ends after 1 to 1.25 times
 * the time-out.
 */
export class IdleWatch {
  /**
   * Not a Set: V8 makes a new table for one every few deletions, and each outgrown table refers to its successor. Once one of
   * them is old, all that come after it live until the next full collection, with the requests in them.
   */
  readonly #waiting: Idle[] = []
  #timer: Timer | undefined

  constructor(
    readonly clock: Clock,
    readonly timeoutMs: number,
  ) {}

  /** Begins a wait. */
  add(entry: Idle): void {
    entry.lastMs = this.clock.monotonicMs()
    if (entry.place < 0) entry.place = this.#waiting.push(entry) - 1
    if (this.#timer === undefined) this.#schedule()
  }

  /** Ends a wait; nothing happens if there is none. */
  remove(entry: Idle): void {
    const { place } = entry
    if (place < 0) return
    entry.place = -1
    const last = this.#waiting.pop()!
    if (last === entry) return
    this.#waiting[place] = last
    last.place = place
  }

  #schedule(): void {
    this.#timer = this.clock.after(Math.min(this.timeoutMs / 4, CHECK_MS_MAX), () => {
      this.#timer = undefined
      const nowMs = this.clock.monotonicMs()
      const limit = nowMs - this.timeoutMs
      for (const entry of [...this.#waiting]) {
        if (entry.place < 0) continue // Another one's end has ended its wait.
        if (entry.lastMs > limit && entry.isTooSlow?.(nowMs) !== true) continue
        this.remove(entry)
        entry.onIdle()
      }
      if (this.#waiting.length > 0 && this.#timer === undefined) this.#schedule()
    })
  }
}
