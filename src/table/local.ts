import type { RangeOptions, Reader, Tx } from '../db/db.js'
import type { Clock } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { ReplacedRows } from './replaced.js'
import {
  GC_TREE,
  HASH_BYTES,
  hash16,
  indexKeyOf,
  isZero,
  LEAF_COUNT,
  leafKeyOf,
  leafOf,
  prefixEnd,
  rowHashOf,
  rowKeyOf,
  rowKeyOfIndex,
  successor,
  type Trees,
  treesOf,
  xorInto,
} from './row-keys.js'
import { type Row, RowCodec } from './rows.js'
import type { EncodedRow, TableSchema } from './schema.js'
import { WritesUnderWay } from './under-way.js'

export interface LocalRange {
  /** First sort key, inclusive. */
  start?: Buffer | undefined
  /** End, exclusive. */
  end?: Buffer | undefined
  reverse?: boolean | undefined
  limit?: number | undefined
}

/** Number and fingerprint of a leaf. */
const LEAF_BYTES = 2 + HASH_BYTES
/** Leaves for which there is room at first. */
const LEAVES_ROOM = 64

/** When a tombstone written now may be collected at the earliest, in ms since the epoch. */
export type TombstoneDue = (partition: number) => number

/**
 * One node's copy of a table, with the fingerprints that replicas compare. Reads take any Reader; the only way to
 * change a row is to merge another into it (`update`), or to let go of a copy whose hash is known (`drop`).
 */
export class LocalTable<E> {
  readonly codec: RowCodec<E>
  readonly trees: Trees
  /** What replicas wait for before they answer. */
  readonly underWay = new WritesUnderWay()
  /** Kept where writers ask for it (see TableSchema.hiddenBy). */
  readonly replaced: ReplacedRows | undefined
  readonly #gcPrefix: Buffer

  /** @param clock needed on nodes that take writes */
  constructor(
    readonly schema: TableSchema<E>,
    private readonly tombstoneDue: TombstoneDue,
    clock?: Clock,
  ) {
    if (schema.hiddenBy && clock) this.replaced = new ReplacedRows(clock)
    this.codec = new RowCodec(schema)
    this.trees = treesOf(schema.name)
    this.#gcPrefix = gcPrefixOf(schema.name)
  }

  /**
   * A row, tombstones included. Its body is loaded from `reader` when the entry asks for it, which must happen
   * before the caller yields to the event loop.
   * @throws CarportError Corrupted
   */
  get(reader: Reader, partitionKey: Buffer, sortKey: Buffer): E | undefined {
    const key = this.codec.keyOf(partitionKey, sortKey)
    const head = reader.get(this.trees.head, key)
    return head && this.codec.decodeStored(head, () => reader.get(this.trees.body, key))
  }

  /** `answer`, once what was read for it of rows of that partition key is durable here. */
  whenDurable<T>(partitionKey: Buffer, answer: T): T | Promise<T> {
    const prefix = rowKeyOf(this.codec.partitionOf(partitionKey), partitionKey, Buffer.alloc(0))
    return this.underWay.afterAll(prefix, answer)
  }

  /** The head's bytes, valid until the next read of this process. */
  peekHead(reader: Reader, partitionKey: Buffer, sortKey: Buffer): Buffer | undefined {
    return reader.peek(this.trees.head, this.codec.keyOf(partitionKey, sortKey))
  }

  /** Head and body as they are stored; both are the caller's. */
  encoded(reader: Reader, rowKey: Buffer): EncodedRow | undefined {
    const head = reader.get(this.trees.head, rowKey)
    if (!head) return undefined
    const body = reader.get(this.trees.body, rowKey)
    return body ? { head, body } : { head }
  }

  /** Rows of a partition key in the order of their sort keys. Consume it before yielding to the event loop. */
  *range(reader: Reader, partitionKey: Buffer, query: LocalRange): Generator<E> {
    for (const { rowKey, head } of this.#entries(reader, partitionKey, query)) {
      yield this.codec.decodeStored(head, () => reader.get(this.trees.body, rowKey))
    }
  }

  /** Like `range`, without decoding. */
  *heads(
    reader: Reader,
    partitionKey: Buffer,
    query: LocalRange,
  ): Generator<{ rowKey: Buffer; sortKey: Buffer; head: Buffer }> {
    const at = 1 + this.schema.partitionKeyBytes
    for (const { rowKey, head } of this.#entries(reader, partitionKey, query)) {
      yield { rowKey, sortKey: rowKey.subarray(at), head }
    }
  }

  /**
   * Like `heads`, without copies: the buffers are valid only until `visit` returns, which ends the walk by returning
   * false and must not read from the store.
   */
  scan(
    reader: Reader,
    partitionKey: Buffer,
    query: LocalRange,
    visit: (sortKey: Buffer, head: Buffer) => boolean,
  ): void {
    const bounds = this.#bounds(partitionKey, query)
    const at = 1 + this.schema.partitionKeyBytes
    if (bounds) reader.scan(this.trees.head, bounds, (key, head) => visit(key.subarray(at), head))
  }

  *#entries(
    reader: Reader,
    partitionKey: Buffer,
    query: LocalRange,
  ): Generator<{ rowKey: Buffer; head: Buffer }> {
    const bounds = this.#bounds(partitionKey, query)
    if (!bounds) return
    for (const { key, value } of reader.range(this.trees.head, bounds)) yield { rowKey: key, head: value }
  }

  /** The range of row keys that a query means; undefined if it can hold none. */
  #bounds(partitionKey: Buffer, query: LocalRange): RangeOptions | undefined {
    this.codec.checkKeys(partitionKey, query.start ?? Buffer.alloc(0))
    const partition = this.codec.partitionOf(partitionKey)
    const prefix = rowKeyOf(partition, partitionKey, Buffer.alloc(0))
    const start = query.start ? rowKeyOf(partition, partitionKey, query.start) : prefix
    const end = query.end ? rowKeyOf(partition, partitionKey, query.end) : prefixEnd(prefix)
    if (end && start.compare(end) >= 0) return undefined
    return {
      start,
      ...(end ? { end } : {}),
      ...(query.reverse ? { reverse: true } : {}),
      ...(query.limit === undefined ? {} : { limit: query.limit }),
    }
  }

  /**
   * Merges a row into this node's copy and returns the merged row. For hooks of other tables with the same
   * placement: the other replicas are not told, except by anti-entropy.
   */
  update(tx: Tx, entry: E): E {
    return this.apply(tx, this.codec.encode(entry))
  }

  /**
   * Like `update`, for a row that came encoded: if it wins whole, its bytes are stored as they are.
   * @param leaves where changes of fingerprints are gathered, for whoever applies many rows in one transaction
   */
  apply(tx: Tx, row: Row<E>, leaves?: LeafChanges): E {
    const { schema, trees } = this
    const peeked = tx.peek(trees.head, row.key)
    if (!peeked) {
      this.#write(tx, row, undefined, leaves)
      if (row.body) tx.put(trees.body, row.key, row.body)
      schema.onUpdate?.(tx, undefined, row.entry)
      return row.entry
    }
    if (peeked.equals(row.head)) return row.entry
    const stored = Buffer.from(peeked)
    // The old body is read at most once, and before it is overwritten.
    let bodyRead = false
    let oldBody: Buffer | undefined
    const loadBody = () => {
      if (!bodyRead) {
        oldBody = tx.get(trees.body, row.key)
        bodyRead = true
      }
      return oldBody
    }
    const current = this.codec.decodeStored(stored, loadBody)
    const merged = schema.merge(current, row.entry)
    if (merged === current) return current
    const winner = merged === row.entry ? row : this.codec.encode(merged)
    if (winner.head.equals(stored)) return current
    loadBody()
    this.#write(tx, winner, stored, leaves)
    if (winner.body) tx.put(trees.body, row.key, winner.body)
    else if (oldBody) tx.delete(trees.body, row.key)
    schema.onUpdate?.(tx, current, merged)
    return merged
  }

  /**
   * Lets go of this node's copy, if it still has that hash: a tombstone all replicas confirmed, or a row whose
   * partition moved away. Returns whether it did.
   */
  drop(tx: Tx, rowKey: Buffer, rowHash: Buffer, leaves?: LeafChanges): boolean {
    const { trees } = this
    const leaf = leafOf(rowKey)
    const indexKey = indexKeyOf(rowKey, leaf)
    if (!tx.peek(trees.index, indexKey)?.equals(rowHash)) return false
    const stored = this.encoded(tx, rowKey)
    tx.delete(trees.head, rowKey)
    if (stored?.body) tx.delete(trees.body, rowKey)
    tx.delete(trees.index, indexKey)
    this.#touchLeaf(tx, rowKey[0]!, leaf, rowHash, leaves)
    if (stored && this.schema.onUpdate) {
      this.schema.onUpdate(
        tx,
        this.codec.decodeStored(stored.head, () => stored.body),
        undefined,
      )
    }
    return true
  }

  #write(tx: Tx, row: Row<E>, stored: Buffer | undefined, leaves: LeafChanges | undefined): void {
    const { trees } = this
    const leaf = leafOf(row.key)
    const hash = rowHashOf(row.key, row.head)
    tx.put(trees.head, row.key, row.head)
    tx.put(trees.index, indexKeyOf(row.key, leaf), hash)
    let change = hash
    if (stored) {
      change = rowHashOf(row.key, stored)
      const { replaced } = this
      if (replaced) {
        const old = Buffer.from(change)
        tx.onCommit(() => replaced.add(old))
      }
      xorInto(change, hash)
    }
    this.#touchLeaf(tx, row.partition, leaf, change, leaves)
    if (this.schema.isTombstone(row.entry)) {
      const due = this.tombstoneDue(row.partition)
      tx.put(GC_TREE, gcKeyOf(this.#gcPrefix, due, hash), Buffer.concat([hash, row.key]))
    }
  }

  #touchLeaf(tx: Tx, partition: number, leaf: number, change: Buffer, leaves: LeafChanges | undefined): void {
    if (leaves) leaves.add(partition, leaf, change)
    else xorLeaf(tx, this.trees.leaf, leafKeyOf(partition, leaf), change)
  }

  /** The stored hash of a row, undefined if the row is absent. */
  rowHash(reader: Reader, rowKey: Buffer): Buffer | undefined {
    return reader.get(this.trees.index, indexKeyOf(rowKey, leafOf(rowKey)))
  }

  /** Leaves of a partition that are not empty: concatenated [leaf u16 BE][fingerprint], in order. */
  leaves(reader: Reader, partition: number): Buffer {
    // Most partitions have few leaves, and this is asked for hundreds of them at a time.
    let out = Buffer.allocUnsafe(LEAVES_ROOM * LEAF_BYTES)
    let at = 0
    for (const { key, value } of reader.range(this.trees.leaf, partitionRange(partition))) {
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

  /** Hash over a partition's leaves; undefined when it is empty. Equal roots mean equal copies. */
  root(reader: Reader, partition: number): Buffer | undefined {
    const leaves = this.leaves(reader, partition)
    return leaves.length > 0 ? hash16(leaves) : undefined
  }

  /**
   * Rows of a partition by leaf: (row key, row hash) after the index key `after`, up to and including `last`.
   * `next` is where to go on, undefined at the end.
   */
  hashes(
    reader: Reader,
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
      for (const { key, value } of reader.range(this.trees.index, end ? { start, end } : { start })) {
        if (keys.length >= bounds.limit) return { keys, hashes, next: previous }
        keys.push(rowKeyOfIndex(key))
        hashes.push(Buffer.from(value))
        previous = Buffer.from(key)
      }
    }
    return { keys, hashes, next: undefined }
  }

  /** Whether this node has any row of the partition. */
  hasPartition(reader: Reader, partition: number): boolean {
    for (const _ of reader.keys(this.trees.head, { ...partitionRange(partition), limit: 1 })) return true
    return false
  }
}

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

function xorLeaf(tx: Tx, tree: string, key: Buffer, change: Buffer): void {
  const sum = Buffer.from(change)
  const stored = tx.peek(tree, key)
  if (stored) {
    if (stored.length !== HASH_BYTES) throw new CarportError('Corrupted', `${tree}: malformed fingerprint`)
    xorInto(sum, stored)
  }
  if (!isZero(sum)) tx.put(tree, key, sum)
  else if (stored) tx.delete(tree, key)
}

function partitionRange(partition: number): { start: Buffer; end?: Buffer } {
  const start = Buffer.of(partition)
  return partition < 255 ? { start, end: Buffer.of(partition + 1) } : { start }
}

/** Prefix of a table's entries in the tombstone queue. */
export function gcPrefixOf(table: string): Buffer {
  return Buffer.from(`${table}\0`)
}

/** [table name][0][due u48 ms][row hash] → [row hash][row key] */
export function gcKeyOf(prefix: Buffer, dueMs: number, rowHash: Buffer): Buffer {
  const due = Buffer.allocUnsafe(6)
  due.writeUIntBE(Math.max(0, Math.floor(dueMs)), 0, 6)
  return Buffer.concat([prefix, due, rowHash])
}
