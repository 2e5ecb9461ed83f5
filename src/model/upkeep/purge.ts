import type { Db, Tx } from '../../db/db.js'
import { prefixEnd } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import type { WorkerEnv } from '../../util/worker.js'
import { type BlockListRow, deletedBlockList } from '../content/block-lists.js'
import { deletedPart, type PartRow } from '../uploads/tables.js'
import { DUE_BYTES, DueQueue } from './due-queue.js'

export const PURGE_TREE = 'model:purge'

type Kind = 'lists' | 'parts'

/** Rows deleted per transaction: a list row carries up to 1024 references. */
const ROWS_PER_STEP = 32

/** How long the lists of a version are kept after it went, in ms, as its blocks are: for those who are reading it. */
export const LISTS_GRACE_MS = 600_000

/**
 * Deletes, in small steps, the rows that a deleted version or upload leaves behind: parts at once, lists after a grace.
 * Each replica does so on its own copy: the queue entry is written in the transaction in which the owner went away
 * there. [due u48 ms][kind u8][bucket][owner] → nothing
 */
export class Purge extends DueQueue {
  constructor(
    private readonly deps: WorkerEnv & {
      db: Db
      lists: Table<BlockListRow>
      parts: Table<PartRow>
      /** Default: LISTS_GRACE_MS. */
      listsGraceMs?: number | undefined
    },
  ) {
    super('purge', PURGE_TREE, deps)
  }

  /** In the owner's transaction: its rows are to be deleted. @param owner version or part id ('lists'), upload id ('parts') */
  enqueue(tx: Tx, kind: Kind, bucket: Buffer, owner: Buffer): void {
    const { listsGraceMs = LISTS_GRACE_MS } = this.deps
    const isList = kind === 'lists'
    this.add(tx, isList ? listsGraceMs : 0, Buffer.concat([Buffer.of(isList ? 0 : 1), bucket, owner]), EMPTY)
  }

  protected async settle(key: Buffer): Promise<void> {
    const kind = key[DUE_BYTES]
    const bucket = key.subarray(DUE_BYTES + 1, DUE_BYTES + 17)
    const owner = key.subarray(DUE_BYTES + 17)
    await this.deps.db.transact((tx) => {
      const done = kind === 0 ? this.#deleteLists(tx, bucket, owner) : this.#deleteParts(tx, bucket, owner)
      if (done) tx.delete(PURGE_TREE, key)
    })
  }

  #deleteLists(tx: Tx, bucket: Buffer, owner: Buffer): boolean {
    const { local } = this.deps.lists
    const live = take(local.range(tx, bucket, { ...ownedBy(owner), onDamage: 'skip' }), (row) => !row.deleted)
    for (const row of live) local.update(tx, deletedBlockList(row))
    return live.length < ROWS_PER_STEP
  }

  #deleteParts(tx: Tx, bucket: Buffer, uploadId: Buffer): boolean {
    const { local } = this.deps.parts
    const live = take(
      local.range(tx, bucket, { ...ownedBy(uploadId), onDamage: 'skip' }),
      (row) => !row.deleted,
    )
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
