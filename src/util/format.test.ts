import { pack, unpack } from 'msgpackr'
import { expect, test } from 'vitest'
import { looksLikeMsgpack, versioned } from './format.js'

const text = versioned<string>('note', {
  encode: (value) => Buffer.from(value),
  writes: 2,
  versions: { 1: (payload) => payload.toString().toUpperCase(), 2: (payload) => payload.toString() },
  unmarked: { is: looksLikeMsgpack, decode: (stored) => (unpack(stored) as { text: string }).text },
})

test('a value begins with the version of its format, and each version has its decoder', () => {
  expect(text.encode('hello')).toEqual(Buffer.from('\x02hello'))
  expect(text.decode(Buffer.from('\x02hello'))).toBe('hello')
  expect(text.decode(Buffer.from('\x01hello'))).toBe('HELLO')
})

test('what was written without a version is told apart and read', () => {
  expect(text.decode(pack({ text: 'old' }))).toBe('old')
})

test('a format of a later release is refused by name, and so is nonsense', () => {
  const refusal = (stored: Buffer) => {
    try {
      return text.decode(stored)
    } catch (error) {
      return error
    }
  }
  expect(refusal(Buffer.from('\x03new'))).toMatchObject({
    code: 'Corrupted',
    message: 'note: format 3 is of a later release: this one reads up to 2',
  })
  for (const stored of [Buffer.alloc(0), Buffer.of(0), Buffer.of(0x92), pack(null)]) {
    expect(refusal(stored)).toMatchObject({ code: 'Corrupted' })
  }
})

test('rows that nodes compare are written as the first release reads them, and version 1 is understood', () => {
  const row = versioned<number[]>('row', {
    encode: (value) => pack(value),
    writes: 'unmarked',
    versions: { 1: (payload) => unpack(payload) as number[] },
    unmarked: { is: looksLikeMsgpack, decode: (stored) => unpack(stored) as number[] },
  })
  expect(row.encode([1, 2])).toEqual(pack([1, 2]))
  expect(row.decode(pack([1, 2]))).toEqual([1, 2])
  expect(row.decode(Buffer.concat([Buffer.of(1), pack([1, 2])]))).toEqual([1, 2])
})
