import type { StoredBody } from '../../../model/content/blobs.js'
import type { NewVersion } from '../../../model/versions/objects.js'
import type { Mutable, VersionRecord } from '../../../model/versions/record.js'
import { isoDate } from '../../http/date.js'
import { xmlText } from '../../xml/writer.js'
import { aclForWrite } from '../access/acl/for-write.js'
import { authorize } from '../access/authorize.js'
import { bucketNow } from '../access/bucket-now.js'
import type { Granted } from '../access/question.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import {
  customerKey,
  keepSealing,
  newSealing,
  openContent,
  type RequestedEncryption,
  requestedEncryption,
  type Sealing,
  sealContent,
  sealedEtag,
} from '../encryption/requests.js'
import { invalidArgument, S3Error } from '../errors.js'
import {
  CHECKSUM_ELEMENT,
  type ChecksumAlgorithm,
  checksumAlgorithm,
  createChecksum,
  loadChecksum,
} from '../payload/checksum.js'
import { unsupportedChecksum } from '../payload/checksum-request.js'
import type { S3Request, S3Response } from '../request.js'
import { UPLOAD_BYTES_MAX } from '../screen.js'
import { onUnion } from '../shadow/writes.js'
import { versionIdText } from '../version-id.js'
import { CopyChecksum } from './copy-checksum.js'
import { type CopySource, copySource } from './copy-source.js'
import { defaultChecksum, hasDefaultChecksum } from './default-checksum.js'
import { expirationHeader } from './expiration-header.js'
import {
  checksumText,
  copiedHeaders,
  etagOf,
  lastModifiedMs,
  REDIRECT,
  storageClassOf,
  storedHeaders,
} from './headers.js'
import { headerLock, withDefaultRetention } from './lock.js'
import { onCondition, writePrecondition } from './preconditions.js'
import { checkQuota } from './quota.js'
import { headerTags } from './tags.js'
import { toldTime } from './told-time.js'

/** The content of a copy. */
interface Copied {
  /** Undefined if the copy takes over the blocks of its source. */
  body?: StoredBody
  version: Pick<
    NewVersion,
    'etag' | 'etagParts' | 'checksum' | 'checksumAlgorithm' | 'checksumType' | 'parts' | 'encryption'
  >
  headers: Record<string, string>
}

/**
 * CopyObject: the new version refers to the source's blocks and no data moves, unless the copy is to be
 * encrypted differently.
 */
export async function copyObject(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const target = await authorize(model, request, { permission: 'write', action: 's3:PutObject' })
  const { bucket } = target
  const precondition = await onUnion(context, request, bucket, writePrecondition(request))
  const told = await toldTime(context, request, bucket)
  const { owner, acl } = await aclForWrite(model, request, target)
  const requested = requestedEncryption(context, request, bucket)
  const storageClass = storageClassOf(context, request, bucket)
  const source = await copySource(context, request)
  const { version } = source
  const replace = directive(request, 'x-amz-metadata-directive') === 'REPLACE'
  refuseSelfCopy(request, source, target, replace)
  const mutable: Mutable = {
    ...acl,
    ...headerLock(request, bucket, context.clock.nowMs()),
    ...copiedTags(request, version),
  }
  const stored = replace ? storedHeaders(request, bucket) : copiedHeaders(request, version)
  await authorizeTags(context, request, source)
  await checkQuota(model, bucket, { bytes: version.size, objects: 1 })
  const copied = await copyContent(context, request, bucket, requested, source)
  const put = async (body: StoredBody) => {
    const now = await bucketNow(model, bucket, request.bucket)
    const copy: NewVersion = {
      bucket: bucket.id,
      key: Buffer.from(request.key!),
      origin: 'Copy',
      owner,
      ...told,
      ...stored,
      ...copied.version,
      ...storageClass,
      mutable: withDefaultRetention(mutable, now, context.clock.nowMs()),
    }
    const written = await onCondition(precondition, () =>
      model.objects.put(copy, body, now.versioning, precondition),
    )
    return { now, written }
  }
  const { now, written } = copied.body
    ? await put(copied.body)
    : await model.blobs.holdingPointers([version.content], async () =>
        put(await model.blobs.referTo(version)),
      )
  const expiration = expirationHeader(now, written)
  return xmlResponse(
    'CopyObjectResult',
    xmlText('LastModified', isoDate(lastModifiedMs(written))) +
      xmlText('ETag', etagOf(written)) +
      (written.checksum && written.checksumAlgorithm
        ? xmlText(CHECKSUM_ELEMENT[written.checksumAlgorithm], checksumText(written)) +
          xmlText('ChecksumType', written.checksumType)
        : ''),
    {
      ...copied.headers,
      ...(now.versioning === 'enabled' && { 'x-amz-version-id': versionIdText(written) }),
      ...(expiration !== undefined && { 'x-amz-expiration': expiration }),
      ...(source.bucket.versioning !== 'off' && { 'x-amz-copy-source-version-id': versionIdText(version) }),
    },
  )
}

/** Reads a directive: COPY, which is the default, or REPLACE. @throws S3Error InvalidArgument */
export function directive(request: S3Request, name: string): 'COPY' | 'REPLACE' {
  const value = request.header(name) ?? 'COPY'
  if (value !== 'COPY' && value !== 'REPLACE') throw invalidArgument(`Unknown ${name}.`, name, value)
  return value
}

/** The tags of the copy: those of the source, unless the request replaces them. */
function copiedTags(request: S3Request, { mutable }: VersionRecord): Pick<Mutable, 'tags'> {
  const replace = directive(request, 'x-amz-tagging-directive') === 'REPLACE'
  const tags = replace ? headerTags(request) : mutable.tags?.[1]
  return tags ? { tags: [0, tags] } : {}
}

/**
 * Tags that go along are read from the source and set on the copy, which needs the permissions for both.
 * @throws S3Error AccessDenied
 */
async function authorizeTags(
  { model }: S3Context,
  request: S3Request,
  { version, need, bucketName }: CopySource,
): Promise<void> {
  const replace = directive(request, 'x-amz-tagging-directive') === 'REPLACE'
  const tags = version.mutable.tags?.[1] ?? {}
  if (replace || Object.keys(tags).length === 0) return
  const read = need.versionId === undefined ? 's3:GetObjectTagging' : 's3:GetObjectVersionTagging'
  await authorize(model, request, { ...need, action: read }, bucketName)
  await authorize(model, request, {
    permission: 'write',
    action: 's3:PutObjectTagging',
    ofNewObject: true,
    requestTags: () => tags,
  })
}

/** @throws S3Error InvalidRequest for a copy onto itself that changes nothing */
function refuseSelfCopy(request: S3Request, source: CopySource, target: Granted, replace: boolean): void {
  const same =
    source.bucket.id.equals(target.bucket.id) && source.version.key.equals(Buffer.from(request.key!))
  if (!same || replace || request.header('x-amz-copy-source')!.includes('?versionId=')) return
  const changes = [REDIRECT, 'x-amz-storage-class', 'x-amz-server-side-encryption']
  if (changes.some((name) => request.header(name) !== undefined) || customerKey(request)) return
  throw new S3Error(
    'InvalidRequest',
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
  )
}

async function copyContent(
  context: S3Context,
  request: S3Request,
  bucket: Granted['bucket'],
  requested: RequestedEncryption,
  source: CopySource,
): Promise<Copied> {
  const kept = source.sealing && keepSealing(context, bucket, requested, source.sealing)
  if (kept || (!source.sealing && !requested)) return referTo(context, request, source, kept)
  return writeAnew(context, request, source, newSealing(context, bucket, requested))
}

/** What is said of a copy that takes over its source's blocks. */
async function referTo(
  context: S3Context,
  request: S3Request,
  source: CopySource,
  kept: Sealing | undefined,
): Promise<Copied> {
  const { version } = source
  const { etag, etagParts, checksum, checksumAlgorithm, checksumType } = version
  const wanted = wantedChecksum(request)
  const parts = await context.model.blobs.partsOf(version)
  const common = { etag, etagParts, ...(kept && { encryption: kept.encryption }) }
  const headers = kept?.headers ?? {}
  if (!wanted || wanted === checksumAlgorithm) {
    const own = checksum && checksumAlgorithm && checksumType && { checksum, checksumAlgorithm, checksumType }
    return { headers, version: { ...common, ...own, ...(parts.length > 0 && { parts }) } }
  }
  await loadChecksum(wanted)
  const hasher = createChecksum(wanted)
  for await (const chunk of readSource(context, request, source, 0, version.size)) hasher.update(chunk)
  return {
    headers,
    version: {
      ...common,
      ...{ checksum: hasher.digest(), checksumAlgorithm: wanted, checksumType: 'FULL_OBJECT' as const },
      ...(parts.length > 0 && { parts: parts.map(({ checksum: _, ...part }) => part) }),
    },
  }
}

/**
 * Writes the source's content with another encryption; the copy has no parts.
 * @throws S3Error InvalidRequest above 5 GiB
 */
async function writeAnew(
  context: S3Context,
  request: S3Request,
  source: CopySource,
  sealing: Sealing | undefined,
): Promise<Copied> {
  const { version } = source
  if (version.size > UPLOAD_BYTES_MAX) {
    throw new S3Error(
      'InvalidRequest',
      `The specified copy source is larger than the maximum allowable size for a copy source: ${UPLOAD_BYTES_MAX}`,
    )
  }
  const algorithm = wantedChecksum(request) ?? version.checksumAlgorithm
  const content = new CopyChecksum(readSource(context, request, source, 0, version.size), algorithm)
  const sealed = sealing && sealContent(context, sealing)
  const crc64 = algorithm === undefined && hasDefaultChecksum(sealing)
  const body = await context.model.blobs.write(content.source(version.size), { ...sealed, crc64 })
  const checksum = content.result() ?? defaultChecksum(body)
  return {
    body,
    headers: sealing?.headers ?? {},
    version: {
      etag: sealedEtag(sealing, body.md5),
      etagParts: 0,
      ...(checksum && {
        checksum: checksum.value,
        checksumAlgorithm: checksum.algorithm,
        checksumType: 'FULL_OBJECT' as const,
      }),
      ...(sealing && { encryption: { ...sealing.encryption, iv: sealed!.iv } }),
    },
  }
}

/** The source's bytes from `start` up to `end`, decrypted. */
export async function* readSource(
  context: S3Context,
  request: S3Request,
  { version, sealing }: CopySource,
  start: number,
  end: number,
): AsyncGenerator<Buffer> {
  const cipher = sealing && (await openContent(context, version, sealing))
  const options = { isCopy: true, signal: () => request.signal, ...(cipher && { cipher }) }
  yield* context.model.blobs.read(version, start, end, options)
}

/** x-amz-checksum-algorithm. @throws S3Error InvalidRequest if it is unknown */
export function wantedChecksum(request: S3Request): ChecksumAlgorithm | undefined {
  const name = request.header('x-amz-checksum-algorithm')
  if (name === undefined || name === '') return undefined
  const algorithm = checksumAlgorithm(name)
  if (!algorithm) throw unsupportedChecksum()
  return algorithm
}
