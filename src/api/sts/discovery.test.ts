import { beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../testing/cluster-fakes.js'
import { silentLog } from '../../util/log.js'
import { Discoveries, discover, type HttpGet } from './discovery.js'

const ISSUER = 'https://id.example.org/realm'
const URL_OF_DOCUMENT = `${ISSUER}/.well-known/openid-configuration`

let document: object | undefined
let asked: string[]
const get: HttpGet = async (url) => {
  asked.push(url)
  if (!document) throw new Error('not reached')
  return { status: 200, body: Buffer.from(JSON.stringify(document)) }
}

beforeEach(() => {
  document = { issuer: ISSUER, token_endpoint: 'https://tokens.example.net/token' }
  asked = []
})

describe('the discovery document of a provider', () => {
  it('may name endpoints of other origins, over https alone', async () => {
    expect(await discover(ISSUER, get)).toEqual({
      issuer: ISSUER,
      token_endpoint: 'https://tokens.example.net/token',
    })
    expect(asked).toEqual([URL_OF_DOCUMENT])
    for (const token_endpoint of [
      'http://tokens.example.net/token',
      'javascript:alert(1)',
      'https://user@tokens.example.net/',
      "https://x; script-src 'unsafe-inline'/",
      '//tokens.example.net',
      '*',
      7,
    ]) {
      document = { issuer: ISSUER, token_endpoint }
      expect(await discover(ISSUER, get)).toEqual({ issuer: ISSUER })
    }
  })

  it('is not taken if it is of another issuer', async () => {
    document = { issuer: `${ISSUER}/`, token_endpoint: 'https://tokens.example.net/token' }
    await expect(discover(ISSUER, get)).rejects.toThrow('of another issuer')
    document = []
    await expect(discover(ISSUER, get)).rejects.toThrow('of another issuer')
  })
})

describe('what the console knows of providers', () => {
  it('is asked once, again after ten minutes, and not more often than every 15 seconds while nobody answers', async () => {
    const clock = new ManualClock()
    const discoveries = new Discoveries([{ name: 'home', issuer: ISSUER }], { get, clock, log: silentLog })
    document = undefined
    expect(await discoveries.of(ISSUER)).toBeUndefined()
    expect(await discoveries.of(ISSUER)).toBeUndefined()
    expect(asked.length).toBe(1)
    await clock.advance(15_000)
    document = { issuer: ISSUER }
    expect(await Promise.all([discoveries.of(ISSUER), discoveries.of(ISSUER)])).toEqual([
      { issuer: ISSUER },
      { issuer: ISSUER },
    ])
    expect(asked.length).toBe(2)
    // What is known stays while the provider is away, and nobody waits for it.
    document = undefined
    await clock.advance(10 * 60_000)
    expect(await discoveries.of(ISSUER)).toEqual({ issuer: ISSUER })
    expect(asked.length).toBe(3)
    expect(await discoveries.of('https://other.example.org')).toBeUndefined()
  })
})
