import { createHash, hash } from 'node:crypto'
import { crc64nvme } from '../../util/crc-wasm.js'

/** A block that was hashed. */
export interface HashedBlock {
  /** SHA-256 of `sealed`. */
  hash: Buffer
  /** The bytes that were given as `sealed`, perhaps as another Buffer: memory moves to other threads and back. */
  sealed: Buffer
}

export interface BodyDigests {
  md5: Buffer
  /** CRC-64/NVME, 8 bytes, big-endian; if it was asked for. */
  crc64?: Buffer
}

export interface HashingOptions {
  /** Of the whole body, if known: short ones are not worth a worker. */
  expectedBytes: number | undefined
  /** Whether the CRC-64/NVME is wanted as well. */
  crc64: boolean
}

/** Digests of one body that is cut into blocks. */
export interface BodyHashing {
  /**
   * Hashes the next block; blocks are added in order. Both buffers are given away: `plain`, which counts for the MD5, for
   * good if it is not `sealed`, which is what will be stored, and comes back.
   */
  add(plain: Buffer, sealed: Buffer): HashedBlock | Promise<HashedBlock>
  /** Digests of all plain bytes; once, at the end. */
  end(): BodyDigests | Promise<BodyDigests>
  /** Gives up; for aborted bodies. */
  discard(): void
}

/** Makes BodyHashings: on this thread, or in worker threads (src/platform). */
export interface Hashing {
  /** Memory for a block; where hashing goes on in another thread, it can move there without a copy. */
  allocate(bytes: number): Buffer
  /** Gives memory of `allocate` back; nobody may read it any more. */
  release(buffer: Buffer): void
  start(options: HashingOptions): BodyHashing
}

/** Hashing on the calling thread: deterministic, and best for small bodies. */
export const inlineHashing: Hashing = {
  allocate: (bytes) => Buffer.allocUnsafeSlow(bytes),
  release() {},
  start({ crc64 }) {
    const digests = new PlainDigests(crc64)
    return {
      add(plain, sealed) {
        digests.update(plain)
        return { hash: sha256(sealed), sealed }
      },
      end: () => digests.end(),
      discard() {},
    }
  },
}

/** MD5 and CRC-64/NVME of plain bytes, piece by piece. */
export class PlainDigests {
  readonly #md5 = createHash('md5')
  #crc64 = 0n

  constructor(private readonly wantsCrc64: boolean) {}

  update(plain: Uint8Array): void {
    this.#md5.update(plain)
    if (this.wantsCrc64) this.#crc64 = crc64nvme(plain, this.#crc64)
  }

  end(): BodyDigests {
    const md5 = this.#md5.digest()
    return this.wantsCrc64 ? { md5, crc64: crc64Bytes(this.#crc64) } : { md5 }
  }
}

/** MD5 and, if wanted, CRC-64/NVME of a whole body. */
export function digestsOf(body: Buffer, wantsCrc64: boolean): BodyDigests {
  return wantsCrc64 ? { md5: md5(body), crc64: crc64Bytes(crc64nvme(body)) } : { md5: md5(body) }
}

function crc64Bytes(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

/** SHA-256 of a buffer, 32 bytes. */
export function sha256(data: Uint8Array): Buffer {
  return hash('sha256', data, 'buffer')
}

/** MD5 of a buffer, 16 bytes. */
export function md5(data: Buffer): Buffer {
  return hash('md5', data, 'buffer')
}
