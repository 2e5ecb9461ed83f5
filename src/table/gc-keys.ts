/** Keys of the queue of tombstones that wait to be collected (GC_TREE). */

/** The length of the time in a key. */
export const DUE_BYTES = 6

/** Prefix of a table's entries in the tombstone queue. */
export function gcPrefixOf(table: string): Buffer {
  return Buffer.from(`${table}\0`)
}

/** [table name][0][due u48 ms][row hash] → [row hash][row key] */
export function gcKeyOf(prefix: Buffer, dueMs: number, rowHash: Buffer): Buffer {
  const due = Buffer.allocUnsafe(DUE_BYTES)
  due.writeUIntBE(Math.max(0, Math.floor(dueMs)), 0, DUE_BYTES)
  return Buffer.concat([prefix, due, rowHash])
}
