import type { Table } from '../../table/table.js'
import type { Hlc } from '../../util/clock.js'
import type { Random } from '../../util/random.js'
import type { Versioning } from '../buckets/documents.js'
import { versionId } from '../content/refs.js'
import type { VersionRecord } from '../versions/record.js'
import { replaceJudged } from '../versions/replace-judged.js'
import { tombstoneOf } from '../versions/tables.js'

/**
 * Ends a current version as a lifecycle rule says, unless it changed: the new row orders right behind the row that was
 * judged, so that every other write of the key wins over it, whenever it arrives.
 * @param judged the key's row as read from a quorum, an object
 * @returns whether it took effect
 */
export async function expireCurrent(
  deps: { objects: Table<VersionRecord>; versions: Table<VersionRecord>; hlc: Hlc; random: Random },
  judged: VersionRecord,
  versioning: Versioning,
): Promise<boolean> {
  const { objects, versions, hlc, random } = deps
  const { bucket, key, timeUs } = judged
  if (versioning === 'off') {
    const tombstone = tombstoneOf({ bucket, key, isNull: judged.isNull, timeUs }, judged.id)
    const earlier = { timeUs, generation: judged.generation + 1 }
    return replaceJudged(objects, judged, true, (place) => ({ ...tombstone, ...place }), earlier)
  }
  const isNull = versioning === 'suspended'
  const createdUs = hlc.now()
  const marker: VersionRecord = {
    ...tombstoneOf({ bucket, key, isNull, timeUs: timeUs + 1 }, versionId(createdUs, random.bytes(8))),
    state: 'marker',
    // Made now, whatever its place in the order: the version behind it is noncurrent from now on.
    createdUs,
  }
  const earlier = { timeUs: timeUs + 1, generation: 0 }
  if (await replaceJudged(objects, judged, false, (place) => ({ ...marker, ...place }), earlier)) return true
  // Somebody wrote the key meanwhile. Replicas that had the marker before keep it as a noncurrent version.
  if (!isNull) {
    await versions.insert(tombstoneOf({ bucket, key, isNull, timeUs: createdUs }, marker.id))
  }
  return false
}
