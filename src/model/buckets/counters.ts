import type { Reader, Tx } from '../../db/db.js'
import { readUint53, writeUint53 } from '../../util/uint53.js'

export const COUNTER_TREE = 'model:counters'

/** What a bucket holds, as counted on one replica. */
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
}

const NAMES = ['objects', 'bytes', 'noncurrent', 'uploads', 'uploadBytes', 'parts'] as const

/**
 * Adds to a bucket's counters in the transaction that changes the rows. Every replica counts its own copy: the rows of
 * a bucket share their replicas, so each has the whole count, and no counter has to be replicated.
 */
export function count(tx: Tx, bucket: Buffer, change: Partial<BucketCounts>): void {
  const stored = tx.get(COUNTER_TREE, bucket)
  const next = Buffer.alloc(NAMES.length * 8)
  for (let i = 0; i < NAMES.length; i++) {
    const before = counterAt(stored, i)
    writeUint53(next, Math.max(0, before + (change[NAMES[i]!] ?? 0)), i * 8)
  }
  tx.put(COUNTER_TREE, bucket, next)
}

/** The counters of a bucket on this node; zeros if it has none. */
export function readCounts(reader: Reader, bucket: Buffer): BucketCounts {
  const stored = reader.get(COUNTER_TREE, bucket)
  const at = (i: number) => counterAt(stored, i)
  return { objects: at(0), bytes: at(1), noncurrent: at(2), uploads: at(3), uploadBytes: at(4), parts: at(5) }
}

/** Zero where the record was written before there was that counter. */
function counterAt(stored: Buffer | undefined, i: number): number {
  return stored && stored.length >= (i + 1) * 8 ? readUint53(stored, i * 8) : 0
}
