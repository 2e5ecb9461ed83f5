import type { Clock } from '../../util/clock.js'

/** The age at which something is fetched again, so that what a provider withdrew is not believed for long. */
const FRESH_MS = 10 * 60_000
/** The shortest time between two attempts: what clients ask for must not make this node a nuisance to the provider. */
const PAUSE_MS = 15_000

/** Fetches something again when it is old or when somebody asks for it, one attempt at a time. */
export class Refresher {
  #fetchedMs = Number.NEGATIVE_INFINITY
  #triedMs = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | undefined

  /** @param fetch never rejects; returns whether it got all that it wanted */
  constructor(
    private readonly clock: Clock,
    private readonly fetch: () => Promise<boolean>,
  ) {}

  /** How long ago all of it was fetched, in ms. */
  ageMs(): number {
    return this.clock.monotonicMs() - this.#fetchedMs
  }

  isFresh(): boolean {
    return this.ageMs() < FRESH_MS
  }

  /** Resolves when an attempt has ended that is under way or began now; at once if the last one was a moment ago. */
  refresh(): Promise<void> {
    if (this.#fetching) return this.#fetching
    const nowMs = this.clock.monotonicMs()
    if (nowMs - this.#triedMs < PAUSE_MS) return Promise.resolve()
    this.#triedMs = nowMs
    this.#fetching = this.#attempt().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #attempt(): Promise<void> {
    if (await this.fetch()) this.#fetchedMs = this.clock.monotonicMs()
  }
}
