import { S3Error } from './errors.js'
import { isUnknownHeader } from './known-headers.js'
import type { S3Operation } from './operations.js'
import type { S3Request } from './request.js'

/** Largest body of one PutObject or UploadPart: 5 GiB. */
export const UPLOAD_BYTES_MAX = 5 * 1024 ** 3

/**
 * Refuses requests that no handler should see: uploads without a length or too long, contradicting headers
 * about the body, a query that cannot be decoded.
 * @throws S3Error
 */
export function screen(request: S3Request): void {
  const { operation } = request
  if (request.rawQuery !== '' && request.query.malformed) throw new S3Error('InvalidURI')
  if (request.auth.kind === 'key' && request.auth.presigned) {
    for (const [name] of request.query.pairs) refuseUnknown(name.toLowerCase())
  }
  refuseForeignConditions(request)
  if (operation === 'PutObject' || operation === 'UploadPart') {
    const { payload } = request
    if (!payload.hasLength) throw new S3Error('MissingContentLength')
    if (payload.contentLength! > UPLOAD_BYTES_MAX) {
      throw new S3Error('EntityTooLarge', undefined, {
        extra: { ProposedSize: payload.contentLength, MaxSizeAllowed: UPLOAD_BYTES_MAX },
      })
    }
  }
}

/** Conditions that only some operations know: others must not ignore them. */
const CONDITIONS_OF: readonly (readonly [header: string, S3Operation])[] = [
  ['x-amz-if-match-last-modified-time', 'DeleteObject'],
  ['x-amz-if-match-size', 'DeleteObject'],
  ['x-amz-if-match-initiated-time', 'AbortMultipartUpload'],
]

/** @throws S3Error NotImplemented */
function refuseForeignConditions({ headers, operation }: S3Request): void {
  for (const [name, of] of CONDITIONS_OF) {
    if (headers[name] === undefined || of === operation) continue
    throw new S3Error('NotImplemented', undefined, { extra: { Header: name } })
  }
}

/**
 * Refuses headers that no request should have, before anything is looked at: a second Host, by which somebody before
 * this node may have decided otherwise, and x-amz-* headers that nothing here knows.
 * @throws S3Error BadRequest, NotImplemented
 */
export function screenHeaders({ headers, rawHeaders }: S3Request): void {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++
  }
  if (hosts > 1) throw new S3Error('BadRequest', 'The request has more than one Host header.')
  for (const name in headers) refuseUnknown(name)
}

/** The same for parameters of presigned URLs and fields of forms that stand for headers. @throws S3Error NotImplemented */
export function refuseUnknown(lowerName: string): void {
  if (lowerName.charCodeAt(0) !== 120 || !isUnknownHeader(lowerName)) return // 120: x
  throw new S3Error('NotImplemented', undefined, { extra: { Header: lowerName.slice(0, 100) } })
}
