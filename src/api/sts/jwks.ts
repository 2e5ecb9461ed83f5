import type { JSONWebKeySet } from 'jose'
import type { OidcProvider } from '../../config/oidc.js'
import type { Clock } from '../../util/clock.js'
import type { Log } from '../../util/log.js'
import { discover, type HttpGet, LIMITS } from './discovery.js'
import { Refresher } from './refresh.js'

/** How long keys are used while the provider cannot be reached. */
const STALE_MS = 60 * 60_000

/** The keys of an identity provider, fetched when they are first needed and when they may have changed. */
export class ProviderKeys {
  #keys: JSONWebKeySet | undefined
  readonly #refresher: Refresher

  constructor(
    private readonly provider: Pick<OidcProvider, 'name' | 'issuer' | 'jwksUri'>,
    private readonly deps: { get: HttpGet; clock: Clock; log: Log },
  ) {
    this.#refresher = new Refresher(deps.clock, () => this.#fetch())
  }

  /** The keys, not older than an hour; undefined when the provider cannot be reached. */
  async current(): Promise<JSONWebKeySet | undefined> {
    if (!this.#refresher.isFresh()) await this.#refresher.refresh()
    return this.#refresher.ageMs() < STALE_MS ? this.#keys : undefined
  }

  /** Newer keys than `known`, of which none fits the token; undefined if the provider has none. */
  async newerThan(known: JSONWebKeySet): Promise<JSONWebKeySet | undefined> {
    if (this.#keys === known) await this.#refresher.refresh()
    return this.#keys === known ? undefined : this.#keys
  }

  async #fetch(): Promise<boolean> {
    try {
      const uri = this.provider.jwksUri ?? (await this.#discover())
      const document = await this.#json(uri)
      if (!isKeySet(document)) throw new Error(`${uri} has no set of keys`)
      this.#keys = document
      return true
    } catch (error) {
      this.deps.log.warn({ provider: this.provider.name, error }, 'keys of the identity provider not fetched')
      return false
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
