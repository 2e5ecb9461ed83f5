import { assert } from '../util/assert.js'
import { CarportError } from '../util/errors.js'
import type { VersionId } from './content/refs.js'

const BUCKET_ID_BYTES = 16
const ID_BYTES = 16

/**
 * The one place that maps a bucket to its partition, so that a bucket can later be split by key ranges.
 * All tables of a bucket's content use it: their rows share replicas, and may change in one transaction.
 */
export function bucketPartition(bucket: Buffer): number {
  assert(bucket.length === BUCKET_ID_BYTES, 'a bucket id has 16 bytes')
  // Bucket ids are random: their first byte spreads as well as a hash of them would.
  return bucket.readUInt8(0)
}

/** Slot of the null version among a key's noncurrent versions. */
export const NULL_SLOT = Buffer.alloc(16, 0xff)

const MAX_ESCAPED_BYTES = 1500

/**
 * A key in a form that can be followed by a suffix without disturbing the order of keys: 0x00 and 0x01, rare in
 * keys, become two bytes, and a 0x00 ends the key.
 * @throws CarportError InvalidArgument if it gets too long for a sort key (over 476 control characters).
 */
export function terminatedKey(key: Buffer): Buffer {
  let escapes = 0
  for (const byte of key) if (byte <= 1) escapes++
  const length = key.length + escapes + 1
  if (length > MAX_ESCAPED_BYTES + 1)
    throw new CarportError('InvalidArgument', 'key has too many control characters')
  const out = Buffer.allocUnsafe(length)
  if (escapes === 0) key.copy(out)
  else {
    let at = 0
    for (const byte of key) {
      if (byte <= 1) out[at++] = 1
      out[at++] = byte <= 1 ? byte + 1 : byte
    }
  }
  out[length - 1] = 0
  return out
}

/** Undoes terminatedKey for a sort key that starts with one; `suffixBytes` follow it. */
export function keyOfSortKey(sortKey: Buffer, suffixBytes: number): Buffer {
  const end = sortKey.length - suffixBytes - 1
  const escaped = sortKey.subarray(0, end)
  if (!escaped.includes(1)) return escaped
  const out: number[] = []
  for (let i = 0; i < escaped.length; i++) out.push(escaped[i] === 1 ? escaped[++i]! - 1 : escaped[i]!)
  return Buffer.from(out)
}

/** The key with which a sort key starts, whatever suffix follows its terminatedKey. */
export function keyAtStart(sortKey: Buffer): Buffer {
  const end = sortKey.indexOf(0)
  return keyOfSortKey(sortKey.subarray(0, end + 1), 0)
}

/** Sort key of a noncurrent version: by key, then newest first; null versions have one slot per key. */
export function versionSortKey(key: Buffer, id: VersionId, isNull: boolean): Buffer {
  return Buffer.concat([terminatedKey(key), isNull ? NULL_SLOT : newestFirst(id)])
}

/** Whether the sort key of a noncurrent version is that of its key's null version. */
export function isNullSlot(sortKey: Buffer): boolean {
  return sortKey.subarray(-NULL_SLOT.length).equals(NULL_SLOT)
}

/** An id whose time part is inverted, so that later ids sort first. Its own inverse. */
export function newestFirst(id: VersionId): Buffer {
  assert(id.length === ID_BYTES, 'a version id has 16 bytes')
  const out = Buffer.from(id)
  for (let i = 0; i < 8; i++) out[i] = ~out[i]! & 0xff
  return out
}

/** Whether a version was written before another one, and so stands behind it in a listing. */
export function isOlder(id: VersionId, than: VersionId): boolean {
  return newestFirst(id).compare(newestFirst(than)) > 0
}

/** Sort key of an upload: by key, then oldest first. */
export function uploadSortKey(key: Buffer, uploadId: Buffer): Buffer {
  assert(uploadId.length === ID_BYTES, 'an upload id has 16 bytes')
  return Buffer.concat([terminatedKey(key), uploadId])
}
