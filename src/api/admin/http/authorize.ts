import { createHash, timingSafeEqual } from 'node:crypto'
import {
  type AdminToken,
  type AdminTokens,
  EVERY_OPERATION,
  isToken,
  tokenIdOf,
} from '../../../model/buckets/admin-tokens.js'
import type { Clock } from '../../../util/clock.js'
import type { AdminSession, AdminSessions } from '../../sts/admin-sessions.js'
import type { ScopeName } from './endpoints.js'
import { AdminError } from './errors.js'

/** Who sends a request: one of the configuration's tokens, one that is kept in the cluster, or somebody who signed in. */
export type Caller = 'admin_token' | 'metrics_token' | AdminToken | AdminSession

export interface AuthorizerOptions {
  clock: Clock
  tokens: AdminTokens
  /** Allows everything; null: only tokens kept in the cluster are taken. */
  adminToken: string | null
  /** Allows to read metrics. */
  metricsToken: string | null
  /** Whether metrics need a token even if the configuration has none for them. */
  metricsRequireToken: boolean
  /** The sessions of people who signed in with an identity provider; undefined where nobody can. */
  sessions?: Pick<AdminSessions, 'find'> | undefined
}

/** Decides by its token whether a request may be served. */
export class Authorizer {
  constructor(private readonly options: AuthorizerOptions) {}

  /** Whether anybody may read metrics. */
  get metricsAreOpen(): boolean {
    return this.options.metricsToken === null && !this.options.metricsRequireToken
  }

  /**
   * The caller, if the token in the Authorization header allows the endpoint. Tokens kept in the cluster are asked of a
   * majority, so that one that was deleted elsewhere a moment ago is refused; for metrics, which are most wanted when
   * no majority answers, this node's own copy counts.
   * @throws AdminError AccessDenied; CarportError QuorumUnavailable
   */
  async authorize(header: string | undefined, scope: ScopeName): Promise<Caller> {
    const { adminToken, metricsToken, clock } = this.options
    const text = bearerToken(header)
    if (adminToken !== null && isSame(text, adminToken)) return 'admin_token'
    if (scope === 'Metrics' && metricsToken !== null && isSame(text, metricsToken)) return 'metrics_token'
    const token = (await this.options.sessions?.find(text)) ?? (await this.#token(text, scope))
    if (!token) throw denied('invalid authorization token')
    if (token.expiresMs !== undefined && clock.nowMs() >= token.expiresMs) {
      throw denied('the authorization token has expired')
    }
    // Everybody may ask what their own token is.
    const allowed = token.scope.includes(scope) || token.scope.includes(EVERY_OPERATION)
    if (!allowed && scope !== 'GetCurrentAdminTokenInfo') {
      throw denied(`the authorization token's scope does not have ${scope}`)
    }
    return token
  }

  async #token(text: string, scope: ScopeName): Promise<AdminToken | undefined> {
    const { tokens } = this.options
    const id = tokenIdOf(text)
    if (id === undefined) return undefined
    const known = tokens.local(id)
    const token = scope === 'Metrics' && known ? known : await tokens.refresh(id)
    return token && isToken(token, text) ? token : undefined
  }
}

function bearerToken(header: string | undefined): string {
  if (header === undefined) throw denied('an authorization token is needed: "Authorization: Bearer …"')
  const found = /^bearer +([\x21-\x7e]{1,4096}) *$/i.exec(header)
  if (!found) throw denied('the Authorization header has the form "Bearer …"')
  return found[1]!
}

/** Compares digests, so that the time tells nothing about where texts differ, or of their lengths. */
function isSame(given: string, expected: string): boolean {
  return timingSafeEqual(digest(given), digest(expected))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function denied(message: string): AdminError {
  return new AdminError(403, 'AccessDenied', message)
}
