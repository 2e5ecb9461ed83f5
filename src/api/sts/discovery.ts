import { isProviderUrl, type OidcProvider } from '../../config/oidc.js'
import type { Clock } from '../../util/clock.js'
import type { Log } from '../../util/log.js'
import type { ProviderMetadata } from '../console/settings.js'
import { Refresher } from './refresh.js'

/**
 * Fetches a document, without following redirects. Rejects when the deadline passes, the document is larger, or the
 * server cannot be reached or trusted.
 */
export type HttpGet = (
  url: string,
  limits: { timeoutMs: number; bytesMax: number },
) => Promise<{ status: number; body: Buffer }>

/** The bounds of a fetch from a provider. */
export const LIMITS = { timeoutMs: 5000, bytesMax: 512 * 1024 }
const ENDPOINTS = ['jwks_uri', 'authorization_endpoint', 'token_endpoint'] as const

/**
 * Fetches a provider's discovery document (OpenID Connect Discovery 1.0, sections 4.1 and 4.3). An address that is not https
 * (or http on loopback) is left out of what it says.
 * @throws Error if it cannot be had, or is of another issuer
 */
export async function discover(issuer: string, get: HttpGet): Promise<ProviderMetadata> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const { status, body } = await get(url, LIMITS)
  if (status !== 200) throw new Error(`${url} answers ${status}`)
  const document = (JSON.parse(body.toString('utf8')) ?? {}) as Record<string, unknown>
  if (document.issuer !== issuer)
    throw new Error(`the discovery document is of another issuer than ${issuer}`)
  const algorithms = document.id_token_signing_alg_values_supported
  return {
    issuer,
    ...Object.fromEntries(
      ENDPOINTS.flatMap((name) => {
        const address = document[name]
        return typeof address === 'string' && isEndpoint(address) ? [[name, address]] : []
      }),
    ),
    ...(document.authorization_response_iss_parameter_supported === true && {
      authorization_response_iss_parameter_supported: true,
    }),
    ...(Array.isArray(algorithms) &&
      algorithms.every((name) => typeof name === 'string') && {
        id_token_signing_alg_values_supported: algorithms as string[],
      }),
  }
}

/** A query is allowed, since some providers have one. */
function isEndpoint(text: string): boolean {
  return isProviderUrl(text.replace(/\?.*$/s, ''))
}

/** What the providers of the console say of themselves: asked at the start, kept, and asked again now and then. */
export class Discoveries {
  readonly #known = new Map<string, ProviderMetadata>()
  readonly #refresher: Refresher

  constructor(
    private readonly providers: readonly Pick<OidcProvider, 'name' | 'issuer'>[],
    private readonly deps: { get: HttpGet; clock: Clock; log: Log },
  ) {
    this.#refresher = new Refresher(deps.clock, () => this.#fetch())
  }

  /** What is known of an issuer. Waits for the first answer, or that there is none, and for none that comes later. */
  async of(issuer: string): Promise<ProviderMetadata | undefined> {
    const refreshed = this.#refresher.isFresh() ? undefined : this.#refresher.refresh()
    if (!this.#known.has(issuer)) await refreshed
    return this.#known.get(issuer)
  }

  async #fetch(): Promise<boolean> {
    const { get, log } = this.deps
    let isWhole = true
    await Promise.all(
      this.providers.map(async ({ name, issuer }) => {
        try {
          this.#known.set(issuer, await discover(issuer, get))
        } catch (error) {
          isWhole = false
          log.warn(
            { provider: name, error },
            'the discovery document of the identity provider was not fetched',
          )
        }
      }),
    )
    return isWhole
  }
}
