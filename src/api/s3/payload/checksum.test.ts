import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  CHECKSUM_ALGORITHMS,
  type ChecksumAlgorithm,
  checksumAlgorithm,
  checksumOf,
  combineChecksums,
  createChecksum,
  loadChecksum,
} from './checksum.js'

/** CRC by its definition, bit by bit. */
function crcByDefinition(data: Uint8Array, polynomial: bigint, width: bigint): bigint {
  const ones = (1n << width) - 1n
  let crc = ones
  for (const byte of data) {
    crc ^= BigInt(byte)
    for (let k = 0; k < 8; k++) crc = crc & 1n ? (crc >> 1n) ^ polynomial : crc >> 1n
  }
  return crc ^ ones
}

const CHECK = Buffer.from('123456789')

/** Length of a checksum in bytes. */
const CHECKSUM_LENGTH: Record<ChecksumAlgorithm, number> = {
  CRC32: 4,
  CRC32C: 4,
  CRC64NVME: 8,
  SHA1: 20,
  SHA256: 32,
  MD5: 16,
  SHA512: 64,
  XXHASH3: 8,
  XXHASH64: 8,
  XXHASH128: 16,
}

beforeAll(() => loadChecksum('XXHASH3'))

describe('checksums', () => {
  test('have the check values of the CRC catalogue and of FIPS 180', () => {
    expect(checksumOf('CRC32', CHECK).toString('hex')).toBe('cbf43926')
    expect(checksumOf('CRC32C', CHECK).toString('hex')).toBe('e3069283')
    expect(checksumOf('CRC64NVME', CHECK).toString('hex')).toBe('ae8b14860a799888')
    expect(checksumOf('SHA1', Buffer.from('abc')).toString('hex')).toBe(
      'a9993e364706816aba3e25717850c26c9cd0d89d',
    )
    expect(checksumOf('SHA256', Buffer.alloc(1024, 'A')).toString('base64')).toBe(
      'arcu6553sHVAiX4MjW0j7I7vD4w6R+Gz9Ok0Q9lTa+0=',
    )
    expect(checksumOf('CRC64NVME', Buffer.alloc(1024, 'A')).toString('base64')).toBe('Qeh8oXvGiSo=')
  })

  test.each([
    ['MD5', 'd41d8cd98f00b204e9800998ecf8427e', '900150983cd24fb0d6963f7d28e17f72'],
    ['XXHASH64', 'ef46db3751d8e999', '44bc2cf5ad770999'],
    ['XXHASH3', '2d06800538d394c2', '78af5f94892f3950'],
    ['XXHASH128', '99aa06d3014798d86001c324468d497f', '06b05ab6733a618578af5f94892f3950'],
  ] as const)('%s has the values of its specification, in network byte order', (algorithm, none, abc) => {
    expect(checksumOf(algorithm, Buffer.alloc(0)).toString('hex')).toBe(none)
    expect(checksumOf(algorithm, Buffer.from('abc')).toString('hex')).toBe(abc)
  })

  test('SHA512 has the value of FIPS 180', () => {
    expect(checksumOf('SHA512', Buffer.from('abc')).toString('hex')).toMatch(/^ddaf35a193617aba/)
  })

  test('of several bodies at once do not disturb each other', () => {
    for (const algorithm of CHECKSUM_ALGORITHMS) {
      const bodies = [1, 7, 1000, 70_000].map((size) => Buffer.alloc(size, `${algorithm}${size}`))
      const hashers = bodies.map(() => createChecksum(algorithm))
      for (let at = 0; at < 70_000; at += 900) {
        for (const [i, body] of bodies.entries()) hashers[i]!.update(body.subarray(at, at + 900))
      }
      for (const [i, body] of bodies.entries()) {
        expect(hashers[i]!.digest()).toEqual(checksumOf(algorithm, body))
      }
    }
  })

  test('CRC-64/NVME equals its definition for any length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
        const expected = crcByDefinition(data, 0x9a6c9329ac4bc9b5n, 64n)
        expect(checksumOf('CRC64NVME', Buffer.from(data)).readBigUInt64BE()).toBe(expected)
      }),
    )
  })

  test('are the same in pieces as at once, also across the 64 KiB window', () => {
    const data = Buffer.alloc(200_001, 'some text, ')
    for (const algorithm of CHECKSUM_ALGORITHMS) {
      const hasher = createChecksum(algorithm)
      for (let at = 0, length = 1; at < data.length; at += length, length = (length * 7) % 70_001) {
        hasher.update(data.subarray(at, at + length))
      }
      const digest = hasher.digest()
      expect(digest).toEqual(checksumOf(algorithm, data))
      expect(digest.length).toBe(CHECKSUM_LENGTH[algorithm])
    }
  })

  test('of parts combine to the checksum of the whole', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('CRC32' as const, 'CRC32C' as const, 'CRC64NVME' as const),
        fc.array(fc.uint8Array({ maxLength: 500 }), { maxLength: 8 }),
        (algorithm, parts) => {
          const buffers = parts.map((part) => Buffer.from(part))
          const combined = combineChecksums(
            algorithm,
            buffers.map((part) => ({ checksum: checksumOf(algorithm, part), size: part.length })),
          )
          expect(combined).toEqual(checksumOf(algorithm, Buffer.concat(buffers)))
        },
      ),
    )
  })

  test('combine over parts of several GiB', () => {
    // Ten thousand parts of 5 GiB, all zeros but for one byte, against the same shift in two steps.
    const one = checksumOf('CRC64NVME', Buffer.from([1]))
    const zeros = combineChecksums('CRC64NVME', [
      { checksum: checksumOf('CRC64NVME', Buffer.alloc(1)), size: 1 },
    ])
    const far = [
      { checksum: one, size: 1 },
      ...Array.from({ length: 2 ** 10 }, () => ({ checksum: zeros, size: 1 })),
    ]
    const block = checksumOf('CRC64NVME', Buffer.alloc(2 ** 10))
    expect(combineChecksums('CRC64NVME', far)).toEqual(
      combineChecksums('CRC64NVME', [
        { checksum: one, size: 1 },
        { checksum: block, size: 2 ** 10 },
      ]),
    )
    const doubled = (size: number, checksum: Buffer) =>
      combineChecksums('CRC64NVME', [
        { checksum, size },
        { checksum, size },
      ])
    let [size, zeroChecksum] = [2 ** 10, block]
    while (size < 5 * 2 ** 30) {
      zeroChecksum = doubled(size, zeroChecksum)
      size *= 2
    }
    const halves = [
      { checksum: one, size: 1 },
      { checksum: zeroChecksum, size },
      { checksum: zeroChecksum, size },
    ]
    const whole = [
      { checksum: one, size: 1 },
      { checksum: doubled(size, zeroChecksum), size: 2 * size },
    ]
    expect(combineChecksums('CRC64NVME', halves)).toEqual(combineChecksums('CRC64NVME', whole))
  })

  test('are known by name in any case', () => {
    expect(checksumAlgorithm('crc64nvme')).toBe('CRC64NVME')
    expect(checksumAlgorithm('')).toBeUndefined()
    expect(checksumAlgorithm('xxhash32')).toBeUndefined()
  })
})
