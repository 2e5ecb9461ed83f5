import { createHmac } from 'node:crypto'
import { isoDate } from '../../http/date.js'
import { Query } from '../../http/query.js'
import { invalidArgument, S3Error } from '../errors.js'
import { BUCKET_OPERATIONS, OBJECT_OPERATIONS } from '../operations.js'
import { refuseUnsignedOwn, type SignedParts } from './canonical.js'
import { checkSkew, requestDate, stringHeader } from './claim.js'

/**
 * Signature V2, which aws-cli v1, boto3 and s3cmd still make for presigned URLs: HMAC-SHA1, with the secret key itself,
 * of a text that holds neither body nor region. See "Signing and authenticating REST requests" of the Amazon S3 API
 * reference (in its appendix).
 */
export interface ClaimV2 {
  readonly keyId: string
  readonly signature: string
  readonly presigned: boolean
  readonly stringToSign: string
  /** The text that boto3 signs instead for a path that is only the name of a bucket. */
  readonly withSlash: string | undefined
  readonly sessionToken: string | undefined
}

/**
 * Query parameters that are signed: all that choose or change an operation, so that nobody can add one to a URL that was
 * signed without. Those of listings (prefix, marker ...) are not signed in V2.
 */
const SIGNED_PARAMETERS: ReadonlySet<string> = new Set([
  ...[...Object.values(BUCKET_OPERATIONS), ...Object.values(OBJECT_OPERATIONS)].flatMap((row) =>
    Object.keys(row).filter((name) => name !== '' && name !== 'list-type'),
  ),
  'partNumber',
  'versionId',
  'response-cache-control',
  'response-content-disposition',
  'response-content-encoding',
  'response-content-language',
  'response-content-type',
  'response-expires',
])

/** All but the tab, which headers may have. */
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/

/** The claim in `Authorization: AWS id:signature`. @throws S3Error */
export function headerClaimV2(
  parts: SignedParts,
  authorization: string,
  nowMs: number,
  bucketOfHost: string | undefined,
): ClaimV2 {
  const credential = authorization.slice('AWS '.length)
  const colon = credential.indexOf(':')
  if (colon < 1 || colon === credential.length - 1) {
    throw invalidArgument(
      'AWS authorization header is invalid. Expected AwsAccessKeyId:signature',
      'Authorization',
      authorization,
    )
  }
  checkSkew(requestDate(parts), nowMs)
  // x-amz-date is among the headers that are signed, and takes the place of Date.
  const date = parts.headers['x-amz-date'] === undefined ? (stringHeader(parts, 'date') ?? '') : ''
  return {
    keyId: credential.slice(0, colon),
    signature: credential.slice(colon + 1),
    presigned: false,
    ...stringsToSign(parts, date, undefined, bucketOfHost),
    sessionToken: stringHeader(parts, 'x-amz-security-token'),
  }
}

/** The claim of a URL with AWSAccessKeyId, Expires and Signature. @throws S3Error AccessDenied */
export function queryClaimV2(
  parts: SignedParts,
  query: Query,
  nowMs: number,
  bucketOfHost: string | undefined,
): ClaimV2 {
  const expires = query.get('Expires') ?? ''
  if (!/^\d{1,15}$/.test(expires)) {
    throw new S3Error(
      'AccessDenied',
      expires === ''
        ? 'Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters'
        : `Invalid date (should be seconds since epoch): ${expires}`,
    )
  }
  if (nowMs >= Number(expires) * 1000) {
    throw new S3Error('AccessDenied', 'Request has expired', {
      extra: { Expires: isoDate(Number(expires) * 1000), ServerTime: isoDate(nowMs) },
    })
  }
  return {
    keyId: query.get('AWSAccessKeyId')!,
    signature: query.get('Signature')!,
    presigned: true,
    ...stringsToSign(parts, expires, query, bucketOfHost),
    sessionToken: query.getIgnoreCase('x-amz-security-token') ?? stringHeader(parts, 'x-amz-security-token'),
  }
}

/** The signatures that the claim may have, in base64. */
export function signaturesV2Of({ stringToSign, withSlash }: ClaimV2, secret: string): string[] {
  const texts = withSlash === undefined ? [stringToSign] : [stringToSign, withSlash]
  return texts.map((text) => createHmac('sha1', secret).update(text, 'latin1').digest('base64'))
}

/** @param hoisted of a presigned URL: its query, which may stand for headers */
function stringsToSign(
  parts: SignedParts,
  date: string,
  hoisted: Query | undefined,
  bucketOfHost: string | undefined,
): Pick<ClaimV2, 'stringToSign' | 'withSlash'> {
  refuseUnsignedOwn(parts.headers)
  const own = (name: string) => stringHeader(parts, name) ?? bytes(hoisted?.getIgnoreCase(name) ?? '')
  const amz = [...amzHeaders(parts, hoisted)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}:${value}\n`)
  const resource = (bucketOfHost === undefined ? '' : `/${bucketOfHost}`) + parts.rawPath
  const head = `${parts.method}\n${own('content-md5')}\n${own('content-type')}\n${date}\n${amz.join('')}`
  const tail = subresources(parts.rawQuery)
  // The text is made of lines. A value that has line ends would stand for several headers, which nobody signed.
  if (
    CONTROL.test(
      [own('content-md5'), own('content-type'), tail, ...amz.map((line) => line.slice(0, -1))].join(''),
    )
  ) {
    throw new S3Error('InvalidRequest', 'What Signature V2 signs has control characters.')
  }
  const isBucket = bucketOfHost === undefined && parts.rawPath.lastIndexOf('/') === 0 && parts.rawPath !== '/'
  return {
    stringToSign: head + resource + tail,
    withSlash: isBucket ? `${head}${resource}/${tail}` : undefined,
  }
}

/** All `x-amz-*` headers of the request; with `hoisted`, also those that its query has instead. */
function amzHeaders(parts: SignedParts, hoisted: Query | undefined): Map<string, string> {
  const headers = new Map<string, string>()
  const { rawHeaders } = parts
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    if (!name.startsWith('x-amz-')) continue
    const value = rawHeaders[i + 1]!.replace(/\s+/g, ' ').trim()
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before},${value}`)
  }
  for (const [name, value] of hoisted?.pairs ?? []) {
    const lower = name.toLowerCase()
    // Header values are strings of bytes, those of the query are text.
    if (lower.startsWith('x-amz-') && !headers.has(lower)) headers.set(lower, bytes(value).trim())
  }
  return headers
}

/** The signed sub-resources as signers write them: with "=" where the request has one. */
function subresources(rawQuery: string): string {
  const signed: [name: string, text: string][] = []
  for (const part of rawQuery === '' ? [] : rawQuery.split('&')) {
    const [pair] = new Query(part).pairs
    if (pair === undefined || !SIGNED_PARAMETERS.has(pair[0])) continue
    signed.push([pair[0], part.includes('=') ? `${pair[0]}=${bytes(pair[1])}` : pair[0]])
  }
  if (signed.length === 0) return ''
  signed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return `?${signed.map(([, text]) => text).join('&')}`
}

/** Text as a string whose characters are the bytes of its UTF-8. */
function bytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}
