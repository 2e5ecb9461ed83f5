import type { VersionRecord } from '../../../model/versions/record.js'
import { parseXml } from '../../xml/reader.js'
import { xmlText } from '../../xml/writer.js'
import { authorize, findBucket } from '../access/authorize.js'
import { checkMayDelete } from '../access/decision.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { S3Error, toS3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { checkKey } from '../router.js'
import { deletionVersioning, hideSource, onUnion } from '../shadow/writes.js'
import { parseVersionId, versionIdText } from '../version-id.js'
import { conditionalGuard, deletionGuard } from './lock.js'
import { deletePrecondition, onCondition } from './preconditions.js'

/** Room for 1000 keys of 1024 bytes, escaped, with version ids. */
const MAX_BODY_BYTES = 8 * 1024 * 1024
const MAX_OBJECTS = 1000
/** Deletions in flight: enough to share commits, too few to make other requests wait. */
const CONCURRENCY = 32

/** DeleteObjects: up to 1000 keys or versions in one request; each succeeds or fails on its own. */
export async function deleteObjects(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  await findBucket(model, request, checkMayDelete)
  const body = await request.payload.readAll(MAX_BODY_BYTES, 'MalformedXML')
  const root = await parseXml(body, 'Delete')
  const quiet = root.text('Quiet') === 'true'
  const objects = root.all('Object')
  if (objects.length === 0 || objects.length > MAX_OBJECTS) throw new S3Error('MalformedXML')
  const results: string[] = new Array(objects.length)
  // The whole document is read first: nothing is deleted if it is wrong anywhere.
  const names = objects.map((object) => ({ key: object.text('Key'), versionId: object.text('VersionId') }))

  const deleteOne = async (index: number) => {
    const { key, versionId } = names[index]!
    const named = xmlText('Key', key) + xmlText('VersionId', versionId)
    try {
      if (key === undefined || key === '') throw new S3Error('MalformedXML')
      checkKey(key)
      const object = objects[index]!
      const wanted = deletePrecondition({
        etag: object.text('ETag'),
        lastModified: object.text('LastModifiedTime'),
        size: object.text('Size'),
      })
      const selector = parseVersionId(versionId)
      const { bucket, caller } = await authorize(model, request, {
        permission: 'write',
        action: selector === undefined ? 's3:DeleteObject' : 's3:DeleteObjectVersion',
        key,
        ...(versionId !== undefined && { versionId }),
      })
      const precondition = await onUnion(context, request, bucket, wanted, key)
      let written: VersionRecord | undefined
      if (selector === undefined) {
        const versioning = deletionVersioning(bucket)
        written = await onCondition(
          precondition,
          () => model.objects.delete(bucket.id, Buffer.from(key), caller?.id ?? '', versioning, precondition),
          undefined,
        )
      } else {
        const guard = conditionalGuard(await deletionGuard(context, request, bucket, key), precondition)
        written = await model.objects.deleteVersion(bucket.id, Buffer.from(key), selector, guard)
        if (written?.state === 'object') await hideSource(context, bucket, Buffer.from(key), caller?.id ?? '')
      }
      const marker =
        written?.state === 'marker' && bucket.versioning !== 'off'
          ? `<DeleteMarker>true</DeleteMarker>${xmlText('DeleteMarkerVersionId', versionIdText(written))}`
          : ''
      results[index] = quiet ? '' : `<Deleted>${named}${marker}</Deleted>`
    } catch (error) {
      const { code, message } = toS3Error(error)
      results[index] = `<Error>${named}${xmlText('Code', code)}${xmlText('Message', message)}</Error>`
    }
  }

  let next = 0
  const worker = async () => {
    while (next < objects.length) await deleteOne(next++)
  }
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, objects.length) }, worker))
  return xmlResponse('DeleteResult', results.join(''))
}
