import { pack, unpack } from 'msgpackr'
import type { Tx } from '../../db/db.js'
import type { BodyLoader, EncodedRow, TableSchema } from '../../table/schema.js'
import { assert } from '../../util/assert.js'
import { CarportError } from '../../util/errors.js'
import { versioned } from '../../util/format.js'
import { bucketPartition, terminatedKey } from '../sort-keys.js'
import { ORIGIN_BYTES, originBytes } from './causality.js'
import {
  type ItemKey,
  ItemValue,
  isDeleted,
  type K2vItem,
  latestTime,
  mergeItems,
  type OriginEntry,
  partOf,
} from './item.js'

/** Longest partition key and sort key, in bytes of UTF-8. Both together fit a row's sort key. */
export const KEY_BYTES_MAX = 900
/** Contents of one item up to this many bytes together stand in the head. */
const INLINE_BYTES_MAX = 1024
const DIGEST_BYTES = 16

type WireValue = [time: number, content: Buffer | null] | [time: number, size: number, digest: Buffer]
type WireItem = [Buffer, Buffer, Buffer, [origin: Buffer, discard: number, values: WireValue[]][]]

const FORMAT = versioned<WireItem>('K2V item', { encode: pack, writes: 1, versions: { 1: parseHead } })

/** What a change of an item brings about on the replica, in the same transaction. */
export type ItemHook = (tx: Tx, before: K2vItem | undefined, after: K2vItem | undefined) => void

/** The table of items. Those of a bucket share their replicas with all that it has. */
export function k2vItemTable(onUpdate: ItemHook): TableSchema<K2vItem> {
  return {
    name: 'k2v_item',
    placement: 'sharded',
    partitionKeyBytes: 16,
    partition: bucketPartition,
    partitionKey: ({ bucket }) => bucket,
    sortKey: rowSortKey,
    encode,
    decode,
    merge: mergeItems,
    isTombstone: isDeleted,
    timeUs: latestTime,
    partOf,
    onUpdate,
  }
}

/** The sort key of an item's row. @throws CarportError InvalidArgument if the keys are too long */
export function rowSortKey({ partitionKey, sortKey }: Omit<ItemKey, 'bucket'>): Buffer {
  return Buffer.concat([partitionPrefix(partitionKey), sortKey])
}

/** The start of the sort keys of all items of a partition key. @throws CarportError InvalidArgument */
export function partitionPrefix(partitionKey: Buffer): Buffer {
  return terminatedKey(partitionKey)
}

/** @throws CarportError InvalidArgument */
export function checkKeys(partitionKey: Buffer, sortKey: Buffer): void {
  for (const [name, key] of [
    ['partition key', partitionKey],
    ['sort key', sortKey],
  ] as const) {
    if (key.length > KEY_BYTES_MAX) {
      throw new CarportError('InvalidArgument', `the ${name} has more than ${KEY_BYTES_MAX} bytes`)
    }
  }
  // At the most every byte is escaped.
  if (partitionKey.length * 2 > KEY_BYTES_MAX && terminatedKey(partitionKey).length > KEY_BYTES_MAX + 1) {
    throw new CarportError('InvalidArgument', 'the partition key has too many control characters')
  }
}

function encode(item: K2vItem): EncodedRow {
  const { bucket, partitionKey, sortKey, entries } = item
  let bytes = 0
  for (const { values } of entries) for (const { size } of values) bytes += Math.max(0, size)
  const inHead = bytes <= INLINE_BYTES_MAX
  const contents: Buffer[] = []
  const wire = entries.map(({ origin, discard, values }): WireItem[3][number] => {
    const wireValues = values.map((value): WireValue => {
      const content = value.content()
      if (inHead || content === null) return [value.time, content]
      contents.push(content)
      return [value.time, value.size, value.digest]
    })
    return [originBytes(origin), discard, wireValues]
  })
  const head = FORMAT.encode([bucket, partitionKey, sortKey, wire])
  return inHead ? { head } : { head, body: Buffer.concat(contents, bytes) }
}

function decode(head: Buffer, body: BodyLoader): K2vItem {
  const [bucket, partitionKey, sortKey, wire] = FORMAT.decode(head)
  let loaded: Buffer | undefined
  let at = 0
  /** The content at that place of the body, loaded when it is asked for. */
  const loader = (start: number, end: number) => () => {
    loaded ??= body()
    if (!loaded || loaded.length < end)
      throw new CarportError('Corrupted', 'the body of a K2V item is missing')
    return loaded.subarray(start, end)
  }
  const entries = wire.map(([origin, discard, values]): OriginEntry => {
    const read = values.map((value): ItemValue => {
      if (value.length === 2) return ItemValue.of(value[0], value[1])
      const [time, size, digest] = value
      at += size
      return new ItemValue(time, size, loader(at - size, at), digest)
    })
    return { origin: origin.toString('latin1'), discard, values: read }
  })
  return { bucket, partitionKey, sortKey, entries }
}

/** Reads a head, with all checks. The bytes are the caller's: contents are not copied. */
function parseHead(payload: Buffer): WireItem {
  const value: unknown = unpack(payload)
  const isRight =
    Array.isArray(value) &&
    value.length === 4 &&
    value.slice(0, 3).every(Buffer.isBuffer) &&
    Array.isArray(value[3]) &&
    value[3].every(isEntry)
  if (!isRight) throw new CarportError('Corrupted', 'malformed K2V item')
  const item = value as WireItem
  let last: Buffer | undefined
  for (const [origin] of item[3]) {
    assert(!last || last.compare(origin) < 0, 'origins are in order')
    last = origin
  }
  return item
}

function isEntry(entry: unknown): boolean {
  if (!Array.isArray(entry) || entry.length !== 3) return false
  const [origin, discard, values] = entry as unknown[]
  if (!Buffer.isBuffer(origin) || origin.length !== ORIGIN_BYTES || !isTime(discard)) return false
  if (!Array.isArray(values)) return false
  let last = discard as number
  return values.every((value) => {
    if (!Array.isArray(value) || !isTime(value[0]) || value[0] <= last) return false
    last = value[0]
    if (value.length === 2) return value[1] === null || Buffer.isBuffer(value[1])
    const [, size, digest] = value as unknown[]
    return value.length === 3 && isTime(size) && Buffer.isBuffer(digest) && digest.length === DIGEST_BYTES
  })
}

function isTime(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
