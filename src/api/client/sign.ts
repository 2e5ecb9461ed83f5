import { createHmac } from 'node:crypto'
import { canonicalHeaders, canonicalQuery, canonicalRequest } from '../s3/signature/canonical.js'
import { deriveSigningKey, sha256HexOfLatin1 } from '../s3/signature/keys.js'
import type { Headers } from './stream-call.js'

export interface Credentials {
  accessKeyId: string
  secret: string
}

export interface Unsigned {
  method: string
  /** Percent-encoded. */
  path: string
  /** Percent-encoded, without `?`. */
  query: string
  /** Lower-case names; `host` is among them. */
  headers: Headers
}

/** What the body of an object is signed as: its MD5 or the ETag of the answer prove it. */
const UNSIGNED = 'UNSIGNED-PAYLOAD'

/**
 * The headers of a request with its signature (Signature V4), by the canonical form that the S3 API verifies.
 * @param nowMs ms since the epoch
 * @param bodyHash SHA-256 in hex, for a body that is signed
 */
export function signed(
  request: Unsigned,
  { accessKeyId, secret }: Credentials,
  region: string,
  nowMs: number,
  service: 's3' | 'k2v' = 's3',
  bodyHash = UNSIGNED,
): Record<string, string> {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d{3}/g, '')
  const headers: Record<string, string> = {
    ...request.headers,
    'x-amz-date': stamp,
    'x-amz-content-sha256': bodyHash,
  }
  const names = Object.keys(headers).filter((name) => name !== 'content-length')
  names.sort()
  const list = names.join(';')
  const { method, path, query } = request
  const rawHeaders = Object.entries(headers).flat()
  const parts = { method, rawPath: path, rawQuery: query, headers, rawHeaders }
  const signedLines = canonicalHeaders(parts, names)
  const canonical = canonicalRequest(method, path, canonicalQuery(query), signedLines, list, bodyHash)
  const date = stamp.slice(0, 8)
  const scope = `${date}/${region}/${service}/aws4_request`
  const text = `AWS4-HMAC-SHA256\n${stamp}\n${scope}\n${sha256HexOfLatin1(canonical)}`
  const signature = createHmac('sha256', deriveSigningKey(secret, date, region, service))
    .update(text)
    .digest('hex')
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${list}, Signature=${signature}`
  return headers
}
