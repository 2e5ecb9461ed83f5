import type { Reader, Tx } from '../../db/db.js'
import { type BucketCounts, count } from '../buckets/counters.js'
import { versionSortKey } from '../sort-keys.js'
import type { VersionRecord } from './record.js'
import { live } from './selector.js'

/*
 * What the rows of both object tables add to the counters of their bucket.
 *
 * A version that became current again keeps its row in the version table (see Promotions), and yet it is one version: it is
 * counted as the current one. Each replica notes that the other row is not counted, and counts it again once another version is
 * the current one. It goes by the note, not by what both tables hold: a store of an earlier release has rows that were counted
 * twice, and has to take them off once before it may leave them out (see PromotedCounts).
 */

/** Noncurrent versions that are not counted, since they are current again: [bucket 16][version id] → nothing. */
export const COUNTED_ONCE_TREE = 'model:counted-once'

const NOTHING = Buffer.alloc(0)

/** This node's copies of the rows of a key, for what one table's rows need to know of the other's. */
export interface VersionCopies {
  /** The copy of a noncurrent version; undefined also for a damaged row. */
  noncurrent(reader: Reader, bucket: Buffer, sortKey: Buffer): VersionRecord | undefined
  /** The copy of a key's current row as it is stored; undefined also for a damaged row. */
  currentStored(reader: Reader, bucket: Buffer, key: Buffer): VersionRecord | undefined
}

/** Counts a change of a row of the object table, before it changes rows of the version table. */
export function countCurrent(
  tx: Tx,
  copies: VersionCopies,
  before: VersionRecord | undefined,
  after: VersionRecord | undefined,
): void {
  const isObject = (v: VersionRecord | undefined) => v?.state === 'object'
  const isMarker = (v: VersionRecord | undefined) => v?.state === 'marker'
  const change = {
    objects: Number(isObject(after)) - Number(isObject(before)),
    bytes: bytesOf(after) - bytesOf(before),
    markers: Number(isMarker(after)) - Number(isMarker(before)),
    noncurrent: 0,
  }
  const was = mayBeTwice(before) ? before : undefined
  const is = mayBeTwice(after) ? after : undefined
  if (!(was && is?.id.equals(was.id))) {
    if (was && forget(tx, was)) {
      change.noncurrent++
      change.bytes += bytesOf(was)
    }
    if (is && isTwice(is, noncurrentCopyOf(tx, copies, is)) && note(tx, is)) {
      change.noncurrent--
      change.bytes -= bytesOf(is)
    }
  }
  countChange(tx, (after ?? before!).bucket, change)
}

/** Counts a change of a row of the version table. */
export function countNoncurrent(
  tx: Tx,
  copies: VersionCopies,
  before: VersionRecord | undefined,
  after: VersionRecord | undefined,
): void {
  const was = live(before)
  const is = live(after)
  if (was && is?.id.equals(was.id)) return
  const change = { noncurrent: 0, bytes: 0 }
  if (was && !forget(tx, was)) {
    change.noncurrent--
    change.bytes -= bytesOf(was)
  }
  if (is) {
    if (isTwice(copies.currentStored(tx, is.bucket, is.key), is)) note(tx, is)
    else {
      change.noncurrent++
      change.bytes += bytesOf(is)
    }
  }
  countChange(tx, (after ?? before!).bucket, change)
}

/**
 * Takes the current version of a key off the counters once, if it became current again and was counted twice.
 * @returns whether it was
 */
export function countOnce(tx: Tx, copies: VersionCopies, bucket: Buffer, key: Buffer): boolean {
  const current = copies.currentStored(tx, bucket, key)
  if (!current || !isTwice(current, noncurrentCopyOf(tx, copies, current)) || !note(tx, current)) return false
  countChange(tx, bucket, { noncurrent: -1, bytes: -bytesOf(current) })
  return true
}

/** Whether the current row of a key, and one of the version table, are one version: which became current again. */
export function isTwice(current: VersionRecord | undefined, noncurrent: VersionRecord | undefined): boolean {
  return mayBeTwice(current) && live(noncurrent)?.id.equals(current.id) === true
}

/** The key of a version in COUNTED_ONCE_TREE. */
export function countedOnceKey({ bucket, id }: Pick<VersionRecord, 'bucket' | 'id'>): Buffer {
  return Buffer.concat([bucket, id])
}

/** Replaces all notes by those of the versions with these keys: for a recount. */
export function setCountedOnce(tx: Tx, keys: readonly Buffer[]): void {
  for (const key of [...tx.keys(COUNTED_ONCE_TREE)]) tx.delete(COUNTED_ONCE_TREE, Buffer.from(key))
  for (const key of keys) tx.put(COUNTED_ONCE_TREE, key, NOTHING)
}

/** Notes that its row in the version table is not counted. Returns whether that is news. */
function note(tx: Tx, version: VersionRecord): boolean {
  const key = countedOnceKey(version)
  if (tx.has(COUNTED_ONCE_TREE, key)) return false
  tx.put(COUNTED_ONCE_TREE, key, NOTHING)
  return true
}

/** Takes the note back. Returns whether there was one. */
function forget(tx: Tx, version: VersionRecord): boolean {
  const key = countedOnceKey(version)
  if (!tx.has(COUNTED_ONCE_TREE, key)) return false
  tx.delete(COUNTED_ONCE_TREE, key)
  return true
}

function noncurrentCopyOf(reader: Reader, copies: VersionCopies, { bucket, key, id, isNull }: VersionRecord) {
  return copies.noncurrent(reader, bucket, versionSortKey(key, id, isNull))
}

/** Whether a current row may have become current again. Rows that never did have no generation, but for those written on a condition. */
function mayBeTwice(row: VersionRecord | undefined): row is VersionRecord {
  return row !== undefined && row.state !== 'tombstone' && row.generation > 0
}

function bytesOf(v: VersionRecord | undefined): number {
  return v?.state === 'object' ? v.size : 0
}

function countChange(tx: Tx, bucket: Buffer, change: Partial<BucketCounts>): void {
  if (Object.values(change).some((n) => n !== 0)) count(tx, bucket, change)
}
