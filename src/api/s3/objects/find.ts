import type { Bucket } from '../../../model/buckets/buckets.js'
import type { VersionSelector } from '../../../model/versions/objects.js'
import type { VersionRecord } from '../../../model/versions/record.js'
import { type Awaitable, whenReady } from '../../../util/awaitable.js'
import { authorize } from '../access/authorize.js'
import type { Need } from '../access/question.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Request } from '../request.js'
import { versionIdText, versionSelector } from '../version-id.js'

/** The options of a read that needs no content; one object serves all requests. */
const WITHOUT_BODY = { body: false }

/**
 * The version that a request names, which must be an object's.
 * @throws S3Error AccessDenied, NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed (delete marker)
 */
export function existingVersion(
  { model }: S3Context,
  request: S3Request,
  need: Need,
  options = WITHOUT_BODY,
): Awaitable<{ bucket: Bucket; version: VersionRecord }> {
  const selector = versionSelector(request)
  return whenReady(authorize(model, request, need), ({ bucket, version: decided }) =>
    whenReady(
      decided ?? model.objects.read(bucket.id, Buffer.from(request.key!), selector, options),
      (version) => {
        if (!version) throw notFound(request, selector)
        if (version.state === 'marker') throw deleteMarker(request, version, selector)
        return { bucket, version }
      },
    ),
  )
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
