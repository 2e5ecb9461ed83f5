import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../testing/seeded-random.js'
import type { OidcProvider } from '../../config/oidc.js'
import type { AccessKey } from '../../model/buckets/access-keys.js'
import { silentLog } from '../../util/log.js'
import { AdminSessions } from './admin-sessions.js'
import { StsError } from './errors.js'

const HOUR_MS = 3_600_000
const START_MS = 1_800_000_000_000
const SECRET = Buffer.alloc(32, 7)

/** Sessions of a provider with a role for operators, and one for readers without rights; "verify" takes claims for tokens. */
function setUp({ secret = SECRET, scope = ['ListKeys'], isOffered = true, seed = 1 } = {}) {
  const role = (value: string, adminScope: string[]) => ({
    ...{ name: value, claim: 'groups', value, accessKey: `GK${value}`, adminScope },
  })
  const provider: OidcProvider = {
    ...{ name: 'home', issuer: 'https://id', audiences: ['console', 'ci'], jwksUri: null },
    console: isOffered ? { clientId: 'console', scope: 'openid' } : null,
    roles: [role('readers', []), role('operators', scope)],
  }
  const state = { nowMs: START_MS, keys: new Map<string, Partial<AccessKey>>() }
  for (const { accessKey } of provider.roles) state.keys.set(accessKey, { id: accessKey })
  const find = (id: string) => state.keys.get(id) as AccessKey | undefined
  const sessions = new AdminSessions(secret, {
    clock: { nowMs: () => state.nowMs } as never,
    random: new SeededRandom(seed),
    log: silentLog,
    keys: { find, refresh: async (id) => find(id) },
    providers: [provider],
    verify: async (token) => {
      const claims = JSON.parse(token) as { sub: string; aud: string }
      return { provider, claims, subject: claims.sub, audience: claims.aud }
    },
  })
  return { sessions, state }
}

const tokenOf = (groups: string[], aud: string | string[] = 'console') =>
  JSON.stringify({ sub: 'alice', groups, aud })

describe('a session of an administrator who signed in with an identity provider', () => {
  it('has the scope of the role, on any node with the same secret and the same roles', async () => {
    const begun = await setUp().sessions.begin(tokenOf(['operators']))
    const session = { id: 'home:alice', provider: 'home', subject: 'alice', scope: ['ListKeys'] }
    expect(begun!.session).toEqual({ ...session, expiresMs: START_MS + HOUR_MS })
    expect(await setUp({ seed: 2 }).sessions.find(begun!.text)).toEqual(begun!.session)
  })

  it('is given to nobody whose role has no scope, or who has no role', async () => {
    const { sessions } = setUp()
    expect(await sessions.begin(tokenOf(['readers']))).toBeUndefined()
    // The first role that fits counts, unless one asks for another.
    expect(await sessions.begin(tokenOf(['readers', 'operators']))).toBeUndefined()
    expect(await sessions.begin(tokenOf(['readers', 'operators']), 'operators')).toBeDefined()
    await expect(sessions.begin(tokenOf(['readers']), 'operators')).rejects.toThrow(StsError)
    await expect(sessions.begin(tokenOf([]))).rejects.toMatchObject({ code: 'AccessDenied' })
  })

  it('is not given for a token that was made for another program', async () => {
    const { sessions } = setUp()
    await expect(sessions.begin(tokenOf(['operators'], 'ci'))).rejects.toMatchObject({ code: 'AccessDenied' })
    expect(await sessions.begin(tokenOf(['operators'], ['ci', 'console']))).toBeDefined()
    const hidden = setUp({ isOffered: false }).sessions
    await expect(hidden.begin(tokenOf(['operators']))).rejects.toMatchObject({ code: 'AccessDenied' })
  })

  it('ends with the rights of the role in the configuration, and with its access key', async () => {
    const { sessions, state } = setUp()
    const { text } = (await sessions.begin(tokenOf(['operators'])))!
    expect(await setUp({ scope: [] }).sessions.find(text)).toBeUndefined()
    expect((await setUp({ scope: ['ListWorkers'] }).sessions.find(text))!.scope).toEqual(['ListWorkers'])
    expect(await setUp({ isOffered: false }).sessions.find(text)).toBeUndefined()
    state.keys.set('GKoperators', { id: 'GKoperators', expiresMs: START_MS })
    expect(await sessions.find(text)).toBeUndefined()
    state.keys.delete('GKoperators')
    expect(await sessions.find(text)).toBeUndefined()
    await expect(sessions.begin(tokenOf(['operators']))).rejects.toMatchObject({ code: 'AccessDenied' })
  })

  it('is refused by another cluster, and after any change of a character', async () => {
    const { sessions } = setUp()
    const { text } = (await sessions.begin(tokenOf(['operators'])))!
    expect(await setUp({ secret: Buffer.alloc(32, 8) }).sessions.find(text)).toBeUndefined()
    const at = fc.integer({ min: 0, max: text.length - 1 })
    await fc.assert(
      fc.asyncProperty(at, fc.string({ unit: 'grapheme-ascii', maxLength: 2 }), async (i, with_) => {
        const changed = text.slice(0, i) + with_ + text.slice(i + 1)
        fc.pre(changed !== text)
        expect(await sessions.find(changed)).toBeUndefined()
      }),
    )
  })
})
