import type { Clock } from './clock.js'
import { errorCode } from './errors.js'
import type { Log } from './log.js'
import type { Service } from './service.js'

/** Wait after a run that failed, in ms. */
const FAILED_WAIT_MS = 10_000

/** How a background loop fares since the start of the process. */
export interface WorkerStats {
  /** Whether a run is under way. */
  busy: boolean
  errors: number
  /** Failed runs since the last one that went through. */
  consecutiveErrors: number
  lastError: { message: string; atMs: number } | undefined
}

/**
 * A background loop: runs `work` again and again, one run at a time, after the delay in ms that the run before
 * returned, or at once when woken.
 */
export class Worker implements Service {
  #stopped: AbortController | undefined
  #loop: Promise<void> | undefined
  #wakeUp: (() => void) | undefined
  #woken = false
  readonly #stats: WorkerStats = { busy: false, errors: 0, consecutiveErrors: 0, lastError: undefined }

  constructor(
    readonly name: string,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly work: (signal: AbortSignal) => Promise<number>,
  ) {}

  stats(): WorkerStats {
    return { ...this.#stats }
  }

  start(): void {
    if (this.#loop) return
    this.#stopped = new AbortController()
    this.#loop = this.#run(this.#stopped.signal)
  }

  /** Ends the current wait, or makes the wait after the current run none. */
  wake(): void {
    this.#woken = true
    this.#wakeUp?.()
  }

  async stop(): Promise<void> {
    this.#stopped?.abort(new Error('stopped'))
    this.#wakeUp?.()
    await this.#loop
    this.#loop = undefined
  }

  async #run(signal: AbortSignal): Promise<void> {
    let delayMs = 0
    for (;;) {
      if (!signal.aborted) await this.#wait(delayMs)
      if (signal.aborted) return
      const stats = this.#stats
      stats.busy = true
      try {
        delayMs = await this.work(signal)
        stats.consecutiveErrors = 0
      } catch (error) {
        if (signal.aborted || errorCode(error) === 'Closed') return
        stats.errors++
        stats.consecutiveErrors++
        const message = error instanceof Error ? error.message : String(error)
        stats.lastError = { message, atMs: this.clock.nowMs() }
        this.log.warn({ worker: this.name, error }, 'background work failed, to be tried again')
        delayMs = FAILED_WAIT_MS
      } finally {
        stats.busy = false
      }
    }
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.clock.after(this.#woken ? 0 : delayMs, () => this.#wakeUp?.())
      this.#wakeUp = () => {
        this.#wakeUp = undefined
        this.#woken = false
        timer.cancel()
        resolve()
      }
    })
  }
}
