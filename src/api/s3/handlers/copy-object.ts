import type { StoredBody } from '../../../model/blobs.js'
import type { Bucket } from '../../../model/buckets.js'
import type { NewVersion, VersionSelector } from '../../../model/objects.js'
import type { BlockRef, VersionRecord } from '../../../model/version-record.js'
import { isoDate } from '../../http/date.js'
import { percentDecode } from '../../http/uri.js'
import { authorize, type Granted } from '../access.js'
import { aclForWrite } from '../acl/for-write.js'
import { checkConditions, preconditionFailed, readConditions } from '../conditions.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import { checksumText, etagOf, lastModifiedMs, storedHeaders, versionIdText } from '../object-headers.js'
import {
  CHECKSUM_ELEMENT,
  type ChecksumAlgorithm,
  checksumAlgorithm,
  createChecksum,
} from '../payload/checksum.js'
import { unsupportedChecksum } from '../payload/checksum-request.js'
import { checkQuota } from '../quota.js'
import type { S3Request, S3Response } from '../request.js'
import { xmlText } from '../xml.js'
import { xmlResponse } from './list-objects.js'
import { parseVersionId } from './read-object.js'
import { refuseConditionalWrite } from './write-object.js'

/** The source of a copy, which the caller may read. */
export interface CopySource {
  bucket: Bucket
  version: VersionRecord
}

/** CopyObject: the new version refers to the source's blocks; no data moves. */
export async function copyObject(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const target = await authorize(model, request, { permission: 'write', action: 's3:PutObject' })
  refuseConditionalWrite(request)
  const { owner, acl } = await aclForWrite(model, request, target)
  const source = await copySource(context, request)
  const replace = directive(request, 'x-amz-metadata-directive') === 'REPLACE'
  refuseSelfCopy(request, source, target, replace)
  const { version } = source
  await checkQuota(model, target.bucket, { bytes: version.size, objects: 1 })
  const body = await sourceBody(context, version)
  const written = await model.objects.put(
    {
      bucket: target.bucket.id,
      key: Buffer.from(request.key!),
      etag: version.etag,
      etagParts: version.etagParts,
      owner,
      ...(await copiedChecksum(context, request, version)),
      ...(replace ? storedHeaders(request) : { headers: version.headers, metadata: version.metadata }),
      mutable: { ...acl },
    },
    body,
    target.bucket.versioning,
  )
  return xmlResponse(
    'CopyObjectResult',
    xmlText('LastModified', isoDate(lastModifiedMs(written))) +
      xmlText('ETag', etagOf(written)) +
      (written.checksum && written.checksumAlgorithm
        ? xmlText(CHECKSUM_ELEMENT[written.checksumAlgorithm], checksumText(written)) +
          xmlText('ChecksumType', written.checksumType)
        : ''),
    {
      ...(target.bucket.versioning !== 'off' && { 'x-amz-version-id': versionIdText(written) }),
      ...(source.bucket.versioning !== 'off' && { 'x-amz-copy-source-version-id': versionIdText(version) }),
    },
  )
}

/**
 * Looks up x-amz-copy-source ("bucket/key?versionId=…", percent-encoded) and checks its permission and conditions.
 * @throws S3Error InvalidArgument, NoSuchBucket, AccessDenied, NoSuchKey, NoSuchVersion, PreconditionFailed
 */
export async function copySource({ model }: S3Context, request: S3Request): Promise<CopySource> {
  const { bucketName, key, selector, versionId } = parseCopySource(request.header('x-amz-copy-source')!)
  const action = selector === undefined ? 's3:GetObject' : 's3:GetObjectVersion'
  const need = { permission: 'read', action, key, ...(versionId !== undefined && { versionId }) } as const
  const { bucket, version: decided } = await authorize(model, request, need, bucketName)
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
  return { bucket, version }
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
  const versionId = question < 0 ? undefined : header.slice(question + '?versionId='.length)
  const selector = parseVersionId(versionId)
  return { bucketName: trimmed.slice(0, slash), key: trimmed.slice(slash + 1), selector, versionId }
}

/** COPY (the default) or REPLACE. @throws S3Error InvalidArgument */
export function directive(request: S3Request, name: string): 'COPY' | 'REPLACE' {
  const value = request.header(name) ?? 'COPY'
  if (value !== 'COPY' && value !== 'REPLACE') throw invalidArgument(`Unknown ${name}.`, name, value)
  return value
}

function refuseSelfCopy(request: S3Request, source: CopySource, target: Granted, replace: boolean): void {
  const same =
    source.bucket.id.equals(target.bucket.id) && source.version.key.equals(Buffer.from(request.key!))
  if (!same || replace || request.header('x-amz-copy-source')!.includes('?versionId=')) return
  throw new S3Error(
    'InvalidRequest',
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
  )
}

async function sourceBody({ model }: S3Context, version: VersionRecord): Promise<StoredBody> {
  if (version.content.kind === 'inline') {
    return { size: version.size, md5: version.etag, body: version.body!, blocks: [] }
  }
  const blocks: BlockRef[] = []
  for await (const { ref } of model.blobs.blocksOf(version.bucket, version.id, version.content))
    blocks.push(ref)
  return { size: version.size, md5: version.etag, blocks }
}

/** The checksum goes along; another algorithm than the source's is computed from the content. */
async function copiedChecksum(
  { model }: S3Context,
  request: S3Request,
  version: VersionRecord,
): Promise<Partial<Pick<NewVersion, 'checksum' | 'checksumAlgorithm' | 'checksumType' | 'parts'>>> {
  const wanted = wantedChecksum(request)
  const { checksum, checksumAlgorithm, checksumType } = version
  if (!wanted || wanted === checksumAlgorithm) {
    const parts = await model.blobs.partsOf(version)
    return {
      ...(checksum && checksumAlgorithm && checksumType && { checksum, checksumAlgorithm, checksumType }),
      ...(parts.length > 0 && { parts }),
    }
  }
  const hasher = createChecksum(wanted)
  for await (const chunk of model.blobs.read(version, 0, version.size, { signal: request.signal }))
    hasher.update(chunk)
  return { checksum: hasher.digest(), checksumAlgorithm: wanted, checksumType: 'FULL_OBJECT' }
}

/** x-amz-checksum-algorithm. @throws S3Error InvalidRequest if it is unknown */
export function wantedChecksum(request: S3Request): ChecksumAlgorithm | undefined {
  const name = request.header('x-amz-checksum-algorithm')
  if (name === undefined || name === '') return undefined
  const algorithm = checksumAlgorithm(name)
  if (!algorithm) throw unsupportedChecksum()
  return algorithm
}
