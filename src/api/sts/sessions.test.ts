import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../testing/seeded-random.js'
import { S3Error } from '../s3/errors.js'
import { type SessionGrant, Sessions } from './sessions.js'

const NOW = 1_800_000_000_000
const SECRET = Buffer.alloc(32, 7)
const sessions = new Sessions(SECRET, new SeededRandom(1))
const GRANT: SessionGrant = {
  parentKeyId: 'GK1',
  expiresMs: NOW + 900_000,
  provider: 'home',
  subject: 'alice',
  name: 'session',
}

function codeOf(open: () => unknown): string {
  try {
    open()
  } catch (error) {
    if (error instanceof S3Error) return error.code
    throw error
  }
  return 'opened'
}

describe('a session token', () => {
  it('gives back what was granted, on any node with the same secret', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 60 })
    fc.assert(
      fc.property(text, text, text, fc.integer({ min: 1, max: 1e9 }), (provider, subject, name, s) => {
        const grant = { ...GRANT, provider, subject, name, expiresMs: NOW + s * 1000 }
        const { accessKeyId, secretAccessKey, sessionToken } = sessions.issue(grant)
        expect(accessKeyId).toMatch(/^CPST[0-9A-F]{24}$/)
        const other = new Sessions(SECRET, new SeededRandom(2))
        const { session, secret } = other.open(accessKeyId, sessionToken, NOW)
        expect(session).toMatchObject({ ...grant, keyId: accessKeyId })
        expect(session.limits()).toBeUndefined()
        expect(secret).toBe(secretAccessKey)
      }),
    )
  })

  it('is good until its time and no longer', () => {
    const { accessKeyId, sessionToken } = sessions.issue(GRANT)
    expect(codeOf(() => sessions.open(accessKeyId, sessionToken, GRANT.expiresMs - 1))).toBe('opened')
    expect(codeOf(() => sessions.open(accessKeyId, sessionToken, GRANT.expiresMs))).toBe('ExpiredToken')
  })

  it('is refused by another cluster, and with another key id', () => {
    const { accessKeyId, sessionToken } = sessions.issue(GRANT)
    const stranger = new Sessions(Buffer.alloc(32, 8), new SeededRandom(1))
    expect(codeOf(() => stranger.open(accessKeyId, sessionToken, NOW))).toBe('InvalidToken')
    const { accessKeyId: another } = sessions.issue(GRANT)
    expect(codeOf(() => sessions.open(accessKeyId, sessionToken, NOW))).toBe('opened')
    expect(codeOf(() => sessions.open(another, sessionToken, NOW))).toBe('InvalidToken')
    expect(codeOf(() => sessions.open('GK1', sessionToken, NOW))).toBe('InvalidToken')
  })

  it('is refused after any change of a character', () => {
    const { accessKeyId, sessionToken } = sessions.issue(GRANT)
    const at = fc.integer({ min: 0, max: sessionToken.length - 1 })
    fc.assert(
      fc.property(at, fc.string({ unit: 'grapheme-ascii', maxLength: 2 }), (i, with_) => {
        const changed = sessionToken.slice(0, i) + with_ + sessionToken.slice(i + 1)
        fc.pre(changed !== sessionToken)
        expect(codeOf(() => sessions.open(accessKeyId, changed, NOW))).toBe('InvalidToken')
      }),
    )
  })

  it('is refused if it is anything else', () => {
    const { accessKeyId } = sessions.issue(GRANT)
    const bytes = fc.uint8Array({ maxLength: 200 }).map((b) => Buffer.from([1, ...b]).toString('base64url'))
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), bytes), (token) => {
        expect(codeOf(() => sessions.open(accessKeyId, token, NOW))).toBe('InvalidToken')
      }),
    )
    expect(codeOf(() => sessions.open(accessKeyId, 'A'.repeat(100_000), NOW))).toBe('InvalidToken')
  })

  it('denies everything if its policy cannot be read', () => {
    const { accessKeyId, sessionToken } = sessions.issue({ ...GRANT, policy: '{"Version":"2030-01-01"}' })
    const { session } = sessions.open(accessKeyId, sessionToken, NOW)
    expect(codeOf(() => session.limits())).toBe('AccessDenied')
  })

  it('keeps many sessions apart', () => {
    const issued = Array.from({ length: 600 }, (_, i) => ({
      i,
      ...sessions.issue({ ...GRANT, subject: `${i}` }),
    }))
    for (const { i, accessKeyId, sessionToken } of [...issued, ...issued]) {
      expect(sessions.open(accessKeyId, sessionToken, NOW).session.subject).toBe(String(i))
    }
  })
})
