/**
 * Temporary credentials that need no database: the secret key follows from the access key id, and the session token holds
 * all the rest. Both are made with keys that every node derives from the secret of the cluster (HKDF-SHA256, RFC 5869),
 * so every node knows the credentials that any other one issued, and nobody else can make them.
 *
 * A token is a sealed JSON text. The access key id is authenticated with it, so a token is good for one id only.
 */
import { createHmac, hkdfSync } from 'node:crypto'
import type { Random } from '../../util/random.js'
import { S3Error } from '../s3/errors.js'
import { Seal } from './seal.js'
import { type SessionPolicy, storedSessionPolicy } from './session-policy.js'

/** Begins the ids of temporary access keys. */
export const TEMPORARY_KEY_PREFIX = 'CPST'
const TEMPORARY_KEY = /^CPST[0-9A-F]{24}$/

/** No token of ours is longer: even the longest subject and policy make shorter ones. */
const TOKEN_CHARS_MAX = 8192
/** The number of opened tokens that are kept. */
const OPENED_MAX = 256

/** The grant behind temporary credentials. */
export interface SessionGrant {
  /** The access key whose permissions they have. */
  readonly parentKeyId: string
  /** The end of their validity, ms since the epoch. */
  readonly expiresMs: number
  /** Name of the identity provider in the configuration. */
  readonly provider: string
  /** The user, as the provider names it. */
  readonly subject: string
  /** The name that the client gave the session. */
  readonly name: string
  /** Text of the policy that narrows the permissions. */
  readonly policy?: string
}

export interface Session extends SessionGrant {
  /** The temporary access key. */
  readonly keyId: string
  /** The policy, compiled. @throws S3Error AccessDenied if this version cannot read it */
  limits(): SessionPolicy | undefined
}

export interface TemporaryCredentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken: string
}

export class Sessions {
  readonly #seal: Seal
  readonly #secretKey: Buffer
  readonly #opened = new Map<string, Session>()

  /** @param clusterSecret the RPC secret, which all nodes have */
  constructor(
    clusterSecret: Buffer,
    private readonly random: Random,
  ) {
    const derive = (info: string) => Buffer.from(hkdfSync('sha256', clusterSecret, '', info, 32))
    this.#seal = new Seal(derive('carport sts session token v1'), random)
    this.#secretKey = derive('carport sts secret key v1')
  }

  /** Makes credentials. Nothing is stored. */
  issue(grant: SessionGrant): TemporaryCredentials {
    const accessKeyId = TEMPORARY_KEY_PREFIX + this.random.bytes(12).toString('hex').toUpperCase()
    const { parentKeyId, expiresMs, provider, subject, name, policy } = grant
    const text = JSON.stringify([
      parentKeyId,
      expiresMs,
      provider,
      subject,
      name,
      ...(policy ? [policy] : []),
    ])
    return {
      accessKeyId,
      secretAccessKey: this.#secretOf(accessKeyId),
      sessionToken: this.#seal.close(text, accessKeyId),
    }
  }

  /**
   * The session of an access key id and its token, and the secret key of the id.
   * @throws S3Error InvalidToken (not ours, damaged, of another id), ExpiredToken
   */
  open(accessKeyId: string, token: string, nowMs: number): { session: Session; secret: string } {
    let session = this.#opened.get(token)
    if (session?.keyId !== accessKeyId) {
      session = this.#unseal(accessKeyId, token)
      if (this.#opened.size >= OPENED_MAX) {
        const oldest = this.#opened.keys().next()
        if (!oldest.done) this.#opened.delete(oldest.value)
      }
      this.#opened.set(token, session)
    }
    if (nowMs >= session.expiresMs) throw new S3Error('ExpiredToken')
    return { session, secret: this.#secretOf(accessKeyId) }
  }

  #secretOf(accessKeyId: string): string {
    return createHmac('sha256', this.#secretKey).update(accessKeyId).digest('hex')
  }

  #unseal(accessKeyId: string, token: string): Session {
    if (!TEMPORARY_KEY.test(accessKeyId) || token.length > TOKEN_CHARS_MAX) throw new S3Error('InvalidToken')
    let text: string
    try {
      text = this.#seal.open(token, accessKeyId)
    } catch (cause) {
      throw new S3Error('InvalidToken', undefined, { cause })
    }
    return sessionOf(accessKeyId, text)
  }
}

/** @param text was sealed by a node of this cluster, perhaps by another version of the program */
function sessionOf(keyId: string, text: string): Session {
  const [parentKeyId, expiresMs, provider, subject, name, policy] = JSON.parse(text) as unknown[]
  if (
    typeof parentKeyId !== 'string' ||
    typeof expiresMs !== 'number' ||
    typeof provider !== 'string' ||
    typeof subject !== 'string' ||
    typeof name !== 'string' ||
    (policy !== undefined && typeof policy !== 'string')
  ) {
    throw new S3Error('InvalidToken')
  }
  let compiled: SessionPolicy | undefined
  return {
    ...{ keyId, parentKeyId, expiresMs, provider, subject, name },
    ...(policy !== undefined && { policy }),
    limits() {
      if (policy !== undefined) compiled ??= storedSessionPolicy(policy)
      return compiled
    },
  }
}
