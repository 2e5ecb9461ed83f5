import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  customerDataKey,
  decodeContentEncryption,
  keyedEtag,
  MasterKeys,
  newCustomerKeyEncryption,
} from './ciphers.js'

const random = { bytes: (n: number) => randomBytes(n), float: () => 0.5 }

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
    const after = keys.wrap(bucket, random, { dataKey: before.dataKey, format: 2 })!
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

  test('a row that lies about the format of its content gives no key', () => {
    const keys = new MasterKeys([randomBytes(32)])
    const { format: _, ...older } = keys.wrap(bucket, random)!.encryption
    expect(() => keys.unwrap(bucket, older)).toThrow('authenticate')
    const key = randomBytes(32)
    const { format: __, ...customer } = newCustomerKeyEncryption(key, random).encryption
    expect(customerDataKey(customer, key)).toBeUndefined()
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
    { ...encryption, format: 3 },
  ]) {
    expect(() => decodeContentEncryption(bad)).toThrow('malformed encryption')
  }
})
