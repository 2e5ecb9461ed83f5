import type { Db, TreeName, Tx } from '../../db/db.js'
import { Worker, type WorkerEnv, WorkerService } from '../../util/worker.js'

/** The longest time between two looks at the queue, in ms: the clock may be set, or its doubt may end, meanwhile. */
const POLL_MS = 60_000
/** Length of the time that a key begins with. */
export const DUE_BYTES = 6

/**
 * A background service that works off a tree of the node's own, one entry after the other as each gets due:
 * [due u48 ms][name] → value. While the clock is in doubt, nobody knows what is due, and it rests.
 */
export abstract class DueQueue extends WorkerService {
  protected readonly worker: Worker
  readonly #wake = () => this.worker.wake()

  constructor(
    readonly name: string,
    private readonly tree: TreeName,
    private readonly env: WorkerEnv & { db: Db },
  ) {
    super()
    this.worker = new Worker(name, env, (signal) => this.#drain(signal), {
      queueLength: () => this.backlog,
    })
  }

  /** Does what an entry that is due asks for. It stays, and comes again at once, unless this deletes its key. */
  protected abstract settle(key: Buffer): Promise<void>

  /** Entries that wait, also for their time. */
  get backlog(): number {
    return this.env.db.count(this.tree)
  }

  /** How long the oldest entry has been due, in ms; 0 if none is. */
  overdueMs(): number {
    const [entry] = this.env.db.keys(this.tree, { limit: 1 })
    return entry ? Math.max(0, this.env.clock.nowMs() - dueOf(entry)) : 0
  }

  /** Adds an entry that is due after `inMs`. */
  protected add(tx: Tx, inMs: number, name: Buffer, value: Buffer): void {
    const due = Buffer.allocUnsafe(DUE_BYTES)
    due.writeUIntBE(Math.ceil(this.env.clock.nowMs() + inMs), 0, DUE_BYTES)
    tx.put(this.tree, Buffer.concat([due, name]), value)
    tx.onCommit(this.#wake)
  }

  /** Settles what is due. Returns how long the next may wait, in ms. */
  async #drain(signal: AbortSignal): Promise<number> {
    const { clock, db } = this.env
    while (!signal.aborted && clock.doubt?.() === undefined) {
      const [entry] = db.keys(this.tree, { limit: 1 })
      if (!entry) break
      const waitMs = dueOf(entry) - clock.nowMs()
      if (waitMs > 0) return Math.min(waitMs, POLL_MS)
      await this.settle(Buffer.from(entry))
    }
    return POLL_MS
  }
}

function dueOf(key: Buffer): number {
  return key.readUIntBE(0, DUE_BYTES)
}
