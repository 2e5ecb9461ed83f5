import { mergeLwwFields } from '../../crdt/lww.js'
import type { Table } from '../../table/table.js'
import { versionSortKey } from '../sort-keys.js'
import type { NoncurrentVersions } from './noncurrent.js'
import { plainVersion, type VersionRecord } from './record.js'
import { type Place, replaceJudged } from './replace-judged.js'
import { MAX_ATTEMPTS, tooManyAttempts } from './selector.js'
import { tombstoneOf } from './tables.js'

/** Whether a version became current again by the deletion of its successor, and may be changed or deleted since (see Promotions). */
export function isUnsettled(row: VersionRecord | undefined): row is VersionRecord {
  if (row === undefined || row.generation === 0 || row.state === 'tombstone') return false
  if (row.chain && !row.chain.deletes) return false
  const { settled } = row.mutable
  return settled?.[0] !== row.timeUs || settled[1] !== row.generation
}

/**
 * Versions that become current again. The node that deletes a current version writes its predecessor in its place. Meanwhile
 * others may delete that predecessor, or change its lock or tags, in the version table; and the node may die before it looks.
 *
 * So nobody shows a version that became current again before it was *settled*: compared with its row in the version table,
 * and marked. Whoever changes a noncurrent version writes to the version table, then reads the current one, and begins anew if
 * it has become current. Whoever settles reads the current version, which is on a quorum then, and after that the version table.
 * As quorums meet, one of the two sees the other. Once settled, a version is changed and deleted as the current one it is.
 */
export class Promotions {
  constructor(
    private readonly deps: {
      objects: Table<VersionRecord>
      versions: Table<VersionRecord>
      noncurrent: NoncurrentVersions
    },
  ) {}

  /**
   * What is written in the place of a current version that is deleted: its predecessor, which loses to every other write of the
   * key, or a tombstone. `take` writes it, and tells whether the version still was the current one.
   */
  async successorOf(current: VersionRecord): Promise<{ isLive: boolean; take(): Promise<boolean> }> {
    const { bucket, key, isNull, id, timeUs } = current
    const predecessor = await this.deps.noncurrent.predecessor(bucket, key, current)
    const row = predecessor ? unplaced(predecessor) : tombstoneOf({ bucket, key, isNull, timeUs }, id)
    const earlier = { timeUs, generation: current.generation + 1 }
    const make = (place: Place): VersionRecord => ({ ...row, ...place })
    return {
      isLive: predecessor !== undefined,
      take: () => replaceJudged(this.deps.objects, current, true, make, earlier),
    }
  }

  /**
   * The current row of a key, settled.
   * @param known the row, with its body, if it is known to be on a quorum
   */
  async settle(bucket: Buffer, key: Buffer, known?: VersionRecord): Promise<VersionRecord | undefined> {
    const { objects, versions } = this.deps
    let row = known
    for (let i = 0; i < MAX_ATTEMPTS; i++) {
      row ??= await objects.get(bucket, key)
      if (!isUnsettled(row)) return row
      const slot = versionSortKey(key, row.id, row.isNull)
      const noncurrent = await versions.get(bucket, slot, { body: false })
      const same = noncurrent?.id.equals(row.id) ? noncurrent : undefined
      if (same?.state === 'tombstone') {
        await (await this.successorOf(row)).take()
      } else {
        const merged = same ? mergeLwwFields(row.mutable, same.mutable) : row.mutable
        const mutable = { ...merged, settled: [row.timeUs, row.generation] as [number, number] }
        const settled: VersionRecord = { ...plainVersion(row), mutable }
        if (await objects.replace(settled)) return settled
      }
      row = undefined
    }
    throw tooManyAttempts()
  }
}

/** A version without the place that it had when it was written. */
function unplaced(version: VersionRecord): VersionRecord {
  const { chain: _, ...plain } = plainVersion(version)
  return plain
}
