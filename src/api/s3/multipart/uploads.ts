import type { BodySource } from '../../../model/content/blobs.js'
import type { PartRow, UploadRow } from '../../../model/uploads/tables.js'
import { isoDate } from '../../http/date.js'
import { xmlText } from '../../xml/writer.js'
import { aclForWrite } from '../access/acl/for-write.js'
import { authorize } from '../access/authorize.js'
import { bucketNow } from '../access/bucket-now.js'
import type { Granted } from '../access/question.js'
import { ownerXml, parseMax, percentEncodeKey, xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import {
  newSealing,
  openUpload,
  requestedEncryption,
  type Sealing,
  sealContent,
  sealedEtag,
} from '../encryption/requests.js'
import { invalidArgument, S3Error } from '../errors.js'
import { bodySource } from '../objects/body.js'
import { readSource, wantedChecksum } from '../objects/copy.js'
import { CopyChecksum } from '../objects/copy-checksum.js'
import { copySource } from '../objects/copy-source.js'
import { hasDefaultChecksum } from '../objects/default-checksum.js'
import { storageClassOf, storedHeaders } from '../objects/headers.js'
import { headerLock } from '../objects/lock.js'
import { checkInitiated } from '../objects/preconditions.js'
import { checkQuota } from '../objects/quota.js'
import { newTags } from '../objects/tags.js'
import { refuseToldTime } from '../objects/told-time.js'
import {
  CHECKSUM_ELEMENT,
  CHECKSUM_HEADER,
  type ChecksumAlgorithm,
  isCombinable,
} from '../payload/checksum.js'
import type { S3Request, S3Response } from '../request.js'
import { UPLOAD_BYTES_MAX } from '../screen.js'

const MAX_PART_NUMBER = 10_000

/** CreateMultipartUpload. */
export async function createMultipartUpload(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const granted = await authorize(model, request, { permission: 'write', action: 's3:PutObject' })
  const { bucket } = granted
  refuseToldTime(request)
  const { owner, acl } = await aclForWrite(model, request, granted)
  const mutable = { ...acl, ...headerLock(request, bucket, context.clock.nowMs()), ...newTags(request) }
  const sealing = newSealing(context, bucket, requestedEncryption(context, request, bucket))
  const algorithm = wantedChecksum(request)
  const type = checksumType(request, algorithm)
  await checkQuota(model, bucket, { bytes: 0, objects: 0, uploads: 1 })
  const upload = await model.uploads.create({
    bucket: bucket.id,
    key: Buffer.from(request.key!),
    owner,
    ...storedHeaders(request, bucket),
    ...storageClassOf(context, request, bucket),
    ...(algorithm && type && { checksumAlgorithm: algorithm, checksumType: type }),
    ...(sealing && { encryption: sealing.encryption }),
    mutable,
  })
  return xmlResponse(
    'InitiateMultipartUploadResult',
    xmlText('Bucket', request.bucket) +
      xmlText('Key', request.key) +
      xmlText('UploadId', upload.id.toString('hex')),
    {
      ...sealing?.headers,
      ...(algorithm && { 'x-amz-checksum-algorithm': algorithm, 'x-amz-checksum-type': type! }),
    },
  )
}

/** The type of an upload's checksum: the requested one, else AWS's default for the algorithm. */
function checksumType(
  request: S3Request,
  algorithm: ChecksumAlgorithm | undefined,
): 'FULL_OBJECT' | 'COMPOSITE' | undefined {
  const type = request.header('x-amz-checksum-type')
  if (type === undefined) return algorithm && (algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE')
  if (type !== 'FULL_OBJECT' && type !== 'COMPOSITE') {
    throw new S3Error('InvalidRequest', 'Value for x-amz-checksum-type header is invalid.')
  }
  if (!algorithm) {
    throw new S3Error(
      'InvalidRequest',
      'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.',
    )
  }
  const possible = type === 'FULL_OBJECT' ? isCombinable(algorithm) : algorithm !== 'CRC64NVME'
  if (!possible) {
    throw new S3Error(
      'InvalidRequest',
      `The ${type} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`,
    )
  }
  return type
}

/** An upload that the caller may continue. @throws S3Error NoSuchUpload, AccessDenied */
export async function findUpload(
  { model }: S3Context,
  request: S3Request,
  action: string,
  permission: 'read' | 'write' = 'write',
): Promise<Granted & { upload: UploadRow }> {
  const granted = await authorize(model, request, { permission, action })
  const id = uploadIdOf(request)
  const upload = await model.uploads.get(granted.bucket.id, Buffer.from(request.key!), id)
  if (!upload) throw noSuchUpload(request)
  return { ...granted, upload }
}

/** As findUpload, for a caller who was authorized, with the stored parts, in one round trip for both. */
export async function findUploadAndParts(
  { model }: S3Context,
  request: S3Request,
  granted: Granted,
): Promise<Granted & { upload: UploadRow; parts: PartRow[] }> {
  const id = uploadIdOf(request)
  const bucket = granted.bucket.id
  const [upload, parts] = await Promise.all([
    model.uploads.get(bucket, Buffer.from(request.key!), id),
    model.uploads.parts({ bucket, id }),
  ])
  if (!upload) throw noSuchUpload(request)
  return { ...granted, upload, parts }
}

function uploadIdOf(request: S3Request): Buffer {
  const id = request.query.get('uploadId')!
  if (!/^[0-9a-f]{32}$/.test(id)) throw noSuchUpload(request)
  return Buffer.from(id, 'hex')
}

function noSuchUpload(request: S3Request): S3Error {
  return new S3Error('NoSuchUpload', undefined, { extra: { UploadId: request.query.get('uploadId') } })
}

function partNumberOf(request: S3Request): number {
  const text = request.query.get('partNumber') ?? ''
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < 1 || number > MAX_PART_NUMBER) {
    throw invalidArgument('Part number must be an integer between 1 and 10000, inclusive', 'partNumber', text)
  }
  return number
}

/** UploadPart. */
export async function uploadPart(context: S3Context, request: S3Request): Promise<S3Response> {
  const number = partNumberOf(request)
  const { bucket, upload } = await findUpload(context, request, 's3:PutObject')
  const sealing = openUpload(context, request, upload)
  const { payload } = request
  await checkQuota(context.model, bucket, { bytes: payload.contentLength ?? 0, objects: 0 })
  const { checksumAlgorithm } = upload
  if (checksumAlgorithm) {
    if (payload.checksum && payload.checksum.algorithm !== checksumAlgorithm) {
      throw new S3Error(
        'InvalidRequest',
        `Checksum Type mismatch occurred, expected checksum Type: ${checksumAlgorithm.toLowerCase()}, actual checksum Type: ${payload.checksum.algorithm.toLowerCase()}`,
      )
    }
    payload.computeChecksum(checksumAlgorithm)
  }
  const part = await storePart(
    context,
    { upload, number, sealing },
    bodySource(payload),
    () => payload.result.checksum,
  )
  return {
    status: 200,
    headers: {
      etag: `"${part.etag.toString('hex')}"`,
      ...(part.checksum && { [CHECKSUM_HEADER[part.checksumAlgorithm!]]: part.checksum.toString('base64') }),
      ...sealing?.headers,
    },
  }
}

async function storePart(
  context: S3Context,
  { upload, number, sealing }: { upload: UploadRow; number: number; sealing: Sealing | undefined },
  source: BodySource,
  checksum: () => { algorithm: ChecksumAlgorithm; value: Buffer } | undefined,
): Promise<PartRow> {
  // Parts are never inline: only blocks can be put together without moving data.
  const sealed = sealing && sealContent(context, sealing, number)
  const crc64 = upload.checksumAlgorithm === undefined && hasDefaultChecksum(sealing)
  const body = await context.model.blobs.write(source, { ...sealed, inline: false, crc64 })
  const computed = checksum()
  await bucketNow(context.model, { id: upload.bucket })
  return context.model.uploads.putPart(
    upload,
    {
      number,
      etag: sealedEtag(sealing, body.md5),
      ...(sealed && { iv: sealed.iv }),
      ...(computed && { checksumAlgorithm: computed.algorithm, checksum: computed.value }),
      ...(body.crc64 && { crc64: body.crc64 }),
    },
    body,
  )
}

/** UploadPartCopy: a part whose bytes come from an object, or a range of one. */
export async function uploadPartCopy(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const number = partNumberOf(request)
  const { bucket, upload } = await findUpload(context, request, 's3:PutObject')
  const sealing = openUpload(context, request, upload)
  const source = await copySource(context, request)
  const { start, end } = copyRange(request.header('x-amz-copy-source-range'), source.version.size)
  await checkQuota(model, bucket, { bytes: end - start, objects: 0 })
  if (end - start > UPLOAD_BYTES_MAX) {
    throw new S3Error('EntityTooLarge', undefined, {
      extra: { ProposedSize: end - start, MaxSizeAllowed: UPLOAD_BYTES_MAX },
    })
  }
  const checked = new CopyChecksum(readSource(context, request, source, start, end), upload.checksumAlgorithm)
  const part = await storePart(context, { upload, number, sealing }, checked.source(end - start), () =>
    checked.result(),
  )
  return xmlResponse(
    'CopyPartResult',
    xmlText('LastModified', isoDate(Math.floor(part.timeUs / 1000))) +
      xmlText('ETag', `"${part.etag.toString('hex')}"`) +
      (part.checksum
        ? xmlText(CHECKSUM_ELEMENT[part.checksumAlgorithm!], part.checksum.toString('base64'))
        : ''),
    {
      ...sealing?.headers,
      ...(source.bucket.versioning !== 'off' &&
        !source.version.isNull && { 'x-amz-copy-source-version-id': source.version.id.toString('hex') }),
    },
  )
}

/** x-amz-copy-source-range must be "bytes=first-last" within the source. */
function copyRange(header: string | undefined, size: number): { start: number; end: number } {
  if (header === undefined) return { start: 0, end: size }
  const match = /^bytes=(\d+)-(\d+)$/.exec(header)
  if (!match || Number(match[1]) > Number(match[2])) {
    throw invalidArgument(
      'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy',
      'x-amz-copy-source-range',
      header,
    )
  }
  const end = Number(match[2]) + 1
  if (end > size) {
    throw new S3Error('InvalidRange', `Range specified is not valid for source object of size: ${size}`, {
      status: 416,
    })
  }
  return { start: Number(match[1]), end }
}

/** AbortMultipartUpload. */
export async function abortMultipartUpload(context: S3Context, request: S3Request): Promise<S3Response> {
  const { upload } = await findUpload(context, request, 's3:AbortMultipartUpload')
  checkInitiated(request, upload.timeUs)
  await context.model.uploads.end(upload)
  return { status: 204 }
}

/** ListParts. */
export async function listParts(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const { query } = request
  const { upload } = await findUpload(context, request, 's3:ListMultipartUploadParts', 'read')
  const limit = parseMax(query.get('max-parts'), 'max-parts', 1000)
  const marker = parseMax(query.get('part-number-marker') ?? '0', 'part-number-marker', MAX_PART_NUMBER)
  const found = await context.model.uploads.parts(upload, marker, limit + 1)
  const parts = found.slice(0, limit)
  const more = found.length > limit
  const rendered = parts.map(
    (part) =>
      `<Part><PartNumber>${part.number}</PartNumber>` +
      xmlText('LastModified', isoDate(Math.floor(part.timeUs / 1000))) +
      xmlText('ETag', `"${part.etag.toString('hex')}"`) +
      `<Size>${part.size}</Size>` +
      // Where no algorithm was asked for, the default one, as AWS documents it for Part.
      (part.checksum
        ? xmlText(CHECKSUM_ELEMENT[part.checksumAlgorithm!], part.checksum.toString('base64'))
        : xmlText(CHECKSUM_ELEMENT.CRC64NVME, part.crc64?.toString('base64'))) +
      '</Part>',
  )
  return xmlResponse(
    'ListPartsResult',
    xmlText('Bucket', request.bucket) +
      xmlText('Key', request.key) +
      xmlText('UploadId', query.get('uploadId')) +
      ownerXml(model, upload.owner, 'Initiator') +
      ownerXml(model, upload.owner) +
      `<StorageClass>${upload.storageClass ?? 'STANDARD'}</StorageClass>` +
      `<PartNumberMarker>${marker}</PartNumberMarker>` +
      (more ? `<NextPartNumberMarker>${parts.at(-1)?.number ?? marker}</NextPartNumberMarker>` : '') +
      `<MaxParts>${limit}</MaxParts><IsTruncated>${more}</IsTruncated>` +
      xmlText('ChecksumAlgorithm', upload.checksumAlgorithm) +
      xmlText('ChecksumType', upload.checksumType) +
      rendered.join(''),
  )
}

/** ListMultipartUploads. */
export async function listMultipartUploads(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const { query } = request
  const { bucket } = await authorize(model, request, {
    permission: 'read',
    action: 's3:ListBucketMultipartUploads',
  })
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const encodingType = query.get('encoding-type')
  if (encodingType !== undefined && encodingType !== 'url') {
    throw invalidArgument('Invalid Encoding Method specified in Request', 'encoding-type', encodingType)
  }
  const encode = encodingType === 'url' ? percentEncodeKey : (text: string) => text
  const limit = parseMax(query.get('max-uploads'), 'max-uploads', 1000)
  const keyMarker = query.get('key-marker') ?? ''
  const idMarker = query.get('upload-id-marker') ?? ''
  const page = await model.uploads.page(bucket.id, {
    prefix,
    delimiter,
    limit,
    ...(keyMarker !== '' && {
      after: {
        key: Buffer.from(keyMarker),
        ...(/^[0-9a-f]{32}$/.test(idMarker) && { id: Buffer.from(idMarker, 'hex') }),
      },
    }),
  })
  const uploads = page.uploads.map(
    (upload) =>
      '<Upload>' +
      xmlText('Key', encode(upload.key.toString())) +
      xmlText('UploadId', upload.id.toString('hex')) +
      ownerXml(model, upload.owner, 'Initiator') +
      ownerXml(model, upload.owner) +
      `<StorageClass>${upload.storageClass ?? 'STANDARD'}</StorageClass>` +
      xmlText('Initiated', isoDate(Math.floor(upload.timeUs / 1000))) +
      xmlText('ChecksumAlgorithm', upload.checksumAlgorithm) +
      xmlText('ChecksumType', upload.checksumType) +
      '</Upload>',
  )
  const prefixes = page.prefixes.map(
    (p) => `<CommonPrefixes>${xmlText('Prefix', encode(p))}</CommonPrefixes>`,
  )
  return xmlResponse(
    'ListMultipartUploadsResult',
    xmlText('Bucket', request.bucket) +
      xmlText('KeyMarker', encode(keyMarker)) +
      xmlText('UploadIdMarker', idMarker) +
      (page.next
        ? xmlText('NextKeyMarker', encode(page.next.key)) + xmlText('NextUploadIdMarker', page.next.id ?? '')
        : '') +
      xmlText('Prefix', encode(prefix)) +
      (delimiter !== '' ? xmlText('Delimiter', encode(delimiter)) : '') +
      xmlText('EncodingType', encodingType) +
      `<MaxUploads>${limit}</MaxUploads><IsTruncated>${page.next !== undefined}</IsTruncated>` +
      uploads.join('') +
      prefixes.join(''),
  )
}
