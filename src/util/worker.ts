import { type Backoff, backoffMs } from './backoff.js'
import { type Clock, sleep } from './clock.js'
import { errorCode, messageOf } from './errors.js'
import type { Log } from './log.js'
import type { Random } from './random.js'
import type { Service } from './service.js'
import { sharedAbortController } from './shared-abort.js'

/** The waits after runs that failed, unless the worker has others. */
const BACKOFF: Backoff = { baseMs: 1_000, maxMs: 60_000 }

/** How a background worker fares since the start of the process. */
export interface WorkerStats {
  /** Whether a run is under way. */
  busy: boolean
  /** How many pieces of work wait; undefined where there is no queue. */
  queueLength: number | undefined
  errors: number
  /** Failed runs since the last one that went through. */
  consecutiveErrors: number
  lastError: { message: string; atMs: number } | undefined
}

export interface WorkerEnv {
  clock: Clock
  random: Random
  log: Log
}

export interface WorkerOptions {
  /** How many pieces of work wait. */
  queueLength?: () => number
  /** The waits after runs that failed. */
  backoff?: Backoff
  /** The wait before the first run, in ms. */
  startDelayMs?: number
  /** How long the worker rests when it was woken, in ms, plus as much again at random, so that work gathers. */
  lingerMs?: number
}

/**
 * A background worker: runs `work` again and again, one run at a time. A run returns after how many ms the next one
 * shall begin, at the latest; Infinity waits until the worker is woken. A run that throws is logged, counted, and
 * tried again after a wait that grows with each failure.
 */
export class Worker implements Service {
  #stopped: AbortController | undefined
  #loop: Promise<void> | undefined
  #endWait: (() => void) | undefined
  #woken = false
  readonly #stats = {
    busy: false,
    errors: 0,
    consecutiveErrors: 0,
    lastError: undefined as WorkerStats['lastError'],
  }

  constructor(
    readonly name: string,
    private readonly env: WorkerEnv,
    private readonly work: (signal: AbortSignal) => Promise<number>,
    private readonly options: WorkerOptions = {},
  ) {}

  stats(): WorkerStats {
    return { ...this.#stats, queueLength: this.options.queueLength?.() }
  }

  start(): void {
    if (this.#loop) return
    this.#stopped = sharedAbortController()
    this.#loop = this.#run(this.#stopped.signal)
  }

  /** Ends the current wait; during a run, makes the wait after it none. */
  wake(): void {
    this.#woken = true
    this.#endWait?.()
  }

  /** Ends the wait, or tells the run under way by its signal to end, and waits for that. */
  async stop(): Promise<void> {
    this.#stopped?.abort(new Error('stopped'))
    this.#endWait?.()
    await this.#loop
    this.#loop = undefined
  }

  async #run(signal: AbortSignal): Promise<void> {
    let delayMs = this.options.startDelayMs ?? 0
    for (;;) {
      if (!signal.aborted) await this.#wait(delayMs, signal)
      if (signal.aborted) return
      const stats = this.#stats
      stats.busy = true
      try {
        delayMs = await this.work(signal)
        stats.consecutiveErrors = 0
      } catch (error) {
        if (signal.aborted || errorCode(error) === 'Closed') return
        delayMs = backoffMs(this.options.backoff ?? BACKOFF, stats.consecutiveErrors, this.env.random)
        stats.errors++
        stats.consecutiveErrors++
        const message = messageOf(error)
        stats.lastError = { message, atMs: this.env.clock.nowMs() }
        this.env.log.warn(
          { worker: this.name, error, waitMs: delayMs },
          'background work failed, to be tried again',
        )
      } finally {
        stats.busy = false
      }
    }
  }

  /** Waits for the delay or a wake-up, whichever comes first, and after a wake-up lingers. */
  async #wait(delayMs: number, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.env
    await new Promise<void>((resolve) => {
      const waitMs = this.#woken ? 0 : delayMs
      const timer = Number.isFinite(waitMs) ? clock.after(waitMs, () => this.#endWait?.()) : undefined
      this.#endWait = () => {
        this.#endWait = undefined
        timer?.cancel()
        resolve()
      }
    })
    const lingerMs = this.#woken ? (this.options.lingerMs ?? 0) : 0
    if (lingerMs > 0) await sleep(clock, lingerMs * (1 + random.float()), signal).catch(() => {})
    this.#woken = false
  }
}

/** A service that is a background worker, beside whatever else it can do. */
export abstract class WorkerService implements Service {
  abstract readonly name: string
  protected abstract readonly worker: Worker

  start(): void {
    this.worker.start()
  }

  stop(): Promise<void> {
    return this.worker.stop()
  }

  workerStats(): WorkerStats {
    return this.worker.stats()
  }
}
