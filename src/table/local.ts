import type { Entry, RangeOptions, Reader, Tx } from '../db/db.js'
import type { Clock } from '../util/clock.js'
import { errorCode } from '../util/errors.js'
import { RowDamage } from './damage.js'
import { gcKeyOf, gcPrefixOf } from './gc-keys.js'
import { type LeafChanges, readHashes, readLeaves } from './leaves.js'
import type { LocalRange, TombstoneDue } from './local-range.js'
import { OwnVotes, type StoredRow } from './own-votes.js'
import { Promises } from './promises.js'
import { ReplacedRows } from './replaced.js'
import {
  GC_TREE,
  hash16,
  indexKeyOf,
  leafOf,
  partitionRange,
  prefixEnd,
  rowKeyOf,
  type Trees,
} from './row-keys.js'
import { type Row, RowCodec } from './rows.js'
import type { EncodedRow, TableSchema } from './schema.js'
import { headOf } from './seal.js'
import { StoredRows } from './stored-rows.js'
import { WritesUnderWay } from './under-way.js'

export type { LocalRange, TombstoneDue } from './local-range.js'

/**
 * One node's copy of a table, with the fingerprints that replicas compare. Reads take any Reader; the only way to
 * change a row is to merge another into it (`update`), or to let go of a copy whose hash is known (`drop`).
 *
 * Rows are verified when they are read (see StoredRows). A damaged row is neither there nor absent: reads of it fail,
 * so that others are asked, and no write replaces it until the replicas have told what it was (see RowDamage).
 */
export class LocalTable<E> {
  readonly codec: RowCodec<E>
  readonly stored: StoredRows
  readonly damage: RowDamage<E>
  /** What replicas wait for before they answer. */
  readonly underWay = new WritesUnderWay()
  /** Kept where writers ask for it (see TableSchema.hiddenBy). */
  readonly replaced: ReplacedRows | undefined
  /** Rows that this node writes itself, and does not show yet; kept where `replaced` is. */
  readonly votes: OwnVotes | undefined
  /** Of tables with conditional writes, on nodes that take writes. */
  readonly promises: Promises<E> | undefined
  readonly #gcPrefix: Buffer

  /** @param clock needed on nodes that take writes */
  constructor(
    readonly schema: TableSchema<E>,
    private readonly tombstoneDue: TombstoneDue,
    clock?: Clock,
  ) {
    this.codec = new RowCodec(schema)
    if (schema.hiddenBy && clock) {
      this.replaced = new ReplacedRows(clock)
      this.votes = new OwnVotes(this.codec, this.replaced)
    }
    if (schema.conditional && clock) this.promises = new Promises(schema, this.codec, clock)
    this.stored = new StoredRows(schema.name)
    this.damage = new RowDamage(schema.name, this.stored, (tx, row, hash) =>
      this.#queueTombstone(tx, row, hash),
    )
    this.#gcPrefix = gcPrefixOf(schema.name)
  }

  /** Rows that were written and let go of since the start, as transactions tried to. */
  readonly changes = { written: 0, dropped: 0 }

  get trees(): Trees {
    return this.stored.trees
  }

  /**
   * A row, tombstones included. Its body is loaded from `reader` when the entry asks for it, which must happen
   * before the caller yields to the event loop, and which throws Corrupted if it is damaged.
   * @throws CarportError Corrupted if the row is damaged here
   */
  get(reader: Reader, partitionKey: Buffer, sortKey: Buffer): E | undefined {
    return this.getByKey(reader, this.codec.keyOf(partitionKey, sortKey))
  }

  /** Like `get`, by the row key. @throws CarportError Corrupted */
  getByKey(reader: Reader, key: Buffer): E | undefined {
    const value = this.stored.value(reader, key)
    return value && this.#decode(reader, key, value)
  }

  /** Like `get`, but undefined also for a damaged row: for what must go on without it. */
  getIntact(reader: Reader, partitionKey: Buffer, sortKey: Buffer): E | undefined {
    return this.getIntactByKey(reader, this.codec.keyOf(partitionKey, sortKey))
  }

  /** Like `getIntact`, by the row key. */
  getIntactByKey(reader: Reader, key: Buffer): E | undefined {
    const value = this.stored.intactValue(reader, key)
    return value && this.#decode(reader, key, value)
  }

  /** Like `get`, but what is shown of a row that this node is writing. @throws CarportError Corrupted */
  getShown(reader: Reader, partitionKey: Buffer, sortKey: Buffer): E | undefined {
    const key = this.codec.keyOf(partitionKey, sortKey)
    const instead = this.votes?.instead(key)
    if (!instead) return this.getByKey(reader, key)
    const { row } = instead
    return row && this.codec.decodeStored(row.head, () => row.body)
  }

  /** Resolves when something else is shown of a row that this node is writing; at once if it is not. */
  async nextShown(partitionKey: Buffer, sortKey: Buffer): Promise<void> {
    const key = this.codec.keyOf(partitionKey, sortKey)
    if (this.votes?.instead(key)) await this.votes.nextShown(key)
  }

  #decode(reader: Reader, key: Buffer, value: Buffer): E {
    return this.codec.decodeStored(headOf(value), () => this.stored.body(reader, key, value))
  }

  /** `answer`, once what was read for it of rows of that partition key is durable here. */
  whenDurable<T>(partitionKey: Buffer, answer: T): T | Promise<T> {
    const prefix = rowKeyOf(this.codec.partitionOf(partitionKey), partitionKey, Buffer.alloc(0))
    return this.underWay.afterAll(prefix, answer)
  }

  /** The head's bytes, valid until the next read of this process. @throws CarportError Corrupted */
  peekHead(reader: Reader, partitionKey: Buffer, sortKey: Buffer): Buffer | undefined {
    return this.stored.peekHead(reader, this.codec.keyOf(partitionKey, sortKey))
  }

  /** Whether this node's copy has exactly this head, intact. */
  holds(reader: Reader, rowKey: Buffer, head: Buffer): boolean {
    const value = this.stored.intactValue(reader, rowKey)
    return value !== undefined && headOf(value).equals(head)
  }

  /** Whether this node's copy has that hash, with an intact head. */
  holdsHash(reader: Reader, rowKey: Buffer, rowHash: Buffer): boolean {
    if (!this.rowHash(reader, rowKey)?.equals(rowHash)) return false
    return this.stored.intactValue(reader, rowKey) !== undefined
  }

  /** Head and body as the other replicas know them; both are the caller's. Undefined also for a damaged row. */
  encoded(reader: Reader, rowKey: Buffer): EncodedRow | undefined {
    return this.stored.encoded(reader, rowKey)
  }

  /**
   * Rows of a partition key in the order of their sort keys. Consume it before yielding to the event loop.
   * @throws CarportError Corrupted at a damaged row
   */
  *range(reader: Reader, partitionKey: Buffer, query: LocalRange): Generator<E> {
    for (const { key, value } of this.values(reader, partitionKey, query)) {
      yield this.#decode(reader, key, value)
    }
  }

  /** Like `range`, without decoding, and as rows are shown that this node is writing. */
  *heads(
    reader: Reader,
    partitionKey: Buffer,
    query: LocalRange,
  ): Generator<{ rowKey: Buffer; sortKey: Buffer; head: Buffer }> {
    const at = 1 + this.schema.partitionKeyBytes
    for (const { key, value } of this.values(reader, partitionKey, query)) {
      const instead = this.votes?.instead(key)
      const head = instead ? instead.row?.head : headOf(value)
      if (head) yield { rowKey: key, sortKey: key.subarray(at), head }
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
    if (!bounds) return
    const { votes } = this
    if (!votes || votes.size === 0) {
      this.stored.scan(reader, bounds, (key, head) => visit(key.subarray(at), head))
      return
    }
    this.stored.scan(reader, bounds, (key, stored) => {
      const instead = votes.instead(key)
      const head = instead ? instead.row?.head : stored
      return head ? visit(key.subarray(at), head) : true
    })
  }

  /**
   * Intact rows of the whole table by row key, from `start` on and before `end`: for walks over everything. Damaged ones
   * are passed over and reported. Consume it before yielding to the event loop.
   */
  *walk(reader: Reader, bounds: RangeOptions): Generator<{ rowKey: Buffer; head: Buffer }> {
    for (const { key, value } of this.stored.range(reader, bounds, 'skip')) {
      yield { rowKey: Buffer.from(key), head: headOf(value) }
    }
  }

  /** Verified values of a partition key's rows, to be read further by `stored`. @throws CarportError Corrupted */
  values(reader: Reader, partitionKey: Buffer, query: LocalRange): Iterable<Entry> {
    const bounds = this.#bounds(partitionKey, query)
    return bounds ? this.stored.range(reader, bounds, query.onDamage) : []
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
   * placement: the other replicas are not told, except by anti-entropy. A damaged copy is left as it is: the others
   * make the same change, and it comes with the repair.
   */
  update(tx: Tx, entry: E): E {
    return this.apply(tx, this.codec.encode(entry))
  }

  /**
   * Like `update`, for a row that came encoded: if it wins whole, its bytes are stored as they are.
   * @param leaves where changes of fingerprints are gathered, for whoever applies many rows in one transaction
   * @param refused where the row is put if it was not taken: this node's copy is damaged, or a promise keeps it, or its ballot, out
   */
  apply(tx: Tx, given: Row<E>, leaves?: LeafChanges, refused?: Row<E>[]): E {
    const { schema, stored, damage, promises } = this
    const value = tx.get(stored.trees.head, given.key)
    const row = promises ? promises.admit(tx, given, () => this.getIntactByKey(tx, given.key)) : given
    if (row !== given && promises!.wasHeld(given)) refused?.push(given)
    if (!row) return given.entry
    if (!stored.holds(tx, row.key, value)) {
      const outcome = damage.meet(tx, row, value, leaves)
      if (outcome === 'refused') refused?.push(row)
      if (outcome !== 'cleared') return row.entry
    }
    if (!value || damage.isMark(row.key, value)) {
      this.#write(tx, row, undefined, leaves)
      schema.onUpdate?.(tx, undefined, row.entry)
      return row.entry
    }
    const head = headOf(value)
    if (head.equals(row.head)) {
      damage.mendBody(tx, row, value)
      return row.entry
    }
    // The old body is read at most once, and before it is overwritten.
    let bodyRead = false
    let oldBody: Buffer | undefined
    const loadBody = () => {
      if (!bodyRead) {
        oldBody = damage.bodyToMerge(tx, row.key, value)
        bodyRead = true
      }
      return oldBody
    }
    const current = this.codec.decodeStored(head, loadBody)
    let winner: Row<E>
    try {
      const merged = schema.merge(current, row.entry)
      if (merged === current) return current
      winner = merged === row.entry ? row : this.codec.encode(merged)
      if (winner.head.equals(head)) return current
      loadBody()
    } catch (error) {
      if (errorCode(error) !== 'Corrupted') throw error
      refused?.push(row)
      return row.entry
    }
    this.#write(tx, winner, { head, body: oldBody }, leaves, current)
    if (!winner.body && stored.hasBody(tx, row.key, value)) tx.delete(stored.trees.body, row.key)
    damage.forget(tx, row.key)
    schema.onUpdate?.(tx, current, winner.entry)
    return winner.entry
  }

  /** Applies a row that gets this node's vote: promises were asked before (see ConditionalReplica). */
  vote(tx: Tx, row: Row<E>, refused?: Row<E>[]): E {
    const apply = () => this.apply(tx, row, undefined, refused)
    return this.promises ? this.promises.voting(row, apply) : apply()
  }

  /**
   * Replaces a damaged row by what the other replicas hold of it, perhaps nothing. The caller knows that they hold all
   * that was ever acknowledged of it.
   */
  replaceDamaged(tx: Tx, rowKey: Buffer, rows: readonly Row<E>[]): void {
    const { schema, stored, damage } = this
    const value = tx.get(stored.trees.head, rowKey)
    const isHeadIntact = value !== undefined && stored.holds(tx, rowKey, value)
    damage.discard(tx, rowKey)
    if (isHeadIntact) schema.onUpdate?.(tx, this.codec.decodeStored(headOf(value), noBody), undefined)
    // Promises do not keep them out: the copy that answered for them was damaged, and must not be empty now.
    for (const row of rows) this.vote(tx, row)
  }

  /**
   * Lets go of this node's copy, if it still has that hash: a tombstone all replicas confirmed, or a row whose
   * partition moved away. Returns whether it did; a damaged row stays.
   */
  drop(tx: Tx, rowKey: Buffer, rowHash: Buffer, leaves?: LeafChanges): boolean {
    const { trees } = this
    const leaf = leafOf(rowKey)
    const indexKey = indexKeyOf(rowKey, leaf)
    if (!tx.peek(trees.index, indexKey)?.equals(rowHash)) return false
    const row = this.encoded(tx, rowKey)
    if (!row) return false
    tx.delete(trees.head, rowKey)
    this.changes.dropped++
    if (row.body) tx.delete(trees.body, rowKey)
    tx.delete(trees.index, indexKey)
    this.stored.touchLeaf(tx, rowKey[0]!, leaf, rowHash, leaves)
    this.promises?.dropped(tx, rowKey)
    if (this.schema.onUpdate) {
      const entry = this.codec.decodeStored(row.head, () => row.body)
      this.schema.onUpdate(tx, entry, undefined)
    }
    return true
  }

  #write(tx: Tx, row: Row<E>, old: StoredRow | undefined, leaves: LeafChanges | undefined, before?: E): void {
    const { hash, oldHash } = this.stored.write(tx, row, old?.head, leaves)
    this.changes.written++
    const { replaced, votes } = this
    this.promises?.stored(tx, row, before)
    if (votes && votes.size > 0) votes.changed(tx, row.key, old, row)
    if (replaced && oldHash) {
      tx.onCommit(() => {
        if (!votes?.isHeldBack(row.key, old!.head)) replaced.add(oldHash)
      })
    }
    this.#queueTombstone(tx, row, hash)
  }

  #queueTombstone(tx: Tx, row: Row<E>, hash: Buffer): void {
    if (!this.schema.isTombstone(row.entry)) return
    const due = this.tombstoneDue(row.partition)
    tx.put(GC_TREE, gcKeyOf(this.#gcPrefix, due, hash), Buffer.concat([hash, row.key]))
  }

  /** The stored hash of a row, undefined if the row is absent. */
  rowHash(reader: Reader, rowKey: Buffer): Buffer | undefined {
    return reader.get(this.trees.index, indexKeyOf(rowKey, leafOf(rowKey)))
  }

  /** Leaves of a partition that are not empty: concatenated [leaf u16 BE][fingerprint], in order. */
  leaves(reader: Reader, partition: number): Buffer {
    return readLeaves(reader, this.trees.leaf, partition)
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
    return readHashes(reader, this.trees.index, partition, leaves, bounds)
  }

  /** Whether this node has any row of the partition. */
  hasPartition(reader: Reader, partition: number): boolean {
    for (const _ of reader.keys(this.trees.head, { ...partitionRange(partition), limit: 1 })) return true
    return false
  }
}

const noBody = () => undefined
