import type { IncomingHttpHeaders } from 'node:http'
import { recode } from '../../http/uri.js'
import { S3Error } from '../errors.js'

/** The signed parts of a request. Strings are as node:http gives them: their characters are bytes. */
export interface SignedParts {
  readonly method: string
  /** Path of the request target as sent, without the query. */
  readonly rawPath: string
  /** Query of the request target as sent, without `?`. */
  readonly rawQuery: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
}

const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]+$/
/** The largest number of signed headers. More do not fit into the head of a request together with their list. */
export const SIGNED_HEADERS_MAX = 500
const LISTS_MAX = 512
const lists = new Map<string, readonly string[] | undefined>()

/**
 * The names of a SignedHeaders list; undefined when one is no lower-case header name or is there twice, or when there are more
 * than SIGNED_HEADERS_MAX. Clients send the same lists again and again, so the short ones are kept.
 */
export function parseSignedHeaders(text: string): readonly string[] | undefined {
  const known = lists.get(text)
  if (known !== undefined) return known
  const names = text.split(';')
  // A name that stood in the list a thousand times would bring its header's value into the signed text as often.
  if (names.length > SIGNED_HEADERS_MAX || new Set(names).size < names.length) return undefined
  if (!names.every((name) => HEADER_NAME.test(name))) return undefined
  if (lists.size >= LISTS_MAX) lists.clear()
  if (text.length <= 1024) lists.set(text, names)
  return names
}

/**
 * Refuses headers that change a request's meaning but are not signed: `host`, all `x-amz-*` and `x-carport-*`. Signers that
 * hash a presigned request's body may leave `x-amz-content-sha256` out of the list, because its value is in
 * the signed text anyway.
 * @throws S3Error AccessDenied, naming them
 */
export function checkAllSigned(names: readonly string[], rawHeaders: readonly string[]): void {
  let missing = names.includes('host') ? '' : 'host'
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    if ((name.charCodeAt(0) | 32) !== 120) continue
    const lower = name.toLowerCase()
    if (!lower.startsWith('x-amz-') && !lower.startsWith(OWN)) continue
    if (names.includes(lower) || lower === 'x-amz-content-sha256') continue
    missing += missing === '' ? lower : `, ${lower}`
  }
  if (missing !== '') {
    throw new S3Error('AccessDenied', 'There were headers present in the request which were not signed', {
      extra: { HeadersNotSigned: missing },
    })
  }
}

/** How the names of headers begin that this store has beside S3's. */
const OWN = 'x-carport-'

/** Signature V2 covers x-amz-* alone. @throws S3Error AccessDenied */
export function refuseUnsignedOwn(headers: IncomingHttpHeaders): void {
  for (const name in headers) {
    if (!name.startsWith(OWN)) continue
    throw new S3Error('AccessDenied', 'There were headers present in the request which were not signed', {
      extra: { HeadersNotSigned: name },
    })
  }
}

const RUNS = /[ \t]+/g

function fold(value: string): string {
  if (value.includes('  ') || value.includes('\t')) value = value.replace(RUNS, ' ')
  return value.charCodeAt(0) === 32 || value.charCodeAt(value.length - 1) === 32 ? value.trim() : value
}

/** The lines of the signed headers, made in one walk over the request's headers at the most. */
export function canonicalHeaders(parts: SignedParts, names: readonly string[]): string {
  let joined: ReadonlyMap<string, string> | undefined
  let lines = ''
  for (const name of names) {
    const value = Object.hasOwn(parts.headers, name) ? parts.headers[name] : ''
    // node:http joins repeated headers with ', ', Signature V4 with ',': a comma may stand for a repetition.
    if (typeof value === 'string' && !value.includes(',') && name !== 'cookie') {
      lines += `${name}:${fold(value)}\n`
    } else {
      joined ??= joinedValues(parts.rawHeaders)
      lines += `${name}:${joined.get(name) ?? ''}\n`
    }
  }
  return lines
}

/** The values of all headers by their lower-case names; those of repeated headers are joined with ','. */
function joinedValues(rawHeaders: readonly string[]): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    const value = fold(rawHeaders[i + 1]!)
    const before = values.get(name)
    values.set(name, before === undefined ? value : `${before},${value}`)
  }
  return values
}

function compareParts(a: string, b: string): number {
  // By name, then by value. '=' must sort before every other character that a canonical name may contain.
  const [nameA, nameB] = [a.slice(0, a.indexOf('=')), b.slice(0, b.indexOf('='))]
  if (nameA !== nameB) return nameA < nameB ? -1 : 1
  return a < b ? -1 : a > b ? 1 : 0
}

/** The canonical query string: every name and value encoded once, sorted, without `omit`. */
export function canonicalQuery(rawQuery: string, omit?: string): string {
  if (rawQuery === '') return ''
  const parts: string[] = []
  for (const part of rawQuery.split('&')) {
    if (part === '') continue
    const equals = part.indexOf('=')
    const name = recode(equals < 0 ? part : part.slice(0, equals), false, true)
    if (name === omit) continue
    parts.push(equals < 0 ? `${name}=` : `${name}=${recode(part.slice(equals + 1), false, true)}`)
  }
  if (parts.length > 1) parts.sort(compareParts)
  return parts.join('&')
}

/**
 * The canonical request of Signature V4. `path` is encoded already; S3 encodes once and normalizes nothing.
 * @param headers as canonicalHeaders makes them
 */
export function canonicalRequest(
  method: string,
  path: string,
  query: string,
  headers: string,
  signedHeaders: string,
  payloadHash: string,
): string {
  return `${method}\n${path}\n${query}\n${headers}\n${signedHeaders}\n${payloadHash}`
}
