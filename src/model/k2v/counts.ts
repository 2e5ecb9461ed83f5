import type { Reader, Tx } from '../../db/db.js'
import { prefixEnd } from '../../table/row-keys.js'
import { versioned } from '../../util/format.js'
import { readUint53, writeUint53 } from '../../util/uint53.js'
import { type K2vItem, valuesOf } from './item.js'

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
}

export const NO_COUNTS: PartitionCounts = { entries: 0, conflicts: 0, values: 0, bytes: 0 }

const FORMAT = versioned<PartitionCounts>('counts of a K2V partition', {
  encode({ entries, conflicts, values, bytes }) {
    const payload = Buffer.allocUnsafe(32)
    for (const [i, n] of [entries, conflicts, values, bytes].entries()) writeUint53(payload, n, i * 8)
    return payload
  },
  writes: 1,
  versions: { 1: decode },
})

function decode(payload: Buffer): PartitionCounts {
  const at = (i: number) => readUint53(payload, i * 8)
  return { entries: at(0), conflicts: at(1), values: at(2), bytes: at(3) }
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
  }
}

/** Counts the change of an item, in its transaction. */
export function countChange(tx: Tx, before: K2vItem | undefined, after: K2vItem | undefined): void {
  const [old, now] = [countsOf(before), countsOf(after)]
  if (isSame(old, now)) return
  const { bucket, partitionKey } = (after ?? before)!
  const key = Buffer.concat([bucket, partitionKey])
  const counts = readCounts(tx, key)
  const sum = (name: keyof PartitionCounts) => Math.max(0, counts[name] - old[name] + now[name])
  setCounts(tx, key, {
    entries: sum('entries'),
    conflicts: sum('conflicts'),
    values: sum('values'),
    bytes: sum('bytes'),
  })
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
  }
}

export function isSame(a: PartitionCounts, b: PartitionCounts): boolean {
  return (
    a.entries === b.entries && a.conflicts === b.conflicts && a.values === b.values && a.bytes === b.bytes
  )
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
