import type { Bucket } from '../../../model/buckets.js'
import type { Model } from '../../../model/model.js'
import type { VersionSelector } from '../../../model/objects.js'
import type { PartInfo, VersionRecord } from '../../../model/version-record.js'
import { authorize, type Need } from '../access.js'
import { checkConditions, preconditionFailed, readConditions } from '../conditions.js'
import type { S3Context } from '../context.js'
import { openContent, openVersion, type Sealing } from '../encryption.js'
import { S3Error } from '../errors.js'
import { expirationHeader } from '../expiration-header.js'
import { etagOf, lastModifiedMs, overrideHeaders, versionHeaders, versionIdText } from '../object-headers.js'
import { CHECKSUM_HEADER } from '../payload/checksum.js'
import { type ByteRange, parseRange } from '../range.js'
import type { S3Request, S3Response } from '../request.js'

/** GetObject: the whole object, a range of it, or one of its parts. */
export async function getObject(context: S3Context, request: S3Request): Promise<S3Response> {
  const found = await findVersion(context, request, { body: true })
  if ('status' in found) return found
  const { version, headers } = found
  const selection = await selectBytes(context, request, version, headers)
  const sealing = checkKey(context, request, version, headers)
  const { start, end } = selection.range
  headers['content-length'] = String(end - start)
  const { status } = selection
  const cipher = sealing && (await openContent(context, version, sealing))
  if (version.content.kind === 'inline' && version.body) {
    const plain = cipher ? cipher.open(version.body, 0) : version.body
    const whole = start === 0 && end === version.size
    return { status, headers, body: whole ? plain : plain.subarray(start, end) }
  }
  const options = { signal: () => request.signal, ...(cipher && { cipher }) }
  return { status, headers, body: context.model.blobs.read(version, start, end, options) }
}

/** HeadObject: as GetObject, without the content. */
export async function headObject(context: S3Context, request: S3Request): Promise<S3Response> {
  const found = await findVersion(context, request, { body: false })
  if ('status' in found) return found
  const { version, headers } = found
  const { range, status } = await selectBytes(context, request, version, headers)
  checkKey(context, request, version, headers)
  headers['content-length'] = String(range.end - range.start)
  return { status, headers }
}

/**
 * The version that a request names, which must be an object's.
 * @throws S3Error AccessDenied, NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed (delete marker)
 */
export async function existingVersion(
  { model }: S3Context,
  request: S3Request,
  need: Need,
  options: { body: boolean } = { body: false },
): Promise<{ bucket: Bucket; version: VersionRecord }> {
  const selector = versionSelector(request)
  const { bucket, version: decided } = await authorize(model, request, need)
  const version =
    decided ?? (await model.objects.get(bucket.id, Buffer.from(request.key!), selector, options))
  if (!version) throw notFound(request, selector)
  if (version.state === 'marker') throw deleteMarker(request, version, selector)
  return { bucket, version }
}

/** Looks up what the request names and checks its conditions. */
async function findVersion(
  context: S3Context,
  request: S3Request,
  options: { body: boolean },
): Promise<S3Response | { version: VersionRecord; headers: Record<string, string> }> {
  const action = versionSelector(request) === undefined ? 's3:GetObject' : 's3:GetObjectVersion'
  const { bucket, version } = await existingVersion(context, request, { permission: 'read', action }, options)
  const verdict = checkConditions(
    readConditions((name) => request.header(name)),
    {
      etag: etagOf(version).slice(1, -1),
      lastModifiedMs: lastModifiedMs(version),
    },
  )
  const headers = versionHeaders(version, request, { showVersion: bucket.versioning !== 'off' })
  const expiration = request.query.has('versionId') ? undefined : expirationHeader(bucket, version)
  if (expiration !== undefined) headers['x-amz-expiration'] = expiration
  if (verdict === 'not-modified') {
    delete headers['content-type']
    // boto3 would check a body that there is not.
    dropChecksums(headers)
    checkKey(context, request, version, headers)
    return { status: 304, headers }
  }
  if (verdict !== 'ok') throw preconditionFailed(verdict)
  overrideHeaders(headers, request)
  return { version, headers }
}

/** The key to an encrypted version, which must have come with the request if it is the client's; told by `headers`. */
function checkKey(
  context: S3Context,
  request: S3Request,
  version: VersionRecord,
  headers: Record<string, string>,
): Sealing | undefined {
  const sealing = openVersion(context, request, version)
  if (sealing) Object.assign(headers, sealing.headers)
  return sealing
}

/** Which bytes the request asks for, and the status and headers that say so. */
async function selectBytes(
  { model }: S3Context,
  request: S3Request,
  version: VersionRecord,
  headers: Record<string, string>,
): Promise<{ status: number; range: ByteRange }> {
  const partNumber = request.query.get('partNumber')
  if (partNumber !== undefined) {
    if (request.header('range') !== undefined) {
      throw new S3Error('InvalidRequest', 'Cannot specify both Range header and partNumber query parameter')
    }
    return { status: 206, range: await selectPart(model, partNumber, version, headers) }
  }
  const range = parseRange(request.header('range'), version.size)
  if (!range) return { status: 200, range: { start: 0, end: version.size } }
  // The stored checksum is of the whole object.
  if (range.start !== 0 || range.end !== version.size) dropChecksums(headers)
  return { status: 206, range: withRange(headers, range, version.size) }
}

/** Parts count from 1 in the order in which they were put together, whatever numbers they were uploaded under. */
async function selectPart(
  model: Model,
  text: string,
  version: VersionRecord,
  headers: Record<string, string>,
): Promise<ByteRange> {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1 || number > 10_000) {
    throw new S3Error('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive')
  }
  const parts = await model.blobs.partsOf(version)
  if (parts.length === 0) {
    if (number !== 1) throw noSuchPart(number)
    return withRange(headers, { start: 0, end: version.size }, version.size)
  }
  headers['x-amz-mp-parts-count'] = String(parts.length)
  const part = parts[number - 1]
  if (!part) throw noSuchPart(number)
  const start = parts.slice(0, number - 1).reduce((sum, { size }) => sum + size, 0)
  partChecksum(headers, version, part)
  return withRange(headers, { start, end: start + part.size }, version.size)
}

function withRange(headers: Record<string, string>, range: ByteRange, size: number): ByteRange {
  if (size > 0) headers['content-range'] = `bytes ${range.start}-${range.end - 1}/${size}`
  return range
}

/** 400 as s3-tests and Ceph have it; AWS answers 416 InvalidPartNumber. */
function noSuchPart(number: number): S3Error {
  return new S3Error('InvalidPart', 'The requested part number is not one of the object.', {
    extra: { PartNumber: number },
  })
}

/** A part's own checksum takes the place of the object's, if that was asked for. */
function partChecksum(headers: Record<string, string>, version: VersionRecord, part: PartInfo): void {
  const type = headers['x-amz-checksum-type']
  if (type === undefined) return
  dropChecksums(headers)
  if (!part.checksum || !version.checksumAlgorithm) return
  headers[CHECKSUM_HEADER[version.checksumAlgorithm]] = part.checksum.toString('base64')
  headers['x-amz-checksum-type'] = type
}

function dropChecksums(headers: Record<string, string>): void {
  for (const name in headers) if (name.startsWith('x-amz-checksum-')) delete headers[name]
}

/**
 * The version that ?versionId names.
 * @throws S3Error InvalidArgument if it cannot be a version id
 */
export function versionSelector(request: S3Request): VersionSelector {
  return parseVersionId(request.query.get('versionId'))
}

export function parseVersionId(text: string | undefined): VersionSelector {
  if (text === undefined) return undefined
  if (text === 'null') return 'null'
  if (!/^[0-9a-f]{32}$/.test(text)) {
    throw new S3Error('InvalidArgument', 'Invalid version id specified', {
      extra: { ArgumentName: 'versionId', ArgumentValue: text },
    })
  }
  return Buffer.from(text, 'hex')
}

export function notFound(request: S3Request, selector: VersionSelector): S3Error {
  if (selector === undefined) return new S3Error('NoSuchKey', undefined, { extra: { Key: request.key } })
  return new S3Error('NoSuchVersion', undefined, {
    extra: { Key: request.key, VersionId: request.query.get('versionId') },
  })
}

/** A delete marker as current version is "not found"; named by its id it is no object to get. */
export function deleteMarker(request: S3Request, version: VersionRecord, selector: VersionSelector): S3Error {
  const headers = { 'x-amz-delete-marker': 'true', 'x-amz-version-id': versionIdText(version) }
  if (selector === undefined)
    return new S3Error('NoSuchKey', undefined, { extra: { Key: request.key }, headers })
  return new S3Error('MethodNotAllowed', undefined, { headers: { ...headers, allow: 'DELETE' } })
}
