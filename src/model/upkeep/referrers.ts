import type { Reader } from '../../db/db.js'
import type { LocalTable } from '../../table/local.js'
import { errorCode } from '../../util/errors.js'
import { type BlockListRow, blockListSortKey } from '../content/block-lists.js'
import { decodeReferrer, type Referrer } from '../content/referrer.js'
import { bucketPartition, NULL_SLOT, versionSortKey } from '../sort-keys.js'
import { type PartRow, partSortKey } from '../uploads/tables.js'
import type { VersionRecord } from '../versions/record.js'

/** This node's copies of the tables whose rows refer to blocks. */
export interface ReferringTables {
  readonly object: { readonly local: LocalTable<VersionRecord> }
  readonly version: { readonly local: LocalTable<VersionRecord> }
  readonly part: { readonly local: LocalTable<PartRow> }
  readonly list: { readonly local: LocalTable<BlockListRow> }
}

/**
 * Whether the row that queued a reference, some time ago, still refers to the block. Not every deletion of a reference
 * goes through this node's queue after its creation: the node may have been away, or its database may have gone back in
 * time, for longer than the tombstone of the reference was kept. The row tells, if this node's copy is as good as the others'.
 *
 * @param votes whether this node's copy of a partition has what was acknowledged, and nothing that was deleted for good
 * @returns 'unknown' while the copy is not that good, or the row is damaged here
 */
export function stillRefers(
  reader: Reader,
  tables: ReferringTables,
  votes: (partition: number) => boolean,
  encoded: Buffer,
): 'yes' | 'no' | 'unknown' {
  const referrer = decodeReferrer(encoded)
  try {
    // Without the row, the copy was handed over or given up, or the row's replacement queued the reference's deletion.
    if (!isThere(reader, tables, referrer)) return 'no'
  } catch (error) {
    if (errorCode(error) === 'Corrupted') return 'unknown'
    throw error
  }
  return votes(bucketPartition(referrer.bucket)) ? 'yes' : 'unknown'
}

/** @throws CarportError Corrupted if a row that must tell is damaged */
function isThere(reader: Reader, tables: ReferringTables, referrer: Referrer): boolean {
  const { bucket, id } = referrer
  if (referrer.kind === 'part') {
    const row = tables.part.local.get(reader, bucket, partSortKey(referrer.uploadId, referrer.number))
    return row !== undefined && !row.deleted && row.id.equals(id)
  }
  if (referrer.kind === 'list') {
    const row = tables.list.local.get(reader, bucket, blockListSortKey(id, 'blocks', referrer.index))
    return row !== undefined && !row.deleted
  }
  const { key, isNull } = referrer
  const isSame = (row: VersionRecord | undefined) => row?.id.equals(id) === true
  const slots = [versionSortKey(key, id, false), ...(isNull ? [versionSortKey(key, NULL_SLOT, true)] : [])]
  const noncurrent = slots
    .map((slot) => tables.version.local.get(reader, bucket, slot))
    .filter((row) => isSame(row))
  // A version that became current again may have been deleted since, which its row in the version table tells.
  if (noncurrent.some((row) => row?.state === 'tombstone')) return false
  if (noncurrent.length > 0) return true
  const current = tables.object.local.get(reader, bucket, key)
  return isSame(current) && current?.state === 'object'
}
