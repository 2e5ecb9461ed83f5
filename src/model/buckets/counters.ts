import type { Reader, Tx } from '../../db/db.js'
import { versioned } from '../../util/format.js'
import { readUint53, writeUint53 } from '../../util/uint53.js'

export const COUNTER_TREE = 'model:counters'

/** The contents of a bucket as counted on one replica. */
export interface BucketCounts {
  /** Current versions that are objects. */
  objects: number
  /** Bytes of current and noncurrent versions. */
  bytes: number
  /** Noncurrent versions, delete markers included. */
  noncurrent: number
  /** Multipart uploads under way. */
  uploads: number
  /** Bytes of the uploads' parts. */
  uploadBytes: number
  /** Parts of the uploads. */
  parts: number
  /** Keys whose current version is a delete marker; those that were there before this was counted are left out. */
  markers: number
}

/** In the order in which they are stored; a new one comes at the end. */
const NAMES = ['objects', 'bytes', 'noncurrent', 'uploads', 'uploadBytes', 'parts', 'markers'] as const
const COUNTER_BYTES = 8

/** One number for each name; zero where the record was written before there was that counter. */
const FORMAT = versioned<number[]>('counters of a bucket', {
  encode(counts) {
    const payload = Buffer.allocUnsafe(NAMES.length * COUNTER_BYTES)
    for (let i = 0; i < NAMES.length; i++) writeUint53(payload, counts[i]!, i * COUNTER_BYTES)
    return payload
  },
  writes: 1,
  versions: { 1: decodeCounts },
  // The first release wrote the numbers alone.
  unmarked: { is: (stored) => stored.length % COUNTER_BYTES === 0, decode: decodeCounts },
})

function decodeCounts(payload: Buffer): number[] {
  return NAMES.map((_, i) =>
    payload.length >= (i + 1) * COUNTER_BYTES ? readUint53(payload, i * COUNTER_BYTES) : 0,
  )
}

/**
 * Adds to a bucket's counters in the transaction that changes the rows. Every replica counts its own copy: the rows of
 * a bucket share their replicas, so each has the whole count, and no counter has to be replicated.
 */
export function count(tx: Tx, bucket: Buffer, change: Partial<BucketCounts>): void {
  const stored = tx.get(COUNTER_TREE, bucket)
  const counts = stored ? FORMAT.decode(stored) : NAMES.map(() => 0)
  for (const [i, name] of NAMES.entries()) counts[i] = Math.max(0, counts[i]! + (change[name] ?? 0))
  tx.put(COUNTER_TREE, bucket, FORMAT.encode(counts))
}

/** The counters of an empty bucket. */
export const NO_COUNTS = Object.fromEntries(NAMES.map((name) => [name, 0])) as Readonly<
  Record<(typeof NAMES)[number], number>
>

/** Sets all counters of a bucket: for a recount, see recount.ts. */
export function setCounts(tx: Tx, bucket: Buffer, counts: BucketCounts): void {
  tx.put(COUNTER_TREE, bucket, FORMAT.encode(NAMES.map((name) => counts[name])))
}

/** The buckets that have counters on this node. */
export function countedBuckets(reader: Reader): Buffer[] {
  return [...reader.keys(COUNTER_TREE)].map((key) => Buffer.from(key))
}

/** The counters of a bucket on this node; zeros if it has none. */
export function readCounts(reader: Reader, bucket: Buffer): BucketCounts {
  const stored = reader.get(COUNTER_TREE, bucket)
  const counts = stored ? FORMAT.decode(stored) : []
  return Object.fromEntries(NAMES.map((name, i) => [name, counts[i] ?? 0])) as Record<
    (typeof NAMES)[number],
    number
  >
}
