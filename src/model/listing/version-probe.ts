import { prefixEnd, successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import { terminatedKey, versionSortKey } from '../sort-keys.js'
import type { VersionRecord } from '../versions/record.js'
import { PROBE_ROWS, type ProbeBudget } from './objects.js'
import { isBefore, type VersionPosition } from './version-page.js'

const NO_VERSION = Buffer.alloc(0)

/**
 * Whether a quorum has a version or a delete marker below a common prefix about which replicas differ. There may be any number
 * of deleted rows below it: the search takes a step of so many rows of both tables, and ends when the budget is used up.
 * @param from where the page begins, which may be below the prefix
 * @returns `unknownFrom`: the position from which on it is not known
 * @throws QuorumUnavailable
 */
export async function liveBelow(
  { objects, versions }: { objects: Table<VersionRecord>; versions: Table<VersionRecord> },
  from: VersionPosition & { bucket: Buffer },
  prefix: Buffer,
  budget: ProbeBudget,
): Promise<{ isLive: boolean; unknownFrom?: VersionPosition }> {
  const end = prefixEnd(prefix)
  const versionsEnd = end && firstSortKey(end)
  const isBelow = from.start.compare(prefix) >= 0
  let at: VersionPosition = isBelow ? from : { start: prefix, afterVersion: NO_VERSION }
  while (true) {
    const { start, afterVersion } = at
    const current = await objects.range(from.bucket, { start, ...(end && { end }), limit: PROBE_ROWS })
    // The tables are read in this order, since versions move from the first one to the second.
    const noncurrent = await versions.range(from.bucket, {
      start:
        afterVersion.length > 0 ? successor(versionSortKey(start, afterVersion, false)) : firstSortKey(start),
      ...(versionsEnd && { end: versionsEnd }),
      limit: PROBE_ROWS,
    })
    if ([...current, ...noncurrent].some(({ state }) => state !== 'tombstone')) return { isLive: true }
    const ends: VersionPosition[] = []
    if (current.length === PROBE_ROWS) ends.push(behindKey(current.at(-1)!))
    if (noncurrent.length === PROBE_ROWS) ends.push(behindVersion(noncurrent.at(-1)!))
    if (ends.length === 0) return { isLive: false }
    at = ends.reduce((a, b) => (isBefore(b, a) ? b : a))
    if (--budget.probes <= 0) return { isLive: false, unknownFrom: at }
  }
}

/** Where the sort keys of the versions of a key, and of all keys behind it, begin. */
function firstSortKey(key: Buffer): Buffer {
  return terminatedKey(key).subarray(0, -1)
}

function behindKey({ key }: VersionRecord): VersionPosition {
  return { start: successor(key), afterVersion: NO_VERSION }
}

/** The null version's slot is the last one of its key. */
function behindVersion(row: VersionRecord): VersionPosition {
  return row.isNull ? behindKey(row) : { start: row.key, afterVersion: row.id }
}
