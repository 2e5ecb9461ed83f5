import { errorForCaller } from '../src/net/messages.js'
import { endSource } from '../src/net/streams.js'
import type { ByteStream } from '../src/net/transport.js'
import type { Clock, Timer } from '../src/util/clock.js'
import { CarportError } from '../src/util/errors.js'

/** Chunks under way and unread, before the sender waits for the reader. */
const WINDOW_CHUNKS = 16

/** Carries a message of `bytes` over the link, calling `deliver` at the other end, perhaps never. */
export type Carry = (bytes: number, deliver: () => void) => void

export interface SimStreamOptions {
  source: ByteStream
  /** The ways from the sender to the reader, and back. */
  forward: Carry
  backward: Carry
  /** The reader's clock, and the longest silence it bears. */
  clock: Clock
  silenceMs: number
  method: string
  /** Whether the sender's node still runs. */
  senderAlive: () => boolean
  /** Called when a chunk arrives. */
  onProgress?: () => void
  onEnd?: () => void
}

type Item = { chunk: Buffer } | { end: true } | { error: unknown }

/** A stream between two simulated nodes: copies, in order, with a window, and errors and aborts passed on. */
export class SimStream implements AsyncIterableIterator<Buffer, undefined> {
  /** Whether the reader began to read. */
  opened = false
  readonly #options: SimStreamOptions
  readonly #source: AsyncIterator<Buffer>
  // State of the sender's side.
  #sentCount = 0
  #readCount = 0
  #stopped = false
  #onCredit: (() => void) | undefined
  // State of the reader's side.
  readonly #early = new Map<number, Item>()
  #nextIndex = 0
  readonly #items: Item[] = []
  #waiting: ((item: Item) => void) | undefined
  #ended = false

  constructor(options: SimStreamOptions) {
    this.#options = options
    this.#source = options.source[Symbol.asyncIterator]()
  }

  [Symbol.asyncIterator](): this {
    this.opened = true
    return this
  }

  /** Begins to read the source, since the message that announces the stream has left. */
  start(): void {
    void this.#pump()
  }

  async next(): Promise<IteratorResult<Buffer, undefined>> {
    const item = this.#items.shift() ?? (this.#ended ? { end: true } : await this.#wait())
    if ('chunk' in item) {
      this.#options.backward(8, () => {
        this.#readCount++
        this.#onCredit?.()
      })
      return { done: false, value: item.chunk }
    }
    this.#finish()
    if ('error' in item) throw item.error
    return { done: true, value: undefined }
  }

  async return(): Promise<IteratorResult<Buffer, undefined>> {
    if (!this.#ended) {
      this.#finish()
      this.#options.backward(8, () => this.#stopSource())
    }
    return { done: true, value: undefined }
  }

  /** Ends the stream of a broken link or a call that was given up: the reader gets `error`, and the source is returned. */
  fail(error: unknown): void {
    this.#stopSource()
    if (!this.#ended) this.#arrive({ error })
  }

  async #pump(): Promise<void> {
    const { forward, senderAlive, method } = this.#options
    let over = false
    while (!over) {
      let item: Item
      try {
        const result = await this.#source.next()
        item = result.done ? { end: true } : { chunk: Buffer.from(result.value) }
      } catch (error) {
        item = { error: errorForCaller(error, method) }
      }
      if (this.#stopped || !senderAlive()) return
      over = !('chunk' in item)
      const index = this.#sentCount++
      forward('chunk' in item ? item.chunk.length : 8, () => this.#receive(index, item))
      while (!over && this.#sentCount - this.#readCount >= WINDOW_CHUNKS) {
        await new Promise<void>((resolve) => {
          this.#onCredit = resolve
        })
      }
    }
    this.#stopped = true
  }

  #receive(index: number, item: Item): void {
    this.#options.onProgress?.()
    this.#early.set(index, item)
    for (;;) {
      const next = this.#early.get(this.#nextIndex)
      if (!next) return
      this.#early.delete(this.#nextIndex++)
      this.#arrive(next)
    }
  }

  #arrive(item: Item): void {
    if (this.#ended) return
    if (this.#waiting) this.#waiting(item)
    else this.#items.push(item)
  }

  #wait(): Promise<Item> {
    const { clock, silenceMs } = this.#options
    return new Promise((resolve) => {
      let timer: Timer | undefined
      this.#waiting = (item) => {
        timer?.cancel()
        this.#waiting = undefined
        resolve(item)
      }
      timer = clock.after(silenceMs, () => {
        this.#stopSource()
        this.#waiting?.({ error: new CarportError('Timeout', `the stream was silent for ${silenceMs} ms`) })
      })
    })
  }

  #stopSource(): void {
    if (this.#stopped) return
    this.#stopped = true
    endSource(this.#source)
  }

  #finish(): void {
    if (this.#ended) return
    this.#ended = true
    this.#items.length = 0
    this.#options.onEnd?.()
  }
}
