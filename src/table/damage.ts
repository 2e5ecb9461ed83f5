import type { Reader, Tx } from '../db/db.js'
import { errorCode } from '../util/errors.js'
import type { LeafChanges } from './leaves.js'
import { DAMAGED_TREE, HASH_BYTES, indexKeyOf, leafOf, prefixEnd, rowHashOf, successor } from './row-keys.js'
import type { Row } from './rows.js'
import { bodyHolds, isSealed, markDamaged, markedValue, readMark, seal, sealedBody } from './seal.js'
import type { StoredRows } from './stored-rows.js'

const NOTHING = Buffer.alloc(0)
const FLAG_GIVEN_UP = 1

/** A row that is known to be damaged. */
export interface DamagedRow {
  readonly rowKey: Buffer
  /** When it was found, ms since the epoch. */
  readonly foundMs: number
  /** Every other replica was asked, and none could help. */
  readonly givenUp: boolean
}

/**
 * What becomes of rows whose stored bytes are damaged; all inside of the caller's transaction.
 *
 * A damaged head is put under a mark, with the row hash that the index had, and loses its place in the index and its
 * leaf, so that the comparison with other replicas finds the row missing. Its node has acknowledged it, perhaps as
 * one of a bare quorum, and so must neither answer "nothing here" nor take an older row for the newest one it knows. Hence
 * until the row is repaired, reads of it fail, and of the rows that are offered only the very one that was here is taken. If
 * every other replica was asked in vain, it is given up: reads still fail, but the next write replaces it.
 *
 * A damaged body leaves the head as it is: it takes part in merges and votes, and only reads of the body fail.
 */
export class RowDamage<E> {
  readonly #prefix: Buffer

  constructor(
    table: string,
    private readonly stored: StoredRows,
    private readonly queueTombstone: (tx: Tx, row: Row<E>, hash: Buffer) => void,
  ) {
    this.#prefix = Buffer.from(`${table}\0`)
  }

  isMark(rowKey: Buffer, value: Buffer): boolean {
    return readMark(rowKey, value) !== undefined
  }

  /**
   * A row is offered in place of a damaged value. 'restored': it is the very row that was here; nothing that follows
   * from rows has changed. 'cleared': what was here is given up, and the row is to be written as a new one.
   */
  meet(
    tx: Tx,
    row: Row<E>,
    value: Buffer | undefined,
    leaves: LeafChanges | undefined,
  ): 'restored' | 'refused' | 'cleared' {
    const { trees } = this.stored
    const leaf = leafOf(row.key)
    const indexKey = indexKeyOf(row.key, leaf)
    const mark = value && readMark(row.key, value)
    const indexed = tx.get(trees.index, indexKey)
    const hash = rowHashOf(row.key, row.head)
    if ((mark ? mark.rowHash : indexed)?.equals(hash)) {
      tx.put(trees.head, row.key, seal(row.key, row.head, row.body))
      if (row.body) tx.put(trees.body, row.key, row.body)
      else tx.delete(trees.body, row.key)
      if (!indexed?.equals(hash)) {
        tx.put(trees.index, indexKey, hash)
        this.stored.touchLeaf(tx, row.partition, leaf, hash, leaves)
        this.queueTombstone(tx, row, hash)
      }
      this.forget(tx, row.key)
      return 'restored'
    }
    if (!mark?.givenUp) {
      this.stored.onDamaged(row.key)
      return 'refused'
    }
    this.discard(tx, row.key, leaves)
    return 'cleared'
  }

  /** The body that a merge needs: undefined if it is given up. @throws CarportError Corrupted while it may be repaired */
  bodyToMerge(tx: Tx, rowKey: Buffer, value: Buffer): Buffer | undefined {
    try {
      return this.stored.body(tx, rowKey, value)
    } catch (error) {
      if (errorCode(error) === 'Corrupted' && this.#read(tx, rowKey)?.givenUp) return undefined
      throw error
    }
  }

  /** A row came whose head is the stored one: its body replaces a damaged one. */
  mendBody(tx: Tx, row: Row<E>, value: Buffer): void {
    if (!row.body || !isSealed(value) || !this.isKnown(tx, row.key)) return
    if (!bodyHolds(value, row.body)) return
    tx.put(this.stored.trees.body, row.key, row.body)
    this.forget(tx, row.key)
  }

  /** Looks at a row again, and marks it if it is damaged. Returns what is damaged of it. */
  quarantine(tx: Tx, rowKey: Buffer, nowMs: number): 'head' | 'body' | undefined {
    const { trees } = this.stored
    const value = tx.get(trees.head, rowKey)
    if (this.stored.holds(tx, rowKey, value)) {
      const isWhole =
        !value || !isSealed(value) || !sealedBody(value) || bodyHolds(value, tx.get(trees.body, rowKey))
      if (isWhole) this.forget(tx, rowKey)
      else this.#note(tx, rowKey, nowMs)
      return isWhole ? undefined : 'body'
    }
    this.mark(tx, rowKey, nowMs)
    return 'head'
  }

  /** Marks a row as damaged, whatever its value looks like. */
  mark(tx: Tx, rowKey: Buffer, nowMs: number): void {
    const { trees } = this.stored
    this.#note(tx, rowKey, nowMs)
    const value = tx.get(trees.head, rowKey)
    if (value && readMark(rowKey, value)) return
    const rowHash = this.#removeFromIndex(tx, rowKey, undefined)
    tx.put(trees.head, rowKey, markDamaged(rowKey, { rowHash, givenUp: false }, value ?? NOTHING))
  }

  /** Nobody can help any more: the next write replaces the row. */
  giveUp(tx: Tx, rowKey: Buffer): void {
    const { trees } = this.stored
    const known = this.#read(tx, rowKey)
    if (!known) return
    tx.put(DAMAGED_TREE, this.#key(rowKey), encodeEntry(known.foundMs, true))
    const value = tx.get(trees.head, rowKey)
    const mark = value && readMark(rowKey, value)
    if (mark) tx.put(trees.head, rowKey, markDamaged(rowKey, { ...mark, givenUp: true }, markedValue(value)))
  }

  /** Removes a damaged row and all traces of it, except what followed from it. */
  discard(tx: Tx, rowKey: Buffer, leaves?: LeafChanges): void {
    const { trees } = this.stored
    tx.delete(trees.head, rowKey)
    tx.delete(trees.body, rowKey)
    this.#removeFromIndex(tx, rowKey, leaves)
    this.forget(tx, rowKey)
  }

  /** The row is not damaged any more. */
  forget(tx: Tx, rowKey: Buffer): void {
    if (tx.count(DAMAGED_TREE) > 0) tx.delete(DAMAGED_TREE, this.#key(rowKey))
  }

  isKnown(reader: Reader, rowKey: Buffer): boolean {
    return reader.count(DAMAGED_TREE) > 0 && reader.has(DAMAGED_TREE, this.#key(rowKey))
  }

  /** Rows that are known to be damaged, by row key, behind `after`. */
  known(reader: Reader, after: Buffer | undefined, limit: number): DamagedRow[] {
    const start = after ? successor(this.#key(after)) : this.#prefix
    const rows: DamagedRow[] = []
    for (const { key, value } of reader.range(DAMAGED_TREE, {
      start,
      end: prefixEnd(this.#prefix)!,
      limit,
    })) {
      rows.push({ rowKey: Buffer.from(key.subarray(this.#prefix.length)), ...decodeEntry(value) })
    }
    return rows
  }

  #note(tx: Tx, rowKey: Buffer, nowMs: number): void {
    const key = this.#key(rowKey)
    if (!tx.has(DAMAGED_TREE, key)) tx.put(DAMAGED_TREE, key, encodeEntry(nowMs, false))
  }

  #read(reader: Reader, rowKey: Buffer): Omit<DamagedRow, 'rowKey'> | undefined {
    const value = reader.get(DAMAGED_TREE, this.#key(rowKey))
    return value && decodeEntry(value)
  }

  #key(rowKey: Buffer): Buffer {
    return Buffer.concat([this.#prefix, rowKey])
  }

  #removeFromIndex(tx: Tx, rowKey: Buffer, leaves: LeafChanges | undefined): Buffer | undefined {
    const leaf = leafOf(rowKey)
    const indexKey = indexKeyOf(rowKey, leaf)
    const hash = tx.get(this.stored.trees.index, indexKey)
    if (!hash) return undefined
    tx.delete(this.stored.trees.index, indexKey)
    if (hash.length !== HASH_BYTES) return undefined
    this.stored.touchLeaf(tx, rowKey[0]!, leaf, hash, leaves)
    return hash
  }
}

/** [found at, f64 ms][flags u8] */
function encodeEntry(foundMs: number, givenUp: boolean): Buffer {
  const value = Buffer.alloc(9)
  value.writeDoubleBE(foundMs)
  value[8] = givenUp ? FLAG_GIVEN_UP : 0
  return value
}

function decodeEntry(value: Buffer): { foundMs: number; givenUp: boolean } {
  if (value.length !== 9) return { foundMs: 0, givenUp: false }
  return { foundMs: value.readDoubleBE(0), givenUp: (value[8]! & FLAG_GIVEN_UP) !== 0 }
}
