import type { Clock, Timer } from '../util/clock.js'

/** Calls `onExpire` once, when `timeoutMs` went by since it was made or last touched. */
export class Deadline {
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #onExpire: () => void
  #timer: Timer | undefined
  #lastMs: number

  constructor(clock: Clock, timeoutMs: number, onExpire: () => void) {
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#onExpire = onExpire
    this.#lastMs = clock.monotonicMs()
    this.#arm(timeoutMs)
  }

  /** Starts the time anew. Cheap: the timer finds out when it fires. */
  touch(): void {
    this.#lastMs = this.#clock.monotonicMs()
  }

  cancel(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #arm(delayMs: number): void {
    this.#timer = this.#clock.after(delayMs, () => {
      if (this.#timer === undefined) return
      const leftMs = this.#timeoutMs - (this.#clock.monotonicMs() - this.#lastMs)
      // Timers may fire up to a millisecond early by the monotonic clock.
      if (leftMs > 1) return this.#arm(leftMs)
      this.#timer = undefined
      this.#onExpire()
    })
  }
}
