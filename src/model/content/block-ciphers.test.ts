import { createCipheriv, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { contentOpener, contentSealer, partsOpener } from './block-ciphers.js'
import { AUTHENTICATED } from './ciphers.js'
import type { BlockSealer } from './refs.js'

const key = randomBytes(32)
const iv = randomBytes(16)

interface Sealed {
  offset: number
  data: Buffer
}

/** A content cut into blocks, sealed. */
function sealAll(sealer: BlockSealer, content: Buffer, blockBytes: number): Sealed[] {
  const blocks: Sealed[] = []
  for (let offset = 0; offset < content.length; offset += blockBytes) {
    const plain = content.subarray(offset, offset + blockBytes)
    blocks.push({ offset, data: sealer.seal(plain, offset, offset + plain.length === content.length) })
  }
  return blocks
}

describe('authenticated blocks', () => {
  const SIZE = 1000
  const BLOCK = 300
  const content = randomBytes(SIZE)
  const blocks = sealAll(contentSealer(AUTHENTICATED, key, iv), content, BLOCK)
  const open = contentOpener(AUTHENTICATED, key, iv, SIZE)
  const REFUSED = /does not authenticate|outside of its content/

  test('open each by itself, in any order, also the last and shorter one', () => {
    for (const { offset, data } of blocks.toReversed()) {
      expect(data).toHaveLength(Math.min(BLOCK, SIZE - offset) + 16)
      expect(open.open(data, offset)).toEqual(content.subarray(offset, offset + BLOCK))
    }
  })

  test('are of every length, also of none and of many pieces', () => {
    for (const size of [0, 1, 65_536, 65_537, 200_000]) {
      const plain = randomBytes(size)
      const sealed = contentSealer(AUTHENTICATED, key, iv).seal(plain, 0, true)
      expect(contentOpener(AUTHENTICATED, key, iv, size).overheadBytes).toBe(sealed.length - size)
      if (size > 0) expect(contentOpener(AUTHENTICATED, key, iv, size).open(sealed, 0)).toEqual(plain)
    }
  })

  test('do not open with any bit changed', () => {
    const { data } = blocks[1]!
    fc.assert(
      fc.property(fc.nat(data.length - 1), fc.nat(7), (at, bit) => {
        const changed = Buffer.from(data)
        changed[at]! ^= 1 << bit
        expect(() => open.open(changed, BLOCK)).toThrow(REFUSED)
      }),
    )
  })

  test('do not open in the place of another, cut off, or longer', () => {
    const [first, second, , last] = blocks as [Sealed, Sealed, Sealed, Sealed]
    expect(() => open.open(second.data, first.offset)).toThrow(REFUSED)
    expect(() => open.open(first.data, second.offset)).toThrow(REFUSED)
    expect(() => open.open(first.data, last.offset)).toThrow(REFUSED)
    for (const bytes of [0, 15, 16, 17, 100]) {
      expect(() => open.open(first.data.subarray(0, bytes), 0)).toThrow(REFUSED)
    }
    expect(() => open.open(Buffer.concat([first.data, first.data]), 0)).toThrow(REFUSED)
  })

  test('do not open as a shorter content: the last block is bound to be the last', () => {
    const shorter = contentOpener(AUTHENTICATED, key, iv, 2 * BLOCK)
    expect(() => shorter.open(blocks[1]!.data, BLOCK)).toThrow(REFUSED)
    const longer = contentOpener(AUTHENTICATED, key, iv, SIZE + BLOCK)
    expect(() => longer.open(blocks[3]!.data, 3 * BLOCK)).toThrow(REFUSED)
  })

  test('do not open with the key or the IV of another version', () => {
    const { data } = blocks[0]!
    expect(() => contentOpener(AUTHENTICATED, randomBytes(32), iv, SIZE).open(data, 0)).toThrow(REFUSED)
    expect(() => contentOpener(AUTHENTICATED, key, randomBytes(16), SIZE).open(data, 0)).toThrow(REFUSED)
  })

  test('do not open as blocks of the older format, and those not as authenticated ones', () => {
    const ctr = contentSealer(undefined, key, iv).seal(content.subarray(0, BLOCK), 0, false)
    expect(() => open.open(ctr, 0)).toThrow(REFUSED)
    const asOlder = contentOpener(undefined, key, iv, SIZE).open(blocks[0]!.data, 0)
    expect(asOlder.includes(content.subarray(0, 16))).toBe(false)
  })
})

describe('authenticated parts', () => {
  const sizes = [500, 0, 100]
  const parts = sizes.map((size, i) => ({ number: 2 * i + 1, size, iv: randomBytes(16) }))
  const contents = sizes.map((size) => randomBytes(size))
  const sealed = parts.map((part, i) =>
    sealAll(contentSealer(AUTHENTICATED, key, part.iv, part.number), contents[i]!, 300),
  )

  test('open each in its place', () => {
    const opener = partsOpener(AUTHENTICATED, key, parts)
    expect(opener.open(sealed[0]![1]!.data, 300)).toEqual(contents[0]!.subarray(300))
    expect(opener.open(sealed[2]![0]!.data, 500)).toEqual(contents[2])
    expect(() => opener.open(sealed[2]![0]!.data, 600)).toThrow('outside of its content')
  })

  test('do not open under another number or as another part, and are in order', () => {
    const renumbered = parts.map((part) => ({ ...part, number: part.number + 1 }))
    expect(() => partsOpener(AUTHENTICATED, key, renumbered).open(sealed[0]![0]!.data, 0)).toThrow(
      'authenticate',
    )
    const exchanged = [{ ...parts[0]!, iv: parts[2]!.iv }, parts[1]!, { ...parts[2]!, iv: parts[0]!.iv }]
    expect(() => partsOpener(AUTHENTICATED, key, exchanged).open(sealed[2]![0]!.data, 500)).toThrow(
      'authenticate',
    )
    expect(() => partsOpener(AUTHENTICATED, key, parts.toReversed())).toThrow('not in order')
    expect(() => partsOpener(AUTHENTICATED, key, [{ number: 1, size: 5 }])).toThrow('no IV')
  })
})

describe('counter mode, as older versions of objects have it', () => {
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
          const sealed = contentSealer(undefined, key, iv).seal(piece, start, false)
          expect(sealed.equals(whole.subarray(start, start + length))).toBe(true)
          expect(contentOpener(undefined, key, iv, 5000).open(sealed, start).equals(piece)).toBe(true)
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
    const far = contentSealer(undefined, key, iv).seal(data, 2 ** 36, true)
    expect(far).toEqual(contentSealer(undefined, key, carried).seal(data, 0, true))
  })

  test('parts are opened each with its own IV, empty ones apart', () => {
    const key = randomBytes(32)
    const sizes = [100, 0, 33, 1]
    const parts = sizes.map((size, i) => ({ number: i + 1, size, iv: randomBytes(16) }))
    const contents = sizes.map((size) => randomBytes(size))
    const cipher = partsOpener(undefined, key, parts)
    let offset = 0
    for (const [i, content] of contents.entries()) {
      const sealed = contentSealer(undefined, key, parts[i]!.iv).seal(content, 0, true)
      for (let at = 0; at < content.length; at += 17) {
        expect(cipher.open(sealed.subarray(at, at + 17), offset + at)).toEqual(content.subarray(at, at + 17))
      }
      offset += content.length
    }
    expect(() => cipher.open(Buffer.alloc(1), offset)).toThrow('outside of its content')
    expect(() => partsOpener(undefined, key, [{ number: 1, size: 5 }])).toThrow('no IV')
  })
})
