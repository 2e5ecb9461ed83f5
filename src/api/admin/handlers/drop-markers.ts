import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import { readListed } from '../../../model/versions/codec.js'
import { successor } from '../../../table/row-keys.js'
import { CarportError, errorCode } from '../../../util/errors.js'
import { eachLimited } from '../../../util/limited.js'

/** Keys that one call looks at, and markers that are removed at the same time. */
const KEYS_MAX = 1000
const IN_FLIGHT = 16
const EMPTY = Buffer.alloc(0)

/** There is an object by now. */
class NoMarker extends Error {}

/**
 * Removes the delete markers by which a shadow bucket hid objects of its source, in a part of the bucket.
 * @param start the first key, as the call before answered it in base64
 * @throws CarportError InvalidArgument where delete markers are wanted
 */
export async function dropMarkers(
  model: Model,
  bucket: Bucket,
  start?: string,
): Promise<{ dropped: number; next: string | null }> {
  if (bucket.document('shadow') || bucket.versioning !== 'off')
    throw new CarportError('InvalidArgument', 'the delete markers of this bucket have a meaning')
  const page = await model.versionListing.page({
    ...{ bucket: bucket.id, prefix: EMPTY, delimiter: EMPTY, limit: KEYS_MAX, afterVersion: EMPTY },
    start: start === undefined ? EMPTY : Buffer.from(start, 'base64'),
  })
  let dropped = 0
  const markers = page.entries.filter(({ head }) => head && readListed(head).isMarker)
  await eachLimited(markers, IN_FLIGHT, async ({ key }) => {
    try {
      await model.objects.deleteVersion(bucket.id, key, 'null', {
        announces: false,
        check: ({ state }) => {
          if (state !== 'marker') throw new NoMarker()
        },
      })
      dropped++
    } catch (error) {
      if (!(error instanceof NoMarker) && errorCode(error) !== 'Conflict') throw error
    }
  })
  const last = page.entries.at(-1)?.key
  const next = page.next?.start ?? (last && successor(last))
  return { dropped, next: page.more && next ? next.toString('base64') : null }
}
