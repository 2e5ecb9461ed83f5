import { compareKeys } from '../../net/listing'

/** One part of a listing as it was read. */
export interface Read<E, M> {
  readonly entries: readonly E[]
  /** The last key that was looked at; undefined if there was none. */
  readonly last: string | undefined
  /** Where the next part begins; undefined at the end of the listing. */
  readonly next: M | undefined
  /** How many names were looked at. */
  readonly seen: number
}

/** Where a part begins; undefined: where the listing does. */
export interface Place<M> {
  readonly marker: M | undefined
}

/** A part of a listing, of which perhaps no more is kept than where it is and how long. */
interface Part<E, M> extends Place<M> {
  /** What was read; undefined after it was dropped. */
  entries: readonly E[] | undefined
  count: number
  readonly seen: number
  /** The key up to which this part goes. */
  readonly last: string
  /** It is shown as it was, until it is read again. */
  isStale: boolean
}

/** Rows that are kept on each side of those in sight. */
const KEPT_ROWS = 8000
/** The placeholder of a part that was found between two others, and is still to be read. */
const UNREAD_ROWS = 1

/**
 * A listing of any length, of which the parts around the rows in sight are kept, and of all others only where they begin:
 * they are read again when they come into sight. What was added or taken away meanwhile is found then.
 */
export class Parts<E extends { readonly key: string }, M> {
  #parts: Part<E, M>[] = []
  /** The row with which each part begins. */
  #starts: number[] = []
  #tail: Place<M> | undefined = { marker: undefined }
  #total = 0
  /** Names behind the last part, among which nothing was found. */
  #seenAtTail = 0

  /** Rows that are known so far. */
  get total(): number {
    return this.#total
  }

  /** Whether there is more behind the last part. */
  get hasMore(): boolean {
    return this.#tail !== undefined
  }

  /** How many names were looked at so far. */
  get seen(): number {
    return this.#parts.reduce((sum, { seen }) => sum + seen, this.#seenAtTail)
  }

  /** Rows of which the entries are in memory. */
  get kept(): number {
    return this.#parts.reduce((sum, { entries }) => sum + (entries?.length ?? 0), 0)
  }

  /** The entry of a row; undefined while it is not in memory. */
  at(row: number): E | undefined {
    const index = this.#indexOf(row)
    return this.#parts[index]?.entries?.[row - this.#starts[index]!]
  }

  /** What has to be read for the rows in sight: those that are missing first, then a part ahead, then what may have changed. */
  wanted(first: number, last: number, ahead: number): Place<M> | undefined {
    const missing = this.#parts.slice(this.#indexOf(first), this.#indexOf(last) + 1)
    const near = this.#parts.slice(this.#indexOf(first - ahead), this.#indexOf(last + ahead) + 1)
    const lacks = ({ entries }: Part<E, M>) => entries === undefined
    return (
      missing.find(lacks) ??
      (this.#total - 1 <= last ? this.#tail : undefined) ??
      near.find(lacks) ??
      near.find(({ isStale }) => isStale) ??
      (this.#total - 1 <= last + ahead ? this.#tail : undefined)
    )
  }

  /** Whether a place is that behind the last part. */
  isTail(place: Place<M>): boolean {
    return place === this.#tail
  }

  /** Takes a part that was read from a place that was wanted. */
  put(place: Place<M>, { entries, last, next, seen }: Read<E, M>): void {
    const tail = next === undefined ? undefined : { marker: next }
    const index = this.#parts.indexOf(place as Part<E, M>)
    if (index < 0) {
      if (place !== this.#tail) return
      this.#tail = tail
      if (last !== undefined && entries.length > 0) {
        this.#parts.push(part(place.marker, entries, last, this.#seenAtTail + seen))
        this.#seenAtTail = 0
      } else this.#seenAtTail += seen
      this.#measure(this.#parts.length - 1)
      return
    }
    const { last: end } = this.#parts[index]!
    const isAtEnd = index === this.#parts.length - 1
    // Up to where the next part begins, which knows the rest.
    const mine = isAtEnd ? entries : entries.filter(({ key }) => compareKeys(key, end) <= 0)
    const isCutShort = last !== undefined && compareKeys(last, end) < 0
    const found: Part<E, M>[] = []
    if (mine.length > 0) found.push(part(place.marker, mine, isAtEnd || isCutShort ? last! : end, seen))
    if (isAtEnd) {
      this.#tail = tail
      this.#seenAtTail = mine.length > 0 ? 0 : seen
    } else if (isCutShort && tail)
      found.push({ ...part<E, M>(next, [], end, 0), entries: undefined, count: UNREAD_ROWS })
    const after = this.#parts[index + 1]
    // The next part goes on from here, so that what is added in a place without entries is found there.
    if (found.length === 0 && after) this.#parts[index + 1] = { ...after, marker: place.marker }
    this.#parts.splice(index, 1, ...found)
    this.#measure(index)
  }

  /** Forgets the entries of rows far from those in sight. */
  drop(first: number, last: number): void {
    this.#parts.forEach((each, index) => {
      const start = this.#starts[index]!
      if (start + each.count < first - KEPT_ROWS || start > last + KEPT_ROWS) each.entries = undefined
    })
  }

  /** Has everything read again that comes into sight; until then, what was read is shown. */
  outdate(): void {
    for (const each of this.#parts) each.isStale = true
    if (this.#parts.length > 0) return
    this.#tail = { marker: undefined }
    this.#seenAtTail = 0
  }

  /** Measures the rows anew, from a part on. */
  #measure(from: number): void {
    this.#starts.length = Math.max(0, from)
    let row = from > 0 ? this.#starts[from - 1]! + this.#parts[from - 1]!.count : 0
    for (const { count } of this.#parts.slice(Math.max(0, from))) {
      this.#starts.push(row)
      row += count
    }
    this.#total = row
  }

  /** The part that has a row; the nearest to rows that there are not. */
  #indexOf(row: number): number {
    let [low, high] = [0, this.#parts.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#starts[middle]! <= row) low = middle
      else high = middle - 1
    }
    return Math.max(0, low)
  }
}

function part<E, M>(marker: M | undefined, entries: readonly E[], last: string, seen: number): Part<E, M> {
  return { marker, entries, count: entries.length, seen, last, isStale: false }
}
