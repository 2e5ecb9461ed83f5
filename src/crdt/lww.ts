import { compareValues } from './compare.js'

/**
 * Last-writer-wins register (Shapiro et al., 2011): the value with the greatest timestamp stays. `ts` is in the
 * owner's unit, usually HLC microseconds. Treat it as immutable.
 */
export interface Lww<T> {
  readonly ts: number
  readonly value: T
}

/** A total order over values, for registers with equal timestamps. */
export type Comparison<T> = (a: T, b: T) => number

export function lww<T>(ts: number, value: T): Lww<T> {
  return { ts, value }
}

/** A register that wins over `current`, at `ts` if that is late enough. */
export function lwwUpdate<T>(current: Lww<T>, ts: number, value: T): Lww<T> {
  return { ts: Math.max(ts, current.ts + 1), value }
}

/** The register that wins; `current` itself if `incoming` adds nothing. */
export function mergeLww<T>(
  current: Lww<T>,
  incoming: Lww<T>,
  compare: Comparison<T> = compareValues,
): Lww<T> {
  if (incoming.ts !== current.ts) return incoming.ts > current.ts ? incoming : current
  return compare(incoming.value, current.value) > 0 ? incoming : current
}
