import { amzDate as formatAmzDate, isoDate, parseAmzDate, parseHttpDate } from '../../http/date.js'
import type { Query } from '../../http/query.js'
import { escapeXml } from '../../xml/writer.js'
import { invalidArgument, S3Error } from '../errors.js'
import { checkAllSigned, parseSignedHeaders, SIGNED_HEADERS_MAX, type SignedParts } from './canonical.js'

export const ALGORITHM = 'AWS4-HMAC-SHA256'
const SKEW_MAX_MS = 15 * 60 * 1000
const EXPIRES_MAX_S = 7 * 24 * 3600
const LIST_RULE = `is not valid: it has names in lower case, each once, and ${SIGNED_HEADERS_MAX} at the most.`
/** Longest signed text in an answer, in characters of XML. */
const SHOWN_MAX = 16 * 1024

/** The service and region that a credential's scope must name. */
export interface Endpoint {
  /** The service of the credential scope: 's3', or 'k2v'. */
  readonly service: string
  /** The configured region; us-east-1 is accepted beside it. */
  readonly region: string
}

/** A request's signature as parsed, before the secret is known. */
export interface Claim {
  readonly credential: string
  readonly keyId: string
  readonly date: string
  readonly region: string
  readonly scope: string
  readonly amzDate: string
  readonly signedHeaders: string
  readonly names: readonly string[]
  readonly signature: string
  readonly presigned: boolean
  readonly payloadHash: string
  readonly sessionToken: string | undefined
}

/** The parts of an Authorization header other than the signature, with the credential taken apart. */
export interface SignedScope {
  readonly credential: string
  readonly keyId: string
  readonly date: string
  readonly region: string
  readonly scope: string
  readonly signedHeaders: string
  readonly names: readonly string[]
}

const SIGNATURE_CHARACTERS = 64
const KEPT_MAX = 1024
const KEPT_CHARACTERS_MAX = 1024

/**
 * Reads Authorization headers of one endpoint. The part before the signature is the same in all requests of a
 * client within a day, so its parsed form is kept.
 */
export class AuthorizationReader {
  readonly #kept = new Map<string, SignedScope>()

  constructor(private readonly endpoint: Endpoint) {}

  /** @throws S3Error */
  read(authorization: string): { signed: SignedScope; signature: string } {
    const start = authorization.slice(0, -SIGNATURE_CHARACTERS)
    const kept = this.#kept.get(start)
    if (kept !== undefined) return { signed: kept, signature: authorization.slice(-SIGNATURE_CHARACTERS) }
    if (!authorization.startsWith(`${ALGORITHM} `)) throw unsupportedAuthorization(authorization)
    const { credential, signedHeaders, signature } = parseAuthorization(authorization)
    const scope = parseCredential(credential, this.endpoint, 'AuthorizationHeaderMalformed')
    const names = parseSignedHeaders(signedHeaders)
    if (!names) throw malformedHeader(`The authorization header is malformed; SignedHeaders ${LIST_RULE}`)
    const signed = { credential, ...scope, signedHeaders, names }
    if (
      signature.length === SIGNATURE_CHARACTERS &&
      authorization.endsWith(`Signature=${signature}`) &&
      authorization.length <= KEPT_CHARACTERS_MAX
    ) {
      if (this.#kept.size >= KEPT_MAX) this.#kept.clear()
      this.#kept.set(start, signed)
    }
    return { signed, signature }
  }
}

/** The claim in an Authorization header. @throws S3Error */
export function headerClaim(
  parts: SignedParts,
  authorization: string,
  nowMs: number,
  reader: AuthorizationReader,
): Claim {
  const { signed, signature } = reader.read(authorization)
  const amzDate = requestDate(parts)
  checkSkew(amzDate, nowMs)
  if (!amzDate.startsWith(signed.date)) {
    throw malformedHeader(
      `Invalid credential date "${signed.date}". This date is not the same as X-Amz-Date: "${amzDate.slice(0, 8)}".`,
    )
  }
  const payloadHash = parts.headers['x-amz-content-sha256']
  if (typeof payloadHash !== 'string' || payloadHash === '') {
    throw new S3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256')
  }
  checkAllSigned(signed.names, parts.rawHeaders)
  return {
    credential: signed.credential,
    keyId: signed.keyId,
    date: signed.date,
    region: signed.region,
    scope: signed.scope,
    amzDate,
    signedHeaders: signed.signedHeaders,
    names: signed.names,
    signature,
    presigned: false,
    payloadHash,
    sessionToken: stringHeader(parts, 'x-amz-security-token'),
  }
}

/** The claim in a presigned URL's query. @throws S3Error */
export function queryClaim(parts: SignedParts, query: Query, nowMs: number, endpoint: Endpoint): Claim {
  const need = (name: string) => {
    const value = query.get(name)
    if (value !== undefined && value !== '') return value
    throw malformedQuery(
      'Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.',
    )
  }
  const algorithm = need('X-Amz-Algorithm')
  if (algorithm === 'AWS4-ECDSA-P256-SHA256') throw signatureV4a()
  if (algorithm !== ALGORITHM) throw malformedQuery('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
  const credential = need('X-Amz-Credential')
  const signature = need('X-Amz-Signature')
  const amzDate = need('X-Amz-Date')
  const signedHeaders = need('X-Amz-SignedHeaders')
  const expires = need('X-Amz-Expires')
  const scope = parseCredential(credential, endpoint, 'AuthorizationQueryParametersError')
  const dateMs = parseAmzDate(amzDate)
  if (dateMs === undefined) {
    throw malformedQuery("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
  }
  if (!amzDate.startsWith(scope.date)) {
    throw malformedQuery(`Invalid credential date "${scope.date}". It is not that of X-Amz-Date.`)
  }
  checkExpiry(expires, dateMs, nowMs)
  const names = parseSignedHeaders(signedHeaders)
  if (!names) throw malformedQuery(`X-Amz-SignedHeaders ${LIST_RULE}`)
  checkAllSigned(names, parts.rawHeaders)
  const inHeader = parts.headers['x-amz-content-sha256']
  return {
    keyId: scope.keyId,
    date: scope.date,
    region: scope.region,
    scope: scope.scope,
    credential,
    amzDate,
    signedHeaders,
    names,
    signature,
    presigned: true,
    payloadHash:
      query.get('X-Amz-Content-Sha256') ?? (typeof inHeader === 'string' ? inHeader : 'UNSIGNED-PAYLOAD'),
    sessionToken: query.get('X-Amz-Security-Token') ?? stringHeader(parts, 'x-amz-security-token'),
  }
}

/** Takes a credential apart and checks its scope. @throws S3Error with `code` */
export function parseCredential(
  credential: string,
  endpoint: Endpoint,
  code: 'AuthorizationHeaderMalformed' | 'AuthorizationQueryParametersError',
) {
  const end = credential.lastIndexOf('/')
  const serviceAt = credential.lastIndexOf('/', end - 1)
  const regionAt = credential.lastIndexOf('/', serviceAt - 1)
  const dateAt = credential.lastIndexOf('/', regionAt - 1)
  const bad = (what: string, extra?: Record<string, string>) =>
    new S3Error(
      code,
      code === 'AuthorizationHeaderMalformed'
        ? `The authorization header is malformed; ${what}`
        : `Error parsing the X-Amz-Credential parameter; ${what}`,
      extra && { extra },
    )
  if (end < 1 || serviceAt < 1 || regionAt < 1 || dateAt < 1) {
    throw bad(`the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
  }
  const date = credential.slice(dateAt + 1, regionAt)
  const region = credential.slice(regionAt + 1, serviceAt)
  const service = credential.slice(serviceAt + 1, end)
  const terminator = credential.slice(end + 1)
  if (terminator !== 'aws4_request') {
    throw bad(`incorrect terminal "${terminator}". This endpoint uses "aws4_request".`)
  }
  if (service !== endpoint.service) {
    throw bad(`incorrect service "${service}". This endpoint belongs to "${endpoint.service}".`)
  }
  if (region !== endpoint.region && region !== 'us-east-1') {
    throw bad(`the region '${region}' is wrong; expecting '${endpoint.region}'`, {
      Region: endpoint.region,
    })
  }
  if (date.length !== 8)
    throw bad(`incorrect date format "${date}". The date must be in the format "yyyyMMdd".`)
  return { keyId: credential.slice(0, dateAt), date, region, scope: credential.slice(dateAt + 1) }
}

function parseAuthorization(header: string): {
  credential: string
  signedHeaders: string
  signature: string
} {
  let credential: string | undefined
  let signedHeaders: string | undefined
  let signature: string | undefined
  for (let at = ALGORITHM.length + 1; at < header.length; ) {
    let end = header.indexOf(',', at)
    if (end < 0) end = header.length
    const equals = header.indexOf('=', at)
    if (equals < 0 || equals > end) throw malformedHeader('The authorization header is malformed.')
    const name = header.slice(at, equals).trim()
    const value = header.slice(equals + 1, end).trim()
    if (name === 'Credential') credential = value
    else if (name === 'SignedHeaders') signedHeaders = value
    else if (name === 'Signature') signature = value
    at = end + 1
  }
  if (!credential) throw malformedHeader('The authorization header is malformed; missing Credential.')
  if (!signedHeaders) throw malformedHeader('The authorization header is malformed; missing SignedHeaders.')
  if (!signature) throw malformedHeader('The authorization header is malformed; missing Signature.')
  return { credential, signedHeaders, signature }
}

/** @throws S3Error RequestTimeTooSkewed */
export function checkSkew(amzDate: string, nowMs: number): void {
  const dateMs = parseAmzDate(amzDate)!
  if (Math.abs(dateMs - nowMs) > SKEW_MAX_MS) {
    throw new S3Error('RequestTimeTooSkewed', undefined, {
      extra: {
        RequestTime: amzDate,
        ServerTime: isoDate(nowMs),
        MaxAllowedSkewMilliseconds: SKEW_MAX_MS,
      },
    })
  }
}

/** The request's time as `20260131T120000Z`, from x-amz-date, else Date; either may be in either format. */
export function requestDate(parts: SignedParts): string {
  const own = stringHeader(parts, 'x-amz-date') ?? parts.headers.date
  if (own !== undefined) {
    if (parseAmzDate(own) !== undefined) return own
    const ms = parseHttpDate(own)
    if (ms !== undefined && ms >= 0) return formatAmzDate(ms)
  }
  throw new S3Error('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header')
}

function checkExpiry(text: string, dateMs: number, nowMs: number): void {
  // ceph/s3-tests and older clients expect 403 here, though the code is AWS's.
  const refuse = (message: string) =>
    new S3Error('AuthorizationQueryParametersError', message, { status: 403 })
  const expiresS = Number(text)
  if (!/^-?\d{1,15}$/.test(text)) throw refuse('X-Amz-Expires should be a number')
  if (expiresS < 0) throw refuse('X-Amz-Expires must be non-negative')
  if (expiresS > EXPIRES_MAX_S) {
    throw refuse(
      'X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds',
    )
  }
  if (dateMs > nowMs + SKEW_MAX_MS) {
    throw new S3Error('AccessDenied', 'Request is not valid yet', {
      extra: { 'X-Amz-Date': isoDate(dateMs), ServerTime: isoDate(nowMs) },
    })
  }
  if (nowMs >= dateMs + expiresS * 1000) {
    throw new S3Error('AccessDenied', 'Request has expired', {
      extra: {
        'X-Amz-Expires': expiresS,
        Expires: isoDate(dateMs + expiresS * 1000),
        ServerTime: isoDate(nowMs),
      },
    })
  }
}

export function stringHeader(parts: SignedParts, name: string): string | undefined {
  const value = parts.headers[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

function unsupportedAuthorization(header: string): S3Error {
  if (header.startsWith('AWS4-ECDSA-P256-SHA256')) return signatureV4a()
  if (header.startsWith('AWS ') && header.includes(':')) return signatureV2()
  if (header.startsWith(ALGORITHM)) return malformedHeader('The authorization header is malformed.')
  return invalidArgument('Unsupported Authorization Type', 'Authorization', header)
}

export const signatureV2 = () =>
  new S3Error(
    'InvalidRequest',
    'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.',
  )
export const signatureV4a = () =>
  new S3Error(
    'NotImplemented',
    'Signature V4A (AWS4-ECDSA-P256-SHA256) is not supported. Please use AWS4-HMAC-SHA256.',
  )
const malformedHeader = (message: string) => new S3Error('AuthorizationHeaderMalformed', message)
const malformedQuery = (message: string) => new S3Error('AuthorizationQueryParametersError', message)
export const unknownKey = (keyId: string) =>
  new S3Error('InvalidAccessKeyId', undefined, { extra: { AWSAccessKeyId: keyId } })
/** @param stringToSign is shown, as `request` is, unless it is long: the answer must not be many times the request */
export const mismatch = (keyId: string, stringToSign: string, signature: string, request?: string) =>
  new S3Error('SignatureDoesNotMatch', undefined, {
    extra: {
      AWSAccessKeyId: keyId,
      StringToSign: shown(stringToSign),
      SignatureProvided: signature,
      CanonicalRequest: shown(request),
    },
  })

function shown(text: string | undefined): string | undefined {
  if (text === undefined || text.length > SHOWN_MAX) return undefined
  return escapeXml(text).length > SHOWN_MAX ? undefined : text
}
