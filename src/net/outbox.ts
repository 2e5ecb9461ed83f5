import { Fifo } from '../util/fifo.js'
import {
  FLAG_END,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_MAX,
  type FrameType,
  ProtocolError,
  writeFrameHeader,
} from './frames.js'
import { Priority } from './transport.js'

/**
 * Bytes handed to the socket at once. Bytes in the socket can no longer be overtaken, so that they should be
 * few; but each write costs a system call, so that it should not be a single frame either.
 */
const BATCH_BYTES = 128 * 1024
const BATCHES_IN_SOCKET = 2
/** Bytes of messages that may wait on one link. Beyond this the link is overloaded, and new calls fail. */
export const QUEUE_BYTES_MAX = 64 * 1024 * 1024
/** Control frames answer the peer's frames; a peer that makes us queue this many does not read. */
const CONTROL_FRAMES_MAX = 200_000
const IDLE_BATCHES_MAX = 8

/** Something that has frames to send, one at a time. */
export interface FrameSource {
  readonly priority: Priority
  /** Whether it has a frame now. */
  readonly ready: boolean
  /** Whether it stands in a queue; only the outbox sets this. */
  queued: boolean
  /** Writes its next frame into `batch` at `offset`, where FRAME_BYTES_MAX are free; returns the frame's size. */
  writeFrame(batch: Buffer, offset: number): number
}

/** Takes a batch to the peer; `done` when the batch's memory may be used again. */
export type BatchWriter = (batch: Buffer, done: () => void) => void

/** Batches are as large as they are few: they are shared by all links. */
export class BatchPool {
  readonly #idle: Buffer[] = []

  take(): Buffer {
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(BATCH_BYTES)
  }

  give(batch: Buffer): void {
    if (this.#idle.length < IDLE_BATCHES_MAX) this.#idle.push(batch)
  }
}

/**
 * The frames that wait to be sent on one link. The most urgent source's next frame goes first, sources of the same priority
 * take turns, and all frames added during one turn of the event loop leave in one write.
 */
export class Outbox {
  readonly #write: BatchWriter
  readonly #pool: BatchPool
  readonly #queues = Object.values(Priority).map(() => new Fifo<FrameSource>())
  /** Frames without or with a fixed payload, which precede all others. */
  readonly #control = new Fifo<{ type: FrameType; id: number; payload: Buffer }>()
  #inSocket = 0
  #flushScheduled = false
  #closed = false
  /** Bytes of messages that are queued. */
  queuedBytes = 0

  constructor(write: BatchWriter, pool: BatchPool) {
    this.#write = write
    this.#pool = pool
  }

  /** Lets a source send as long as it is ready. Call it again whenever the source becomes ready. */
  add(source: FrameSource): void {
    if (source.queued || this.#closed) return
    source.queued = true
    this.#queues[source.priority]!.push(source)
    this.#schedule()
  }

  /** Queues a control frame. @throws ProtocolError when the peer provoked more of these than it reads. */
  addControl(type: FrameType, id: number, payload: Buffer): void {
    if (this.#closed) return
    if (this.#control.length >= CONTROL_FRAMES_MAX) throw new ProtocolError('too many frames to answer')
    this.#control.push({ type, id, payload })
    this.#schedule()
  }

  close(): void {
    this.#closed = true
    for (const queue of this.#queues) queue.clear()
    this.#control.clear()
  }

  #schedule(): void {
    if (this.#flushScheduled || this.#inSocket >= BATCHES_IN_SOCKET) return
    this.#flushScheduled = true
    // The flush runs after all promise callbacks of this turn, so that their frames are in the same write.
    process.nextTick(this.#flush)
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false
    while (!this.#closed && this.#inSocket < BATCHES_IN_SOCKET) {
      const batch = this.#pool.take()
      const bytes = this.#fill(batch)
      if (bytes === 0) {
        this.#pool.give(batch)
        return
      }
      this.#inSocket++
      this.#write(batch.subarray(0, bytes), () => {
        this.#inSocket--
        this.#pool.give(batch)
        this.#flush()
      })
    }
  }

  #fill(batch: Buffer): number {
    const limit = batch.length - FRAME_BYTES_MAX
    let bytes = 0
    while (bytes <= limit) {
      const frame = this.#control.shift()
      if (!frame) break
      writeFrameHeader(batch, bytes, frame.type, 0, frame.payload.length, frame.id)
      batch.set(frame.payload, bytes + FRAME_HEADER_BYTES)
      bytes += FRAME_HEADER_BYTES + frame.payload.length
    }
    for (const queue of this.#queues) {
      while (bytes <= limit) {
        const source = queue.shift()
        if (!source) break
        source.queued = false
        if (!source.ready) continue
        bytes += source.writeFrame(batch, bytes)
        // While it wrote, it may have been queued again, or a more urgent source may have come.
        if (source.ready && !source.queued) {
          source.queued = true
          queue.push(source)
        }
      }
    }
    return bytes
  }
}

/** A whole message, cut into frames as it leaves. */
export class MessageSource implements FrameSource {
  queued = false
  /** The number of bytes that left. */
  sent = 0
  readonly priority: Priority
  readonly #outbox: Outbox
  readonly #type: FrameType
  readonly #id: number
  readonly #flags: number
  readonly #owner: { messageSent(): void } | undefined
  #message: Buffer
  #withdrawn = false

  /** `flags` go out with each frame, `FLAG_END` is added to the last; `owner` is called when that one left. */
  constructor(
    outbox: Outbox,
    type: FrameType,
    id: number,
    flags: number,
    priority: Priority,
    message: Buffer,
    owner?: { messageSent(): void },
  ) {
    this.#outbox = outbox
    this.#type = type
    this.#id = id
    this.#flags = flags
    this.priority = priority
    this.#message = message
    this.#owner = owner
    outbox.queuedBytes += message.length
    outbox.add(this)
  }

  get ready(): boolean {
    return !this.#withdrawn && this.sent < this.#message.length
  }

  writeFrame(batch: Buffer, offset: number): number {
    const left = this.#message.length - this.sent
    const bytes = Math.min(left, FRAME_PAYLOAD_MAX)
    const last = bytes === left
    writeFrameHeader(batch, offset, this.#type, last ? this.#flags | FLAG_END : this.#flags, bytes, this.#id)
    this.#message.copy(batch, offset + FRAME_HEADER_BYTES, this.sent, this.sent + bytes)
    this.sent += bytes
    this.#outbox.queuedBytes -= bytes
    if (last) this.#owner?.messageSent()
    return FRAME_HEADER_BYTES + bytes
  }

  /** Stops sending the message. Returns whether any part of it left. */
  withdraw(): boolean {
    if (this.ready) {
      this.#withdrawn = true
      this.#outbox.queuedBytes -= this.#message.length - this.sent
      this.#message = this.#message.subarray(0, 0)
    }
    return this.sent > 0
  }
}
