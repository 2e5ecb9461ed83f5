import type { Clock } from '../../../util/clock.js'
import { CarportError, messageOf } from '../../../util/errors.js'
import type { Log } from '../../../util/log.js'

/** The progress of a repair; `done` runs from 0 to 1 and is undefined if the repair cannot tell. */
export interface RunProgress {
  checked: number
  changed: number
  done: number | undefined
}

export interface RepairRun {
  name: string
  state: 'busy' | 'done'
  /** When it was started, by the monotonic clock, in ms. */
  startedMs: number
  progress: RunProgress
  error: { message: string; atMs: number } | undefined
}

/**
 * The repairs that an operator started on this node: each kind runs once at a time, and its last run is
 * remembered.
 */
export class RepairRuns {
  readonly #runs = new Map<string, RepairRun>()
  readonly #abort = new AbortController()
  readonly #running = new Set<Promise<void>>()

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** In the order of their first start. */
  list(): readonly RepairRun[] {
    return [...this.#runs.values()]
  }

  /**
   * Starts a repair in the background.
   * @param work keeps `progress` up to date, and rejects with the signal's reason when it aborts
   * @throws CarportError Conflict if it runs already, Closed
   */
  start(name: string, work: (signal: AbortSignal, progress: RunProgress) => Promise<void>): void {
    const { signal } = this.#abort
    if (signal.aborted) throw signal.reason
    if (this.#runs.get(name)?.state === 'busy') {
      throw new CarportError(
        'Conflict',
        `${name} is running already: "carport worker list" shows how far it is`,
      )
    }
    const progress: RunProgress = { checked: 0, changed: 0, done: undefined }
    const startedMs = this.clock.monotonicMs()
    const run: RepairRun = { name, state: 'busy', startedMs, progress, error: undefined }
    this.#runs.set(name, run)
    const running = work(signal, progress)
      .then(
        () => {
          progress.done = 1
          this.log.info(
            { repair: name, checked: progress.checked, changed: progress.changed },
            'repair finished',
          )
        },
        (error: unknown) => {
          if (signal.aborted) return
          const message = messageOf(error)
          run.error = { message, atMs: this.clock.nowMs() }
          this.log.error({ repair: name, error }, 'repair failed')
        },
      )
      .finally(() => {
        run.state = 'done'
        this.#running.delete(running)
      })
    this.#running.add(running)
  }

  /** Aborts the repairs that run. */
  async stop(): Promise<void> {
    this.#abort.abort(new CarportError('Closed', 'the node is shutting down'))
    await Promise.all(this.#running)
  }
}
