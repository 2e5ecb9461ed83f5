import type { Model } from '../../../model/model.js'
import type { Precondition } from '../../../model/versions/conditional-writes.js'
import type { NewVersion } from '../../../model/versions/objects.js'
import { INLINE_BYTES_MAX, type VersionRecord } from '../../../model/versions/record.js'
import { live } from '../../../model/versions/selector.js'
import { aclForWrite } from '../access/acl/for-write.js'
import { authorize } from '../access/authorize.js'
import { bucketNow } from '../access/bucket-now.js'
import type { S3Context } from '../context.js'
import { newSealing, requestedEncryption, sealContent, sealedEtag } from '../encryption/requests.js'
import type { S3Request, S3Response } from '../request.js'
import { deletionVersioning, hideSource, onUnion } from '../shadow/writes.js'
import { versionIdText, versionSelector } from '../version-id.js'
import { bodySource } from './body.js'
import { defaultChecksum, hasDefaultChecksum } from './default-checksum.js'
import { expirationHeader } from './expiration-header.js'
import { checksumHeaders, etagOf, storageClassOf, storedHeaders } from './headers.js'
import { conditionalGuard, deletionGuard, headerLock, withDefaultRetention } from './lock.js'
import { deletePreconditionOf, onCondition, writePrecondition } from './preconditions.js'
import { checkQuota } from './quota.js'
import { newTags } from './tags.js'
import { toldTime } from './told-time.js'

/** PutObject. @param origin 'Post' for a browser form; kept for events */
export async function putObject(
  context: S3Context,
  request: S3Request,
  origin?: NewVersion['origin'],
): Promise<S3Response> {
  const { model } = context
  const granted = await authorize(model, request, { permission: 'write', action: 's3:PutObject' })
  const { bucket } = granted
  const judged = onUnion(context, request, bucket, writePrecondition(request))
  const precondition = judged instanceof Promise ? await judged : judged
  const told = toldTime(context, request, bucket)
  const { modifiedMs } = told instanceof Promise ? await told : told
  const { owner, acl } = await aclForWrite(model, request, granted)
  const stored = storedHeaders(request, bucket)
  const storageClass = storageClassOf(context, request, bucket)
  const mutable = { ...acl, ...headerLock(request, bucket, context.clock.nowMs()), ...newTags(request) }
  const sealing = newSealing(context, bucket, requestedEncryption(context, request, bucket))
  const sealed = sealing && sealContent(context, sealing)
  const { payload } = request
  if (bucket.quotas.maxObjects !== undefined || bucket.quotas.maxSize !== undefined) {
    const bytes = payload.contentLength ?? request.fileBytesMax ?? 0
    await checkQuota(model, bucket, { bytes, objects: 1 })
  }
  const isLong = (payload.contentLength ?? Number.POSITIVE_INFINITY) > INLINE_BYTES_MAX
  if (precondition && isLong) await checkEarly(model, bucket.id, request, precondition)
  const crc64 = payload.checksum === undefined && hasDefaultChecksum(sealing)
  const body = await model.blobs.write(bodySource(payload), { ...sealed, crc64 })
  const checksum = payload.result.checksum ?? defaultChecksum(body)
  const asked = bucketNow(model, bucket, request.bucket)
  const now = asked instanceof Promise ? await asked : asked
  const version: NewVersion = {
    bucket: bucket.id,
    key: Buffer.from(request.key!),
    etag: sealedEtag(sealing, body.md5),
    etagParts: 0,
    owner,
    ...(modifiedMs !== undefined && { modifiedMs }),
    ...(origin && { origin }),
    ...(checksum && {
      checksumAlgorithm: checksum.algorithm,
      checksumType: 'FULL_OBJECT' as const,
      checksum: checksum.value,
    }),
    ...stored,
    ...storageClass,
    ...(sealing && { encryption: { ...sealing.encryption, iv: sealed!.iv } }),
    mutable: withDefaultRetention(mutable, now, context.clock.nowMs()),
  }
  const written = await onCondition(precondition, () =>
    model.objects.put(version, body, now.versioning, precondition),
  )
  return {
    status: 200,
    headers: {
      ...writtenHeaders(written, now.versioning === 'enabled'),
      ...sealing?.headers,
      'x-amz-expiration': expirationHeader(now, written),
    },
  }
}

/**
 * Refuses a write whose condition does not hold before its body is read; a client that asks for 100 Continue sends none then.
 * It is judged again when the body is there. Not for short bodies, which take less time than the question.
 * @throws what `precondition` throws
 */
async function checkEarly(
  { objects }: Model,
  bucket: Buffer,
  { key }: S3Request,
  precondition: Precondition,
): Promise<void> {
  const row = await objects.current(bucket, Buffer.from(key!))
  precondition(live(row), row)
}

/** Headers of an answer about a version that was just written. */
export function writtenHeaders(version: VersionRecord, showVersion: boolean): Record<string, string> {
  return {
    etag: etagOf(version),
    ...checksumHeaders(version),
    ...(showVersion && { 'x-amz-version-id': versionIdText(version) }),
  }
}

/** DeleteObject: deletes the key, or one version of it for good. */
export async function deleteObject(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const selector = versionSelector(request)
  const action = selector === undefined ? 's3:DeleteObject' : 's3:DeleteObjectVersion'
  const { bucket, caller } = await authorize(model, request, { permission: 'write', action })
  const precondition = await onUnion(context, request, bucket, deletePreconditionOf(request))
  const key = Buffer.from(request.key!)
  if (selector === undefined) {
    const { modifiedMs } = await toldTime(context, request, bucket)
    const [owner, versioning] = [caller?.id ?? '', deletionVersioning(bucket)]
    const written = await onCondition(
      precondition,
      () => model.objects.delete(bucket.id, key, owner, versioning, precondition, modifiedMs),
      undefined,
    )
    return { status: 204, headers: written && bucket.versioning !== 'off' ? deletedHeaders(written) : {} }
  }
  const guard = conditionalGuard(await deletionGuard(context, request, bucket), precondition)
  const deleted = await model.objects.deleteVersion(bucket.id, key, selector, guard)
  // Who deletes a marker wants to see again what it hid.
  if (deleted?.state === 'object') await hideSource(context, bucket, key, caller?.id ?? '')
  const headers: Record<string, string> = { 'x-amz-version-id': request.query.get('versionId')! }
  if (deleted?.state === 'marker') headers['x-amz-delete-marker'] = 'true'
  return { status: 204, headers }
}

function deletedHeaders(written: VersionRecord): Record<string, string> {
  if (written.state !== 'marker') return {}
  return { 'x-amz-delete-marker': 'true', 'x-amz-version-id': versionIdText(written) }
}
