import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
} from 'jose'

/** An OpenID Connect provider on loopback, as far as its keys and tokens go. */
export interface TestIssuer {
  url: string
  /** How often the keys were fetched. */
  keyFetches: number
  /** The answer to send instead of the keys. */
  outage: { status: number; body: string } | undefined
  /** Signs a token that is good for five minutes, unless `claims` say otherwise (undefined leaves one out). */
  token(claims?: JWTPayload, header?: Partial<JWTHeaderParameters>): Promise<string>
  /** Takes a new key into use; the old one leaves the set. */
  rotate(): Promise<void>
  /** What else it serves, and says of itself: the endpoints of a sign-in, for instance. */
  more: { serve: (request: IncomingMessage, response: ServerResponse) => void; endpoints: object } | undefined
  stop(): Promise<void>
}

export async function startIssuer(alg = 'ES256'): Promise<TestIssuer> {
  let count = 0
  let key: CryptoKey
  let published: JWK
  const rotate = async () => {
    const pair = await generateKeyPair(alg)
    key = pair.privateKey
    published = { ...(await exportJWK(pair.publicKey)), kid: `key-${++count}`, alg, use: 'sig' }
  }
  await rotate()
  const server = createServer((request, response) => {
    const json = (body: object) => response.end(JSON.stringify(body))
    if (request.url === '/.well-known/openid-configuration') {
      response.setHeader('access-control-allow-origin', '*')
      response.setHeader('content-type', 'application/json')
      json({ issuer: issuer.url, jwks_uri: `${issuer.url}/keys`, ...issuer.more?.endpoints })
    } else if (request.url === '/keys') {
      issuer.keyFetches++
      if (issuer.outage) {
        response.statusCode = issuer.outage.status
        response.end(issuer.outage.body)
      } else json({ keys: [published] })
    } else if (issuer.more) issuer.more.serve(request, response)
    else {
      response.statusCode = 404
      response.end()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const issuer: TestIssuer = {
    url,
    keyFetches: 0,
    outage: undefined,
    more: undefined,
    token(claims = {}, header = {}) {
      const nowS = Math.floor(Date.now() / 1000)
      const all = { iss: url, sub: 'alice', aud: 'carport', iat: nowS, exp: nowS + 300, ...claims }
      return new SignJWT(all).setProtectedHeader({ alg, kid: published.kid!, ...header }).sign(key)
    },
    rotate,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return issuer
}
