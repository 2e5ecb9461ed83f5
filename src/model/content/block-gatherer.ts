import type { ByteBudget } from '../../util/byte-budget.js'
import type { Clock } from '../../util/clock.js'
import type { Hashing } from './hashing.js'

/** The first buffer of a body when memory is short. It needs no leave: requests are counted. */
const FIRST_BYTES = 64 * 1024
/** The share of the memory up to which a body gets room for a whole block before its bytes have come. */
const AT_ONCE_SHARE = 0.5
/** A body that needed longer for its first buffer is slow: when memory is short, it holds no more than that. */
const SLOW_MS = 5_000

/** A block that is gathered, with the bytes of memory that count for it: whoever takes it gives them back. */
export interface GatheredBlock {
  readonly plain: Buffer
  readonly heldBytes: number
}

const NOTHING: GatheredBlock = { plain: Buffer.alloc(0), heldBytes: 0 }

/**
 * Gathers chunks into blocks of one size, copying each byte once. When memory is short, a block begins with a small
 * buffer, and waits for a whole one only when that is full. A slow client's block then ends there: otherwise, as many slow
 * clients as there are blocks in the memory would keep all others waiting. Nothing that others wait for is held meanwhile.
 */
export class BlockGatherer {
  #block: Buffer | undefined
  #filled = 0
  #heldBytes = 0
  #sinceMs: number
  /** Bytes of the body to come, as far as is known. */
  #expected: number

  /** @param expectedBytes of the whole body, if known, so that the last block's buffer is not larger than needed */
  constructor(
    private readonly deps: {
      hashing: Pick<Hashing, 'allocate' | 'release'>
      memory: ByteBudget
      clock: Clock
      blockBytes: number
    },
    expectedBytes: number | undefined,
  ) {
    this.#expected = expectedBytes ?? Number.POSITIVE_INFINITY
    this.#sinceMs = deps.clock.monotonicMs()
  }

  /** Whether `grow` or `cut` must come before the next bytes. */
  get isFull(): boolean {
    return this.#block !== undefined && this.#filled === this.#block.length
  }

  /** Makes room for more in the same block; waits for memory. Returns false if the block is to be cut here. */
  async grow(): Promise<boolean> {
    const { hashing, memory, clock, blockBytes } = this.deps
    const old = this.#block!
    const bytes = Math.min(blockBytes, old.length + Math.max(0, this.#expected))
    if (bytes <= old.length) return false
    const isSlow = clock.monotonicMs() - this.#sinceMs > SLOW_MS
    if (isSlow && memory.isBeyond(AT_ONCE_SHARE)) return false
    const waiting = memory.acquire(bytes)
    if (waiting) await waiting
    this.#heldBytes = bytes
    const block = hashing.allocate(bytes)
    old.copy(block, 0, 0, this.#filled)
    hashing.release(old)
    this.#block = block
    return true
  }

  /** Takes what fits of `chunk`; returns the rest. */
  take(chunk: Buffer): Buffer {
    this.#block ??= this.#begin()
    const block = this.#block
    const copied = chunk.copy(block, this.#filled)
    this.#filled += copied
    this.#expected -= copied
    return copied === chunk.length ? NOTHING.plain : chunk.subarray(copied)
  }

  #begin(): Buffer {
    const { hashing, memory, clock, blockBytes } = this.deps
    const bytes = Math.max(1, Math.min(blockBytes, this.#expected))
    if (bytes > FIRST_BYTES && !memory.tryAcquire(bytes, AT_ONCE_SHARE)) {
      this.#sinceMs = clock.monotonicMs()
      return hashing.allocate(FIRST_BYTES)
    }
    if (bytes > FIRST_BYTES) this.#heldBytes = bytes
    return hashing.allocate(bytes)
  }

  /** The block so far; the next one starts empty. */
  cut(): GatheredBlock {
    if (!this.#block) return NOTHING
    const plain = this.#block.subarray(0, this.#filled)
    const heldBytes = Math.max(this.#heldBytes, this.#filled)
    this.deps.memory.adjust(heldBytes - this.#heldBytes)
    this.#block = undefined
    this.#filled = 0
    this.#heldBytes = 0
    return { plain, heldBytes }
  }

  /** Gives up what was gathered. */
  discard(): void {
    this.deps.memory.release(this.#heldBytes)
    this.#heldBytes = 0
    this.#block = undefined
  }
}
