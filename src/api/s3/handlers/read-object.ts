import type { VersionSelector } from '../../../model/objects.js'
import type { VersionRecord } from '../../../model/version-record.js'
import { authorize } from '../access.js'
import { checkConditions, preconditionFailed, readConditions } from '../conditions.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import { etagOf, lastModifiedMs, overrideHeaders, versionHeaders, versionIdText } from '../object-headers.js'
import { type ByteRange, parseRange } from '../range.js'
import type { S3Request, S3Response } from '../request.js'

/** GetObject: the whole object, a range of it, or one of its parts. */
export async function getObject(context: S3Context, request: S3Request): Promise<S3Response> {
  const found = await findVersion(context, request, { body: true })
  if ('status' in found) return found
  const { version, headers } = found
  const selection = await selectBytes(context, request, version, headers)
  const { start, end } = selection.range
  headers['content-length'] = String(end - start)
  const { status } = selection
  if (version.content.kind === 'inline' && version.body) {
    const whole = start === 0 && end === version.size
    return { status, headers, body: whole ? version.body : version.body.subarray(start, end) }
  }
  return { status, headers, body: context.model.blobs.read(version, start, end, { signal: request.signal }) }
}

/** HeadObject: as GetObject, without the content. */
export async function headObject(context: S3Context, request: S3Request): Promise<S3Response> {
  const found = await findVersion(context, request, { body: false })
  if ('status' in found) return found
  const { version, headers } = found
  const { range, status } = await selectBytes(context, request, version, headers)
  headers['content-length'] = String(range.end - range.start)
  return { status, headers }
}

/** Looks up what the request names and checks its conditions. */
async function findVersion(
  { model }: S3Context,
  request: S3Request,
  options: { body: boolean },
): Promise<S3Response | { version: VersionRecord; headers: Record<string, string> }> {
  const selector = versionSelector(request)
  const action = selector === undefined ? 's3:GetObject' : 's3:GetObjectVersion'
  const { bucket, version: decided } = await authorize(model, request, { permission: 'read', action })
  const version =
    decided ?? (await model.objects.get(bucket.id, Buffer.from(request.key!), selector, options))
  if (!version) throw notFound(request, selector)
  if (version.state === 'marker') throw deleteMarker(request, version, selector)
  const verdict = checkConditions(
    readConditions((name) => request.header(name)),
    {
      etag: etagOf(version).slice(1, -1),
      lastModifiedMs: lastModifiedMs(version),
    },
  )
  const headers = versionHeaders(version, request, { showVersion: bucket.versioning !== 'off' })
  if (verdict === 'not-modified') {
    delete headers['content-type']
    return { status: 304, headers }
  }
  if (verdict !== 'ok') throw preconditionFailed(verdict)
  overrideHeaders(headers, request)
  return { version, headers }
}

/** Which bytes the request asks for, and the status and headers that say so. */
async function selectBytes(
  { model }: S3Context,
  request: S3Request,
  version: VersionRecord,
  headers: Record<string, string>,
): Promise<{ status: number; range: ByteRange }> {
  const whole = { start: 0, end: version.size }
  const partNumber = request.query.get('partNumber')
  let range: ByteRange | undefined
  if (partNumber !== undefined) {
    if (request.header('range') !== undefined) {
      throw new S3Error('InvalidRequest', 'Cannot specify both Range header and partNumber query parameter')
    }
    const number = Number(partNumber)
    if (!Number.isInteger(number) || number < 1 || number > 10_000) {
      throw new S3Error('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive')
    }
    const parts = await model.blobs.partsOf(version)
    if (parts.length === 0) {
      if (number !== 1) throw new S3Error('InvalidPartNumber')
      return { status: 206, range: withRange(headers, whole, version.size) }
    }
    headers['x-amz-mp-parts-count'] = String(parts.length)
    // Parts count from 1 in the order in which they were put together, whatever numbers they were uploaded under.
    if (number > parts.length) throw new S3Error('InvalidPartNumber')
    const start = parts.slice(0, number - 1).reduce((sum, part) => sum + part.size, 0)
    range = { start, end: start + parts[number - 1]!.size }
  } else {
    range = parseRange(request.header('range'), version.size)
  }
  if (!range) return { status: 200, range: whole }
  // The stored checksum is of the whole object.
  if (range.start !== 0 || range.end !== version.size) dropChecksums(headers)
  return { status: 206, range: withRange(headers, range, version.size) }
}

function withRange(headers: Record<string, string>, range: ByteRange, size: number): ByteRange {
  if (size > 0) headers['content-range'] = `bytes ${range.start}-${range.end - 1}/${size}`
  return range
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
function deleteMarker(request: S3Request, version: VersionRecord, selector: VersionSelector): S3Error {
  const headers = { 'x-amz-delete-marker': 'true', 'x-amz-version-id': versionIdText(version) }
  if (selector === undefined)
    return new S3Error('NoSuchKey', undefined, { extra: { Key: request.key }, headers })
  return new S3Error('MethodNotAllowed', undefined, { headers: { ...headers, allow: 'DELETE' } })
}
