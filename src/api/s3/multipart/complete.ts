import type { Bucket } from '../../../model/buckets/buckets.js'
import { decodeContentEncryption } from '../../../model/content/ciphers.js'
import { md5 } from '../../../model/content/hashing.js'
import type { PartRow, UploadRow } from '../../../model/uploads/tables.js'
import type { NewVersion } from '../../../model/versions/objects.js'
import type { VersionRecord } from '../../../model/versions/record.js'
import { recode } from '../../http/uri.js'
import { parseXml, type XmlElement } from '../../xml/reader.js'
import { xmlText } from '../../xml/writer.js'
import { authorize } from '../access/authorize.js'
import { bucketNow } from '../access/bucket-now.js'
import { xmlResponse } from '../answers.js'
import { isRelaxed } from '../buckets/relaxed.js'
import type { S3Context } from '../context.js'
import { customerKey, encryptionHeaders, openUpload } from '../encryption/requests.js'
import { S3Error } from '../errors.js'
import { expirationHeader } from '../objects/expiration-header.js'
import { checksumText, etagOf } from '../objects/headers.js'
import { withDefaultRetention } from '../objects/lock.js'
import { onCondition, writePrecondition } from '../objects/preconditions.js'
import { checkQuota } from '../objects/quota.js'
import { toldTime } from '../objects/told-time.js'
import {
  CHECKSUM_ALGORITHMS,
  CHECKSUM_ELEMENT,
  CHECKSUM_HEADER,
  type ChecksumAlgorithm,
  checksumOf,
  combineChecksums,
  isCombinable,
  loadChecksum,
} from '../payload/checksum.js'
import type { S3Request, S3Response } from '../request.js'
import { onUnion } from '../shadow/writes.js'
import { versionIdText } from '../version-id.js'
import { findUploadAndParts } from './uploads.js'

const MAX_BODY_BYTES = 4 * 1024 * 1024
const MAX_PARTS = 10_000
const MIN_PART_BYTES = 5 * 1024 * 1024
/** The largest object: 5 TiB. */
const OBJECT_BYTES_MAX = 5 * 1024 ** 4

interface NamedPart {
  number: number
  etag: string
  element: XmlElement
}

/** CompleteMultipartUpload. When a client repeats it with the same parts, it gets the first answer again. */
export async function completeMultipartUpload(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  // Nothing of the body is read for a caller who may not write.
  const granted = await authorize(model, request, { permission: 'write', action: 's3:PutObject' })
  const told = await toldTime(context, request, granted.bucket)
  const named = await readParts(request)
  const etag = md5(Buffer.concat(named.map((part) => Buffer.from(part.etag, 'hex'))))
  let found: Awaited<ReturnType<typeof findUploadAndParts>>
  try {
    found = await findUploadAndParts(context, request, granted)
  } catch (error) {
    const done =
      error instanceof S3Error &&
      error.code === 'NoSuchUpload' &&
      (await alreadyDone(context, request, etag, named.length))
    if (!done) throw error
    return done
  }
  const { upload, bucket } = found
  const precondition = await onUnion(context, request, bucket, writePrecondition(request))
  // As in AWS, the client's key is needed only where a checksum of the content is made, but a key that is
  // sent must be right.
  openUpload(context, request, upload, upload.checksumAlgorithm !== undefined)
  const encryption = decodeContentEncryption(upload.encryption)
  const parts = chooseParts(named, found.parts, isRelaxed(bucket) ? 0 : MIN_PART_BYTES)
  const size = parts.reduce((sum, part) => sum + part.size, 0)
  if (size > OBJECT_BYTES_MAX) {
    throw new S3Error('EntityTooLarge', undefined, {
      extra: { ProposedSize: size, MaxSizeAllowed: OBJECT_BYTES_MAX },
    })
  }
  const declared = request.header('x-amz-mp-object-size')
  if (declared !== undefined && Number(declared) !== size) {
    throw new S3Error(
      'InvalidRequest',
      `The provided 'x-amz-mp-object-size' header value ${declared} does not match what was computed: ${size}`,
    )
  }
  await checkQuota(model, bucket, { bytes: 0, objects: 1 })
  const checksum = await objectChecksum(request, upload, parts)
  const version: NewVersion = {
    bucket: bucket.id,
    key: upload.key,
    etag,
    etagParts: parts.length,
    owner: upload.owner,
    ...told,
    headers: upload.headers,
    metadata: upload.metadata,
    ...checksum,
    ...(upload.storageClass && { storageClass: upload.storageClass }),
    parts: parts.map((part) => {
      const own = part.checksumAlgorithm === checksum.checksumAlgorithm ? part.checksum : part.crc64
      return {
        number: part.number,
        size: part.size,
        ...(own && checksum.checksum && { checksum: own }),
        ...(part.iv && { iv: part.iv }),
      }
    }),
    ...(encryption && { encryption }),
    mutable: upload.mutable,
  }
  const contents = parts.map(({ content }) => content)
  return model.blobs.holdingPointers(contents, async () => {
    const now = await bucketNow(model, bucket, request.bucket)
    const mutable = withDefaultRetention(upload.mutable, now, context.clock.nowMs())
    const written = await onCondition(precondition, () =>
      model.uploads.complete(upload, parts, { ...version, mutable }, etag, now.versioning, precondition),
    )
    return completed(request, written, now)
  })
}

function completed(request: S3Request, version: VersionRecord, bucket: Bucket): S3Response {
  const expiration = expirationHeader(bucket, version)
  // The request is for the object's own URL, whether the bucket is in the host or in the path.
  const path = recode(request.rawPath, true, false)
  const url = `${request.secure ? 'https' : 'http'}://${request.headers.host ?? ''}${path}`
  return xmlResponse(
    'CompleteMultipartUploadResult',
    xmlText('Location', url) +
      xmlText('Bucket', request.bucket) +
      xmlText('Key', request.key) +
      xmlText('ETag', etagOf(version)) +
      (version.checksum && version.checksumAlgorithm
        ? xmlText(CHECKSUM_ELEMENT[version.checksumAlgorithm], checksumText(version)) +
          xmlText('ChecksumType', version.checksumType)
        : ''),
    {
      ...encryptionHeaders(version.encryption, customerKey(request)),
      ...(bucket.versioning === 'enabled' && { 'x-amz-version-id': versionIdText(version) }),
      ...(expiration !== undefined && { 'x-amz-expiration': expiration }),
    },
  )
}

/** @throws S3Error MalformedXML, InvalidPartOrder */
async function readParts(request: S3Request): Promise<NamedPart[]> {
  const body = await request.payload.readAll(MAX_BODY_BYTES, 'MalformedXML')
  const root = await parseXml(body, 'CompleteMultipartUpload')
  const elements = root.all('Part')
  if (elements.length === 0 || elements.length > MAX_PARTS) throw new S3Error('MalformedXML')
  const named = elements.map((element) => {
    const number = Number(element.text('PartNumber'))
    const etag = (element.text('ETag') ?? '').trim().replace(/^"(.*)"$/, '$1')
    if (!Number.isInteger(number) || element.text('ETag') === undefined) throw new S3Error('MalformedXML')
    return { number, etag, element }
  })
  for (let i = 1; i < named.length; i++) {
    if (named[i]!.number <= named[i - 1]!.number) throw new S3Error('InvalidPartOrder')
  }
  return named
}

/**
 * The stored parts that were named.
 * @param bytesMin of all parts but the last
 * @throws S3Error InvalidPart, EntityTooSmall
 */
function chooseParts(named: readonly NamedPart[], stored: readonly PartRow[], bytesMin: number): PartRow[] {
  const byNumber = new Map(stored.map((part) => [part.number, part]))
  const chosen = named.map(({ number, etag, element }) => {
    const part = byNumber.get(number)
    if (!part || part.etag.toString('hex') !== etag.toLowerCase()) throw invalidPart(number, etag)
    for (const algorithm of CHECKSUM_ALGORITHMS) {
      const claimed = element.text(CHECKSUM_ELEMENT[algorithm])
      if (claimed === undefined) continue
      if (checksumOfPart(part, algorithm)?.toString('base64') !== claimed) throw invalidPart(number, etag)
    }
    return part
  })
  for (const part of chosen.slice(0, -1)) {
    if (part.size < bytesMin) {
      throw new S3Error('EntityTooSmall', undefined, {
        extra: {
          ProposedSize: part.size,
          MinSizeAllowed: bytesMin,
          PartNumber: part.number,
          ETag: part.etag.toString('hex'),
        },
      })
    }
  }
  return chosen
}

/** A part's checksum by an algorithm: its own, or the default one, which ListParts shows of a part without its own. */
function checksumOfPart(part: PartRow, algorithm: ChecksumAlgorithm): Buffer | undefined {
  if (part.checksumAlgorithm === algorithm) return part.checksum
  return algorithm === 'CRC64NVME' ? part.crc64 : undefined
}

function invalidPart(number: number, etag: string): S3Error {
  return new S3Error('InvalidPart', undefined, { extra: { PartNumber: number, ETag: etag } })
}

type ObjectChecksum = Partial<Pick<NewVersion, 'checksum' | 'checksumAlgorithm' | 'checksumType'>>

/**
 * The object's checksum from those of its parts: by the upload's algorithm, else CRC64NVME, as AWS has it.
 * @throws S3Error BadDigest if the request claims another one, InvalidRequest if it claims one that the upload has not
 */
async function objectChecksum(
  request: S3Request,
  upload: UploadRow,
  parts: readonly PartRow[],
): Promise<ObjectChecksum> {
  const { checksumAlgorithm: algorithm, checksumType: type } = upload
  const made = algorithm && type ? await uploadChecksum(algorithm, type, parts) : defaultUploadChecksum(parts)
  const claimedType = request.header('x-amz-checksum-type')
  if (claimedType !== undefined && claimedType !== (type ?? made.checksumType)) {
    throw new S3Error(
      'InvalidRequest',
      `The upload was created using the ${type ?? 'default'} checksum mode. The complete request must use the same checksum mode.`,
    )
  }
  for (const claimedAlgorithm of CHECKSUM_ALGORITHMS) {
    const claimed = request.header(CHECKSUM_HEADER[claimedAlgorithm])
    if (claimed === undefined) continue
    if (!made.checksum || made.checksumAlgorithm !== claimedAlgorithm) {
      throw new S3Error(
        'InvalidRequest',
        `The upload was created without the checksum algorithm ${claimedAlgorithm}, or parts of it have no such checksum.`,
      )
    }
    if (claimed.replace(/-\d+$/, '') !== made.checksum.toString('base64')) {
      throw new S3Error(
        'BadDigest',
        `The ${claimedAlgorithm} you specified did not match the calculated checksum.`,
      )
    }
  }
  return made
}

async function uploadChecksum(
  algorithm: ChecksumAlgorithm,
  type: NonNullable<UploadRow['checksumType']>,
  parts: readonly PartRow[],
): Promise<ObjectChecksum> {
  if (parts.some((part) => part.checksumAlgorithm !== algorithm || !part.checksum)) return {}
  await loadChecksum(algorithm)
  const checksum =
    type === 'FULL_OBJECT' && isCombinable(algorithm)
      ? combineChecksums(
          algorithm,
          parts.map((part) => ({ checksum: part.checksum!, size: part.size })),
        )
      : checksumOf(algorithm, Buffer.concat(parts.map((part) => part.checksum!)))
  return { checksum, checksumAlgorithm: algorithm, checksumType: type }
}

/** None for uploads that an earlier version of the program took a part of. */
function defaultUploadChecksum(parts: readonly PartRow[]): ObjectChecksum {
  if (parts.some(({ crc64 }) => !crc64)) return {}
  const checksum = combineChecksums(
    'CRC64NVME',
    parts.map(({ crc64, size }) => ({ checksum: crc64!, size })),
  )
  return { checksum, checksumAlgorithm: 'CRC64NVME', checksumType: 'FULL_OBJECT' }
}

/**
 * The answer of an earlier, successful completion with the same parts: a client that lost it repeats the
 * request.
 */
async function alreadyDone(
  { model }: S3Context,
  request: S3Request,
  etag: Buffer,
  parts: number,
): Promise<S3Response | undefined> {
  const bucket = await model.buckets.byName(request.bucket!, model.keys.local(request.keyId ?? ''))
  const version =
    bucket && (await model.objects.get(bucket.id, Buffer.from(request.key!), undefined, { body: false }))
  if (version?.state !== 'object' || version.etagParts !== parts || !version.etag.equals(etag))
    return undefined
  return completed(request, version, bucket!)
}
