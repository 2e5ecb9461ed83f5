import type { JSONWebKeySet } from 'jose'
import type { OidcProvider } from '../../config/oidc.js'
import type { Clock } from '../../util/clock.js'
import type { Log } from '../../util/log.js'
import { discover, type HttpGet } from './discovery.js'

const LIMITS = { timeoutMs: 5000, bytesMax: 512 * 1024 }
/**
 * The age at which keys are fetched again, so that a key that the provider withdrew is not accepted for long.
 */
const FRESH_MS = 10 * 60_000
/** How long keys are used while the provider cannot be reached. */
const STALE_MS = 60 * 60_000
/** The shortest time between two attempts: invented key ids must not make this node a nuisance. */
const PAUSE_MS = 15_000

/** The keys of an identity provider, fetched when they are first needed and when they may have changed. */
export class ProviderKeys {
  #keys: JSONWebKeySet | undefined
  #fetchedMs = Number.NEGATIVE_INFINITY
  #triedMs = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | undefined

  constructor(
    private readonly provider: Pick<OidcProvider, 'name' | 'issuer' | 'jwksUri'>,
    private readonly deps: { get: HttpGet; clock: Clock; log: Log },
  ) {}

  /** The keys, not older than an hour; undefined when the provider cannot be reached. */
  async current(): Promise<JSONWebKeySet | undefined> {
    if (this.#age() >= FRESH_MS) await this.#refresh()
    return this.#age() < STALE_MS ? this.#keys : undefined
  }

  /** Newer keys than `known`, of which none fits the token; undefined if the provider has none. */
  async newerThan(known: JSONWebKeySet): Promise<JSONWebKeySet | undefined> {
    if (this.#keys === known) await this.#refresh()
    return this.#keys === known ? undefined : this.#keys
  }

  #age(): number {
    return this.deps.clock.monotonicMs() - this.#fetchedMs
  }

  #refresh(): Promise<void> {
    if (this.#fetching) return this.#fetching
    const now = this.deps.clock.monotonicMs()
    if (now - this.#triedMs < PAUSE_MS) return Promise.resolve()
    this.#triedMs = now
    this.#fetching = this.#fetch().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #fetch(): Promise<void> {
    const { clock, log } = this.deps
    try {
      const uri = this.provider.jwksUri ?? (await this.#discover())
      const document = await this.#json(uri)
      if (!isKeySet(document)) throw new Error(`${uri} has no set of keys`)
      this.#keys = document
      this.#fetchedMs = clock.monotonicMs()
    } catch (error) {
      log.warn({ provider: this.provider.name, error }, 'keys of the identity provider not fetched')
    }
  }

  async #discover(): Promise<string> {
    const { jwks_uri: uri } = await discover(this.provider.issuer, this.deps.get)
    if (uri === undefined) throw new Error('the discovery document has no jwks_uri with https')
    return uri
  }

  async #json(url: string): Promise<unknown> {
    const { status, body } = await this.deps.get(url, LIMITS)
    if (status !== 200) throw new Error(`${url} answers ${status}`)
    return JSON.parse(body.toString('utf8'))
  }
}

function isKeySet(document: unknown): document is JSONWebKeySet {
  const { keys } = (document ?? {}) as { keys?: unknown }
  return Array.isArray(keys) && keys.every((key) => typeof key === 'object' && key !== null)
}
