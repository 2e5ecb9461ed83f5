import type { CryptoKey, JSONWebKeySet, JWTPayload, JWTVerifyOptions } from 'jose'
import type { OidcProvider } from '../../config/oidc.js'
import type { Clock } from '../../util/clock.js'
import type { Log } from '../../util/log.js'
import type { HttpGet } from './discovery.js'
import { StsError } from './errors.js'
import { ProviderKeys } from './jwks.js'

/**
 * Algorithms with a private key only: with a shared secret, anybody who can verify a token could make one.
 */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]
/** The deviation of the provider's clock that is tolerated, in seconds. */
const LEEWAY_S = 30
const SUBJECT_CHARS_MAX = 255

/** A token that was verified. */
export interface WebIdentity {
  provider: OidcProvider
  claims: JWTPayload
  subject: string
  /** The configured audience that it is for. */
  audience: string
}

/**
 * Verifies tokens of the configured identity providers: JSON Web Tokens (RFC 7519) with the checks of OpenID Connect Core
 * 1.0, section 3.1.3.7, and of RFC 8725: algorithm, signature, issuer, audience, times.
 */
export class WebIdentityVerifier {
  readonly #keys: ReadonlyMap<OidcProvider, ProviderKeys>

  constructor(
    private readonly providers: readonly OidcProvider[],
    private readonly deps: { clock: Clock; log: Log; get: HttpGet },
  ) {
    this.#keys = new Map(providers.map((provider) => [provider, new ProviderKeys(provider, deps)]))
  }

  /** @throws StsError InvalidIdentityToken, ExpiredTokenException, IDPCommunicationError */
  async verify(token: string): Promise<WebIdentity> {
    const provider = await this.#providerOf(token)
    const keys = this.#keys.get(provider)!
    const known = await keys.current()
    if (!known) throw new StsError('IDPCommunicationError')
    let claims = await this.#check(token, provider, known)
    if (!claims) {
      const newer = await keys.newerThan(known)
      claims = newer && (await this.#check(token, provider, newer))
    }
    if (!claims) throw invalid('No key of the identity provider fits the token.')
    const { sub: subject, iat } = claims
    if (typeof subject !== 'string' || subject === '' || subject.length > SUBJECT_CHARS_MAX) {
      throw invalid('The token has no subject.')
    }
    if (iat !== undefined && iat > this.deps.clock.nowMs() / 1000 + LEEWAY_S) {
      throw invalid('The token was issued in the future.')
    }
    const audience = [claims.aud]
      .flat()
      .find((name) => name !== undefined && provider.audiences.includes(name))
    return { provider, claims, subject, audience: audience! }
  }

  /** The provider, by the issuer that the token names; the signature then confirms it. */
  async #providerOf(token: string): Promise<OidcProvider> {
    const { decodeJwt } = await import('jose')
    let issuer: string | undefined
    try {
      issuer = decodeJwt(token).iss
    } catch (cause) {
      throw invalid('The token is not a JSON Web Token.', cause)
    }
    const provider = this.providers.find((candidate) => candidate.issuer === issuer)
    if (!provider) throw invalid('The token is of an issuer that is not configured.')
    return provider
  }

  /** The claims; undefined if no key of the set fits the token's header. @throws StsError */
  async #check(token: string, provider: OidcProvider, set: JSONWebKeySet): Promise<JWTPayload | undefined> {
    const { createLocalJWKSet, errors, jwtVerify } = await import('jose')
    const options: JWTVerifyOptions = {
      algorithms: ALGORITHMS,
      issuer: provider.issuer,
      audience: [...provider.audiences],
      clockTolerance: LEEWAY_S,
      currentDate: new Date(this.deps.clock.nowMs()),
      requiredClaims: ['exp', 'sub'],
    }
    try {
      return (await jwtVerify(token, createLocalJWKSet(set), options)).payload
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return undefined
      if (error instanceof errors.JWTExpired)
        throw new StsError('ExpiredTokenException', undefined, { cause: error })
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw refused(error)
      // The token has no key id: any of the keys may be the right one.
      for await (const key of error as AsyncIterable<CryptoKey>) {
        try {
          return (await jwtVerify(token, key, options)).payload
        } catch (inner) {
          if (inner instanceof errors.JWSSignatureVerificationFailed) continue
          if (inner instanceof errors.JWTExpired)
            throw new StsError('ExpiredTokenException', undefined, { cause: inner })
          throw refused(inner)
        }
      }
      return undefined
    }
  }
}

/** Passes the messages of jose on: they are about the token and reveal nothing else. */
function refused(error: unknown): StsError {
  const { code } = error as { code?: unknown }
  const told =
    typeof code === 'string' && code.startsWith('ERR_J') ? (error as Error).message : 'its key cannot be used'
  return invalid(`The web identity token could not be validated: ${told}.`, error)
}

function invalid(message: string, cause?: unknown): StsError {
  return new StsError('InvalidIdentityToken', message, cause === undefined ? undefined : { cause })
}
