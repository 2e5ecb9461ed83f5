import type { Bucket } from '../../../model/buckets/buckets.js'
import type { VersionSelector } from '../../../model/versions/objects.js'
import type { VersionRecord } from '../../../model/versions/record.js'
import { type Awaitable, whenReady } from '../../../util/awaitable.js'
import { authorize } from '../access/authorize.js'
import type { Need } from '../access/question.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Request } from '../request.js'
import { bringIn, findThrough } from '../shadow/keep.js'
import { asksForOwn } from '../shadow/writes.js'
import { versionIdText, versionSelector } from '../version-id.js'

/** The options of a read that needs no content; one object serves all requests. */
const WITHOUT_BODY = { body: false }

/**
 * The version that a request names, which must be an object's.
 * @throws S3Error AccessDenied, NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed (delete marker)
 */
export function existingVersion(
  context: S3Context,
  request: S3Request,
  need: Need,
  options = WITHOUT_BODY,
): Awaitable<{ bucket: Bucket; version: VersionRecord }> {
  const { model } = context
  const selector = versionSelector(request)
  return whenReady(authorize(model, request, need), ({ bucket, version: decided }) =>
    whenReady(
      decided ?? model.objects.read(bucket.id, Buffer.from(request.key!), selector, options),
      (version) => {
        if (!version) return missing(context, request, bucket, selector)
        if (version.state === 'marker') throw deleteMarker(request, version, selector)
        return { bucket, version }
      },
    ),
  )
}

/** Looks at the source of a shadow bucket for a version that is not here. @throws S3Error NoSuchKey, NoSuchVersion, 502, 503 */
function missing(
  context: S3Context,
  request: S3Request,
  bucket: Bucket,
  selector: VersionSelector,
): Promise<{ bucket: Bucket; version: VersionRecord }> {
  const isOwn = selector !== undefined || bucket.document('shadow') === undefined || asksForOwn(request)
  if (isOwn) throw notFound(request, selector)
  return throughVersion(context, request, bucket)
}

async function throughVersion(
  context: S3Context,
  request: S3Request,
  bucket: Bucket,
): Promise<{ bucket: Bucket; version: VersionRecord }> {
  const key = Buffer.from(request.key!)
  const { operation } = request
  if (operation === 'GetObject' || operation === 'HeadObject') {
    const through = await findThrough(context, bucket, key)
    if (through) return { bucket, version: through }
  } else await bringIn(context, bucket, key)
  // It may have come in meanwhile.
  const version = await context.model.objects.get(bucket.id, key)
  if (version?.state !== 'object') throw notFound(request, undefined)
  return { bucket, version }
}

/** The error for a key without an object, or for a version that does not exist. */
export function notFound(request: S3Request, selector: VersionSelector): S3Error {
  if (selector === undefined) return new S3Error('NoSuchKey', undefined, { extra: { Key: request.key } })
  return new S3Error('NoSuchVersion', undefined, {
    extra: { Key: request.key, VersionId: request.query.get('versionId') },
  })
}

/**
 * The error for a delete marker: as the current version it counts as "not found"; named by its id, it is no
 * object to get.
 */
export function deleteMarker(request: S3Request, version: VersionRecord, selector: VersionSelector): S3Error {
  const headers = { 'x-amz-delete-marker': 'true', 'x-amz-version-id': versionIdText(version) }
  if (selector === undefined)
    return new S3Error('NoSuchKey', undefined, { extra: { Key: request.key }, headers })
  return new S3Error('MethodNotAllowed', undefined, { headers: { ...headers, allow: 'DELETE' } })
}
