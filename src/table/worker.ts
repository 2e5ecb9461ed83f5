import type { Clock } from '../util/clock.js'
import { errorCode } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Service } from '../util/service.js'

/** Wait after a run that failed, in ms. */
const FAILED_WAIT_MS = 10_000

/**
 * A background loop: runs `work` again and again, one run at a time, after the delay in ms that the run before
 * returned, or at once when woken.
 */
export class Worker implements Service {
  #stopped: AbortController | undefined
  #loop: Promise<void> | undefined
  #wakeUp: (() => void) | undefined
  #woken = false

  constructor(
    readonly name: string,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly work: (signal: AbortSignal) => Promise<number>,
  ) {}

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
      try {
        delayMs = await this.work(signal)
      } catch (error) {
        if (signal.aborted || errorCode(error) === 'Closed') return
        this.log.warn({ worker: this.name, error }, 'background work failed, to be tried again')
        delayMs = FAILED_WAIT_MS
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
