import { compareValues } from './compare.js'

/**
 * Last-writer-wins register (Shapiro et al., 2011): the value with the greatest timestamp stays, and of two values with the
 * same one the greater by `compareValues`. `ts` is in the owner's unit, usually HLC microseconds. Immutable.
 */
export type Lww<T> = readonly [ts: number, value: T]

/** A register that wins over `current`, at `ts` if that is late enough, else just after it. */
export function lwwUpdate<T>(current: Lww<unknown> | undefined, ts: number, value: T): Lww<T> {
  return [current === undefined ? ts : Math.max(ts, current[0] + 1), value]
}

/** The register that wins; `current` itself if `incoming` adds nothing. */
export function mergeLww<T>(current: Lww<T>, incoming: Lww<T>): Lww<T> {
  if (incoming[0] !== current[0]) return incoming[0] > current[0] ? incoming : current
  return compareValues(incoming[1], current[1]) > 0 ? incoming : current
}

/** Merges registers by name; returns `current` itself if `incoming` adds nothing. Names that one side lacks are kept. */
export function mergeLwwFields<T extends object>(current: T, incoming: T): T {
  let merged: Record<string, Lww<unknown>> | undefined
  const ours = current as Record<string, Lww<unknown> | undefined>
  for (const [name, theirs] of Object.entries(incoming) as [string, Lww<unknown> | undefined][]) {
    if (theirs === undefined) continue
    const own = ours[name]
    const winner = own === undefined ? theirs : mergeLww(own, theirs)
    if (winner === own) continue
    merged ??= { ...(current as Record<string, Lww<unknown>>) }
    merged[name] = winner
  }
  return (merged as T | undefined) ?? current
}
