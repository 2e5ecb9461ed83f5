import { randomBytes } from 'node:crypto'
import { compress } from '@mongodb-js/zstd'
import { describe, expect, it } from 'vitest'
import { checkFrame, zstdCompression } from './compression.js'

const MIB = 1 << 20
/** Text with few repetitions, all zeroes, and a mixture of text and noise. */
const SAMPLES: [string, (bytes: number) => Buffer][] = [
  [
    'text',
    (bytes) =>
      Buffer.from(
        Array.from({ length: bytes }, (_, i) => `${i * 7919} `)
          .join('')
          .slice(0, bytes),
      ),
  ],
  ['zeroes', (bytes) => Buffer.alloc(bytes)],
  [
    'a mixture',
    (bytes) =>
      Buffer.concat(
        Array.from({ length: 64 }, (_, i) => (i % 2 ? randomBytes(bytes / 64) : Buffer.alloc(bytes / 64, i))),
      ),
  ],
]

describe('what is decompressed', () => {
  for (const [name, make] of SAMPLES) {
    it.each([1, 3, 9, 19, 22])(`is every frame that is made of ${name} at level %i`, async (level) => {
      for (const bytes of [64, 256, 4096, 70_016, MIB, 2 * MIB]) {
        const plain = make(bytes)
        const frame = await compress(plain, level)
        expect(() => checkFrame(frame, plain.length)).not.toThrow()
        const again = await zstdCompression(level).decompress(frame, plain.length)
        // Vitest would compare byte by byte, which takes seconds.
        expect(plain.equals(again)).toBe(true)
      }
    })
  }

  it('is nothing that would become longer than the block', async () => {
    const bomb = await compress(Buffer.alloc(64 * MIB), 19)
    const small = await compress(Buffer.alloc(1000), 1)
    const { decompress } = zstdCompression(1)
    await expect(decompress(bomb, MIB)).rejects.toThrow('no frame of 1048576 bytes')
    await expect(decompress(Buffer.concat([small, bomb]), 1000)).rejects.toThrow('no single frame')
    // A frame that lies about its size: thousands of blocks of one repeated byte, 128 KiB each.
    const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58])
    const repeated = Buffer.from([
      (((128 << 10) << 3) & 0xff) | 2,
      ((128 << 10) >> 5) & 0xff,
      (128 << 10) >> 13,
      7,
    ])
    const liar = Buffer.concat([header, ...Array.from({ length: 5000 }, () => repeated)])
    await expect(decompress(liar, MIB)).rejects.toThrow('no frame of 1048576 bytes')
    for (const bytes of [0, 3, 8]) {
      await expect(decompress(small.subarray(0, bytes), 1000)).rejects.toThrow('no zstd frame')
    }
  })
})
