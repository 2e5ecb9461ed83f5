import { createHash, hash } from 'node:crypto'

/** Digests of one body that is cut into blocks. Blocks are added in order; sealed is what is stored of it. */
export interface BodyHashing {
  /** Takes note of the next block for the MD5, and resolves with the SHA-256 of `sealed` when neither is read any more. */
  add(plain: Buffer, sealed: Buffer): Buffer | Promise<Buffer>
  /** MD5 of all plain bytes; once, at the end. */
  md5(): Buffer | Promise<Buffer>
  /** Gives up; for aborted bodies. */
  discard(): void
}

/** Makes BodyHashings: on this thread, or in worker threads (src/server). */
export interface Hashing {
  /** Memory for a block; where hashing goes on elsewhere, it is memory that need not be copied to get there. */
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
        return sha256(sealed)
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
