import type { Reader } from '../../db/db.js'
import type { LocalTable } from '../../table/local.js'
import type { Table } from '../../table/table.js'
import { CarportError, errorCode } from '../../util/errors.js'
import { type BlockListRow, blockListSortKey } from '../content/block-lists.js'
import { decodeReferrer, type Referrer } from '../content/referrer.js'
import { bucketPartition, isNullSlot, NULL_SLOT, uploadSortKey, versionSortKey } from '../sort-keys.js'
import { type PartRow, partSortKey, type UploadRow } from '../uploads/tables.js'
import type { VersionRecord } from '../versions/record.js'
import { onItsWay } from '../versions/selector.js'

/** What is deleted for ever is asked for as writes are, also where reads ask one replica. */
const CERTAIN = { body: false, certain: true } as const

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

/** The tables whose rows refer to blocks, or to rows that do. */
export interface OwnerTables {
  readonly object: Table<VersionRecord>
  readonly version: Table<VersionRecord>
  readonly part: Table<PartRow>
  readonly list: Table<BlockListRow>
  readonly upload: Table<UploadRow>
}

/**
 * Whether a quorum knows that the row that queued a reference no longer refers to the block. What one replica alone knows may be
 * lost with it.
 * @param holds whether this node has a copy of a partition, which it is to keep
 * @throws CarportError QuorumUnavailable, also if this node's copy says otherwise, which others will hear of; LayoutNotReady
 */
export async function isGone(
  reader: Reader,
  tables: OwnerTables,
  holds: (partition: number) => boolean,
  encoded: Buffer,
): Promise<boolean> {
  const referrer = decodeReferrer(encoded)
  if (!(await isThereByQuorum(tables, referrer))) return true
  // Others may lose their row without a change: the copy of one that leaves, when a tombstone is here. Or the change is not shown yet.
  if (holds(bucketPartition(referrer.bucket)) && stillRefers(reader, tables, () => true, encoded) === 'no')
    throw new CarportError('QuorumUnavailable', 'too few replicas have heard of a change of a row')
  return false
}

async function isThereByQuorum(tables: OwnerTables, referrer: Referrer): Promise<boolean> {
  const { bucket, id } = referrer
  switch (referrer.kind) {
    case 'version':
      return isAtAny(versionPlaces(tables, referrer), bucket, id)
    case 'part':
      return isAtAny([[tables.part, partSortKey(referrer.uploadId, referrer.number)]], bucket, id)
    case 'list': {
      const sortKey = blockListSortKey(id, 'blocks', referrer.index)
      const row = await tables.list.get(bucket, sortKey, CERTAIN)
      return row !== undefined && !row.deleted
    }
  }
}

/** How to find the owner of rows, which are deleted after it. */
export interface Owners<E> {
  /** Whether this node's own copy has it, which then need not be asked for. */
  isHere(reader: Reader, tables: OwnerTables, row: E): boolean
  /** Whether a quorum has it. @throws CarportError QuorumUnavailable, LayoutNotReady */
  isThere(tables: OwnerTables, row: E): Promise<boolean>
}

/** The versions and parts whose lists are in rows of their own. */
export const LIST_OWNERS: Owners<BlockListRow> = {
  isHere: (reader, tables, row) =>
    ownerPlaces(tables, row).some(([table, sortKey]) =>
      isLiveOwner(table.local.getIntact(reader, row.bucket, sortKey), row.owner),
    ),
  isThere: (tables, row) => isAtAny(ownerPlaces(tables, row), row.bucket, row.owner),
}

/** The uploads of parts. */
export const PART_OWNERS: Owners<PartRow> = {
  isHere: (reader, { upload }, { bucket, key, uploadId }) =>
    isLiveUpload(upload.local.getIntact(reader, bucket, uploadSortKey(key, uploadId))),
  isThere: async ({ upload }, { bucket, key, uploadId }) =>
    isLiveUpload(await upload.get(bucket, uploadSortKey(key, uploadId), CERTAIN)),
}

function isLiveUpload(upload: UploadRow | undefined): boolean {
  return upload !== undefined && !upload.deleted
}

/** Where a row that owns blocks may be. */
type Place = readonly [table: Table<VersionRecord> | Table<PartRow>, sortKey: Buffer]

function ownerPlaces(tables: OwnerTables, { key, owner, part }: BlockListRow): Place[] {
  if (part) return [[tables.part, partSortKey(part.uploadId, part.number)]]
  return versionPlaces(tables, { key, id: owner })
}

/** @param of.isNull whether it is a null version; unless told, it may be */
function versionPlaces(
  { object, version }: OwnerTables,
  { key, id, isNull }: { key: Buffer; id: Buffer; isNull?: boolean },
): Place[] {
  // In this order: a version that is replaced moves from the first to the others, and stays there if it becomes current again.
  return [
    [object, key],
    ...(isNull ? [] : [[version, versionSortKey(key, id, false)] as const]),
    ...(isNull === false ? [] : [[version, versionSortKey(key, NULL_SLOT, true)] as const]),
  ]
}

async function isAtAny([first, ...others]: readonly Place[], bucket: Buffer, id: Buffer): Promise<boolean> {
  const [table, sortKey] = first!
  const row = await table.get(bucket, sortKey, CERTAIN)
  if (isLiveOwner(row, id)) return true
  for (const [table, sortKey] of others) {
    const moving = row && 'state' in row ? onItsWay(row, isNullSlot(sortKey) ? 'null' : id) : {}
    if (isLiveOwner(await table.get(bucket, sortKey, { ...CERTAIN, ...moving }), id)) return true
  }
  return false
}

function isLiveOwner(row: VersionRecord | PartRow | undefined, id: Buffer): boolean {
  if (!row?.id.equals(id)) return false
  return 'state' in row ? row.state !== 'tombstone' : !row.deleted
}
