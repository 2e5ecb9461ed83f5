/**
 * Rights of an administrator for people who sign in to the console with an identity provider. Nobody has any unless the
 * configuration names them for a value of a claim (`oidc.NAME.roles.admin_scope`). Nothing is stored: a session is a sealed text
 * that names the role, and what the role may do is looked up in this node's configuration for each request. So a role that is
 * taken out of the configuration, or whose access key is deleted, has no rights any more, whatever sessions there are.
 */
import { hkdfSync } from 'node:crypto'
import type { OidcProvider, OidcRole } from '../../config/oidc.js'
import type { Clock } from '../../util/clock.js'
import type { Log } from '../../util/log.js'
import type { Random } from '../../util/random.js'
import { StsError } from './errors.js'
import { chooseRole } from './roles.js'
import { Seal } from './seal.js'
import type { KeyLookup } from './secret-lookup.js'
import type { WebIdentity } from './web-identity.js'

/** Begins the texts of these sessions; admin tokens begin with hexadecimal digits. */
const PREFIX = 'oidc.'
const CONTEXT = 'admin session'
const LASTING_MS = 3_600_000

/** Somebody who signed in with an identity provider, and the endpoints of the admin API that their role gives them. */
export interface AdminSession {
  /** For logs: the provider and whom it names. */
  readonly id: string
  readonly provider: string
  readonly subject: string
  readonly scope: readonly string[]
  /** ms since the epoch. */
  readonly expiresMs: number
}

export interface AdminSessionDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly keys: KeyLookup
  readonly providers: readonly OidcProvider[]
  /** @throws StsError for a token that is not good */
  readonly verify: (token: string) => Promise<WebIdentity>
}

export class AdminSessions {
  readonly #seal: Seal

  /** @param clusterSecret the RPC secret, which all nodes have */
  constructor(
    clusterSecret: Buffer,
    private readonly deps: AdminSessionDeps,
  ) {
    const key = hkdfSync('sha256', clusterSecret, '', 'carport oidc admin session v1', 32)
    this.#seal = new Seal(Buffer.from(key), deps.random)
  }

  /**
   * Begins a session for the holder of an ID token that was made for the console.
   * @param wanted the name of a role; undefined: the first that fits, as for temporary keys
   * @returns undefined if the role has no rights of an administrator
   * @throws StsError for a token that is not good, AccessDenied if no role fits
   */
  async begin(token: string, wanted?: string): Promise<{ text: string; session: AdminSession } | undefined> {
    const { clock, log, verify } = this.deps
    const { provider, claims, subject } = await verify(token)
    const role = chooseRole(provider, claims, wanted)
    if (!role) throw new StsError('AccessDenied')
    if (role.adminScope.length === 0) return undefined
    // A token that a provider made for another program of this audience is no sign-in to the console.
    const isForConsole = provider.console !== null && [claims.aud].flat().includes(provider.console.clientId)
    if (!isForConsole || !(await this.#isKeyThere(role))) throw new StsError('AccessDenied')
    const expiresMs = Math.floor(clock.nowMs() / 1000) * 1000 + LASTING_MS
    const { name } = provider
    const facts = [name, subject, role.claim, role.value, role.accessKey, expiresMs]
    const session = sessionOf(provider, subject, role, expiresMs)
    log.info({ ...session, accessKey: role.accessKey }, 'administrator signed in with an identity provider')
    return { text: PREFIX + this.#seal.close(JSON.stringify(facts), CONTEXT), session }
  }

  /** The session of a text; undefined if it is none, or its role has no rights any more. It may have ended. */
  async find(text: string): Promise<AdminSession | undefined> {
    if (!text.startsWith(PREFIX)) return undefined
    let facts: unknown[]
    try {
      facts = JSON.parse(this.#seal.open(text.slice(PREFIX.length), CONTEXT)) as unknown[]
    } catch {
      return undefined
    }
    const [name, subject, claim, value, accessKey, expiresMs] = facts
    const provider = this.deps.providers.find((each) => each.name === name && each.console !== null)
    const role = provider?.roles.find(
      (each) => each.claim === claim && each.value === value && each.accessKey === accessKey,
    )
    const isRead = typeof subject === 'string' && typeof expiresMs === 'number'
    if (!isRead || !provider || !role || role.adminScope.length === 0) return undefined
    return (await this.#isKeyThere(role)) ? sessionOf(provider, subject, role, expiresMs) : undefined
  }

  async #isKeyThere({ accessKey }: OidcRole): Promise<boolean> {
    const key = await this.deps.keys.find(accessKey)
    return key !== undefined && (key.expiresMs ?? Number.POSITIVE_INFINITY) > this.deps.clock.nowMs()
  }
}

function sessionOf({ name }: OidcProvider, subject: string, role: OidcRole, expiresMs: number): AdminSession {
  return { id: `${name}:${subject}`, provider: name, subject, scope: role.adminScope, expiresMs }
}
