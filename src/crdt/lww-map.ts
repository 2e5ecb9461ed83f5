import { type Lww, lwwUpdate, mergeLww } from './lww.js'

/** A map of last-writer-wins registers; keys are never removed, so a removal is a value of its own. */
export type LwwMap<T> = ReadonlyMap<string, Lww<T>>

/** A map in which `key` has `value`, at `ts` or just after the time that the key had before. */
export function lwwMapSet<T>(map: LwwMap<T>, key: string, ts: number, value: T): LwwMap<T> {
  return new Map(map).set(key, lwwUpdate(map.get(key), ts, value))
}

/** Merges key by key; returns `current` itself if `incoming` adds nothing, `incoming` itself if it has everything. */
export function mergeLwwMap<T>(current: LwwMap<T>, incoming: LwwMap<T>): LwwMap<T> {
  if (current === incoming || incoming.size === 0) return current
  let merged: Map<string, Lww<T>> | undefined
  let fromCurrent = 0
  for (const [key, theirs] of incoming) {
    const ours = current.get(key)
    const winner = ours === undefined ? theirs : mergeLww(ours, theirs)
    if (winner === ours) {
      if (mergeLww(theirs, ours) !== theirs) fromCurrent++
      continue
    }
    merged ??= new Map(current)
    merged.set(key, winner)
  }
  if (merged === undefined) return current
  return fromCurrent === 0 && merged.size === incoming.size ? incoming : merged
}

/** The map as a sorted list of `[key, ts, value]`: equal maps give equal lists. */
export function lwwMapEntries<T>(map: LwwMap<T>): [key: string, ts: number, value: T][] {
  return [...map]
    .map(([key, [ts, value]]): [string, number, T] => [key, ts, value])
    .sort((a, b) => (a[0] < b[0] ? -1 : 1))
}
