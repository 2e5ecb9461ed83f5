import { hash16 } from '../../table/row-keys.js'
import { CarportError } from '../../util/errors.js'
import { type Origin, timeOf, type VectorClock } from './causality.js'

/** The longest value, in bytes. */
export const VALUE_BYTES_MAX = 1 << 20
/**
 * Most concurrent values of one item, and the bytes of all of them, on one replica: a write without a token is refused
 * beyond. What several replicas took while they were cut off from each other still fits a message together.
 */
export const VALUES_MAX = 100
export const ITEM_BYTES_MAX = 2 << 20
/** Contents up to this many bytes are compared themselves, which is quicker than by digests. */
const SHORT_BYTES_MAX = 64
/** Most origins of one item. */
const ORIGINS_MAX = 256

/** One value that a client wrote, or its deletion, under the dot (origin, time). Immutable. */
export class ItemValue {
  #digest: Buffer | undefined
  readonly #isAtHand: boolean

  /**
   * @param size length in bytes; -1 of a deletion
   * @param load loads the content, which must happen in the turn in which the item was read; undefined of a deletion
   */
  constructor(
    readonly time: number,
    readonly size: number,
    private readonly load: (() => Buffer) | undefined,
    digest?: Buffer,
  ) {
    this.#digest = digest
    this.#isAtHand = digest === undefined
  }

  static of(time: number, content: Buffer | null): ItemValue {
    return new ItemValue(
      time,
      content === null ? -1 : content.length,
      content === null ? undefined : () => content,
    )
  }

  get isDeletion(): boolean {
    return this.size < 0
  }

  /** Null of a deletion. @throws CarportError Corrupted where a stored one is damaged */
  content(): Buffer | null {
    return this.load ? this.load() : null
  }

  /** The first 16 bytes of the content's SHA-256; empty of a deletion. */
  get digest(): Buffer {
    this.#digest ??= this.load ? hash16(this.load()) : NO_DIGEST
    return this.#digest
  }

  /** The order of two values under one dot, which cannot be, so that merges agree even then. */
  compare(other: ItemValue): number {
    if (this === other) return 0
    return this.size - other.size || this.digest.compare(other.digest)
  }

  /** Whether its content is in memory. */
  get isAtHand(): boolean {
    return this.#isAtHand
  }
}

const NO_DIGEST = Buffer.alloc(0)

/** What is known of one origin's dots: those up to `discard` are obsolete, of the later ones these are there. */
export interface OriginEntry {
  readonly origin: Origin
  readonly discard: number
  /** In the order of their times, all later than `discard`. */
  readonly values: readonly ItemValue[]
}

/**
 * One item: a dotted version vector set. A copy that knows a dot of an origin knows all earlier ones of it, since an
 * origin's entry always travels whole: so one time for each origin says which dots were seen.
 */
export interface K2vItem {
  readonly bucket: Buffer
  readonly partitionKey: Buffer
  readonly sortKey: Buffer
  /** In the order of origins, each once. */
  readonly entries: readonly OriginEntry[]
}

/** Key of an item. */
export type ItemKey = Pick<K2vItem, 'bucket' | 'partitionKey' | 'sortKey'>

function latestOf({ discard, values }: OriginEntry): number {
  return values.at(-1)?.time ?? discard
}

/** All dots that the item knows: what a client that reads it has seen. */
export function clockOf(item: K2vItem): VectorClock {
  return new Map(item.entries.map((entry) => [entry.origin, latestOf(entry)]))
}

/** The concurrent values, those with equal content once. */
export function valuesOf({ entries }: K2vItem): readonly ItemValue[] {
  if (entries.length === 1 && entries[0]!.values.length === 1) return entries[0]!.values
  const all = entries.flatMap(({ values }) => values)
  if (all.length < 2) return all
  // Digests are made, where none is stored, only for values that have another one's length.
  if (new Set(all.map(({ size }) => size)).size === all.length) return all
  const areShort = all.every((value) => value.isAtHand && value.size <= SHORT_BYTES_MAX)
  const contents = new Set<string>()
  return all.filter((value) => {
    const bytes = areShort ? value.content() : value.digest
    const content = `${value.size} ${bytes?.toString('latin1')}`
    return !contents.has(content) && contents.add(content)
  })
}

/** Whether nothing is left of the item but deletions. */
export function isDeleted(item: K2vItem): boolean {
  return item.entries.every(({ values }) => values.every(({ isDeletion }) => isDeletion))
}

/**
 * The values of an item that are older than a time, or all else that it says; undefined if that is nothing. Older values, which others
 * have forgotten, may stand beside younger ones of the same origin.
 */
export function partOf(item: K2vItem, age: 'older' | 'younger', thanUs: number): K2vItem | undefined {
  const isOlder = age === 'older'
  const entries: OriginEntry[] = []
  for (const { origin, discard, values } of item.entries) {
    const part = values.filter(({ time }) => time < thanUs === isOlder)
    if (part.length > 0 || (!isOlder && discard >= thanUs))
      entries.push({ origin, discard: isOlder ? 0 : discard, values: part })
  }
  return entries.length > 0 ? { ...item, entries } : undefined
}

/** The latest time in the item, 0 if it has none. */
export function latestTime(item: K2vItem): number {
  return item.entries.reduce((latest, entry) => Math.max(latest, latestOf(entry)), 0)
}

/** Merges two states of one item. Returns `a` itself if `b` adds nothing, `b` itself if it has all of `a`. */
export function mergeItems(a: K2vItem, b: K2vItem): K2vItem {
  const entries: OriginEntry[] = []
  let isA = true
  let isB = true
  let i = 0
  let j = 0
  while (i < a.entries.length || j < b.entries.length) {
    const left = a.entries[i]
    const right = b.entries[j]
    const order = !left
      ? 1
      : !right
        ? -1
        : left.origin < right.origin
          ? -1
          : left.origin > right.origin
            ? 1
            : 0
    const merged = order < 0 ? left! : order > 0 ? right! : mergeEntries(left!, right!)
    if (order <= 0) i++
    if (order >= 0) j++
    isA &&= merged === left && order <= 0
    // An entry that equals both is the left one.
    isB &&= order >= 0 && (merged === right || sameEntries(merged, right!))
    entries.push(merged)
  }
  if (isA) return a
  return isB ? b : { ...a, entries }
}

/** Returns `a` itself if it is the merge, else `b` itself if that is. */
function mergeEntries(a: OriginEntry, b: OriginEntry): OriginEntry {
  const discard = Math.max(a.discard, b.discard)
  const values: ItemValue[] = []
  let i = 0
  let j = 0
  while (i < a.values.length || j < b.values.length) {
    const left = a.values[i]
    const right = b.values[j]
    const order = !left ? 1 : !right ? -1 : left.time - right.time
    const value = order < 0 ? left! : order > 0 ? right! : left!.compare(right!) >= 0 ? left! : right!
    if (order <= 0) i++
    if (order >= 0) j++
    if (value.time > discard) values.push(value)
  }
  const merged = { origin: a.origin, discard, values }
  if (sameEntries(merged, a)) return a
  return sameEntries(merged, b) ? b : merged
}

function sameEntries(a: OriginEntry, b: OriginEntry): boolean {
  if (a === b) return true
  if (a.discard !== b.discard || a.values.length !== b.values.length) return false
  return a.values.every((value, i) => value.time === b.values[i]!.time && value.compare(b.values[i]!) === 0)
}

/**
 * The change that a write makes to an item: all that the context has seen is obsolete, and the value is there under the
 * dot (origin, time). The origin's entry is whole, the others say only what is obsolete: merge it into any copy.
 * @param current the item on the replica that the origin stands for, where all of the origin's dots were made
 * @param time later than every time of that origin in `current` and `context`
 */
export function changeOf(
  key: ItemKey,
  current: K2vItem | undefined,
  write: { origin: Origin; time: number; context: VectorClock; content: Buffer | null },
): K2vItem {
  const { origin, time, context, content } = write
  const own = current?.entries.find((entry) => entry.origin === origin)
  const discard = Math.max(own?.discard ?? 0, timeOf(context, origin))
  const kept = own?.values.filter((value) => value.time > discard) ?? []
  const entries: OriginEntry[] = [{ origin, discard, values: [...kept, ItemValue.of(time, content)] }]
  for (const [other, seen] of context) {
    if (other !== origin) entries.push({ origin: other, discard: seen, values: [] })
  }
  entries.sort((a, b) => (a.origin < b.origin ? -1 : 1))
  return { ...key, entries }
}

/** @throws CarportError Conflict if the item has more than one may have */
export function checkSize(item: K2vItem): void {
  const values = item.entries.flatMap((entry) => entry.values)
  const bytes = values.reduce((sum, { size }) => sum + Math.max(0, size), 0)
  if (values.length <= VALUES_MAX && bytes <= ITEM_BYTES_MAX && item.entries.length <= ORIGINS_MAX) return
  throw new CarportError(
    'Conflict',
    'the item has too many concurrent values: read it, and write with the causality token that comes with it',
  )
}
