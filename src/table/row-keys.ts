import { hash } from 'node:crypto'
import type { TreeName } from '../db/db.js'

/** Leaves of a partition's fingerprint tree: 12 bits of a hash of the row key. */
export const LEAF_COUNT = 4096
/** Length of a row hash and of a leaf's fingerprint, in bytes. */
export const HASH_BYTES = 16
export const SORT_KEY_BYTES_MAX = 1850

/** Shared by all tables: tombstones that wait to be collected, by due time. */
export const GC_TREE = 'table:gc'
/** Shared by all tables: writes that some replica missed. */
export const RETRY_TREE = 'table:retry'
/** Shared by all tables: what this node's copies of the partitions are worth (see standing.ts). */
export const STANDING_TREE = 'table:standing'
/** Shared by all tables: rows that this node let go of and no other replica had (see aside.ts). */
export const ASIDE_TREE = 'table:aside'

/** Shared by all tables: what this node promised to coordinators of conditional writes (see promises.ts). */
export const PROMISE_TREE = 'table:promise'
/** Shared by all tables: rows that are known to be damaged here. [table][0][row key] → when it was found (f64 ms) */
export const DAMAGED_TREE = 'table:damaged'

/** The names of one table's trees. */
export interface Trees {
  /** [partition u8][partition key][sort key] (the row key) → head under its seal (seal.ts) */
  readonly head: TreeName
  /** row key → body, only for rows that have one */
  readonly body: TreeName
  /** [partition u8][leaf u16][partition key][sort key] → row hash */
  readonly index: TreeName
  /** [partition u8][leaf u16] → XOR of the leaf's row hashes; absent when zero */
  readonly leaf: TreeName
}

export function treesOf(table: string): Trees {
  return { head: `${table}:head`, body: `${table}:body`, index: `${table}:index`, leaf: `${table}:leaf` }
}

/** Every tree that the given tables need in the Db, the shared ones included. */
export function tableTrees(...schemas: readonly { readonly name: string }[]): TreeName[] {
  const names = schemas.flatMap((schema) => Object.values(treesOf(schema.name)) as TreeName[])
  return [...names, GC_TREE, RETRY_TREE, DAMAGED_TREE, STANDING_TREE, ASIDE_TREE, PROMISE_TREE]
}

/** The row key: [partition u8][partition key][sort key]. */
export function rowKeyOf(partition: number, partitionKey: Buffer, sortKey: Buffer): Buffer {
  const key = Buffer.allocUnsafe(1 + partitionKey.length + sortKey.length)
  key[0] = partition
  key.set(partitionKey, 1)
  key.set(sortKey, 1 + partitionKey.length)
  return key
}

/** The row keys of a partition. */
export function partitionRange(partition: number): { start: Buffer; end?: Buffer } {
  const start = Buffer.of(partition)
  return partition < 255 ? { start, end: Buffer.of(partition + 1) } : { start }
}

/** The leaf, 0..4095, of a row key: FNV-1a with a final mix, as spreading is all that is asked of it. */
export function leafOf(rowKey: Buffer): number {
  let h = 0x811c9dc5
  for (let i = 1; i < rowKey.length; i++) h = Math.imul(h ^ rowKey[i]!, 0x01000193)
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  return (h >>> 8) & (LEAF_COUNT - 1)
}

/** [partition u8][leaf u16 BE] */
export function leafKeyOf(partition: number, leaf: number): Buffer {
  const key = Buffer.allocUnsafe(3)
  key[0] = partition
  key[1] = leaf >>> 8
  key[2] = leaf & 0xff
  return key
}

/** [partition u8][leaf u16 BE][row key without its partition] */
export function indexKeyOf(rowKey: Buffer, leaf: number): Buffer {
  const key = Buffer.allocUnsafe(rowKey.length + 2)
  key[0] = rowKey[0]!
  key[1] = leaf >>> 8
  key[2] = leaf & 0xff
  key.set(rowKey.subarray(1), 3)
  return key
}

/** The row key of an index key. */
export function rowKeyOfIndex(indexKey: Buffer): Buffer {
  const key = Buffer.allocUnsafe(indexKey.length - 2)
  key[0] = indexKey[0]!
  key.set(indexKey.subarray(3), 1)
  return key
}

/** First 16 bytes of SHA-256. */
export function hash16(data: Buffer): Buffer {
  return hash('sha256', data, 'buffer').subarray(0, HASH_BYTES)
}

/** Hash of (row key, head): what replicas compare. The key's length stands first, so that no two rows collide. */
export function rowHashOf(rowKey: Buffer, head: Buffer): Buffer {
  const data = Buffer.allocUnsafe(2 + rowKey.length + head.length)
  data[0] = rowKey.length >>> 8
  data[1] = rowKey.length & 0xff
  data.set(rowKey, 2)
  data.set(head, 2 + rowKey.length)
  return hash16(data)
}

/** `into` ^= `other`, both HASH_BYTES long. */
export function xorInto(into: Buffer, other: Buffer): void {
  for (let i = 0; i < HASH_BYTES; i++) into[i]! ^= other[i]!
}

export function isZero(bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false
  return true
}

/** The smallest key greater than every key that begins with `prefix`; undefined when there is none. */
export function prefixEnd(prefix: Buffer): Buffer | undefined {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length--
  if (length === 0) return undefined
  const end = Buffer.from(prefix.subarray(0, length))
  end[length - 1]!++
  return end
}

/** The smallest key greater than `key`. */
export function successor(key: Buffer): Buffer {
  const next = Buffer.alloc(key.length + 1)
  next.set(key)
  return next
}
