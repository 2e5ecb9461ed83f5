import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ProtocolError } from './frames.js'
import {
  commonVersion,
  decodeHello,
  type Exporter,
  encodeHello,
  HELLO_BYTES_MAX,
  type Hello,
  helloBytes,
  Role,
  Verdict,
} from './handshake.js'

const SECRET = Buffer.alloc(32, 1)
const HELLO: Hello = {
  verdict: Verdict.welcome,
  role: Role.peer,
  versions: { min: 1, max: 3 },
  incarnation: '0123456789abcdef',
  dialNumber: 42,
  hlcUs: 1_700_000_000_000_123,
}

function connection(name: string): Exporter {
  return {
    exportKeyingMaterial: (length, label) =>
      createHash('sha256').update(name).update(label).digest().subarray(0, length),
  }
}

describe('hello', () => {
  const bytes = encodeHello(HELLO, 'dialer', SECRET, connection('a'))

  test('is read back, and proves the secret', () => {
    expect(helloBytes(bytes)).toBe(bytes.length)
    const { hello, proven } = decodeHello(bytes, 'dialer', SECRET, connection('a'))
    expect(hello).toEqual(HELLO)
    expect(proven).toBe(true)
  })

  test.each([
    ['with another secret', () => decodeHello(bytes, 'dialer', Buffer.alloc(32, 2), connection('a'))],
    ['on another connection', () => decodeHello(bytes, 'dialer', SECRET, connection('b'))],
    ['sent back to its sender', () => decodeHello(bytes, 'listener', SECRET, connection('a'))],
    [
      'with a changed field',
      () => {
        const changed = Buffer.from(bytes)
        changed[27]! ^= 1
        return decodeHello(changed, 'dialer', SECRET, connection('a'))
      },
    ],
  ])('proves nothing %s', (_how, decode) => {
    expect(decode().proven).toBe(false)
  })

  test('of a later version may be longer', () => {
    const longer = Buffer.concat([bytes, Buffer.alloc(20)])
    longer.writeUInt16BE(longer.length - 10, 8)
    expect(helloBytes(longer)).toBe(longer.length)
  })

  test('of any bytes is read, or refused with a protocol error', () => {
    const mutated = fc
      .array(fc.tuple(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 })), { maxLength: 6 })
      .map((changes) => {
        const copy = Buffer.from(bytes)
        for (const [at, value] of changes) copy[at] = value
        return copy
      })
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (any) => {
        const received = Buffer.from(any)
        try {
          const total = helloBytes(received)
          if (total !== undefined) expect(total).toBeLessThanOrEqual(HELLO_BYTES_MAX)
          if (total !== undefined && received.length >= total) {
            decodeHello(received.subarray(0, total), 'dialer', SECRET, connection('a'))
          }
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError)
        }
      }),
      { numRuns: 1000 },
    )
  })
})

test.each([
  [{ min: 1, max: 1 }, { min: 1, max: 1 }, 1],
  [{ min: 1, max: 3 }, { min: 2, max: 5 }, 3],
  [{ min: 2, max: 5 }, { min: 1, max: 3 }, 3],
  [{ min: 1, max: 1 }, { min: 2, max: 2 }, undefined],
  [{ min: 4, max: 5 }, { min: 1, max: 3 }, undefined],
])('versions %o and %o agree on %o', (ours, theirs, version) => {
  expect(commonVersion(ours, theirs)).toBe(version)
})
