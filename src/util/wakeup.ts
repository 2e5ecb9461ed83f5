import type { Clock } from './clock.js'

/** Lets background loops sleep until there is work or a time has come. */
export class Wakeup {
  readonly #waiting = new Set<() => void>()
  #wakes = 0

  constructor(private readonly clock: Clock) {}

  /** A ticket for `wait`: take it before looking for work, so that work that comes in between is not missed. */
  get ticket(): number {
    return this.#wakes
  }

  wake(): void {
    this.#wakes++
    for (const resolve of [...this.#waiting]) resolve()
  }

  /** Resolves after `maxMs` (undefined: no limit), or when `wake` was called since the ticket was taken. */
  wait(ticket: number, maxMs: number | undefined): Promise<void> {
    if (ticket !== this.#wakes || (maxMs !== undefined && maxMs <= 0)) return Promise.resolve()
    return new Promise((resolve) => {
      const done = () => {
        timer?.cancel()
        this.#waiting.delete(done)
        resolve()
      }
      const timer = maxMs === undefined ? undefined : this.clock.after(maxMs, done)
      this.#waiting.add(done)
    })
  }
}
