import type { Db, Tx } from '../db/db.js'
import { prefixEnd } from '../table/keys.js'
import type { Table } from '../table/table.js'
import type { Clock, Timer } from '../util/clock.js'
import type { Log } from '../util/log.js'
import type { Service } from '../util/service.js'
import { deletedList, type ListRow } from './list-table.js'

import { deletedPart, type PartRow } from './upload-table.js'

export const PURGE_TREE = 'model:purge'

type Kind = 'lists' | 'parts'

/** Rows deleted per transaction: a list row carries up to 1024 references. */
const ROWS_PER_STEP = 32
const RETRY_MS = 30_000

/**
 * Deletes, in small steps, the rows that a deleted version or upload leaves behind. Each replica does so on its own
 * copy: the queue entry is written in the transaction in which the owner went away there.
 */
export class Purge implements Service {
  readonly name = 'purge'
  #running: Promise<void> | undefined
  #stopped = true
  #retry: Timer | undefined

  constructor(
    private readonly deps: {
      db: Db
      lists: Table<ListRow>
      parts: Table<PartRow>
      clock: Clock
      log: Log
    },
  ) {}

  start(): void {
    this.#stopped = false
    this.#wake()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#retry?.cancel()
    await this.#running
  }

  /** In the owner's transaction: its rows are to be deleted. @param owner version or part id ('lists'), upload id ('parts') */
  enqueue(tx: Tx, kind: Kind, bucket: Buffer, owner: Buffer): void {
    tx.put(PURGE_TREE, Buffer.concat([Buffer.from([kind === 'lists' ? 0 : 1]), bucket, owner]), EMPTY)
    tx.onCommit(() => this.#wake())
  }

  /** Entries that wait. */
  get backlog(): number {
    return this.deps.db.count(PURGE_TREE)
  }

  #wake(): void {
    if (this.#stopped || this.#running) return
    this.#running = this.#drain()
      .catch((error: unknown) => {
        this.deps.log.warn({ error: String(error) }, 'purge of deleted rows failed; trying again later')
        if (!this.#stopped) this.#retry = this.deps.clock.after(RETRY_MS, () => this.#wake())
      })
      .finally(() => {
        this.#running = undefined
      })
  }

  async #drain(): Promise<void> {
    const { db } = this.deps
    while (!this.#stopped) {
      const [entry] = db.keys(PURGE_TREE, { limit: 1 })
      if (!entry) return
      const key = Buffer.from(entry)
      const bucket = key.subarray(1, 17)
      const owner = key.subarray(17)
      await db.transact((tx) => {
        const done =
          key[0] === 0 ? this.#deleteLists(tx, bucket, owner) : this.#deleteParts(tx, bucket, owner)
        if (done) tx.delete(PURGE_TREE, key)
      })
    }
  }

  #deleteLists(tx: Tx, bucket: Buffer, owner: Buffer): boolean {
    const { local } = this.deps.lists
    const live = take(local.range(tx, bucket, ownedBy(owner)), (row) => !row.deleted)
    for (const row of live) local.update(tx, deletedList(row))
    return live.length < ROWS_PER_STEP
  }

  #deleteParts(tx: Tx, bucket: Buffer, uploadId: Buffer): boolean {
    const { local } = this.deps.parts
    const live = take(local.range(tx, bucket, ownedBy(uploadId)), (row) => !row.deleted)
    for (const row of live) local.update(tx, deletedPart(row))
    return live.length < ROWS_PER_STEP
  }
}

const EMPTY = Buffer.alloc(0)

function ownedBy(owner: Buffer): { start: Buffer; end?: Buffer } {
  const end = prefixEnd(owner)
  return end ? { start: owner, end } : { start: owner }
}

/** The first rows that qualify, gathered before any is changed. */
function take<T>(rows: Iterable<T>, wanted: (row: T) => boolean): T[] {
  const found: T[] = []
  for (const row of rows) {
    if (!wanted(row)) continue
    found.push(row)
    if (found.length === ROWS_PER_STEP) break
  }
  return found
}
