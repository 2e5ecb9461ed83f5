import type { Bucket } from '../../../model/buckets/buckets.js'
import type { VersionSelector } from '../../../model/versions/objects.js'
import type { VersionRecord } from '../../../model/versions/record.js'
import { checkConditions, readConditions } from '../../http/conditions.js'
import { percentDecode } from '../../http/uri.js'
import { authorize } from '../access/authorize.js'
import type { Need } from '../access/question.js'
import type { S3Context } from '../context.js'
import { openVersion, type Sealing } from '../encryption/requests.js'
import { invalidArgument, S3Error } from '../errors.js'
import type { S3Request } from '../request.js'
import { checkKey } from '../router.js'
import { bringIn } from '../shadow/keep.js'
import { parseVersionId } from '../version-id.js'
import { etagOf, lastModifiedMs } from './headers.js'
import { preconditionFailed } from './preconditions.js'

/** The source of a copy, which the caller may read. */
export interface CopySource {
  bucket: Bucket
  version: VersionRecord
  /** The data key, if the source is encrypted. */
  sealing: Sealing | undefined
  /** What was needed of the source, in the bucket of that name. */
  need: Need
  bucketName: string
}

/**
 * Looks up x-amz-copy-source ("bucket/key?versionId=…", percent-encoded) and checks its permission, key and conditions.
 * @throws S3Error InvalidArgument, KeyTooLongError, NoSuchBucket, AccessDenied, NoSuchKey, NoSuchVersion, PreconditionFailed
 */
export async function copySource(context: S3Context, request: S3Request): Promise<CopySource> {
  const { model } = context
  const { bucketName, key, selector, versionId } = parseCopySource(request.header('x-amz-copy-source')!)
  const action = selector === undefined ? 's3:GetObject' : 's3:GetObjectVersion'
  const need: Need = { permission: 'read', action, key, ...(versionId !== undefined && { versionId }) }
  const { bucket, version: decided } = await authorize(model, request, need, bucketName)
  if (!decided && selector === undefined) await bringIn(context, bucket, Buffer.from(key))
  const version = decided ?? (await model.objects.get(bucket.id, Buffer.from(key), selector))
  if (!version || (version.state === 'marker' && selector === undefined)) {
    throw new S3Error(selector === undefined ? 'NoSuchKey' : 'NoSuchVersion', undefined, {
      extra: { Key: key },
    })
  }
  if (version.state === 'marker') {
    throw new S3Error(
      'InvalidRequest',
      'The source of a copy request may not specifically refer to a delete marker by version id.',
    )
  }
  const verdict = checkConditions(
    readConditions((name) => request.header(name), 'x-amz-copy-source-'),
    { etag: etagOf(version).slice(1, -1), lastModifiedMs: lastModifiedMs(version) },
  )
  if (verdict !== 'ok') throw preconditionFailed(`x-amz-copy-source-${verdict}`)
  return { bucket, version, need, bucketName, sealing: openVersion(context, request, version, 'source') }
}

function parseCopySource(header: string): {
  bucketName: string
  key: string
  selector: VersionSelector
  versionId: string | undefined
} {
  const question = header.indexOf('?versionId=')
  const path = question < 0 ? header : header.slice(0, question)
  const decoded = percentDecode(path)
  const trimmed = decoded?.startsWith('/') ? decoded.slice(1) : decoded
  const slash = trimmed?.indexOf('/') ?? -1
  if (trimmed === undefined || slash < 1 || slash === trimmed.length - 1) {
    throw invalidArgument(
      'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
      'x-amz-copy-source',
      header,
    )
  }
  checkKey(trimmed.slice(slash + 1))
  const versionId = question < 0 ? undefined : header.slice(question + '?versionId='.length)
  const selector = parseVersionId(versionId)
  return { bucketName: trimmed.slice(0, slash), key: trimmed.slice(slash + 1), selector, versionId }
}
