import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { Fifo } from '../util/fifo.js'
import {
  FLAG_END,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_MAX,
  FrameType,
  ProtocolError,
  writeFrameHeader,
} from './frames.js'
import { encodeError, errorForCaller } from './messages.js'
import type { FrameSource, Outbox } from './outbox.js'
import type { ByteStream, Priority } from './transport.js'

/**
 * Bytes that a stream may have on the way or unread. A block of 1 MiB and a little around it goes at once, without a
 * round trip for more credit. When the reader keeps up and the link is long, the receiver lets the window grow to
 * 4 MiB: 40 MiB/s at 100 ms. Each stream has its own, so that a slow reader holds up no other stream.
 */
export const WINDOW_BYTES_INITIAL = (1024 + 64) * 1024
export const WINDOW_BYTES_MAX = 4 * 1024 * 1024
/** An outgoing stream asks its source for more as soon as it holds less than this. */
const READ_AHEAD_BYTES = 64 * 1024

/** What streams need of their link. */
export interface StreamHost {
  readonly clock: Clock
  readonly outbox: Outbox
  readonly rttMs: number | undefined
  hlcToSend(): number
  /** Notes that the stream of call `id` in one direction is over. */
  streamFinished(id: number): void
}

/** Something whose time starts anew when a stream makes progress. */
export interface Touchable {
  touch(): void
}

/** The sending half of a stream: reads a source as fast as the peer gives credit. */
export class OutboundStream implements FrameSource {
  queued = false
  finished = false
  readonly priority: Priority
  readonly #host: StreamHost
  readonly #id: number
  readonly #method: string
  readonly #iterator: AsyncIterator<Buffer>
  readonly #progress: Touchable | undefined
  readonly #chunks = new Fifo<Buffer>()
  #chunkOffset = 0
  #bufferedBytes = 0
  #creditBytes = WINDOW_BYTES_INITIAL
  #held = true
  #reading = false
  #sourceEnded = false
  #failure: Buffer | undefined

  constructor(
    host: StreamHost,
    id: number,
    priority: Priority,
    method: string,
    source: ByteStream,
    progress?: Touchable,
  ) {
    this.#host = host
    this.#id = id
    this.priority = priority
    this.#method = method
    this.#iterator = source[Symbol.asyncIterator]()
    this.#progress = progress
    this.#read()
  }

  get ready(): boolean {
    if (this.#held || this.finished) return false
    if (this.#failure) return true
    return this.#bufferedBytes > 0 ? this.#creditBytes > 0 : this.#sourceEnded
  }

  /** Starts the stream: the message that announces it has left, so that its frames may follow. */
  release(): void {
    this.#held = false
    this.#announce()
  }

  /** Takes credit from the peer for more bytes. */
  grant(bytes: number): void {
    this.#creditBytes += bytes
    this.#announce()
  }

  /** Ends the source, since nobody wants the rest. */
  stop(): void {
    if (this.finished) return
    this.finished = true
    this.#chunks.clear()
    this.#bufferedBytes = 0
    if (!this.#sourceEnded) endSource(this.#iterator)
    this.#host.streamFinished(this.#id)
  }

  writeFrame(batch: Buffer, offset: number): number {
    if (this.#failure) {
      const payload = this.#failure.subarray(0, FRAME_PAYLOAD_MAX)
      writeFrameHeader(batch, offset, FrameType.streamError, 0, payload.length, this.#id)
      payload.copy(batch, offset + FRAME_HEADER_BYTES)
      this.#finish()
      return FRAME_HEADER_BYTES + payload.length
    }
    const room = Math.min(FRAME_PAYLOAD_MAX, this.#creditBytes)
    const start = offset + FRAME_HEADER_BYTES
    let bytes = 0
    while (bytes < room) {
      const chunk = this.#chunks.peek()
      if (!chunk) break
      const taken = Math.min(room - bytes, chunk.length - this.#chunkOffset)
      batch.set(chunk.subarray(this.#chunkOffset, this.#chunkOffset + taken), start + bytes)
      bytes += taken
      this.#chunkOffset += taken
      if (this.#chunkOffset === chunk.length) {
        this.#chunks.shift()
        this.#chunkOffset = 0
      }
    }
    this.#bufferedBytes -= bytes
    this.#creditBytes -= bytes
    const last = this.#sourceEnded && this.#bufferedBytes === 0
    writeFrameHeader(batch, offset, FrameType.data, last ? FLAG_END : 0, bytes, this.#id)
    this.#progress?.touch()
    if (last) this.#finish()
    else if (this.#bufferedBytes < READ_AHEAD_BYTES) this.#read()
    return FRAME_HEADER_BYTES + bytes
  }

  #finish(): void {
    this.finished = true
    this.#host.streamFinished(this.#id)
  }

  #announce(): void {
    if (this.ready) this.#host.outbox.add(this)
  }

  #read(): void {
    if (this.#reading || this.#sourceEnded) return
    this.#reading = true
    this.#readOn().catch((error) => {
      this.#sourceEnded = true
      if (this.finished) return
      this.#chunks.clear()
      this.#bufferedBytes = 0
      this.#failure = encodeError(this.#host.hlcToSend(), errorForCaller(error, this.#method))
      this.#announce()
    })
  }

  async #readOn(): Promise<void> {
    while (!this.finished && this.#bufferedBytes < READ_AHEAD_BYTES) {
      const { done, value } = await this.#iterator.next()
      if (done) {
        this.#sourceEnded = true
        break
      }
      if (!(value instanceof Uint8Array)) {
        endSource(this.#iterator)
        throw new CarportError('InvalidArgument', 'a stream of something else than bytes')
      }
      if (this.finished || value.length === 0) continue
      this.#chunks.push(value)
      this.#bufferedBytes += value.length
      this.#announce()
    }
    this.#reading = false
    this.#announce()
  }
}

/** Tells a source that the rest is not wanted. Errors that it throws then are dropped. */
export function endSource(iterator: AsyncIterator<Buffer>): void {
  try {
    iterator.return?.()?.then(undefined, () => {})
  } catch {
    // A source that is no generator may throw here instead of rejecting.
  }
}

interface Waiter {
  resolve(result: IteratorResult<Buffer, undefined>): void
  reject(error: unknown): void
}

const END: IteratorResult<Buffer, undefined> = { done: true, value: undefined }
const CREDIT_BYTES = 4

/** The receiving half of a stream. It holds the bytes that came in and were not read yet, never more than the window. */
export class InboundStream implements AsyncIterableIterator<Buffer, undefined> {
  /** Whether nothing more comes in: the stream ended, broke, or was stopped by its reader. */
  finished = false
  /** Whether anybody began to read. */
  opened = false
  readonly #host: StreamHost
  readonly #id: number
  readonly #silenceMs: number
  readonly #progress: Touchable | undefined
  readonly #chunks = new Fifo<Buffer>()
  readonly #waiters = new Fifo<Waiter>()
  #failure: { error: unknown } | undefined
  #stopped = false
  #silenceTimer: Timer | undefined
  #waitingSinceMs = 0
  #windowBytes = WINDOW_BYTES_INITIAL
  /** Bytes that the peer may still send. */
  #allowedBytes = WINDOW_BYTES_INITIAL
  /** Bytes that were read, but not yet given back to the peer as credit. */
  #readBytes = 0
  #epochStartMs = 0
  #epochBytes = 0

  /** `silenceMs`: a reader that waits longer than this for a chunk gets a Timeout. */
  constructor(host: StreamHost, id: number, silenceMs: number, progress?: Touchable) {
    this.#host = host
    this.#id = id
    this.#silenceMs = silenceMs
    this.#progress = progress
    this.#epochStartMs = host.clock.monotonicMs()
  }

  [Symbol.asyncIterator](): this {
    this.opened = true
    return this
  }

  next(): Promise<IteratorResult<Buffer, undefined>> {
    this.opened = true
    const chunk = this.#chunks.shift()
    if (chunk) {
      this.#giveCredit(chunk.length)
      return Promise.resolve({ done: false, value: chunk })
    }
    if (this.#failure) {
      const { error } = this.#failure
      this.#failure = undefined
      this.#stopped = true
      return Promise.reject(error)
    }
    if (this.finished) return Promise.resolve(END)
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      this.#waitingSinceMs = this.#host.clock.monotonicMs()
      if (!this.#silenceTimer) this.#watchSilence(this.#silenceMs)
    })
  }

  return(): Promise<IteratorResult<Buffer, undefined>> {
    this.stop()
    return Promise.resolve(END)
  }

  /** Stops the stream for its reader: drops the unread bytes and ends the stream at its source. */
  stop(): void {
    this.opened = true
    this.#stopped = true
    this.#chunks.clear()
    this.#failure = undefined
    if (this.finished) return
    this.#host.outbox.addControl(FrameType.stop, this.#id, EMPTY)
    this.#finish()
    this.#endWaiters()
  }

  /** @throws ProtocolError when the peer sends more than it was allowed. */
  push(piece: Buffer, end: boolean): void {
    if (this.finished) return
    this.#allowedBytes -= piece.length
    if (this.#allowedBytes < 0) throw new ProtocolError('a stream beyond its credit')
    this.#progress?.touch()
    if (piece.length > 0) {
      const waiter = this.#waiters.shift()
      if (waiter) {
        this.#giveCredit(piece.length)
        waiter.resolve({ done: false, value: piece })
      } else {
        this.#chunks.push(piece)
      }
    }
    if (!end) return
    this.#finish()
    this.#endWaiters()
  }

  /** Breaks the stream. The reader gets the bytes that came before, then `error`. */
  fail(error: unknown): void {
    if (this.finished) return
    this.#finish()
    if (this.#stopped) return
    const waiter = this.#waiters.shift()
    if (waiter) waiter.reject(error)
    else this.#failure = { error }
    this.#endWaiters()
  }

  #finish(): void {
    this.finished = true
    this.#silenceTimer?.cancel()
    this.#silenceTimer = undefined
    this.#host.streamFinished(this.#id)
  }

  #endWaiters(): void {
    for (let waiter = this.#waiters.shift(); waiter; waiter = this.#waiters.shift()) waiter.resolve(END)
  }

  #watchSilence(delayMs: number): void {
    this.#silenceTimer = this.#host.clock.after(delayMs, () => {
      this.#silenceTimer = undefined
      if (this.finished || this.#waiters.length === 0) return
      const leftMs = this.#silenceMs - (this.#host.clock.monotonicMs() - this.#waitingSinceMs)
      if (leftMs > 1) return this.#watchSilence(leftMs)
      this.#host.outbox.addControl(FrameType.stop, this.#id, EMPTY)
      this.fail(new CarportError('Timeout', `the stream was silent for ${this.#silenceMs} ms`))
    })
  }

  #giveCredit(bytes: number): void {
    if (this.finished) return
    this.#readBytes += bytes
    this.#epochBytes += bytes
    if (this.#readBytes < this.#windowBytes / 4) return
    let grantBytes = this.#readBytes
    if (this.#epochBytes >= this.#windowBytes) {
      // A window that is read within two round trips limits the stream: let it grow, as QUIC's auto-tuning does.
      const nowMs = this.#host.clock.monotonicMs()
      const limited = nowMs - this.#epochStartMs < 2 * (this.#host.rttMs ?? 0)
      if (limited && this.#windowBytes < WINDOW_BYTES_MAX) {
        const before = this.#windowBytes
        this.#windowBytes = Math.min(2 * this.#windowBytes, WINDOW_BYTES_MAX)
        grantBytes += this.#windowBytes - before
      }
      this.#epochStartMs = nowMs
      this.#epochBytes = 0
    }
    this.#readBytes = 0
    this.#allowedBytes += grantBytes
    const payload = Buffer.allocUnsafe(CREDIT_BYTES)
    payload.writeUInt32BE(grantBytes)
    this.#host.outbox.addControl(FrameType.credit, this.#id, payload)
  }
}

const EMPTY = Buffer.alloc(0)
