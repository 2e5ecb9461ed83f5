import type { Reader, Tx } from '../../db/db.js'
import { HASH_BYTES, hash16, prefixEnd, xorInto } from '../../table/row-keys.js'
import { CarportError } from '../../util/errors.js'
import { versioned } from '../../util/format.js'
import { readUint53, writeUint53 } from '../../util/uint53.js'
import { encodeClock } from './causality.js'
import { clockOf, type K2vItem, valuesOf } from './item.js'

/** [bucket][partition key] → counts; absent where all are zero. */
export const INDEX_TREE = 'k2v:index'

/** What there is under a partition key. */
export interface PartitionCounts {
  /** Items that have a value. */
  readonly entries: number
  /** Items that have several concurrent values, deletions included. */
  readonly conflicts: number
  /** Values, deletions apart. */
  readonly values: number
  /** Bytes of these values. */
  readonly bytes: number
  /**
   * The XOR of a hash of each item that has a value, of its sort key and the dots that it knows: copies with the same one count the
   * same items, and not only as many.
   */
  readonly fingerprint: Buffer
}

const NO_FINGERPRINT = Buffer.alloc(HASH_BYTES)
export const NO_COUNTS: PartitionCounts = {
  entries: 0,
  conflicts: 0,
  values: 0,
  bytes: 0,
  fingerprint: NO_FINGERPRINT,
}
const NUMBERS_BYTES = 32

const FORMAT = versioned<PartitionCounts>('counts of a K2V partition', {
  encode({ entries, conflicts, values, bytes, fingerprint }) {
    const payload = Buffer.allocUnsafe(NUMBERS_BYTES + HASH_BYTES)
    for (const [i, n] of [entries, conflicts, values, bytes].entries()) writeUint53(payload, n, i * 8)
    fingerprint.copy(payload, NUMBERS_BYTES)
    return payload
  },
  writes: 2,
  versions: {
    // No release wrote it. Such counts are compared by their numbers, and set right by `carport offline-repair`.
    1: (payload) => decode(payload, NO_FINGERPRINT),
    2: (payload) => decode(payload, Buffer.from(payload.subarray(NUMBERS_BYTES))),
  },
})

function decode(payload: Buffer, fingerprint: Buffer): PartitionCounts {
  if (fingerprint.length !== HASH_BYTES) throw new Error('a fingerprint has 16 bytes')
  const at = (i: number) => readUint53(payload, i * 8)
  return { entries: at(0), conflicts: at(1), values: at(2), bytes: at(3), fingerprint }
}

/** The counts that one item makes. */
export function countsOf(item: K2vItem | undefined): PartitionCounts {
  if (!item) return NO_COUNTS
  const values = valuesOf(item)
  const live = values.filter(({ isDeletion }) => !isDeletion)
  return {
    entries: live.length > 0 ? 1 : 0,
    conflicts: values.length > 1 ? 1 : 0,
    values: live.length,
    bytes: live.reduce((sum, { size }) => sum + size, 0),
    fingerprint:
      live.length > 0 ? hash16(Buffer.concat([encodeClock(clockOf(item)), item.sortKey])) : NO_FINGERPRINT,
  }
}

/** Counts the change of an item, in its transaction. */
export function countChange(tx: Tx, before: K2vItem | undefined, after: K2vItem | undefined): void {
  const [old, now] = [countsOf(before), countsOf(after)]
  if (isSame(old, now)) return
  const { bucket, partitionKey } = (after ?? before)!
  const key = Buffer.concat([bucket, partitionKey])
  setCounts(tx, key, minus(plus(readCounts(tx, key), now), old))
}

/** The counts of a key of the index, a bucket and a partition key. */
export function readCounts(reader: Reader, key: Buffer): PartitionCounts {
  const stored = reader.get(INDEX_TREE, key)
  return stored ? FORMAT.decode(stored) : NO_COUNTS
}

export function setCounts(tx: Tx, key: Buffer, counts: PartitionCounts): void {
  if (isSame(counts, NO_COUNTS)) tx.delete(INDEX_TREE, key)
  else tx.put(INDEX_TREE, key, FORMAT.encode(counts))
}

export function plus(a: PartitionCounts, b: PartitionCounts): PartitionCounts {
  return {
    entries: a.entries + b.entries,
    conflicts: a.conflicts + b.conflicts,
    values: a.values + b.values,
    bytes: a.bytes + b.bytes,
    fingerprint: xor(a.fingerprint, b.fingerprint),
  }
}

export function minus(a: PartitionCounts, b: PartitionCounts): PartitionCounts {
  return {
    entries: Math.max(0, a.entries - b.entries),
    conflicts: Math.max(0, a.conflicts - b.conflicts),
    values: Math.max(0, a.values - b.values),
    bytes: Math.max(0, a.bytes - b.bytes),
    fingerprint: xor(a.fingerprint, b.fingerprint),
  }
}

function xor(a: Buffer, b: Buffer): Buffer {
  const sum = Buffer.from(a)
  xorInto(sum, b)
  return sum
}

export function isSame(a: PartitionCounts, b: PartitionCounts): boolean {
  return (
    a.entries === b.entries &&
    a.conflicts === b.conflicts &&
    a.values === b.values &&
    a.bytes === b.bytes &&
    a.fingerprint.equals(b.fingerprint)
  )
}

/** Counts as nodes send them. */
export function wireCounts({ entries, conflicts, values, bytes, fingerprint }: PartitionCounts): unknown[] {
  return [entries, conflicts, values, bytes, fingerprint]
}

/** @throws CarportError RemoteError */
export function parseCounts(sent: unknown): PartitionCounts {
  const isRight =
    Array.isArray(sent) &&
    sent.length === 5 &&
    sent.slice(0, 4).every((n) => Number.isSafeInteger(n) && n >= 0) &&
    Buffer.isBuffer(sent[4]) &&
    sent[4].length === HASH_BYTES
  if (!isRight) throw new CarportError('RemoteError', 'a replica sent malformed counts')
  const [entries, conflicts, values, bytes, fingerprint] = sent
  return { entries, conflicts, values, bytes, fingerprint }
}

/** A partition key of a bucket with its counts. */
export interface IndexEntry extends PartitionCounts {
  readonly partitionKey: Buffer
}

/** Entries of a bucket's index on this node, in order; bounds are partition keys, `start` <= key < `end`. */
export function* indexRange(
  reader: Reader,
  bucket: Buffer,
  query: { start: Buffer; end: Buffer | undefined; reverse: boolean; limit: number },
): Generator<IndexEntry> {
  const { start, end, reverse, limit } = query
  const last = end ? Buffer.concat([bucket, end]) : prefixEnd(bucket)
  const first = Buffer.concat([bucket, start])
  if (last && first.compare(last) >= 0) return
  for (const { key, value } of reader.range(INDEX_TREE, {
    start: first,
    ...(last && { end: last }),
    reverse,
    limit,
  })) {
    yield { partitionKey: Buffer.from(key.subarray(bucket.length)), ...FORMAT.decode(value) }
  }
}
