import { successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import { type Clock, sleep } from '../../util/clock.js'
import { timeOfId, type VersionId } from '../content/refs.js'
import { isOlder, NULL_SLOT, newestFirst, terminatedKey, versionSortKey } from '../sort-keys.js'
import { comparePast, hasDeleted } from './chain.js'
import type { VersionRecord } from './record.js'
import { live, onItsWay } from './selector.js'

/** Versions read per step of the search for the newest live one. */
const BATCH_ROWS = 20
/**
 * How much earlier than the newest version, in µs, another one may have been begun that was written at the same time, and so
 * may have stood before it; and how many of these are looked at.
 */
const AT_ONCE_US = 60_000_000
const AT_ONCE_ROWS = 20
/** Rows of a search that are read in one turn of the event loop. */
const TURN_ROWS = 200

/**
 * The noncurrent versions of keys, read by quorum. A key may have any number of them, and any number of deleted ones: what
 * searches them takes so many at a time, and lets other work go on between.
 */
export class NoncurrentVersions {
  constructor(private readonly deps: { versions: Table<VersionRecord>; clock: Clock }) {}

  /**
   * Noncurrent versions of a key, live ones only, newest first.
   * @param current the current version of the key, settled; what is meant is all others
   * @param options.after only versions older than this one
   * @param options.limit one more is returned if there are more
   * @param options.rowsMax rows, deleted ones included, that are looked at
   * @returns `cut`: the last version looked at, if the search ended for `rowsMax`
   */
  async list(
    bucket: Buffer,
    key: Buffer,
    current: VersionRecord | undefined,
    options: { after?: VersionId | undefined; limit: number; rowsMax?: number },
  ): Promise<{ versions: VersionRecord[]; cut?: VersionId }> {
    const { after, limit, rowsMax = Number.POSITIVE_INFINITY } = options
    const versions: VersionRecord[] = []
    let rows = 0
    let last: VersionId | undefined
    let isWhole = true
    let cut: VersionId | undefined
    for await (const version of this.#walkNoncurrent(bucket, key, current, { body: false, after })) {
      isWhole = versions.length <= limit && rows < rowsMax
      if (!isWhole) {
        if (versions.length <= limit) cut = last
        break
      }
      rows++
      last = version.id
      const isOther = !current?.id.equals(version.id) && !hasDeleted(current, version.id)
      if (isOther && version.state !== 'tombstone') versions.push(version)
    }
    const place = { bucket, key, selector: 'null' } as const
    const nullVersion = await shownNoncurrent(this.deps.versions, place, current, { body: false })
    const isAsked = nullVersion && (!after || isOlder(nullVersion.id, after))
    if (isAsked && (isWhole || isOlder(last!, nullVersion.id))) versions.push(nullVersion)
    versions.sort((a, b) => newestFirst(a.id).compare(newestFirst(b.id)))
    return { versions, ...(cut && { cut }) }
  }

  /** The version that becomes current when `current` is deleted. */
  async predecessor(bucket: Buffer, key: Buffer, current: VersionRecord): Promise<VersionRecord | undefined> {
    const place = { bucket, key, selector: 'null' } as const
    const nullVersion = await shownNoncurrent(this.deps.versions, place, current)
    let found: VersionRecord | undefined
    let looked = 0
    for await (const version of this.#walkNoncurrent(bucket, key, current, { body: true })) {
      if (found && ++looked > AT_ONCE_ROWS) break
      if (found && timeOfId(version.id) < timeOfId(found.id) - AT_ONCE_US) break
      if (version.state === 'tombstone' || version.id.equals(current.id)) continue
      if (hasDeleted(current, version.id)) continue
      if (!found || comparePast(version, found) > 0) found = version
    }
    return nullVersion && (!found || comparePast(nullVersion, found) > 0) ? nullVersion : found
  }

  /**
   * All rows of a key's noncurrent versions, deleted ones included, with other work between them. The slot of null versions is
   * left out: it is the last one, whatever the age of what it has, and may be on its way or not (see onItsWay).
   */
  async *#walkNoncurrent(
    bucket: Buffer,
    key: Buffer,
    current: VersionRecord | undefined,
    { body, after }: { body: boolean; after?: VersionId | undefined },
  ): AsyncGenerator<VersionRecord> {
    const end = versionSortKey(key, NULL_SLOT, true)
    let start: Buffer = after ? successor(versionSortKey(key, after, false)) : terminatedKey(key)
    for (let rowsInTurn = 0; ; rowsInTurn += BATCH_ROWS) {
      if (rowsInTurn >= TURN_ROWS) {
        // Where this node's copy is the quorum, reads wait for nothing.
        await sleep(this.deps.clock, 0)
        rowsInTurn = 0
      }
      const rows = await this.deps.versions.range(bucket, {
        start,
        end,
        ...(current && { replacedBy: current.id }),
        limit: BATCH_ROWS,
        body,
      })
      yield* rows
      if (rows.length < BATCH_ROWS) return
      const last = rows.at(-1)!
      start = successor(versionSortKey(last.key, last.id, false))
    }
  }
}

/**
 * A key's noncurrent version as readers may see it: none of those that `current` made an end of, though a replica may not have
 * heard of that and hold it as one on its way.
 */
export async function shownNoncurrent(
  versions: Table<VersionRecord>,
  place: { bucket: Buffer; key: Buffer; selector: 'null' | VersionId },
  current: VersionRecord | undefined,
  options?: { body?: boolean },
): Promise<VersionRecord | undefined> {
  // Beside a current null version, only one that came later can be there.
  if (place.selector === 'null' && current?.isNull) return undefined
  const found = live(await noncurrentCopy(versions, place, current, options))
  return found && hasDeleted(current, found.id) ? undefined : found
}

/** A key's noncurrent version, a tombstone included, also where it is only now on its way to the noncurrent ones. */
export function noncurrentCopy(
  versions: Table<VersionRecord>,
  { bucket, key, selector }: { bucket: Buffer; key: Buffer; selector: 'null' | VersionId },
  current: VersionRecord | undefined,
  options?: { body?: boolean },
): Promise<VersionRecord | undefined> {
  const isNull = selector === 'null'
  const slot = versionSortKey(key, isNull ? NULL_SLOT : selector, isNull)
  return versions.get(bucket, slot, { ...options, ...onItsWay(current, selector) })
}
