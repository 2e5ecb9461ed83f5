/** A pending timer. `cancel` is idempotent and may be called after it fired. */
export interface Timer {
  cancel(): void
}

/**
 * The only source of time below src/platform, which has the real one; testing/ has a simulated one.
 */
export interface Clock {
  /** Wall-clock time in milliseconds since the epoch. It may jump. */
  nowMs(): number
  /** Milliseconds from an arbitrary start; never goes back. Use it for time-outs and durations. */
  monotonicMs(): number
  /** Calls `fn` once, after at least `delayMs`. A pending timer does not keep a process alive. */
  after(delayMs: number, fn: () => void): Timer
}

/** Resolves after `delayMs`, or rejects with the signal's reason as soon as `signal` aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const onAbort = () => {
      timer.cancel()
      reject(signal!.reason)
    }
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** How far in the future, in microseconds, a peer's time may be before it is ignored: a day. */
const MAX_AHEAD_US = 24 * 3600 * 1e6

/**
 * Hybrid logical clock (Kulkarni et al., 2014) folded into one integer: microseconds since the epoch,
 * moved ahead of the wall clock when events come faster or a peer is ahead. Fits a double until 2255.
 */
export class Hlc {
  #lastUs = 0

  constructor(private readonly clock: Clock) {}

  /** A timestamp in microseconds, greater than every one returned or observed before on this node. */
  now(): number {
    const wallUs = this.clock.nowMs() * 1000
    this.#lastUs = wallUs > this.#lastUs ? Math.floor(wallUs) : this.#lastUs + 1
    return this.#lastUs
  }

  /** Takes note of a peer's timestamp, unless it is so far ahead that the peer's clock must be broken. */
  observe(peerUs: number): void {
    if (peerUs > this.#lastUs && peerUs < this.clock.nowMs() * 1000 + MAX_AHEAD_US) this.#lastUs = peerUs
  }

  /** A timestamp greater than `us`, however far ahead it is: the time for a writer that lost to a later row. */
  after(us: number): number {
    const now = this.now()
    if (now > us) return now
    this.observe(us)
    return us + 1
  }
}
