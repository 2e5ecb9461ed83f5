import { createHash, hash } from 'node:crypto'

/** A block that was hashed. */
export interface HashedBlock {
  /** SHA-256 of `sealed`. */
  hash: Buffer
  /** The bytes that were given as `sealed`, perhaps as another Buffer: memory moves to other threads and back. */
  sealed: Buffer
}

/** Digests of one body that is cut into blocks. */
export interface BodyHashing {
  /**
   * Hashes the next block; blocks are added in order. Both buffers are given away: `plain`, which counts for the MD5, for
   * good if it is not `sealed`, which is what will be stored, and comes back.
   */
  add(plain: Buffer, sealed: Buffer): HashedBlock | Promise<HashedBlock>
  /** MD5 of all plain bytes; once, at the end. */
  md5(): Buffer | Promise<Buffer>
  /** Gives up; for aborted bodies. */
  discard(): void
}

/** Makes BodyHashings: on this thread, or in worker threads (src/platform). */
export interface Hashing {
  /** Memory for a block; where hashing goes on in another thread, it can move there without a copy. */
  allocate(bytes: number): Buffer
  /** Gives memory of `allocate` back; nobody may read it any more. */
  release(buffer: Buffer): void
  /** @param expectedBytes of the whole body, if known: short ones are not worth a worker. */
  start(expectedBytes: number | undefined): BodyHashing
}

/** Hashing on the calling thread: deterministic, and best for small bodies. */
export const inlineHashing: Hashing = {
  allocate: (bytes) => Buffer.allocUnsafeSlow(bytes),
  release() {},
  start() {
    const md5 = createHash('md5')
    return {
      add(plain, sealed) {
        md5.update(plain)
        return { hash: sha256(sealed), sealed }
      },
      md5: () => md5.digest(),
      discard() {},
    }
  },
}

/** SHA-256 of a buffer, 32 bytes. */
export function sha256(data: Buffer): Buffer {
  return hash('sha256', data, 'buffer')
}

/** MD5 of a buffer, 16 bytes. */
export function md5(data: Buffer): Buffer {
  return hash('md5', data, 'buffer')
}
