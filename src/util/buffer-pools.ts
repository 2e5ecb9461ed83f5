import { BufferPool } from './buffer-pool.js'

/** Smaller buffers are left to the allocator. */
const BYTES_MIN = 16 * 1024

/**
 * Buffers that are used again, of several sizes, each a quarter of the next. Small ones are worth it too: memory outside
 * of the heap brings the next collection of the whole heap nearer, and a small heap is collected after every few MiB of
 * it, however little of that is alive.
 */
export class BufferPools {
  /** The pools, from small buffers to large ones. */
  readonly #sizes: { bytes: number; pool: BufferPool }[] = []

  /** @param keep how many unused buffers of the largest size are kept; of each other one twice as many as of the next */
  constructor(largestBytes: number, keep: number) {
    let count = keep
    for (let bytes = largestBytes; bytes >= BYTES_MIN; bytes = Math.floor(bytes / 4)) {
      this.#sizes.unshift({ bytes, pool: new BufferPool(bytes, count) })
      count *= 2
    }
  }

  /** A buffer of `length` bytes with any content. */
  take(length: number): Buffer {
    for (const { bytes, pool } of this.#sizes) if (length <= bytes) return pool.take(length)
    return Buffer.allocUnsafeSlow(length)
  }

  /** Gives a buffer (or a part of one) back: see BufferPool. */
  give(buffer: Buffer): void {
    const { byteLength } = buffer.buffer
    for (const { bytes, pool } of this.#sizes) if (byteLength === bytes) pool.give(buffer)
  }

  /** Takes note that lent memory moved, and is this buffer's now. Returns the buffer. */
  adopt(buffer: Buffer): Buffer {
    for (const { pool } of this.#sizes) pool.adopt(buffer)
    return buffer
  }

  /** Whether the buffer is in memory that is lent. */
  lends(buffer: Buffer): boolean {
    return this.#sizes.some(({ pool }) => pool.lends(buffer))
  }

  /** Frees all buffers that are not lent. */
  clear(): void {
    for (const { pool } of this.#sizes) pool.clear()
  }
}
