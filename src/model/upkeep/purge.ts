import type { Db, Reader, Tx } from '../../db/db.js'
import type { LocalTable } from '../../table/local.js'
import { prefixEnd } from '../../table/row-keys.js'
import { errorCode } from '../../util/errors.js'
import type { WorkerEnv } from '../../util/worker.js'
import { deletedBlockList } from '../content/block-lists.js'
import { bucketPartition } from '../sort-keys.js'
import { deletedPart } from '../uploads/tables.js'
import { DUE_BYTES, DueQueue } from './due-queue.js'
import { LIST_OWNERS, type Owners, type OwnerTables, PART_OWNERS } from './referrers.js'

export const PURGE_TREE = 'model:purge'

type Kind = 'lists' | 'parts'

/** Rows deleted per transaction: a list row carries up to 1024 references. */
const ROWS_PER_STEP = 32

/** How long the lists of a version are kept after it went, in ms, as its blocks are: for those who are reading it. */
export const LISTS_GRACE_MS = 600_000

/** How soon a quorum is asked again for an owner if none tells, in ms. */
const AGAIN_MS = 60_000

/**
 * Deletes, in small steps, the rows that a deleted version or upload leaves behind: parts at once, lists after a grace.
 * Each replica does so on its own copy: the queue entry is written in the transaction in which the owner went away
 * there. What this copy alone knows may be lost with it, while others go on without: so a quorum is asked for the owner before.
 * [due u48 ms][kind u8][bucket][owner] → nothing
 */
export class Purge extends DueQueue {
  constructor(
    private readonly deps: WorkerEnv & {
      db: Db
      tables: OwnerTables
      /** Whether this node has a copy of a partition, which it is to keep. */
      holds: (partition: number) => boolean
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
    const { db, log } = this.deps
    const kind: Kind = key[DUE_BYTES] === 0 ? 'lists' : 'parts'
    const bucket = key.subarray(DUE_BYTES + 1, DUE_BYTES + 17)
    const owner = key.subarray(DUE_BYTES + 17)
    const rows = this.#rowsOf(kind, bucket, owner)
    let fate: Fate
    try {
      fate = await rows.ownersFate(db)
    } catch (error) {
      if (errorCode(error) === 'Closed') throw error
      log.debug({ error, kind }, 'no quorum tells whether the owner of rows is gone; they stay for now')
      fate = 'undecided'
    }
    if (fate !== 'gone') {
      await db.transact((tx) => {
        tx.delete(PURGE_TREE, key)
        if (fate === 'undecided') this.add(tx, AGAIN_MS, key.subarray(DUE_BYTES), EMPTY)
      })
      return
    }
    let isDone = false
    const deleteSome = (tx: Tx) => {
      isDone = rows.deleteSome(tx)
      if (isDone) tx.delete(PURGE_TREE, key)
    }
    do await db.transact(deleteSome)
    while (!isDone)
  }

  #rowsOf(kind: Kind, bucket: Buffer, owner: Buffer): OwnedRows {
    const { list, part } = this.deps.tables
    return kind === 'lists'
      ? this.#ownedRows(list.local, bucket, owner, deletedBlockList, LIST_OWNERS)
      : this.#ownedRows(part.local, bucket, owner, deletedPart, PART_OWNERS)
  }

  #ownedRows<E extends { deleted: boolean }>(
    local: LocalTable<E>,
    bucket: Buffer,
    owner: Buffer,
    tombstoneOf: (row: E) => E,
    owners: Owners<E>,
  ): OwnedRows {
    const { tables, holds } = this.deps
    const live = (reader: Reader, limit: number) =>
      take(local.range(reader, bucket, { ...ownedBy(owner), onDamage: 'skip' }), limit, (row) => !row.deleted)
    return {
      async ownersFate(reader) {
        const [first] = live(reader, 1)
        if (!first || !(await owners.isThere(tables, first))) return 'gone'
        // What hid the owner here for a while is gone with this node's copy.
        const isLeft = !holds(bucketPartition(bucket))
        return isLeft || owners.isHere(reader, tables, first) ? 'there' : 'undecided'
      },
      deleteSome(tx) {
        const rows = live(tx, ROWS_PER_STEP)
        for (const row of rows) local.update(tx, tombstoneOf(row))
        return rows.length < ROWS_PER_STEP
      },
    }
  }
}

/** What became of an owner: 'undecided' while a quorum has it, and this copy has a change that the others will hear of. */
type Fate = 'gone' | 'there' | 'undecided'

interface OwnedRows {
  /** @throws CarportError if no quorum tells */
  ownersFate(reader: Reader): Promise<Fate>
  /** Deletes the next rows; returns whether none is left. */
  deleteSome(tx: Tx): boolean
}

const EMPTY = Buffer.alloc(0)

function ownedBy(owner: Buffer): { start: Buffer; end?: Buffer } {
  const end = prefixEnd(owner)
  return end ? { start: owner, end } : { start: owner }
}

/** The first rows that qualify, gathered before any is changed. */
function take<T>(rows: Iterable<T>, limit: number, wanted: (row: T) => boolean): T[] {
  const found: T[] = []
  for (const row of rows) {
    if (!wanted(row)) continue
    found.push(row)
    if (found.length === limit) break
  }
  return found
}
