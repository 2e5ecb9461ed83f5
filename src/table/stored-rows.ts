import type { Entry, RangeOptions, Reader, Tx } from '../db/db.js'
import { CarportError } from '../util/errors.js'
import { type LeafChanges, xorLeaf } from './leaves.js'
import {
  indexKeyOf,
  leafKeyOf,
  leafOf,
  rowHashOf,
  successor,
  type Trees,
  treesOf,
  xorInto,
} from './row-keys.js'
import type { EncodedRow } from './schema.js'
import { bodyHolds, headOf, isSealed, seal, sealedBody, unseal } from './seal.js'

/** What a read does on finding a damaged row: fail, or pass over it. Either way the row is reported. */
export type OnDamage = 'throw' | 'skip'

/**
 * The bytes of one table's rows on this node. Nothing is returned that does not match its seal, or, for values of before
 * there were seals, the hash in the index: such rows are damaged, and reported to `onDamaged`. A row that the index
 * knows, but whose place in the tree of heads is empty, is damaged as well.
 */
export class StoredRows {
  readonly trees: Trees
  /** Told of each damaged row that is found; may be called inside of transactions, again and again for one row. */
  onDamaged: (rowKey: Buffer) => void = () => {}

  constructor(readonly table: string) {
    this.trees = treesOf(table)
  }

  /** The stored value of a row, a copy, verified; undefined if absent. @throws CarportError Corrupted */
  value(reader: Reader, rowKey: Buffer): Buffer | undefined {
    const value = reader.get(this.trees.head, rowKey)
    if (this.holds(reader, rowKey, value)) return value
    throw this.damaged(rowKey)
  }

  /** The same, undefined also for a damaged row. */
  intactValue(reader: Reader, rowKey: Buffer): Buffer | undefined {
    const value = reader.get(this.trees.head, rowKey)
    if (this.holds(reader, rowKey, value)) return value
    this.onDamaged(rowKey)
    return undefined
  }

  /** The head of a row, valid until the next read of this process; undefined if absent. @throws CarportError Corrupted */
  peekHead(reader: Reader, rowKey: Buffer): Buffer | undefined {
    const peeked = reader.peek(this.trees.head, rowKey)
    if (!peeked || !isSealed(peeked)) {
      const value = peeked && Buffer.from(peeked)
      if (this.holds(reader, rowKey, value)) return value
      throw this.damaged(rowKey)
    }
    const head = unseal(rowKey, peeked)
    if (head) return head
    throw this.damaged(rowKey)
  }

  /** Whether a value that is the caller's is what was stored under the key. */
  holds(reader: Reader, rowKey: Buffer, value: Buffer | undefined): boolean {
    if (value && isSealed(value)) return unseal(rowKey, value) !== undefined
    const { index } = this.trees
    const indexKey = indexKeyOf(rowKey, leafOf(rowKey))
    if (!value) return !reader.has(index, indexKey)
    return reader.peek(index, indexKey)?.equals(rowHashOf(rowKey, value)) ?? false
  }

  /** Head and body, which are the caller's; undefined if the row is absent or damaged. */
  encoded(reader: Reader, rowKey: Buffer): EncodedRow | undefined {
    const value = this.intactValue(reader, rowKey)
    if (!value) return undefined
    const head = headOf(value)
    if (isSealed(value) && !sealedBody(value)) return { head }
    const body = reader.get(this.trees.body, rowKey)
    if (isSealed(value) && !bodyHolds(value, body)) {
      this.onDamaged(rowKey)
      return undefined
    }
    return body ? { head, body } : { head }
  }

  /** The body of a row whose value was read; undefined if it has none. @throws CarportError Corrupted */
  body(reader: Reader, rowKey: Buffer, value: Buffer): Buffer | undefined {
    if (isSealed(value) && !sealedBody(value)) return undefined
    const body = reader.get(this.trees.body, rowKey)
    if (isSealed(value) && !bodyHolds(value, body)) throw this.damaged(rowKey)
    return body
  }

  /** Whether a row whose value was read has a body, which is not looked at. */
  hasBody(reader: Reader, rowKey: Buffer, value: Buffer): boolean {
    return isSealed(value) ? sealedBody(value) : reader.has(this.trees.body, rowKey)
  }

  /**
   * Rows of a range of row keys, in order; `limit` counts those that are returned. Consume it before yielding to the event
   * loop. @throws CarportError Corrupted
   */
  *range(reader: Reader, bounds: RangeOptions, onDamage: OnDamage = 'throw'): Generator<Entry> {
    const { limit = Number.POSITIVE_INFINITY, ...unlimited } = bounds
    let left = limit
    if (left < 1) return
    for (const { key, value } of reader.range(this.trees.head, onDamage === 'skip' ? unlimited : bounds)) {
      if (this.holds(reader, key, value)) {
        yield { key, value }
        if (--left < 1) return
      } else {
        const damaged = this.damaged(Buffer.from(key))
        if (onDamage === 'throw') throw damaged
      }
    }
  }

  /**
   * Heads of a range of row keys, without copies: the buffers are valid only until `visit` returns, which ends the walk by
   * returning false and must not read from the store. @throws CarportError Corrupted
   */
  scan(reader: Reader, bounds: RangeOptions, visit: (rowKey: Buffer, head: Buffer) => boolean): void {
    let rest: RangeOptions | undefined = bounds
    while (rest) {
      let bare: Entry | undefined
      let damaged: Buffer | undefined
      let visited = 0
      reader.scan(this.trees.head, rest, (key, value) => {
        visited++
        if (isSealed(value)) {
          const head = unseal(key, value)
          if (head) return visit(key, head)
          damaged = Buffer.from(key)
        } else bare = { key: Buffer.from(key), value: Buffer.from(value) }
        return false
      })
      if (damaged) throw this.damaged(damaged)
      if (!bare) return
      // The index vouches for this one, and cannot be read during the scan.
      const { key, value } = bare as Entry
      if (!this.holds(reader, key, value)) throw this.damaged(key)
      rest = visit(key, value) ? behind(rest, key, visited) : undefined
    }
  }

  /** Stores a row, with its place in the index and its leaf. @param old the head that it replaces */
  write(
    tx: Tx,
    row: { readonly key: Buffer; readonly head: Buffer; readonly body: Buffer | undefined },
    old: Buffer | undefined,
    leaves: LeafChanges | undefined,
  ): { hash: Buffer; oldHash: Buffer | undefined } {
    const leaf = leafOf(row.key)
    const hash = rowHashOf(row.key, row.head)
    tx.put(this.trees.head, row.key, seal(row.key, row.head, row.body))
    tx.put(this.trees.index, indexKeyOf(row.key, leaf), hash)
    const oldHash = old && rowHashOf(row.key, old)
    let change = hash
    if (oldHash) {
      change = Buffer.from(oldHash)
      xorInto(change, hash)
    }
    this.touchLeaf(tx, row.key[0]!, leaf, change, leaves)
    if (row.body) tx.put(this.trees.body, row.key, row.body)
    return { hash, oldHash }
  }

  touchLeaf(tx: Tx, partition: number, leaf: number, change: Buffer, leaves: LeafChanges | undefined): void {
    if (leaves) leaves.add(partition, leaf, change)
    else xorLeaf(tx, this.trees.leaf, leafKeyOf(partition, leaf), change)
  }

  /** Reports a damaged row, and makes the error that tells of it. */
  damaged(rowKey: Buffer): CarportError {
    this.onDamaged(rowKey)
    return new CarportError('Corrupted', `${describeRow(this.table, rowKey)} is damaged on this node`)
  }
}

/** A row for logs and messages: its key as text, with what is not printable in hexadecimal digits. */
export function describeRow(table: string, rowKey: Buffer): string {
  const text = rowKey.toString('latin1').replace(/[^\x20-\x7e]/g, (c) => {
    return `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`
  })
  return `the row ${text} of table ${table}`
}

/** What is left of a range behind a key, the last of `visited` ones. */
function behind(bounds: RangeOptions, key: Buffer, visited: number): RangeOptions {
  const rest = bounds.limit === undefined ? bounds : { ...bounds, limit: bounds.limit - visited }
  return bounds.reverse ? { ...rest, end: key } : { ...rest, start: successor(key) }
}
