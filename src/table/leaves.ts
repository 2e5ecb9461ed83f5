import type { Reader, Tx } from '../db/db.js'
import {
  HASH_BYTES,
  isZero,
  LEAF_COUNT,
  leafKeyOf,
  partitionRange,
  prefixEnd,
  rowKeyOfIndex,
  successor,
  type Trees,
  xorInto,
} from './row-keys.js'

/** Number and fingerprint of a leaf. */
const LEAF_BYTES = 2 + HASH_BYTES
/** Leaves for which there is room at first. */
const LEAVES_ROOM = 64

/** Gathers the changes of fingerprints of one run of a transaction function; `flush` writes each leaf once. */
export class LeafChanges {
  readonly #changes = new Map<number, Buffer>()

  add(partition: number, leaf: number, change: Buffer): void {
    const id = partition * 65536 + leaf
    const sum = this.#changes.get(id)
    if (sum) xorInto(sum, change)
    else this.#changes.set(id, Buffer.from(change))
  }

  flush(tx: Tx, trees: Trees): void {
    for (const [id, change] of this.#changes) {
      xorLeaf(tx, trees.leaf, leafKeyOf(Math.floor(id / 65536), id % 65536), change)
    }
  }
}

/** Changes the fingerprint of a leaf, in the transaction that changes a row of it. */
export function xorLeaf(tx: Tx, tree: string, key: Buffer, change: Buffer): void {
  const sum = Buffer.from(change)
  const stored = tx.peek(tree, key)
  // A malformed one is replaced; the scrub puts the sum right.
  if (stored?.length === HASH_BYTES) xorInto(sum, stored)
  if (!isZero(sum)) tx.put(tree, key, sum)
  else if (stored) tx.delete(tree, key)
}

/** See LocalTable.leaves. */
export function readLeaves(reader: Reader, tree: string, partition: number): Buffer {
  // Most partitions have few leaves, and this is asked for hundreds of them at a time.
  let out = Buffer.allocUnsafe(LEAVES_ROOM * LEAF_BYTES)
  let at = 0
  for (const { key, value } of reader.range(tree, partitionRange(partition))) {
    if (at === out.length) {
      const grown = Buffer.allocUnsafe(LEAF_COUNT * LEAF_BYTES)
      out.copy(grown)
      out = grown
    }
    out[at] = key[1]!
    out[at + 1] = key[2]!
    out.set(value, at + 2)
    at += LEAF_BYTES
  }
  return out.subarray(0, at)
}

/** See LocalTable.hashes. */
export function readHashes(
  reader: Reader,
  tree: string,
  partition: number,
  leaves: readonly number[],
  bounds: { after?: Buffer | undefined; last?: Buffer | undefined; limit: number },
): { keys: Buffer[]; hashes: Buffer[]; next: Buffer | undefined } {
  const keys: Buffer[] = []
  const hashes: Buffer[] = []
  const from = bounds.after && successor(bounds.after)
  const to = bounds.last && successor(bounds.last)
  let previous: Buffer | undefined
  for (const leaf of leaves) {
    let start = leafKeyOf(partition, leaf)
    let end = prefixEnd(start)
    if (from && from.compare(start) > 0) start = from
    if (to && (!end || to.compare(end) < 0)) end = to
    if (end && start.compare(end) >= 0) continue
    for (const { key, value } of reader.range(tree, end ? { start, end } : { start })) {
      if (keys.length >= bounds.limit) return { keys, hashes, next: previous }
      keys.push(rowKeyOfIndex(key))
      hashes.push(Buffer.from(value))
      previous = Buffer.from(key)
    }
  }
  return { keys, hashes, next: undefined }
}
