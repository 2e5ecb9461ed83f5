import { createHash, hash } from 'node:crypto'
import { crc32, crc32c } from '@node-rs/crc32'
import { CHECKSUM_ALGORITHMS, type ChecksumAlgorithm } from '../../../model/versions/record.js'
import { crc64nvme, multiplyModulo } from '../../../util/crc-wasm.js'
import { isXxHash, loadXxHash, XxHasher } from './xxhash.js'

/** The checksum algorithms of S3, by the names of its API. */
export { CHECKSUM_ALGORITHMS, type ChecksumAlgorithm }

/** FULL_OBJECT: over all bytes; COMPOSITE: the checksum of the parts' checksums. */
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE'

/** The header that carries a checksum. */
export const CHECKSUM_HEADER: Record<ChecksumAlgorithm, string> = {
  CRC32: 'x-amz-checksum-crc32',
  CRC32C: 'x-amz-checksum-crc32c',
  CRC64NVME: 'x-amz-checksum-crc64nvme',
  SHA1: 'x-amz-checksum-sha1',
  SHA256: 'x-amz-checksum-sha256',
  MD5: 'x-amz-checksum-md5',
  SHA512: 'x-amz-checksum-sha512',
  XXHASH3: 'x-amz-checksum-xxhash3',
  XXHASH64: 'x-amz-checksum-xxhash64',
  XXHASH128: 'x-amz-checksum-xxhash128',
}

/** The element that carries a checksum in XML bodies. */
export const CHECKSUM_ELEMENT: Record<ChecksumAlgorithm, string> = {
  CRC32: 'ChecksumCRC32',
  CRC32C: 'ChecksumCRC32C',
  CRC64NVME: 'ChecksumCRC64NVME',
  SHA1: 'ChecksumSHA1',
  SHA256: 'ChecksumSHA256',
  MD5: 'ChecksumMD5',
  SHA512: 'ChecksumSHA512',
  XXHASH3: 'ChecksumXXHASH3',
  XXHASH64: 'ChecksumXXHASH64',
  XXHASH128: 'ChecksumXXHASH128',
}

/** The algorithm of that name in any case; undefined if there is none. */
export function checksumAlgorithm(name: string): ChecksumAlgorithm | undefined {
  const upper = name.toUpperCase()
  return CHECKSUM_ALGORITHMS.find((algorithm) => algorithm === upper)
}

/** A hash computed piece by piece. `digest` ends it and may be called once. */
export interface Hasher {
  update(data: Buffer): void
  digest(): Buffer
}

function uint32(value: number): Buffer {
  const out = Buffer.allocUnsafe(4)
  out.writeUInt32BE(value >>> 0)
  return out
}

function uint64(value: bigint): Buffer {
  const out = Buffer.allocUnsafe(8)
  out.writeBigUInt64BE(value)
  return out
}

class Crc32Hasher implements Hasher {
  #value = 0
  constructor(private readonly crc: (data: Buffer, previous: number) => number) {}
  update(data: Buffer): void {
    this.#value = this.crc(data, this.#value)
  }
  digest(): Buffer {
    return uint32(this.#value)
  }
}

class Crc64Hasher implements Hasher {
  #value = 0n
  update(data: Buffer): void {
    this.#value = crc64nvme(data, this.#value)
  }
  digest(): Buffer {
    return uint64(this.#value)
  }
}

/** A hasher of node:crypto: 'md5', 'sha1', 'sha256', 'sha512'. */
export function cryptoHasher(algorithm: 'md5' | 'sha1' | 'sha256' | 'sha512'): Hasher {
  return createHash(algorithm)
}

/**
 * Makes an algorithm ready to be used, for what is loaded only when it is needed.
 * @returns undefined if it is ready
 */
export function loadChecksum(algorithm: ChecksumAlgorithm | undefined): Promise<void> | undefined {
  return algorithm !== undefined && isXxHash(algorithm) ? loadXxHash() : undefined
}

/**
 * A new hasher; the digest is in network byte order, as S3 encodes it in base64.
 * @throws CarportError Internal if `loadChecksum` was not awaited
 */
export function createChecksum(algorithm: ChecksumAlgorithm): Hasher {
  switch (algorithm) {
    case 'CRC32':
      return new Crc32Hasher(crc32)
    case 'CRC32C':
      return new Crc32Hasher(crc32c)
    case 'CRC64NVME':
      return new Crc64Hasher()
    case 'SHA1':
      return cryptoHasher('sha1')
    case 'SHA256':
      return cryptoHasher('sha256')
    case 'MD5':
      return cryptoHasher('md5')
    case 'SHA512':
      return cryptoHasher('sha512')
    case 'XXHASH3':
    case 'XXHASH64':
    case 'XXHASH128':
      return new XxHasher(algorithm)
  }
}

/** The checksum of a whole buffer. @throws CarportError Internal if `loadChecksum` was not awaited */
export function checksumOf(algorithm: ChecksumAlgorithm, data: Buffer): Buffer {
  switch (algorithm) {
    case 'CRC32':
      return uint32(crc32(data))
    case 'CRC32C':
      return uint32(crc32c(data))
    case 'CRC64NVME':
      return uint64(crc64nvme(data))
    case 'SHA1':
      return hash('sha1', data, 'buffer')
    case 'SHA256':
      return hash('sha256', data, 'buffer')
    case 'MD5':
      return hash('md5', data, 'buffer')
    case 'SHA512':
      return hash('sha512', data, 'buffer')
    case 'XXHASH3':
    case 'XXHASH64':
    case 'XXHASH128': {
      const hasher = new XxHasher(algorithm)
      hasher.update(data)
      return hasher.digest()
    }
  }
}

const POLYNOMIAL = {
  CRC32: [0xedb88320n, 32],
  CRC32C: [0x82f63b78n, 32],
  CRC64NVME: [0x9a6c9329ac4bc9b5n, 64],
} as const

/** The algorithms whose checksum of a whole can be computed from those of its parts. */
export type CombinableAlgorithm = keyof typeof POLYNOMIAL

export function isCombinable(algorithm: ChecksumAlgorithm): algorithm is CombinableAlgorithm {
  return algorithm in POLYNOMIAL
}

/**
 * FULL_OBJECT checksum of a multipart object from its parts' checksums and sizes in bytes, without the data:
 * the checksum so far times x^(8 size) plus the part's, in GF(2) modulo the polynomial (Adler, zlib's
 * crc32_combine).
 */
export function combineChecksums(
  algorithm: CombinableAlgorithm,
  parts: readonly { checksum: Buffer; size: number }[],
): Buffer {
  const [polynomial, width] = POLYNOMIAL[algorithm]
  const multiply = (a: bigint, b: bigint) => multiplyModulo(a, b, polynomial, width)
  const powers: bigint[] = [1n << BigInt(width - 2)] // x^(2^i)
  const shiftBy = (bytes: number) => {
    let product = 1n << BigInt(width - 1) // x^0
    for (let i = 3, rest = bytes; rest > 0; i++, rest = Math.floor(rest / 2)) {
      while (powers.length <= i) powers.push(multiply(powers.at(-1)!, powers.at(-1)!))
      if (rest % 2 === 1) product = multiply(product, powers[i]!)
    }
    return product
  }
  let sum = 0n
  let lastSize = -1
  let shift = 0n
  for (const part of parts) {
    if (part.size !== lastSize) {
      shift = shiftBy(part.size)
      lastSize = part.size
    }
    const own = width === 64 ? part.checksum.readBigUInt64BE() : BigInt(part.checksum.readUInt32BE())
    sum = multiply(shift, sum) ^ own
  }
  return width === 64 ? uint64(sum) : uint32(Number(sum))
}
