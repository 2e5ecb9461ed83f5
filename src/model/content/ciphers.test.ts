import { createCipheriv, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  contentCipher,
  customerDataKey,
  decodeContentEncryption,
  keyedEtag,
  MasterKeys,
  newCustomerKeyEncryption,
  partsCipher,
} from './ciphers.js'

const random = { bytes: (n: number) => randomBytes(n), float: () => 0.5 }

describe('counter mode', () => {
  test('any piece of the stream is what the whole has there, also where the counter overflows a word', () => {
    const key = randomBytes(32)
    const plain = randomBytes(5000)
    for (const iv of [
      randomBytes(16),
      Buffer.alloc(16, 0xff),
      Buffer.from(`${'00'.repeat(4)}${'ff'.repeat(12)}`, 'hex'),
    ]) {
      const whole = createCipheriv('aes-256-ctr', key, iv).update(plain)
      fc.assert(
        fc.property(fc.nat(4999), fc.nat(600), (start, length) => {
          const piece = plain.subarray(start, start + length)
          const sealed = contentCipher(key, iv).seal(piece, start)
          expect(sealed.equals(whole.subarray(start, start + length))).toBe(true)
          expect(contentCipher(key, iv).open(sealed, start).equals(piece)).toBe(true)
        }),
      )
    }
  })

  test('offsets beyond 2^36 bytes count in the next word of the counter', () => {
    const key = randomBytes(32)
    const iv = Buffer.alloc(16)
    const carried = Buffer.alloc(16)
    carried.writeUInt32BE(1, 8)
    const data = randomBytes(64)
    expect(contentCipher(key, iv).seal(data, 2 ** 36)).toEqual(contentCipher(key, carried).seal(data, 0))
  })

  test('parts are opened each with its own IV, empty ones apart', () => {
    const key = randomBytes(32)
    const sizes = [100, 0, 33, 1]
    const parts = sizes.map((size, i) => ({ number: i + 1, size, iv: randomBytes(16) }))
    const contents = sizes.map((size) => randomBytes(size))
    const cipher = partsCipher(key, parts)
    let offset = 0
    for (const [i, content] of contents.entries()) {
      const sealed = contentCipher(key, parts[i]!.iv).seal(content, 0)
      for (let at = 0; at < content.length; at += 17) {
        expect(cipher.open(sealed.subarray(at, at + 17), offset + at)).toEqual(content.subarray(at, at + 17))
      }
      offset += content.length
    }
    expect(() => cipher.open(Buffer.alloc(1), offset)).toThrow('outside of all parts')
    expect(() => partsCipher(key, [{ number: 1, size: 5 }])).toThrow('no IV')
  })
})

describe("a client's key", () => {
  test('is told from others without being stored', () => {
    const key = randomBytes(32)
    const { encryption, dataKey } = newCustomerKeyEncryption(key, random)
    expect(customerDataKey(encryption, key)).toEqual(dataKey)
    expect(customerDataKey(encryption, randomBytes(32))).toBeUndefined()
    const stored = Buffer.concat([encryption.salt, encryption.verifier])
    expect(stored.includes(key)).toBe(false)
    expect(stored.includes(dataKey)).toBe(false)
    expect(newCustomerKeyEncryption(key, random).dataKey).not.toEqual(dataKey)
  })

  test('keyed ETags differ from the MD5 and between versions', () => {
    const md5 = randomBytes(16)
    const [a, b] = [randomBytes(32), randomBytes(32)]
    expect(keyedEtag(a, md5)).toHaveLength(16)
    expect(keyedEtag(a, md5)).not.toEqual(md5)
    expect(keyedEtag(a, md5)).not.toEqual(keyedEtag(b, md5))
  })
})

describe('master keys', () => {
  const bucket = randomBytes(16)

  test('a new one wraps, old ones still unwrap', () => {
    const [old, current] = [randomBytes(32), randomBytes(32)]
    const before = new MasterKeys([old]).wrap(bucket, random)!
    const keys = new MasterKeys([current, old])
    expect(keys.unwrap(bucket, before.encryption)).toEqual(before.dataKey)
    const after = keys.wrap(bucket, random, before.dataKey)!
    expect(new MasterKeys([current]).unwrap(bucket, after.encryption)).toEqual(before.dataKey)
  })

  test('without any, nothing is wrapped, and what was is refused with the id of the key that is missing', () => {
    expect(new MasterKeys([]).wrap(bucket, random)).toBeUndefined()
    const { encryption } = new MasterKeys([randomBytes(32)]).wrap(bucket, random)!
    expect(() => new MasterKeys([]).unwrap(bucket, encryption)).toThrow(encryption.keyId.toString('hex'))
  })

  test('a wrapped key of another bucket, or a changed one, does not unwrap', () => {
    const keys = new MasterKeys([randomBytes(32)])
    const { encryption } = keys.wrap(bucket, random)!
    expect(() => keys.unwrap(randomBytes(16), encryption)).toThrow('authenticate')
    const wrapped = Buffer.from(encryption.wrapped)
    wrapped[20]! ^= 1
    expect(() => keys.unwrap(bucket, { ...encryption, wrapped })).toThrow('authenticate')
  })
})

test('rows that say nonsense of their encryption are corrupted, not read as plain', () => {
  const { encryption } = newCustomerKeyEncryption(randomBytes(32), random)
  expect(decodeContentEncryption(encryption)).toBe(encryption)
  expect(decodeContentEncryption(undefined)).toBeUndefined()
  for (const bad of [
    1,
    'x',
    {},
    { kind: 'SSE-C' },
    { ...encryption, iv: randomBytes(15) },
    { ...encryption, salt: 'x' },
  ]) {
    expect(() => decodeContentEncryption(bad)).toThrow('malformed encryption')
  }
})
