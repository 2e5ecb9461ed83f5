import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'

/** How often the loop is looked at, in ms: each look wakes an idle process for some microseconds. */
const RESOLUTION_MS = 20

/**
 * Watches how long turns of the event loop take: while one lasts, nobody else is served. A turn is told up to the resolution
 * too short, never too long.
 */
export class TurnWatch {
  readonly #histogram: IntervalHistogram

  constructor(private readonly resolutionMs = RESOLUTION_MS) {
    this.#histogram = monitorEventLoopDelay({ resolution: resolutionMs })
  }

  start(): void {
    this.#histogram.enable()
  }

  stop(): void {
    this.#histogram.disable()
  }

  /** The longest turn since the last call, in ms; 0 if none was longer than the resolution. */
  takeLongestMs(): number {
    const longestMs = this.longestMs
    this.#histogram.reset()
    return longestMs
  }

  /** The longest turn since the start or the last `takeLongestMs`, in ms. */
  get longestMs(): number {
    return this.#histogram.count === 0 ? 0 : Math.max(0, this.#histogram.max / 1e6 - this.resolutionMs)
  }
}
