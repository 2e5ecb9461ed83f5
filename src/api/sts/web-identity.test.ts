import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../testing/cluster-fakes.js'
import { silentLog } from '../../util/log.js'
import { StsError } from './errors.js'
import { WebIdentityVerifier } from './web-identity.js'

const ISSUER = 'https://id.example.org/realm/'
const MINUTE = 60_000

/** Documents by URL; absent ones cannot be reached. */
let web: Map<string, { status: number; body: unknown }>
let fetched: string[]
let clock: ManualClock

beforeEach(() => {
  web = new Map()
  fetched = []
  clock = new ManualClock()
})

function verifier(jwksUri: string | null = 'https://id.example.org/keys') {
  const provider = { name: 'p', issuer: ISSUER, audiences: ['a', 'b'], jwksUri, console: null, roles: [] }
  return new WebIdentityVerifier([provider], {
    clock,
    log: silentLog,
    async get(url) {
      fetched.push(url)
      const found = web.get(url)
      if (!found) throw new Error('not reached')
      const body = typeof found.body === 'string' ? found.body : JSON.stringify(found.body)
      return { status: found.status, body: Buffer.from(body) }
    },
  })
}

async function makeKey(alg: string, kid?: string) {
  const { privateKey, publicKey } = await generateKeyPair(alg)
  const jwk: JWK = { ...(await exportJWK(publicKey)), ...(kid !== undefined && { kid }) }
  const token = (claims: object = {}) => {
    const nowS = Math.floor(clock.nowMs() / 1000)
    return new SignJWT({ iss: ISSUER, sub: 's', aud: 'b', iat: nowS, exp: nowS + 24 * 3600, ...claims })
      .setProtectedHeader({ alg, ...(kid !== undefined && { kid }) })
      .sign(privateKey)
  }
  return { jwk, token }
}

const publish = (...keys: JWK[]) => web.set('https://id.example.org/keys', { status: 200, body: { keys } })

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof StsError) return error.code
    throw error
  }
  return 'verified'
}

describe('a web identity', () => {
  it.each(['RS256', 'PS384', 'ES256', 'ES512', 'Ed25519', 'EdDSA'])('is verified by %s', async (alg) => {
    const { jwk, token } = await makeKey(alg, 'k')
    publish(jwk)
    const identity = await verifier().verify(await token())
    expect(identity).toMatchObject({ subject: 's', audience: 'b', claims: { sub: 's' } })
  })

  it('needs the key that its header names, or without a name any key that fits', async () => {
    const [one, two, named] = await Promise.all([makeKey('ES256'), makeKey('ES256'), makeKey('ES256', 'k')])
    publish(one.jwk, two.jwk)
    expect(await codeOf(verifier().verify(await two.token()))).toBe('verified')
    expect(await codeOf(verifier().verify(await two.token({ aud: 'c' })))).toBe('InvalidIdentityToken')
    expect(await codeOf(verifier().verify(await named.token()))).toBe('InvalidIdentityToken')
    publish(one.jwk, named.jwk)
    expect(await codeOf(verifier().verify(await two.token()))).toBe('InvalidIdentityToken')
  })

  it('is within its times, give or take half a minute', async () => {
    const { jwk, token } = await makeKey('ES256', 'k')
    publish(jwk)
    const subject = verifier()
    const nowS = Math.floor(clock.nowMs() / 1000)
    expect(await codeOf(subject.verify(await token({ exp: nowS - 29 })))).toBe('verified')
    expect(await codeOf(subject.verify(await token({ exp: nowS - 31 })))).toBe('ExpiredTokenException')
    expect(await codeOf(subject.verify(await token({ nbf: nowS + 29, iat: nowS + 29 })))).toBe('verified')
    expect(await codeOf(subject.verify(await token({ nbf: nowS + 31 })))).toBe('InvalidIdentityToken')
    expect(await codeOf(subject.verify(await token({ iat: nowS + 31 })))).toBe('InvalidIdentityToken')
  })

  it('is refused when the key cannot be used, and nothing breaks', async () => {
    const { token } = await makeKey('ES256', 'k')
    for (const jwk of [
      { kty: 'EC', crv: 'P-256', kid: 'k' },
      { kty: 'EC', crv: 'P-256', kid: 'k', x: 'A', y: 'B' },
    ]) {
      publish(jwk)
      expect(await codeOf(verifier().verify(await token()))).toBe('InvalidIdentityToken')
    }
  })
})

describe('keys of an identity provider', () => {
  it('are found by discovery', async () => {
    const { jwk, token } = await makeKey('ES256', 'k')
    const document = { issuer: ISSUER, jwks_uri: 'https://keys.example.org/jwks?x=1' }
    const at = 'https://id.example.org/realm/.well-known/openid-configuration'
    web.set(at, { status: 200, body: document })
    web.set(document.jwks_uri, { status: 200, body: { keys: [jwk] } })
    expect(await codeOf(verifier(null).verify(await token()))).toBe('verified')
    expect(fetched).toEqual([at, document.jwks_uri])
    for (const wrong of [
      { ...document, issuer: 'https://other.example' },
      { ...document, jwks_uri: 'http://keys.example.org/jwks' },
      { issuer: ISSUER },
      null,
      'no JSON',
    ]) {
      web.set(at, { status: 200, body: wrong })
      expect(await codeOf(verifier(null).verify(await token()))).toBe('IDPCommunicationError')
    }
  })

  it('are fetched again when they are old, and when a token needs another one', async () => {
    const [one, two] = await Promise.all([makeKey('ES256', 'one'), makeKey('ES256', 'two')])
    publish(one.jwk)
    const subject = verifier()
    await Promise.all([subject.verify(await one.token()), subject.verify(await one.token())])
    expect(fetched).toHaveLength(1)
    publish(two.jwk)
    expect(await codeOf(subject.verify(await two.token()))).toBe('InvalidIdentityToken')
    expect(fetched).toHaveLength(1)
    await clock.advance(15_000)
    expect(await codeOf(subject.verify(await two.token()))).toBe('verified')
    expect(fetched).toHaveLength(2)
    await clock.advance(10 * MINUTE)
    expect(await codeOf(subject.verify(await one.token()))).toBe('InvalidIdentityToken')
    expect(fetched).toHaveLength(3)
  })

  it('are good for an hour when the provider cannot be reached, which is tried four times a minute at most', async () => {
    const { jwk, token } = await makeKey('ES256', 'k')
    publish(jwk)
    const subject = verifier()
    await subject.verify(await token())
    web.clear()
    await clock.advance(59 * MINUTE)
    for (let i = 0; i < 10; i++) expect(await codeOf(subject.verify(await token()))).toBe('verified')
    expect(fetched).toHaveLength(2)
    await clock.advance(MINUTE)
    expect(await codeOf(subject.verify(await token()))).toBe('IDPCommunicationError')
    expect(fetched).toHaveLength(3)
    for (const body of [{ keys: 'x' }, { keys: [1] }, [], 'x', null]) {
      web.set('https://id.example.org/keys', { status: 200, body })
      await clock.advance(15_000)
      expect(await codeOf(subject.verify(await token()))).toBe('IDPCommunicationError')
    }
    publish(jwk)
    await clock.advance(15_000)
    expect(await codeOf(subject.verify(await token()))).toBe('verified')
  })
})
