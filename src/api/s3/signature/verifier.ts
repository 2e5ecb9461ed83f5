import { createHmac } from 'node:crypto'
import { parseAmzDate } from '../../http/date.js'
import { Query } from '../../http/query.js'
import { recode } from '../../http/uri.js'
import type { ConditionValues } from '../access/policy/conditions.js'
import { invalidArgument, S3Error } from '../errors.js'
import { canonicalHeaders, canonicalQuery, canonicalRequest, type SignedParts } from './canonical.js'
import {
  ALGORITHM,
  AuthorizationReader,
  type Claim,
  type Endpoint,
  headerClaim,
  mismatch,
  parseCredential,
  queryClaim,
  signatureV2,
  signatureV4a,
  stringHeader,
  unknownKey,
} from './claim.js'
import { equalConstantTime, type HmacKey, SigningKeyCache, sha256HexOfLatin1 } from './keys.js'
import { type ClaimV2, headerClaimV2, queryClaimV2, signaturesV2Of } from './v2.js'

export type { SignedParts } from './canonical.js'

/** The forms of `x-amz-content-sha256`: how the signature covers the body. */
export type PayloadKind =
  | 'sha256' // the body's SHA-256
  | 'unsigned'
  | 'signed-chunks' // aws-chunked, a signature per chunk
  | 'signed-chunks-trailer'
  | 'unsigned-chunks-trailer'

/** The signature with which the chain of signed chunks begins. */
export interface SeedSignature {
  readonly signature: string
  readonly amzDate: string
  /** `date/region/service/aws4_request` */
  readonly scope: string
  readonly key: HmacKey
}

/** Temporary credentials as a verified request has them. */
export interface AuthSession {
  /** The access key whose permissions the session has. */
  readonly parentKeyId: string
  /** Text of the policy that narrows these permissions. */
  readonly policy?: string
  /** The same policy, compiled. @throws S3Error AccessDenied if this version cannot read it */
  limits(): SessionLimits | undefined
}

/** The actions that a session's own policy allows. */
export interface SessionLimits {
  /** @param question.resources ARNs of what the action is about, one for each name that the bucket has */
  allows(question: { action: string; resources: readonly string[]; values: ConditionValues }): boolean
  /** Whether the answer for an action depends on the condition keys that begin with `prefix`, in lower case. */
  asksFor(action: string, prefix: string): boolean
}

export interface KeyAuth {
  readonly kind: 'key'
  /** The access key whose permissions count; of temporary credentials, the one behind them. */
  readonly keyId: string
  /** Whether the signature is in the query. */
  readonly presigned: boolean
  readonly payloadKind: PayloadKind
  /** Lower-case hex; of payload kind sha256 only. */
  readonly payloadSha256: string | undefined
  /** Undefined for forms, whose body has no chunks. */
  readonly seed: SeedSignature | undefined
  /** Present for temporary credentials. */
  readonly session: AuthSession | undefined
  /** Set if the request is signed by Signature V2. */
  readonly isV2?: true
}

/** A request without any signature. The bucket policy decides whether it is allowed. */
export interface AnonymousAuth {
  readonly kind: 'anonymous'
}

export type Auth = KeyAuth | AnonymousAuth

export const ANONYMOUS: AnonymousAuth = { kind: 'anonymous' }

/** The session and secret key of temporary credentials. */
export interface SecretOfSession {
  readonly secret: string
  readonly session: AuthSession
}

/** The secret with which a request must be signed; undefined when there is no such key. */
export type KeySecret = string | SecretOfSession | undefined

/**
 * The secret of an access key, at once when it is known locally.
 * @throws S3Error InvalidToken, ExpiredToken
 */
export type SecretLookup = (keyId: string, sessionToken: string | undefined) => KeySecret | Promise<KeySecret>

export interface SignatureOptions extends Endpoint {
  secretOf: SecretLookup
  /** The bucket that a Host header names. With it, Signature V2 is accepted as well. */
  bucketOfHost?: (host: string | undefined) => string | undefined
  /** Whether Signature V2 is accepted, of forms too; unless told, it is. */
  acceptV2?: boolean
}

/** Verifies Signature V4 (and V2) of requests, by header and presigned, and of POST policies. */
export class SignatureVerifier {
  readonly #keys = new SigningKeyCache()
  readonly #authorizations: AuthorizationReader

  constructor(private readonly options: SignatureOptions) {
    this.#authorizations = new AuthorizationReader(options)
  }

  /**
   * Verifies a request and returns its sender; at once when the secret is known locally.
   * @param nowMs wall clock
   * @throws S3Error (or rejects with it) when there is a signature that is malformed, refused or wrong
   */
  verify(parts: SignedParts, nowMs: number): Auth | Promise<Auth> {
    const authorization = parts.headers.authorization
    // An empty Authorization header counts as absent.
    const hasHeader = authorization !== undefined && authorization !== ''
    const query = parts.rawQuery
    const inQuery = query !== '' && (query.includes('X-Amz-') || query.includes('AWSAccessKeyId='))
    if (!inQuery) {
      if (!hasHeader) return ANONYMOUS
      return this.#verifyHeader(parts, authorization, nowMs)
    }
    const parsed = new Query(query)
    const presignedV2 = parsed.has('AWSAccessKeyId') && parsed.has('Signature')
    const presigned = presignedV2 || parsed.has('X-Amz-Algorithm') || parsed.has('X-Amz-Signature')
    if (presigned && hasHeader) {
      throw invalidArgument(
        'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified',
        'Authorization',
        authorization,
      )
    }
    if (presignedV2) {
      const { bucketOfHost } = this.options
      if (!bucketOfHost || this.options.acceptV2 === false) throw signatureV2()
      return this.#finishV2(parts, queryClaimV2(parts, parsed, nowMs, bucketOfHost(parts.headers.host)))
    }
    if (presigned) return this.#finish(parts, queryClaim(parts, parsed, nowMs, this.options))
    return hasHeader ? this.#verifyHeader(parts, authorization, nowMs) : ANONYMOUS
  }

  #verifyHeader(parts: SignedParts, authorization: string, nowMs: number): Auth | Promise<Auth> {
    const { bucketOfHost } = this.options
    if (bucketOfHost && this.options.acceptV2 !== false && authorization.startsWith('AWS ')) {
      return this.#finishV2(
        parts,
        headerClaimV2(parts, authorization, nowMs, bucketOfHost(parts.headers.host)),
      )
    }
    return this.#finish(parts, headerClaim(parts, authorization, nowMs, this.#authorizations))
  }

  /**
   * Verifies the signature of a POST form over its policy (fields as sent, policy in base64), and returns its
   * sender.
   * @throws S3Error
   */
  async verifyPostPolicy(form: {
    policy: string
    algorithm: string
    credential: string
    date: string
    signature: string
    sessionToken?: string
  }): Promise<KeyAuth> {
    if (form.algorithm !== ALGORITHM) {
      throw invalidArgument(
        'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"',
        'X-Amz-Algorithm',
        form.algorithm,
      )
    }
    const scope = parseCredential(form.credential, this.options, 'AuthorizationQueryParametersError')
    if (parseAmzDate(form.date) === undefined || !form.date.startsWith(scope.date)) {
      throw new S3Error('AccessDenied', 'Invalid according to Policy: the date is not that of the credential')
    }
    const found = await this.options.secretOf(scope.keyId, form.sessionToken)
    if (found === undefined) throw unknownKey(scope.keyId)
    const secret = secretText(found)
    const key = this.#keys.get(form.credential, secret, scope.date, scope.region, this.options.service)
    if (!equalConstantTime(key.hex(form.policy), form.signature))
      throw mismatch(scope.keyId, form.policy, form.signature)
    return formAuth(scope.keyId, found)
  }

  /**
   * As verifyPostPolicy, for the older signature of forms (Signature V2: HMAC-SHA1 with the secret key itself), which
   * many programs still make.
   * @throws S3Error
   */
  async verifyPostPolicyV2(form: {
    policy: string
    keyId: string
    signature: string
    sessionToken?: string
  }): Promise<KeyAuth> {
    if (this.options.acceptV2 === false) throw signatureV2()
    const found = await this.options.secretOf(form.keyId, form.sessionToken)
    if (found === undefined) throw unknownKey(form.keyId)
    const expected = createHmac('sha1', secretText(found)).update(form.policy).digest('base64')
    if (!equalConstantTime(expected, form.signature)) throw mismatch(form.keyId, form.policy, form.signature)
    return { ...formAuth(form.keyId, found), isV2: true }
  }

  #finishV2(parts: SignedParts, claim: ClaimV2): Auth | Promise<Auth> {
    const declared = stringHeader(parts, 'x-amz-content-sha256')
    const kind = declared === undefined ? 'unsigned' : payloadKindOf(declared)
    if (kind === 'signed-chunks' || kind === 'signed-chunks-trailer') {
      throw new S3Error('InvalidRequest', 'Signed chunks need Signature V4.')
    }
    const check = (found: KeySecret): KeyAuth => {
      if (found === undefined) throw unknownKey(claim.keyId)
      const expected = signaturesV2Of(claim, secretText(found))
      if (!expected.some((signature) => equalConstantTime(signature, claim.signature))) {
        throw mismatch(claim.keyId, claim.stringToSign, claim.signature)
      }
      return {
        ...formAuth(claim.keyId, found),
        presigned: claim.presigned,
        payloadKind: kind,
        payloadSha256: kind === 'sha256' ? declared!.toLowerCase() : undefined,
        isV2: true,
      }
    }
    const found = this.options.secretOf(claim.keyId, claim.sessionToken)
    return found instanceof Promise ? found.then(check) : check(found)
  }

  #finish(parts: SignedParts, claim: Claim): Auth | Promise<Auth> {
    const kind = payloadKindOf(claim.payloadHash)
    const found = this.options.secretOf(claim.keyId, claim.sessionToken)
    if (found instanceof Promise) return found.then((late) => this.#check(parts, claim, kind, late))
    return this.#check(parts, claim, kind, found)
  }

  #check(parts: SignedParts, claim: Claim, payloadKind: PayloadKind, found: KeySecret): KeyAuth {
    if (found === undefined) throw unknownKey(claim.keyId)
    const secret = secretText(found)
    const session = sessionOf(found)
    const key = this.#keys.get(claim.credential, secret, claim.date, claim.region, this.options.service)
    const query = canonicalQuery(parts.rawQuery, claim.presigned ? 'X-Amz-Signature' : undefined)
    const prefix = `${ALGORITHM}\n${claim.amzDate}\n${claim.scope}\n`
    const { signedHeaders, names, payloadHash } = claim
    const headers = canonicalHeaders(parts, names)
    let first: { stringToSign: string; request: string } | undefined
    for (const path of pathsToSign(parts.rawPath, this.options.service)) {
      const request = canonicalRequest(parts.method, path, query, headers, signedHeaders, payloadHash)
      const stringToSign = prefix + sha256HexOfLatin1(request)
      if (equalConstantTime(key.hex(stringToSign), claim.signature)) {
        first = undefined
        break
      }
      first ??= { stringToSign, request }
    }
    if (first) throw mismatch(claim.keyId, first.stringToSign, claim.signature, first.request)
    return {
      kind: 'key',
      keyId: session?.parentKeyId ?? claim.keyId,
      presigned: claim.presigned,
      payloadKind,
      payloadSha256: payloadKind === 'sha256' ? claim.payloadHash.toLowerCase() : undefined,
      seed: { signature: claim.signature, amzDate: claim.amzDate, scope: claim.scope, key },
      session,
    }
  }
}

/**
 * The forms of a path that may have been signed, each once, the likely one first. S3 decodes the path and encodes it again; some
 * clients sign it as they send it, encoded otherwise. Of other services AWS encodes what is sent once more, as the SDK
 * for Rust does, and so Garage's client of K2V; not all clients do.
 */
function pathsToSign(rawPath: string, service: string): readonly string[] {
  const recoded = recode(rawPath, true, false)
  const paths = recoded === rawPath ? [rawPath] : [recoded, rawPath]
  if (service === 's3' || !rawPath.includes('%')) return paths
  return [rawPath.replaceAll('%', '%25'), ...paths]
}

function secretText(found: string | SecretOfSession): string {
  return typeof found === 'string' ? found : found.secret
}

function sessionOf(found: string | SecretOfSession): AuthSession | undefined {
  return typeof found === 'string' ? undefined : found.session
}

function formAuth(keyId: string, found: string | SecretOfSession): KeyAuth {
  const session = sessionOf(found)
  return {
    kind: 'key',
    keyId: session?.parentKeyId ?? keyId,
    presigned: false,
    payloadKind: 'unsigned',
    payloadSha256: undefined,
    seed: undefined,
    session,
  }
}

const SHA256_HEX = /^[0-9a-fA-F]{64}$/

/** What x-amz-content-sha256 says where it is no hash. */
export const PAYLOAD_HASH_OF: Readonly<Record<PayloadKind, string | undefined>> = {
  sha256: undefined,
  unsigned: 'UNSIGNED-PAYLOAD',
  'signed-chunks': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  'signed-chunks-trailer': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
  'unsigned-chunks-trailer': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
}

function payloadKindOf(declared: string): PayloadKind {
  for (const kind in PAYLOAD_HASH_OF) {
    if (PAYLOAD_HASH_OF[kind as PayloadKind] === declared) return kind as PayloadKind
  }
  if (SHA256_HEX.test(declared)) return 'sha256'
  if (declared.startsWith('STREAMING-AWS4-ECDSA-')) throw signatureV4a()
  throw invalidArgument(
    'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.',
    'x-amz-content-sha256',
    declared,
  )
}
