import { CarportError } from '../util/errors.js'

/** Names one collection of a partition's tombstones. Later ones have greater numbers; the id tells apart equal numbers. */
export interface CollectionMark {
  readonly n: number
  readonly id: number
}

/**
 * The collections of a partition's tombstones in which one copy took part. A copy that missed one may still hold rows
 * whose deletion nobody remembers.
 */
export interface CopyMarks {
  /** The newest collection that dropped tombstones of this copy, or that the copies did from which it was made. */
  readonly collected: CollectionMark | undefined
  /** Collections for which this copy confirmed all tombstones, the newest last. */
  readonly prepared: readonly CollectionMark[]
}

/** The form in which marks are stored and sent. */
export type WireMark = readonly [n: number, id: number]
export type WireMarks = readonly [collected: WireMark | null, prepared: readonly WireMark[]]

export const NO_MARKS: CopyMarks = { collected: undefined, prepared: [] }
/**
 * Confirmed collections that a copy remembers; far more than are ever under way at the same time. Those that came to nothing are
 * taken back (withoutPrepared): a replica that cannot confirm for hours would otherwise let the others forget those that count.
 */
export const PREPARED_KEPT = 32

export function compareMarks(a: CollectionMark, b: CollectionMark): number {
  return a.n - b.n || a.id - b.id
}

function sameMark(a: CollectionMark, b: CollectionMark): boolean {
  return a.n === b.n && a.id === b.id
}

/**
 * Whether `copy` missed a collection in which `other` took part: rows that only `copy` has may be ones that were
 * deleted. Exact because each collection is confirmed by every replica before any of them drops a tombstone, and
 * because a replica confirms only marks greater than all it confirmed before.
 */
export function missed(copy: CopyMarks, other: CopyMarks): boolean {
  const by = other.collected
  if (by === undefined) return false
  if (copy.collected !== undefined && compareMarks(copy.collected, by) >= 0) return false
  return !copy.prepared.some((mark) => sameMark(mark, by))
}

export function hasPrepared(marks: CopyMarks, mark: CollectionMark): boolean {
  return marks.prepared.some((known) => sameMark(known, mark))
}

/** The greatest number that a copy knows. */
export function newestNumber(marks: CopyMarks): number {
  return Math.max(marks.collected?.n ?? 0, ...marks.prepared.map(({ n }) => n))
}

export function withPrepared(marks: CopyMarks, mark: CollectionMark): CopyMarks {
  if (hasPrepared(marks, mark)) return marks
  const prepared = [...marks.prepared, mark].sort(compareMarks).slice(-PREPARED_KEPT)
  return { ...marks, prepared }
}

/** Without collections of which nothing was dropped, and never will be: as if nobody had ever confirmed them. */
export function withoutPrepared(marks: CopyMarks, gone: readonly CollectionMark[]): CopyMarks {
  const prepared = marks.prepared.filter((known) => !gone.some((mark) => sameMark(known, mark)))
  return prepared.length === marks.prepared.length ? marks : { ...marks, prepared }
}

export function withCollected(marks: CopyMarks, mark: CollectionMark | undefined): CopyMarks {
  if (mark === undefined) return marks
  if (marks.collected !== undefined && compareMarks(marks.collected, mark) >= 0) return marks
  return { ...marks, collected: mark }
}

/** The marks of a copy that was made equal to another one: it took part in all that the other took part in. */
export function joinMarks(marks: CopyMarks, other: CopyMarks): CopyMarks {
  return withCollected(other.prepared.reduce(withPrepared, marks), other.collected)
}

export function encodeMark({ n, id }: CollectionMark): WireMark {
  return [n, id]
}

export function encodeMarks({ collected, prepared }: CopyMarks): WireMarks {
  return [collected ? encodeMark(collected) : null, prepared.map(encodeMark)]
}

/** @throws CarportError InvalidArgument */
export function decodeMark(value: unknown): CollectionMark {
  if (!Array.isArray(value) || !Number.isSafeInteger(value[0]) || !Number.isSafeInteger(value[1])) {
    throw new CarportError('InvalidArgument', 'malformed mark of a collection')
  }
  return { n: value[0], id: value[1] }
}

/** @throws CarportError InvalidArgument */
export function decodeMarkList(value: unknown): CollectionMark[] {
  if (!Array.isArray(value) || value.length > 4 * PREPARED_KEPT) {
    throw new CarportError('InvalidArgument', 'malformed marks of collections')
  }
  return value.map(decodeMark)
}

/** @throws CarportError InvalidArgument */
export function decodeMarks(value: unknown): CopyMarks {
  if (!Array.isArray(value)) throw new CarportError('InvalidArgument', 'malformed marks of a copy')
  return {
    collected: value[0] === null ? undefined : decodeMark(value[0]),
    prepared: decodeMarkList(value[1]),
  }
}
