import type { Reader, Tx } from '../../db/db.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import { readUint53, writeUint53 } from '../../util/uint53.js'
import { TURN_ROWS, type Turns } from '../listing/turns.js'
import { ORIGIN_BYTES, type Origin, originBytes, timeOf, type VectorClock } from './causality.js'
import { lastIn } from './dots.js'
import { clockOf, type K2vItem } from './item.js'
import { partitionPrefix } from './table.js'

/**
 * Each item of a partition key by its origins and their latest times, so that what is later than a clock is found without
 * looking at the rest: [bucket][partition key, terminated][origin][time u64][sort key] → nothing.
 */
export const COMMITS_TREE = 'k2v:commits'

const TIME_BYTES = 8
const NOTHING = Buffer.alloc(0)

/** Keeps the index in step with an item, in its transaction. */
export function indexCommits(tx: Tx, before: K2vItem | undefined, after: K2vItem | undefined): void {
  const { bucket, partitionKey, sortKey } = (after ?? before)!
  const prefix = Buffer.concat([bucket, partitionPrefix(partitionKey)])
  const [old, now] = [before, after].map((item) => (item ? clockOf(item) : new Map<Origin, number>())) as [
    VectorClock,
    VectorClock,
  ]
  for (const [origin, time] of old) {
    if (now.get(origin) !== time) tx.delete(COMMITS_TREE, keyOf(prefix, origin, time, sortKey))
  }
  for (const [origin, time] of now) {
    if (old.get(origin) !== time) tx.put(COMMITS_TREE, keyOf(prefix, origin, time, sortKey), NOTHING)
  }
}

export interface CommitQuery {
  readonly bucket: Buffer
  readonly partitionKey: Buffer
  /** What the asker has seen of the range. */
  readonly seen: VectorClock
  /** Sort keys, `start` <= key < `end`. */
  readonly start: Buffer
  readonly end: Buffer | undefined
  readonly limit: number
}

/** An item with a dot that it has. */
export interface Found {
  readonly sortKey: Buffer
  readonly origin: Origin
  readonly time: number
}

export interface Commits {
  /** Items that have something later than `seen`, each once, with a dot that is. */
  readonly found: Found[]
  /** Of each origin in the index, up to which time all items are among these (or were seen). */
  readonly covered: VectorClock
  /** Whether there are more than the limit: `covered` says which are left. */
  readonly more: boolean
}

/**
 * Looks for items with dots that `seen` does not know. Each turn reads anew: an item that changes between two turns is found under its
 * later time, if that is within what is still to be looked at, and otherwise by the next look.
 * @param own the origin to look at first, since its copy is here
 */
export function* findCommits(reader: Reader, query: CommitQuery, own: Origin | undefined): Turns<Commits> {
  const { bucket, seen, start, end, limit } = query
  const prefix = Buffer.concat([bucket, partitionPrefix(query.partitionKey)])
  const found = new Map<string, Found>()
  const covered = new Map<Origin, number>()
  let looked = 0
  for (const origin of originsIn(reader, prefix, own)) {
    const base = Buffer.concat([prefix, originBytes(origin)])
    let at: Buffer | undefined = keyOf(prefix, origin, timeOf(seen, origin) + 1, NOTHING)
    covered.set(origin, timeOf(seen, origin))
    while (at) {
      const bounds: { start: Buffer; end?: Buffer } = { start: at, end: prefixEnd(base)! }
      at = undefined
      for (const key of reader.keys(COMMITS_TREE, bounds)) {
        const time = readUint53(key, base.length)
        const sortKey = key.subarray(base.length + TIME_BYTES)
        const isWithin = sortKey.compare(start) >= 0 && (!end || sortKey.compare(end) < 0)
        const name = isWithin ? sortKey.toString('latin1') : undefined
        if (name !== undefined && !found.has(name)) {
          if (found.size >= limit) {
            // Another item may have the same time, by a token that was given with the wrong item.
            covered.set(origin, Math.min(covered.get(origin)!, time - 1))
            return { found: [...found.values()], covered, more: true }
          }
          found.set(name, { sortKey: Buffer.from(sortKey), origin, time })
        }
        covered.set(origin, time)
        if (++looked % TURN_ROWS === 0) {
          at = successor(Buffer.from(key))
          break
        }
      }
      if (at) yield
    }
    // In the turn of the last look: all dots up to the last one that was made here are in the index.
    if (origin === own) covered.set(own, Math.max(covered.get(own)!, lastIn(reader)))
  }
  return { found: [...found.values()], covered, more: false }
}

/**
 * Sort keys of items of a partition key that have a dot later than `sinceUs`, each once.
 * @returns undefined if there are more than `limit`
 */
export function recentlyChanged(
  reader: Reader,
  { bucket, partitionKey }: Pick<CommitQuery, 'bucket' | 'partitionKey'>,
  sinceUs: number,
  limit: number,
): Map<string, Buffer> | undefined {
  const prefix = Buffer.concat([bucket, partitionPrefix(partitionKey)])
  const found = new Map<string, Buffer>()
  for (const origin of originsIn(reader, prefix, undefined)) {
    const start = keyOf(prefix, origin, sinceUs + 1, NOTHING)
    const end = prefixEnd(start.subarray(0, prefix.length + ORIGIN_BYTES))
    for (const key of reader.keys(COMMITS_TREE, { start, ...(end && { end }), limit: limit + 1 })) {
      const sortKey = Buffer.from(key.subarray(prefix.length + ORIGIN_BYTES + TIME_BYTES))
      found.set(sortKey.toString('latin1'), sortKey)
      if (found.size > limit) return undefined
    }
  }
  return found
}

/** The origins in the index of a partition key, by skipping from one to the next. */
function originsIn(reader: Reader, prefix: Buffer, own: Origin | undefined): Origin[] {
  const origins: Origin[] = own === undefined ? [] : [own]
  const end = prefixEnd(prefix)
  let start: Buffer | undefined = prefix
  while (start) {
    let next: Buffer | undefined
    for (const key of reader.keys(COMMITS_TREE, { start, ...(end && { end }), limit: 1 })) {
      const at = prefix.length + ORIGIN_BYTES
      const origin = key.toString('latin1', prefix.length, at)
      if (origin !== own) origins.push(origin)
      next = prefixEnd(Buffer.from(key.subarray(0, at)))
    }
    start = next && (!end || next.compare(end) < 0) ? next : undefined
  }
  return origins
}

function keyOf(prefix: Buffer, origin: Origin, time: number, sortKey: Buffer): Buffer {
  const stamp = Buffer.allocUnsafe(ORIGIN_BYTES + TIME_BYTES)
  stamp.write(origin, 0, 'latin1')
  writeUint53(stamp, time, ORIGIN_BYTES)
  return Buffer.concat([prefix, stamp, sortKey])
}
