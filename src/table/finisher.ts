import { type Backoff, backoffMs } from '../util/backoff.js'
import { errorCode } from '../util/errors.js'
import { Worker, WorkerService } from '../util/worker.js'
import type { TableEnv } from './env.js'

/** Rows that wait; anti-entropy brings the others again. */
const WAITING_MAX = 10_000
/** How long a row waits, in ms, and as much again at random: its own coordinator may be about to finish it. */
const LINGER_MS = 200
const BACKOFF: Backoff = { baseMs: 1_000, maxMs: 30_000, jitter: 1 }

interface Waiting {
  readonly rowKey: Buffer
  readonly finish: (rowKey: Buffer) => Promise<void>
}

/**
 * Finishes conditional rows that repair brought, and that a promise to somebody else kept out: it lets the replicas vote for the
 * newest row again, under a new ballot, so that all of them can take it.
 */
export class Finisher extends WorkerService {
  readonly name = 'table-finish'
  protected readonly worker: Worker
  readonly #waiting = new Map<string, Waiting>()
  #failures = 0

  constructor(private readonly env: TableEnv) {
    super()
    const options = { queueLength: () => this.#waiting.size, lingerMs: LINGER_MS }
    this.worker = new Worker(this.name, env, (signal) => this.#work(signal), options)
  }

  /** @param table the name, to tell rows apart */
  add(table: string, rowKey: Buffer, finish: (rowKey: Buffer) => Promise<void>): void {
    const id = `${table}\0${rowKey.toString('latin1')}`
    if (this.#waiting.has(id) || this.#waiting.size >= WAITING_MAX) return
    this.#waiting.set(id, { rowKey: Buffer.from(rowKey), finish })
    this.worker.wake()
  }

  async #work(signal: AbortSignal): Promise<number> {
    const { log, random } = this.env
    let failed = 0
    for (const [id, { rowKey, finish }] of [...this.#waiting]) {
      if (signal.aborted) return 0
      try {
        await finish(rowKey)
        this.#waiting.delete(id)
      } catch (error) {
        const code = errorCode(error)
        if (code === 'Closed') throw error
        // A node without a role coordinates nothing; others will.
        if (code === 'LayoutNotReady' || code === 'NotSupported') this.#waiting.delete(id)
        else failed++
        log.debug({ error }, 'a conditional write that others left is not finished yet')
      }
    }
    if (failed === 0) this.#failures = 0
    if (this.#waiting.size === 0) return Number.POSITIVE_INFINITY
    return failed > 0 ? backoffMs(BACKOFF, this.#failures++, random) : 0
  }
}
