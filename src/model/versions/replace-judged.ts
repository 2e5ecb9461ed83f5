import type { Table } from '../../table/table.js'
import { errorCode } from '../../util/errors.js'
import { isSameRow, placeAfter } from './chain.js'
import type { Chain, VersionRecord } from './record.js'

/** Where a row stands that takes the place of the one that was judged. */
export interface Place {
  timeUs: number
  generation: number
  chain?: Chain
}

class Changed extends Error {}

/**
 * Puts a row in the place of a current one that was read and judged before, unless that has changed meanwhile: as one step, so
 * that no write which came in between is hidden by it. While a node is known that does not know conditional writes, there are
 * none of these, and the row only loses to what is later.
 * @param judged the key's row, as read from a quorum
 * @param deletes whether the judged version is deleted for good
 * @param make makes the row
 * @param earlier the place of a release that knows no conditional writes
 * @returns whether it took the place; if not, the caller has to look again
 * @throws CarportError QuorumUnavailable, LayoutNotReady, ClockSkew
 */
export async function replaceJudged(
  objects: Table<VersionRecord>,
  judged: VersionRecord,
  deletes: boolean,
  make: (place: Place) => VersionRecord,
  earlier: Place,
): Promise<boolean> {
  try {
    await objects.change(judged.bucket, judged.key, {
      decide: async (base, ballot) => {
        if (!base || !isSameRow(base, judged)) throw new Changed()
        const { chain, ...place } = placeAfter(base, ballot)
        return make({ ...place, chain: deletes ? { ...chain, deletes } : chain })
      },
    })
    return true
  } catch (error) {
    if (error instanceof Changed || errorCode(error) === 'Conflict') return false
    if (errorCode(error) === 'NotSupported') return objects.replace(make(earlier))
    throw error
  }
}
