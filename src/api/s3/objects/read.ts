import type { Bucket } from '../../../model/buckets/buckets.js'
import type { PartInfo } from '../../../model/content/refs.js'
import type { Model } from '../../../model/model.js'
import type { VersionRecord } from '../../../model/versions/record.js'
import { type Awaitable, whenReady } from '../../../util/awaitable.js'
import { checkConditions, ifRangeHolds, readConditions } from '../../http/conditions.js'
import type { ByteRange } from '../../http/range.js'
import type { Need } from '../access/question.js'
import type { S3Context } from '../context.js'
import { openContent, openVersion, type Sealing } from '../encryption/requests.js'
import { S3Error } from '../errors.js'
import { CHECKSUM_HEADER } from '../payload/checksum.js'
import type { S3Request, S3Response } from '../request.js'
import { openThrough } from '../shadow/keep.js'
import { throughOf } from '../shadow/record.js'
import { versionSelector } from '../version-id.js'
import { expirationHeader } from './expiration-header.js'
import { existingVersion } from './find.js'
import { etagOf, lastModifiedMs, overrideHeaders, versionHeaders } from './headers.js'
import { preconditionFailed } from './preconditions.js'
import { requestedRange } from './range.js'

/** A version that the request may read, and the headers that describe it. */
interface Found {
  bucket: Bucket
  version: VersionRecord
  headers: Record<string, string>
}

/** The status and the bytes that the request asks for. */
interface Selection {
  status: number
  range: ByteRange
}

const WITH_BODY = { body: true }
const WITHOUT_BODY = { body: false }

/** GetObject: the whole object, a range of it, or one of its parts. */
export function getObject(context: S3Context, request: S3Request): Awaitable<S3Response> {
  return whenReady(findVersion(context, request, WITH_BODY), (found) =>
    'status' in found
      ? found
      : whenReady(selectBytes(context, request, found), (selection) =>
          sendContent(context, request, found, selection),
        ),
  )
}

/** HeadObject: as GetObject, without the content. */
export function headObject(context: S3Context, request: S3Request): Awaitable<S3Response> {
  return whenReady(findVersion(context, request, WITHOUT_BODY), (found) =>
    'status' in found
      ? found
      : whenReady(selectBytes(context, request, found), ({ status, range }) => {
          const { version, headers } = found
          checkKey(context, request, version, headers)
          headers['content-length'] = String(range.end - range.start)
          return { status, headers }
        }),
  )
}

function sendContent(
  context: S3Context,
  request: S3Request,
  { bucket, version, headers }: Found,
  { status, range: { start, end } }: Selection,
): Awaitable<S3Response> {
  const sealing = checkKey(context, request, version, headers)
  headers['content-length'] = String(end - start)
  const through = throughOf(version)
  if (through)
    return openThrough(context, bucket, through, { start, end }).then((body) => ({ status, headers, body }))
  return whenReady(sealing && openContent(context, version, sealing), (cipher) => {
    if (version.content.kind === 'inline' && version.body) {
      const plain = cipher ? cipher.open(version.body, 0) : version.body
      const whole = start === 0 && end === version.size
      return { status, headers, body: whole ? plain : plain.subarray(start, end) }
    }
    const options = { signal: () => request.signal, ...(cipher && { cipher }) }
    return { status, headers, body: context.model.blobs.read(version, start, end, options) }
  })
}

/** Finds the requested version and checks the conditions on it. */
function findVersion(
  context: S3Context,
  request: S3Request,
  options: { body: boolean },
): Awaitable<S3Response | Found> {
  const need = versionSelector(request) === undefined ? READ : READ_VERSION
  return whenReady(existingVersion(context, request, need, options), ({ bucket, version }) =>
    shown(context, request, bucket, version),
  )
}

const READ: Need = { permission: 'read', action: 's3:GetObject' }
const READ_VERSION: Need = { permission: 'read', action: 's3:GetObjectVersion' }

function shown(
  context: S3Context,
  request: S3Request,
  bucket: Bucket,
  version: VersionRecord,
): S3Response | Found {
  const conditions = readConditions((name) => request.header(name))
  const verdict = conditions
    ? checkConditions(conditions, {
        etag: etagOf(version).slice(1, -1),
        lastModifiedMs: lastModifiedMs(version),
      })
    : 'ok'
  const headers = versionHeaders(version, request, { showVersion: bucket.versioning !== 'off' })
  const expiration = request.query.has('versionId') ? undefined : expirationHeader(bucket, version)
  if (expiration !== undefined) headers['x-amz-expiration'] = expiration
  if (verdict === 'not-modified') {
    delete headers['content-type']
    // Without this, boto3 would verify a body that is not there.
    dropChecksums(headers)
    checkKey(context, request, version, headers)
    return { status: 304, headers }
  }
  if (verdict !== 'ok') throw preconditionFailed(verdict)
  overrideHeaders(headers, request)
  const through = throughOf(version)?.through
  if (through && through.tagCount > 0) headers['x-amz-tagging-count'] = String(through.tagCount)
  return { bucket, version, headers }
}

/** The data key of an encrypted version; an SSE-C key must have come with the request. Adds to `headers`. */
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

/** The bytes that the request asks for, with the status; adds the matching headers. */
function selectBytes(
  { model }: S3Context,
  request: S3Request,
  { version, headers }: Found,
): Awaitable<Selection> {
  const partNumber = request.query.get('partNumber')
  if (partNumber !== undefined) {
    if (request.header('range') !== undefined) {
      throw new S3Error('InvalidRequest', 'Cannot specify both Range header and partNumber query parameter')
    }
    return selectPart(model, partNumber, version, headers).then((range) => ({ status: 206, range }))
  }
  const range = requestedRange(rangeHeader(request, version), version.size)
  if (!range) return { status: 200, range: { start: 0, end: version.size } }
  // The stored checksum is of the whole object.
  if (range.start !== 0 || range.end !== version.size) dropChecksums(headers)
  return { status: 206, range: withRange(headers, range, version.size) }
}

/** The Range header; undefined, as if there were none, if the part that the client has is of another version. */
function rangeHeader(request: S3Request, version: VersionRecord): string | undefined {
  const range = request.header('range')
  const validator = range === undefined ? undefined : request.header('if-range')
  if (validator === undefined) return range
  const state = { etag: etagOf(version).slice(1, -1), lastModifiedMs: lastModifiedMs(version) }
  return ifRangeHolds(validator, state) ? range : undefined
}

/**
 * Selects a part: numbers count from 1 in the order of the completed object, whatever the numbers of the
 * uploads were.
 */
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

/** Answers 400, as s3-tests and Ceph expect; AWS answers 416 InvalidPartNumber. */
function noSuchPart(number: number): S3Error {
  return new S3Error('InvalidPart', 'The requested part number is not one of the object.', {
    extra: { PartNumber: number },
  })
}

/** Replaces the object's checksum by the part's own, if the client asked for checksums. */
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
