import type { BlockReadOptions } from '../../block/manager.js'
import type { ByteBudget } from '../../util/byte-budget.js'
import type { Clock, Timer } from '../../util/clock.js'
import { CarportError, errorCode } from '../../util/errors.js'
import { Semaphore } from '../../util/semaphore.js'
import type { BlockOpener, BlockPointer } from './refs.js'

/** Blocks fetched ahead of the client: enough for a link of 100 ms at 40 MiB/s. */
const READ_AHEAD = 4
/** The share of the memory up to which blocks are fetched ahead. */
const AHEAD_SHARE = 0.5
/** Above this share of the memory, clients get copies of small parts of a block, which itself can go. */
const WHOLE_SHARE = 0.75
const SLICE_BYTES = 64 * 1024
/** A block whose client has not taken its last slice for this long makes way for others that wait for memory, in ms. */
const STALLED_MS = 1_000
const STALLED_CHECK_MS = 250
/** Most contents that are read at the same time in order to be written again. */
const COPIES_MAX = 16

export interface BlockReadsDeps {
  get(hash: Buffer, options: BlockReadOptions): Promise<Buffer>
  /** Takes the memory of a block that was read and is not needed any more. */
  recycle: ((block: Buffer) => void) | undefined
  memory: ByteBudget
  clock: Clock
}

export interface ReadOptions {
  cipher?: BlockOpener
  signal?: BlockReadOptions['signal']
  /**
   * Whether the content is written again while it is read. Its block at hand then does not count, so that nobody who reads
   * waits for one who writes, or the other way round; a few copies at a time are read instead.
   */
  isCopy?: boolean
}

/** A block that is being read, or is in memory; its bytes count until `release`. */
interface HeldBlock {
  readonly offset: number
  readonly ref: BlockPointer
  data: Promise<Buffer>
  heldBytes: number
}

/**
 * Reads contents for clients that take them at their own speed. Together they hold no more than the memory that they share: each
 * waits for room for its next block, and blocks of clients that do not read make way for others.
 */
export class BlockReads {
  /** Blocks whose clients have a copied slice in hand, the longest first. */
  readonly #waitingForClient = new Map<() => void, number>()
  #timer: Timer | undefined
  readonly #copies = new Semaphore(COPIES_MAX)

  constructor(private readonly deps: BlockReadsDeps) {}

  /** To be called when somebody waits for memory. */
  onShortage(): void {
    const { clock, memory } = this.deps
    this.#timer ??= clock.after(STALLED_CHECK_MS, () => {
      this.#timer = undefined
      const nowMs = clock.monotonicMs()
      for (const [giveBack, sinceMs] of [...this.#waitingForClient]) {
        if (nowMs - sinceMs < STALLED_MS) break
        this.#waitingForClient.delete(giveBack)
        giveBack()
      }
      if (memory.waiting > 0) this.onShortage()
    })
  }

  /**
   * The bytes from `start` up to `end` of the blocks that `refs` gives in order, each verified. A chunk is the consumer's only
   * until it asks for the next one: its memory is used again.
   * @throws BlockMissing, Corrupted, QuorumUnavailable
   */
  async *read(
    refs: AsyncGenerator<{ offset: number; ref: BlockPointer }>,
    start: number,
    end: number,
    options: ReadOptions,
  ): AsyncGenerator<Buffer> {
    const { memory } = this.deps
    const overheadBytes = options.cipher?.overheadBytes ?? 0
    const held: HeldBlock[] = []
    let next: { offset: number; ref: BlockPointer } | undefined
    let more = true
    if (options.isCopy) await this.#copies.acquire()
    try {
      while (true) {
        while (more && held.length <= READ_AHEAD) {
          if (!next) {
            const { done, value } = await refs.next()
            more = !done && value.offset < end
            if (!more) break
            next = value as { offset: number; ref: BlockPointer }
          }
          const bytes = next.ref.size + overheadBytes
          if (held.length > 0) {
            if (!memory.tryAcquire(bytes, AHEAD_SHARE)) break
          } else if (!options.isCopy) await this.#acquire(bytes)
          const heldBytes = options.isCopy && held.length === 0 ? 0 : bytes
          held.push({ ...next, data: this.#get(next.ref, options), heldBytes })
          next = undefined
        }
        const first = held[0]
        if (!first) return
        const from = Math.max(0, start - first.offset)
        const to = Math.min(first.ref.size, end - first.offset)
        if (options.isCopy || !memory.isBeyond(WHOLE_SHARE)) {
          const block = await this.#open(first, options)
          yield block.length === to - from ? block : block.subarray(from, to)
          this.#release(first, block)
        } else yield* this.#inSlices(first, from, to, options)
        held.shift()
      }
    } finally {
      if (options.isCopy) this.#copies.release()
      // Reads under way fill memory that counts until they end.
      for (const block of held) {
        if (block.heldBytes > 0) void block.data.catch(() => {}).then(() => this.#release(block, undefined))
      }
    }
  }

  /** Copies of small parts; while the client does not take one, the block itself may go, and is read again. */
  async *#inSlices(held: HeldBlock, from: number, to: number, options: ReadOptions): AsyncGenerator<Buffer> {
    const bytes = held.heldBytes
    let block: Buffer | undefined = await this.#open(held, options)
    const giveBack = () => {
      this.#release(held, block)
      block = undefined
    }
    for (let at = from; at < to; at += SLICE_BYTES) {
      if (!block) {
        await this.#acquire(bytes)
        held.heldBytes = bytes
        held.data = this.#get(held.ref, options)
        block = await this.#open(held, options)
      }
      const slice = Buffer.from(block.subarray(at, Math.min(to, at + SLICE_BYTES)))
      this.#waitingForClient.set(giveBack, this.deps.clock.monotonicMs())
      try {
        yield slice
      } finally {
        this.#waitingForClient.delete(giveBack)
      }
    }
    if (block) this.#release(held, block)
  }

  async #acquire(bytes: number): Promise<void> {
    const waiting = this.deps.memory.acquire(bytes)
    if (waiting) await waiting
  }

  #get(ref: BlockPointer, { cipher, signal }: ReadOptions, thorough = false): Promise<Buffer> {
    const plainBytes = ref.size + (cipher?.overheadBytes ?? 0)
    const data = this.deps.get(ref.hash, { plainBytes, signal, ...(thorough && { thorough }) })
    data.catch(() => {}) // reported when its turn comes
    return data
  }

  /** The content of a block. A copy that is not what was stored, though its checksum is right, is looked for elsewhere. */
  async #open(held: HeldBlock, options: ReadOptions): Promise<Buffer> {
    try {
      return this.#opened(await held.data, held, options)
    } catch (error) {
      if (errorCode(error) !== 'Corrupted') throw error
      return this.#opened(await this.#get(held.ref, options, true), held, options)
    }
  }

  #opened(sealed: Buffer, { offset, ref }: HeldBlock, { cipher }: ReadOptions): Buffer {
    const plain = cipher ? cipher.open(sealed, offset) : sealed
    if (plain !== sealed) this.deps.recycle?.(sealed)
    if (plain.length !== ref.size)
      throw new CarportError('Corrupted', 'a block has another length than its object says')
    return plain
  }

  /** @param block its memory, if nobody reads that any more */
  #release(held: HeldBlock, block: Buffer | undefined): void {
    this.deps.memory.release(held.heldBytes)
    held.heldBytes = 0
    // Memory that `open` made anew is none that was lent, and is ignored.
    if (block) this.deps.recycle?.(block)
  }
}
