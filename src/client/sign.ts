/**
 * Signature V4 in browsers and in Node, for the console and for the K2V client. Not by Web Crypto, which browsers lack on
 * pages that came by plain HTTP from another address than localhost.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

export interface Credentials {
  readonly accessKeyId: string
  readonly secret: string
  /** Of temporary credentials. */
  readonly sessionToken?: string
}

export interface Signed {
  readonly method: string
  readonly host: string
  /** Percent-encoded. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly region: string
  /** s3 unless told. Other services sign a path whose escapes are escaped once more, as AWS has it. */
  readonly service?: 's3' | 'k2v'
  /** The hash of the body, in lower-case hex; the body is not signed unless told. */
  readonly bodyHash?: string
  readonly now: Date
}

const UNSIGNED = 'UNSIGNED-PAYLOAD'

/** Percent-encodes as RFC 3986 says; slashes too. */
export function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** The path of a key in a bucket; slashes of the key stay. */
export function objectPath(bucket: string, key = ''): string {
  return `/${encode(bucket)}${key === '' ? '' : `/${key.split('/').map(encode).join('/')}`}`
}

export function queryText(query: Readonly<Record<string, string>> = {}): string {
  return Object.entries(query)
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

/** The headers of a signed request, without Host. */
export function signHeaders(
  request: Signed,
  { accessKeyId, secret, sessionToken }: Credentials,
): Record<string, string> {
  const { service = 's3', bodyHash = UNSIGNED } = request
  const stamp = stampOf(request.now)
  const headers: Record<string, string> = {
    ...Object.fromEntries(
      Object.entries(request.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
    ),
    'x-amz-date': stamp,
    'x-amz-content-sha256': bodyHash,
    ...(sessionToken !== undefined && { 'x-amz-security-token': sessionToken }),
  }
  const all = { ...headers, host: request.host }
  const names = Object.keys(all).sort()
  const canonical = [
    ...[request.method, service === 's3' ? request.path : request.path.split('/').map(encode).join('/')],
    queryText(request.query),
    ...names.map((name) => `${name}:${(all as Record<string, string>)[name]!.trim().replace(/ +/g, ' ')}`),
    ...['', names.join(';'), bodyHash],
  ].join('\n')
  const scope = `${stamp.slice(0, 8)}/${request.region}/${service}/aws4_request`
  const signature = signatureOf(canonical, stamp, scope, secret)
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`
  return headers
}

/** A link that others can follow without a key, for that many seconds. `endpoint` is the address of the S3 API. */
export function presign(
  endpoint: string,
  { path, region, now, method, query: given }: Pick<Signed, 'path' | 'region' | 'now' | 'method' | 'query'>,
  { accessKeyId, secret, sessionToken }: Credentials,
  seconds: number,
): string {
  const { host } = new URL(endpoint)
  const stamp = stampOf(now)
  const scope = `${stamp.slice(0, 8)}/${region}/s3/aws4_request`
  const query = queryText({
    ...given,
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${accessKeyId}/${scope}`,
    'X-Amz-Date': stamp,
    'X-Amz-Expires': String(seconds),
    ...(sessionToken !== undefined && { 'X-Amz-Security-Token': sessionToken }),
    'X-Amz-SignedHeaders': 'host',
  })
  const canonical = [method, path, query, `host:${host}`, '', 'host', UNSIGNED].join('\n')
  return `${endpoint.replace(/\/$/, '')}${path}?${query}&X-Amz-Signature=${signatureOf(canonical, stamp, scope, secret)}`
}

/** The SHA-256 of a body, as `bodyHash` has it. */
export function hashOf(body: Uint8Array): string {
  return bytesToHex(sha256(body))
}

function signatureOf(canonical: string, stamp: string, scope: string, secret: string): string {
  const text = ['AWS4-HMAC-SHA256', stamp, scope, bytesToHex(sha256(utf8ToBytes(canonical)))].join('\n')
  const key = scope
    .split('/')
    .reduce((key, part) => hmac(sha256, key, utf8ToBytes(part)), utf8ToBytes(`AWS4${secret}`))
  return bytesToHex(hmac(sha256, key, utf8ToBytes(text)))
}

function stampOf(now: Date): string {
  return now.toISOString().replace(/[-:]|\.\d{3}/g, '')
}
