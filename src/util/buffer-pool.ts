/**
 * Buffers of one size that are used again: the garbage collector notices memory outside of its heap late, so that
 * streams of large blocks would otherwise hold hundreds of MiB of garbage.
 */
export class BufferPool {
  readonly #free: ArrayBufferLike[] = []
  readonly #lent = new WeakSet<ArrayBufferLike>()

  /**
   * @param bytes size of the buffers
   * @param keep how many unused ones are kept
   */
  constructor(
    private readonly bytes: number,
    private readonly keep: number,
  ) {}

  /** A buffer of `length` bytes with any content. Lengths that the pool's size does not fit come from elsewhere. */
  take(length: number): Buffer {
    if (length > this.bytes || length < this.bytes / 4) return Buffer.allocUnsafeSlow(length)
    const memory = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.bytes).buffer
    this.#lent.add(memory)
    return Buffer.from(memory, 0, length)
  }

  /** Takes note that lent memory moved (to another thread and back, say), and is this buffer's now. Returns the buffer. */
  adopt(buffer: Buffer): Buffer {
    if (buffer.buffer.byteLength === this.bytes) this.#lent.add(buffer.buffer)
    return buffer
  }

  /** Whether the buffer is in memory that is lent. */
  lends(buffer: Buffer): boolean {
    return this.#lent.has(buffer.buffer)
  }

  /** Frees all buffers that are not lent. */
  clear(): void {
    this.#free.length = 0
  }

  /**
   * Gives a buffer (or a part of one) back. Only the holder of the last reference may call it. A buffer that did
   * not come from the pool, or came back already, is ignored.
   */
  give(buffer: Buffer): void {
    if (!this.#lent.delete(buffer.buffer)) return
    if (this.#free.length < this.keep) this.#free.push(buffer.buffer)
  }
}
