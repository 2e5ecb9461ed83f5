import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { JWTPayload } from 'jose'
import { startIssuer, type TestIssuer } from './oidc-issuer.js'

/** A code that was given away, and what it was given for. */
interface Given {
  clientId: string
  redirectUri: string
  challenge: string
  nonce: string
}

/**
 * An OpenID Connect provider with the authorization code flow and PKCE, whose only user is signed in already. Its token endpoint
 * has an origin of its own, as some providers have it.
 */
export interface TestProvider extends TestIssuer {
  /** The origin of the token endpoint. */
  readonly tokenOrigin: string
  /** Claims of the next ID tokens. */
  claims: JWTPayload
  /** Whether it gives refresh tokens. */
  refreshes: boolean
  /** What to change in the answer of the authorization endpoint: an attack, or a refusal. */
  tamper: ((answer: URLSearchParams) => void) | undefined
  /** The questions to the authorization endpoint. */
  readonly asked: URLSearchParams[]
  /** The grants that were taken: "authorization_code", "refresh_token". */
  readonly granted: string[]
}

export async function startProvider(): Promise<TestProvider> {
  const issuer = await startIssuer()
  const codes = new Map<string, Given>()
  const asked: URLSearchParams[] = []
  const granted: string[] = []
  const refresh = randomBytes(16).toString('hex')

  const authorize = (query: URLSearchParams, response: ServerResponse) => {
    asked.push(query)
    const code = randomBytes(16).toString('hex')
    codes.set(code, {
      clientId: query.get('client_id')!,
      redirectUri: query.get('redirect_uri')!,
      challenge: query.get('code_challenge')!,
      nonce: query.get('nonce')!,
    })
    const answer = new URLSearchParams({ code, state: query.get('state')! })
    provider.tamper?.(answer)
    response.writeHead(302, { location: `${query.get('redirect_uri')}?${answer}` }).end()
  }
  /** The ID token's nonce for a grant; undefined refuses it. */
  const check = (form: URLSearchParams): { nonce?: string } | undefined => {
    if (form.get('grant_type') === 'refresh_token')
      return form.get('refresh_token') === refresh ? {} : undefined
    const given = codes.get(form.get('code') ?? '')
    codes.delete(form.get('code') ?? '')
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    const fits =
      given?.challenge === challenge &&
      given.redirectUri === form.get('redirect_uri') &&
      given.clientId === form.get('client_id')
    return fits ? { nonce: given.nonce } : undefined
  }
  const tokens = async (form: URLSearchParams, response: ServerResponse) => {
    const good = check(form)
    if (!good) {
      response.writeHead(400).end(JSON.stringify({ error: 'invalid_grant' }))
      return
    }
    granted.push(form.get('grant_type')!)
    const claims = { ...(good.nonce && { nonce: good.nonce }), ...provider.claims }
    const answer = {
      ...{ access_token: 'opaque', token_type: 'Bearer', expires_in: 300 },
      id_token: await issuer.token(claims),
      ...(provider.refreshes && { refresh_token: refresh }),
    }
    response.end(JSON.stringify(answer))
  }
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url!, issuer.url)
    response.setHeader('access-control-allow-origin', '*')
    response.setHeader('content-type', 'application/json')
    if (url.pathname === '/authorize') authorize(url.searchParams, response)
    else response.writeHead(404).end()
  }
  const tokenServer = createServer((request, response) => {
    response.setHeader('access-control-allow-origin', '*')
    response.setHeader('content-type', 'application/json')
    void text(request).then((form) => tokens(new URLSearchParams(form), response))
  })
  await new Promise<void>((resolve) => tokenServer.listen(0, '127.0.0.1', resolve))
  const tokenOrigin = `http://127.0.0.1:${(tokenServer.address() as AddressInfo).port}`
  issuer.more = {
    serve,
    endpoints: {
      ...{ authorization_endpoint: `${issuer.url}/authorize`, token_endpoint: `${tokenOrigin}/token` },
      id_token_signing_alg_values_supported: ['ES256'],
    },
  }
  const stopIssuer = issuer.stop
  const stop = async () => {
    tokenServer.close()
    tokenServer.closeAllConnections()
    await stopIssuer()
  }
  const provider: TestProvider = Object.assign(issuer, {
    ...{ claims: {}, refreshes: false, tamper: undefined, asked, granted, tokenOrigin, stop },
  })
  return provider
}
