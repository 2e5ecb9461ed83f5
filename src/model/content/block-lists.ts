import { Packr } from 'msgpackr'
import type { TableSchema } from '../../table/schema.js'
import { assert } from '../../util/assert.js'
import { CarportError } from '../../util/errors.js'
import { looksLikeMsgpack, versioned } from '../../util/format.js'
import { bucketPartition } from '../sort-keys.js'
import type { EnqueueRefs } from './referrer.js'
import { hashesOf } from './refs.js'

/**
 * Rows for the lists that are too long for an object's own row: its block pointers, LIST_ROW_BLOCKS at a time, and the
 * parts of a large multipart object. `owner` is the version's (or part's) id; rows are written once, before the row
 * that owns them becomes visible, and only ever deleted.
 */
export interface BlockListRow {
  bucket: Buffer
  owner: Buffer
  /** Position among the owner's rows of that kind. */
  index: number
  kind: 'blocks' | 'parts'
  deleted: boolean
  /** Where the owner is to be found: the object's key, and for a part its upload and number. Orphans are found by it. */
  key: Buffer
  part?: { uploadId: Buffer; number: number }
  /** Packed BlockPointers, or msgpack of PartInfo tuples. */
  data: Buffer
}

export const LIST_ROW_PARTS = 1000

const packr = new Packr({ useRecords: false })

/** Sort key of a list row: owner, kind, index. */
export function blockListSortKey(owner: Buffer, kind: BlockListRow['kind'], index: number): Buffer {
  assert(owner.length === 16, 'the owner of a list has 16 bytes')
  const sortKey = Buffer.allocUnsafe(21)
  owner.copy(sortKey)
  sortKey[16] = kind === 'blocks' ? 0 : 1
  sortKey.writeUInt32BE(index, 17)
  return sortKey
}

const FORMAT = versioned<BlockListRow>('list row', {
  encode: (row) =>
    packr.pack([
      row.bucket,
      row.owner,
      row.index,
      row.kind === 'blocks' ? 0 : 1,
      row.deleted,
      row.data,
      row.key,
      row.part ? [row.part.uploadId, row.part.number] : null,
    ]),
  writes: 'unmarked',
  versions: { 1: decode },
  unmarked: { is: looksLikeMsgpack, decode },
})

function decode(payload: Buffer): BlockListRow {
  const v: unknown = packr.unpack(payload)
  if (
    !Array.isArray(v) ||
    !Buffer.isBuffer(v[0]) ||
    !Buffer.isBuffer(v[1]) ||
    !Buffer.isBuffer(v[5]) ||
    !Buffer.isBuffer(v[6])
  ) {
    throw new CarportError('Corrupted', 'malformed list row')
  }
  return {
    bucket: v[0],
    owner: v[1],
    index: Number(v[2]),
    kind: v[3] === 0 ? 'blocks' : 'parts',
    deleted: v[4] === true,
    data: v[5],
    key: v[6],
    ...(Array.isArray(v[7]) && { part: { uploadId: v[7][0] as Buffer, number: v[7][1] as number } }),
  }
}

export function blockListTable(enqueueRefs: EnqueueRefs): TableSchema<BlockListRow> {
  return {
    name: 'list',
    placement: 'sharded',
    partitionKeyBytes: 16,
    partition: bucketPartition,
    partitionKey: (row) => row.bucket,
    sortKey: (row) => blockListSortKey(row.owner, row.kind, row.index),
    encode: (row) => ({ head: FORMAT.encode(row) }),
    decode: FORMAT.decode,
    merge: (current, incoming) => (incoming.deleted && !current.deleted ? incoming : current),
    isTombstone: (row) => row.deleted,
    onUpdate(tx, before, after) {
      const row = after ?? before!
      if (row.kind !== 'blocks') return
      const { bucket, owner, index } = row
      const referrer = { kind: 'list' as const, bucket, id: owner, index }
      if (after && !after.deleted && !before) enqueueRefs(tx, referrer, hashesOf(after.data), false)
      if (before && !before.deleted && after?.deleted) enqueueRefs(tx, referrer, hashesOf(before.data), true)
    },
  }
}

/** The tombstone of a list row whose owner is gone: the same bytes on every replica, since copies are compared. */
export function deletedBlockList(row: BlockListRow): BlockListRow {
  return { ...row, deleted: true, data: NO_DATA }
}

const NO_DATA = Buffer.alloc(0)
