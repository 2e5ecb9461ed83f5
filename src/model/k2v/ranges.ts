import { prefixEnd, successor } from '../../table/row-keys.js'
import { CarportError } from '../../util/errors.js'

/** Keys as a query names them. With `reverse`, `start` is the highest one, and `end` the excluded lower end. */
export interface KeyQuery {
  readonly prefix?: Buffer | undefined
  readonly start?: Buffer | undefined
  readonly end?: Buffer | undefined
  readonly reverse?: boolean
}

/** A range of keys, `start` <= key < `end`, whichever way it is walked. */
export interface KeyRange {
  readonly start: Buffer
  readonly end: Buffer | undefined
}

const FIRST = Buffer.alloc(0)

/** The range that a query means; undefined if it is empty. @throws CarportError InvalidArgument unless `start` has the prefix */
export function rangeOf({ prefix, start, end, reverse }: KeyQuery): KeyRange | undefined {
  if (prefix && start && !start.subarray(0, prefix.length).equals(prefix)) {
    throw new CarportError('InvalidArgument', 'start must begin with the prefix')
  }
  const prefixed = { start: prefix ?? FIRST, end: prefix && prefixEnd(prefix) }
  const range = reverse
    ? narrow(prefixed, end && successor(end), start && successor(start))
    : narrow(prefixed, start, end)
  return range.end && range.start.compare(range.end) >= 0 ? undefined : range
}

function narrow(range: KeyRange, start: Buffer | undefined, end: Buffer | undefined): KeyRange {
  return {
    start: start && start.compare(range.start) > 0 ? start : range.start,
    end: end && (!range.end || end.compare(range.end) < 0) ? end : range.end,
  }
}

/** What is left of a range behind a key. */
export function behind(range: KeyRange, key: Buffer, reverse: boolean): KeyRange {
  return reverse ? { ...range, end: key } : { ...range, start: successor(key) }
}

export function isWithin(key: Buffer, { start, end }: KeyRange): boolean {
  return key.compare(start) >= 0 && (!end || key.compare(end) < 0)
}
