import type { Reader, Tx } from '../db/db.js'
import type { EncodedRow, TableSchema } from '../table/schema.js'
import { assert } from '../util/assert.js'
import { CarportError } from '../util/errors.js'
import { OWNER_BYTES } from './claims.js'
import { HASH_BYTES } from './format.js'
import type { RefCounts } from './rc.js'

/** "`owner` needs this block", or, deleted, "does not any more". Deleted wins for ever. */
export interface BlockRefRow {
  hash: Buffer
  owner: Buffer
  deleted: boolean
}

/** Versions of the row's format, by which it begins: one for each state. A later format begins with 2 or more. */
const LIVE = 0
const DELETED = 1
const HEAD_BYTES = 1 + HASH_BYTES + OWNER_BYTES

/** The block_ref table: rows live on the replicas of their block, and count its references there. */
export function blockRefSchema(counts: RefCounts): TableSchema<BlockRefRow> {
  return {
    name: 'block_ref',
    placement: 'sharded',
    partitionKeyBytes: HASH_BYTES,
    partition: (hash) => hash[0]!,
    partitionKey: (row) => row.hash,
    sortKey: (row) => row.owner,
    encode: (row): EncodedRow => {
      assert(
        row.hash.length === HASH_BYTES && row.owner.length === OWNER_BYTES,
        'a reference is of a hash and an owner',
      )
      const head = Buffer.allocUnsafe(HEAD_BYTES)
      head[0] = row.deleted ? DELETED : LIVE
      row.hash.copy(head, 1)
      row.owner.copy(head, 1 + HASH_BYTES)
      return { head }
    },
    decode: (head) => {
      if (head.length !== HEAD_BYTES || head[0]! > DELETED)
        throw new CarportError('Corrupted', 'not a block_ref row')
      return {
        hash: Buffer.from(head.subarray(1, 1 + HASH_BYTES)),
        owner: Buffer.from(head.subarray(1 + HASH_BYTES)),
        deleted: head[0] === DELETED,
      }
    },
    merge: (current, incoming) => (incoming.deleted && !current.deleted ? incoming : current),
    isTombstone: (row) => row.deleted,
    onUpdate: (tx: Tx, before, after) => {
      const wasLive = before !== undefined && !before.deleted
      const isLive = after !== undefined && !after.deleted
      if (isLive && !wasLive) counts.referenced(tx, after.hash, after.owner)
      else if (wasLive && !isLive) counts.unreferenced(tx, before.hash)
      else if (!before && after?.deleted) counts.renounced(tx, after.hash, after.owner)
    },
  }
}

/** The part of the replicated table of `blockRefSchema` that the block layer needs; `Table<BlockRefRow>` has it. */
export interface BlockRefTable {
  insertMany(rows: readonly BlockRefRow[]): Promise<void>
  readonly local: {
    get(reader: Reader, partitionKey: Buffer, sortKey: Buffer): BlockRefRow | undefined
    /** The tree of heads: keys are [partition][hash][owner]. */
    readonly trees: { readonly head: string }
    range(reader: Reader, partitionKey: Buffer, query: object): Iterable<BlockRefRow>
  }
}
