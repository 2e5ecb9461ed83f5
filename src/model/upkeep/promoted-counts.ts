import type { Db } from '../../db/db.js'
import type { LocalTable } from '../../table/local.js'
import { successor } from '../../table/row-keys.js'
import { Worker, type WorkerEnv, WorkerService } from '../../util/worker.js'
import { COUNTED_ONCE_TREE, countOnce, isTwice, type VersionCopies } from '../versions/counting.js'
import type { VersionRecord } from '../versions/record.js'

const STEP_ROWS = 256
/** Rest between two steps, in ms: bounds the walk to some ten thousand rows a second. */
const STEP_REST_MS = 20
/** Says that the walk is done; versions have longer keys. */
const DONE = Buffer.of(0)
const NOTHING = Buffer.alloc(0)
const NEVER = Number.POSITIVE_INFINITY

/**
 * Takes versions that became current again off the counters where an earlier release counted them twice: one walk over this
 * node's copy of the version table, once in the life of its database. Rows that change meanwhile are right already.
 */
export class PromotedCounts extends WorkerService {
  readonly name = 'promoted-counts'
  protected readonly worker: Worker
  /** The first row key that is still to be looked at. */
  #at: Buffer = NOTHING

  constructor(
    private readonly deps: WorkerEnv & {
      db: Db
      versions: LocalTable<VersionRecord>
      copies: VersionCopies
    },
  ) {
    super()
    this.worker = new Worker(this.name, deps, () => this.#step())
  }

  /** Looks at the next rows. Returns the rest before those after them, in ms. */
  async #step(): Promise<number> {
    const { db, versions, copies } = this.deps
    if (db.has(COUNTED_ONCE_TREE, DONE)) return NEVER
    const twice: VersionRecord[] = []
    let rows = 0
    let last: Buffer | undefined
    for (const { rowKey, head } of versions.walk(db, { start: this.#at, limit: STEP_ROWS })) {
      rows++
      last = rowKey
      const version = versions.codec.decodeStored(head, () => undefined)
      if (isTwice(copies.currentStored(db, version.bucket, version.key), version)) twice.push(version)
    }
    const isEnd = rows < STEP_ROWS
    await db.transact((tx) => {
      for (const { bucket, key } of twice) countOnce(tx, copies, bucket, key)
      if (isEnd) tx.put(COUNTED_ONCE_TREE, DONE, NOTHING)
    }, twice.length)
    if (isEnd) return NEVER
    this.#at = successor(last!)
    return STEP_REST_MS
  }
}
