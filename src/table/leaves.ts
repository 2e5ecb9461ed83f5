import type { Tx } from '../db/db.js'
import { HASH_BYTES, isZero, leafKeyOf, type Trees, xorInto } from './row-keys.js'

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
