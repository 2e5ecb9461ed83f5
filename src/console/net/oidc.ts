/**
 * Sign-in with an identity provider: OpenID Connect's authorization code flow with PKCE (RFC 7636), by a public client in the
 * browser. What a flow needs to know of its beginning is kept in the tab, and is good for one answer.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { utf8ToBytes } from '@noble/hashes/utils.js'
import * as oauth from 'oauth4webapi'
import type { ConsoleProvider } from '../../api/console/settings.js'
import type { Login, SessionKey } from '../session'
import { loadSettings, settings } from '../settings'
import { t } from '../texts/texts'
import { adminSession } from './admin-session'
import { ApiError, unreachable } from './errors'
import { errorOf, parseXml, textOf } from './s3'

const STORED = 'carport.sign-in'
const LASTING_S = 3600

/** A flow that was begun in this tab. */
interface Begun {
  readonly provider: string
  /** Empty: the first role that fits. */
  readonly role: string
  readonly state: string
  readonly nonce: string
  readonly verifier: string
  /** The page to come back to. */
  readonly returnTo: string
}

/** Who signed in, and with what. */
export interface SignedIn {
  readonly key: SessionKey
  readonly login: Login
  /** Of an administrator. */
  readonly adminToken?: string
  readonly scope?: readonly string[]
}

/** Leaves the page for the provider's. @throws ApiError when it cannot be reached or is not what it should be */
export async function beginSignIn(provider: ConsoleProvider, role: string): Promise<void> {
  const server = await metadataOf(provider)
  const endpoint = server.authorization_endpoint
  // Not any scheme: "javascript:" would run in this page.
  if (!server.token_endpoint || !endpoint || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new ApiError(0, 'Provider', t('oidc.provider-wrong', { name: provider.name }))
  const begun: Begun = {
    ...{ provider: provider.name, role, returnTo: location.pathname + location.search },
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier: oauth.generateRandomCodeVerifier(),
  }
  sessionStorage.setItem(STORED, JSON.stringify(begun))
  const target = new URL(endpoint)
  const parameters = {
    ...{ response_type: 'code', client_id: provider.clientId, redirect_uri: redirectUri() },
    ...{ scope: provider.scope, state: begun.state, nonce: begun.nonce },
    // Not by Web Crypto, which pages of plain HTTP lack.
    code_challenge: base64url(sha256(utf8ToBytes(begun.verifier))),
    code_challenge_method: 'S256',
  }
  for (const [name, value] of Object.entries(parameters)) target.searchParams.set(name, value)
  location.assign(target)
}

/**
 * Takes the provider's answer, in the address that it sent the browser to.
 * @returns the page to go back to, which is one of the console
 * @throws ApiError for an answer that is not the one to this tab's own question
 */
export async function finishSignIn(answer: URL): Promise<SignedIn & { returnTo: string }> {
  const text = sessionStorage.getItem(STORED)
  sessionStorage.removeItem(STORED)
  const begun = text === null ? undefined : (JSON.parse(text) as Begun)
  const provider = settings().providers.find(({ name }) => name === begun?.provider)
  if (!begun || !provider) throw new ApiError(0, 'Provider', t('oidc.not-begun'))
  const server = await metadataOf(provider)
  const client = clientOf(provider)
  const tokens = await told(provider, async () => {
    const parameters = oauth.validateAuthResponse(server, client, answer, begun.state)
    const response = await oauth.authorizationCodeGrantRequest(
      server,
      client,
      oauth.None(),
      parameters,
      redirectUri(),
      begun.verifier,
      optionsOf(provider),
    )
    return oauth.processAuthorizationCodeResponse(server, client, response, {
      expectedNonce: begun.nonce,
      requireIdToken: true,
    })
  })
  const signedIn = await signedInBy(tokens, provider, begun.role, undefined)
  return { ...signedIn, returnTo: placeOf(begun.returnTo) }
}

/** New keys for those that are about to end; undefined if the provider gives none without asking the person. */
export async function renewSignIn({
  provider: name,
  role,
  refreshToken,
}: Login): Promise<SignedIn | undefined> {
  const provider = settings().providers.find((each) => each.name === name)
  if (!provider || refreshToken === undefined) return undefined
  const server = await metadataOf(provider)
  const client = clientOf(provider)
  const tokens = await told(provider, async () => {
    const options = optionsOf(provider)
    const response = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), refreshToken, options)
    return oauth.processRefreshTokenResponse(server, client, response)
  })
  return tokens.id_token === undefined ? undefined : signedInBy(tokens, provider, role, refreshToken)
}

/** The address of a page of the console; its first page for whatever is none. */
export function placeOf(text: string): string {
  const url = URL.canParse(text, location.origin) ? new URL(text, location.origin) : undefined
  const isOurs = url?.origin === location.origin && url.pathname.startsWith('/console/')
  return isOurs && url.pathname !== SIGNED_IN ? url.pathname + url.search : '/console/'
}

/** Where providers send the browser back to. */
export const SIGNED_IN = '/console/signed-in'

function redirectUri(): string {
  return location.origin + SIGNED_IN
}

function clientOf({ clientId }: ConsoleProvider): oauth.Client {
  return { client_id: clientId, [oauth.clockTolerance]: 60 }
}

/** The configuration lets a provider without TLS stand on the same machine alone. */
function optionsOf({ issuer }: ConsoleProvider) {
  return { [oauth.allowInsecureRequests]: issuer.startsWith('http:') }
}

/** What the node knows of the provider, which it asks again if need be. @throws ApiError */
async function metadataOf({ name }: ConsoleProvider): Promise<oauth.AuthorizationServer> {
  const known = () => settings().providers.find((each) => each.name === name)?.metadata
  if (!known()) await loadSettings()
  const { id_token_signing_alg_values_supported: algorithms, ...metadata } = known() ?? { issuer: '' }
  if (metadata.issuer === '') throw new ApiError(0, 'Provider', t('oidc.node-cannot', { name }))
  return { ...metadata, ...(algorithms && { id_token_signing_alg_values_supported: [...algorithms] }) }
}

/** Runs a step with the provider; says in plain words what went wrong with it. */
async function told<T>(provider: ConsoleProvider, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    const { name } = provider
    if (error instanceof TypeError)
      throw new ApiError(0, 'Provider', t('oidc.unreachable', { name, origin: location.origin }))
    if (error instanceof oauth.AuthorizationResponseError || error instanceof oauth.ResponseBodyError) {
      const reason = error.error_description ?? error.error
      throw new ApiError(0, 'Provider', t('oidc.refused', { name, reason }))
    }
    throw new ApiError(0, 'Provider', t('oidc.wrong-answer', { name, reason: (error as Error).message }))
  }
}

async function signedInBy(
  tokens: oauth.TokenEndpointResponse,
  provider: ConsoleProvider,
  role: string,
  refreshToken: string | undefined,
): Promise<SignedIn> {
  const key = await temporaryKey(tokens.id_token!, provider, role)
  const admin = provider.hasAdmins ? await adminSession(tokens.id_token!, role) : undefined
  const next = tokens.refresh_token ?? refreshToken
  const { name } = provider
  return {
    key,
    login: {
      provider: name,
      role,
      isAdmin: admin !== undefined,
      ...(next !== undefined && { refreshToken: next }),
    },
    ...(admin && { adminToken: admin.token, scope: admin.scope }),
  }
}

/** AssumeRoleWithWebIdentity of the token service, beside the console. @throws ApiError */
async function temporaryKey(token: string, { name }: ConsoleProvider, role: string): Promise<SessionKey> {
  const form = new URLSearchParams({
    ...{ Action: 'AssumeRoleWithWebIdentity', Version: '2011-06-15', ProviderId: name },
    ...{ WebIdentityToken: token, DurationSeconds: String(LASTING_S) },
    ...(role !== '' && { RoleArn: `arn:carport:iam:::role/${role}` }),
  })
  let response: Response
  try {
    response = await fetch('/console/s3/', { method: 'POST', body: form, cache: 'no-store' })
  } catch {
    throw unreachable()
  }
  const text = await response.text()
  if (!response.ok) {
    const error = errorOf(response.status, text)
    throw error.code === 'AccessDenied' ? new ApiError(403, 'NoRole', t('oidc.no-role')) : error
  }
  const [credentials] = parseXml(text).getElementsByTagName('Credentials')
  const field = (name: string) => textOf(credentials!, name)
  // By the node's clock, so that a wrong one here does not end the session early.
  const nodeNow = Date.parse(response.headers.get('date') ?? '') || Date.now()
  return {
    ...{ accessKeyId: field('AccessKeyId'), secret: field('SecretAccessKey') },
    sessionToken: field('SessionToken'),
    expiresMs: Date.now() + Date.parse(field('Expiration')) - nodeNow,
  }
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '')
}
