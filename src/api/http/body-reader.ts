import type { IncomingMessage } from 'node:http'
import type { ByteBudget } from '../../util/byte-budget.js'
import type { Idle, IdleWatch } from './idle-watch.js'
import { DOCUMENT_RATE, isBelow, type LeastRate, OBJECT_RATE } from './least-rate.js'

/** Aborted: the client went away before the end. Idle: it sent nothing for too long, or too slowly. TooLarge: over the limit. */
export class BodyError extends Error {
  override readonly name = 'BodyError'
  constructor(
    readonly code: 'Aborted' | 'Idle' | 'TooLarge',
    options?: { cause?: unknown },
  ) {
    super(`request body: ${code}`, options)
  }
}

/** Bytes received ahead of the reader before the client is held back… */
const AHEAD_MAX = 256 * 1024
/** …unless more than this share of the memory of all requests is taken: then one piece at a time is received. */
const AHEAD_SHARE = 0.5
/** Whole bodies up to this length take no part in that memory: requests are counted. */
const FREE_BYTES = 64 * 1024
/** What a document takes in memory when it is parsed, in multiples of its length. */
const DOCUMENT_FACTOR = 4

/**
 * Reads one request's body: either whole by `collect`, or in pieces by `next`. It listens to the request only
 * from the first read on; `onFirstRead` is the place to send `100 Continue`.
 */
export class BodyReader implements Idle {
  lastMs = 0
  place = -1
  /** The least speed asked for while the body is read in pieces. */
  rate: LeastRate = OBJECT_RATE
  /** Bytes of the body received so far. */
  receivedBytes = 0
  /** Whether anything was read. */
  started = false
  /** Whether reading failed: nothing more will come. */
  failed = false
  #ended = false
  #error: BodyError | undefined
  #queue: Buffer[] = []
  #queuedBytes = 0
  #paused = false
  #waiter: { resolve(chunk: Buffer | undefined): void; reject(error: BodyError): void } | undefined
  /** Handles failures of `collect` and `discard`. */
  #onFailure: ((error: BodyError) => void) | undefined
  /** Time spent waiting for the client before the wait that is under way, in ms. */
  #waitedMs = 0
  #waitsSinceMs = 0
  /** Bytes that `discard` has read; undefined before it is called. */
  #discardedBytes: number | undefined
  /** Of the memory of all requests, beside what is queued. */
  #heldBytes = 0
  #closed = false

  constructor(
    private readonly request: IncomingMessage,
    private readonly watch: IdleWatch,
    private readonly onFirstRead?: () => void,
    /** Bounds the memory of all requests. */
    private readonly memory?: ByteBudget,
  ) {}

  /** Whether the whole body arrived. */
  get ended(): boolean {
    return this.#ended
  }

  /** The next bytes, or undefined at the end. @throws BodyError Aborted, Idle */
  async next(): Promise<Buffer | undefined> {
    if (!this.started) this.#start()
    const chunk = this.#queue.shift()
    if (chunk !== undefined) {
      this.#queuedBytes -= chunk.length
      this.memory?.release(chunk.length)
      if (this.#paused && this.#queuedBytes <= AHEAD_MAX / 2 && !this.#isShort) {
        this.#paused = false
        this.request.resume()
      }
      return chunk
    }
    if (this.#error) throw this.#error
    if (this.#ended) return undefined
    if (this.#paused) {
      this.#paused = false
      this.request.resume()
    }
    this.watch.add(this)
    this.#waitsSinceMs = this.lastMs
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject }
    })
  }

  isTooSlow(nowMs: number): boolean {
    return isBelow(
      this.rate,
      this.#discardedBytes ?? this.receivedBytes,
      this.#waitedMs + nowMs - this.#waitsSinceMs,
    )
  }

  /**
   * The whole body; the bytes are not copied when they came in one piece.
   * @param rate the least speed: that of documents unless told
   * @throws BodyError Aborted, Idle, TooLarge (as soon as there are more than `bytesMax`)
   */
  collect(bytesMax: number, rate: LeastRate = DOCUMENT_RATE): Promise<Buffer> {
    this.rate = rate
    const waiting = this.#reserve(bytesMax)
    return waiting ? waiting.then(() => this.#collect(bytesMax)) : this.#collect(bytesMax)
  }

  /** Takes memory for a long body, before anything of it is read; it counts until `close`. */
  #reserve(bytesMax: number): Promise<void> | undefined {
    if (!this.memory) return undefined
    const announced = this.request.headers['content-length']
    const length = announced === undefined ? bytesMax : Math.min(Number(announced), bytesMax)
    if (!(length > FREE_BYTES)) return undefined
    return this.hold(length * (this.rate === DOCUMENT_RATE ? DOCUMENT_FACTOR : 1))
  }

  /**
   * Takes memory for what the request needs now, instead of what was taken for its body: nobody waits while holding what
   * others wait for. It counts until `close`. A request whose client has gone gets none: nobody would give it back.
   * @throws BodyError Aborted, by the promise
   */
  hold(bytes: number): Promise<void> | undefined {
    const { memory } = this
    if (!memory) return undefined
    if (this.#closed) return Promise.reject(new BodyError('Aborted'))
    this.#holdInstead(0)
    const waiting = memory.acquire(bytes)
    if (!waiting) {
      this.#heldBytes = bytes
      return undefined
    }
    return waiting.then(() => {
      if (this.#closed) {
        memory.release(bytes)
        throw new BodyError('Aborted')
      }
      // Another call may have taken some meanwhile.
      this.#holdInstead(bytes)
    })
  }

  /** So many bytes were taken: what was held before goes back. */
  #holdInstead(bytes: number): void {
    if (this.#heldBytes > 0) this.memory!.release(this.#heldBytes)
    this.#heldBytes = bytes
  }

  /** What `hold` has taken, or the reading of a whole body. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** As `hold`, if there is room at once; if not, nothing changes. */
  tryHold(bytes: number): boolean {
    const { memory } = this
    if (!memory) return true
    if (this.#closed || !memory.tryAcquire(bytes)) return false
    this.#holdInstead(bytes)
    return true
  }

  /** Gives back what is held beyond so many bytes. */
  keep(bytes: number): void {
    if (this.#heldBytes <= bytes) return
    this.memory!.release(this.#heldBytes - bytes)
    this.#heldBytes = bytes
  }

  #collect(bytesMax: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const { request } = this
      let first: Buffer | undefined
      let more: Buffer[] | undefined
      const finish = (error?: BodyError) => {
        this.failed = error !== undefined && error.code !== 'TooLarge'
        this.watch.remove(this)
        request.off('data', onData).off('end', onEnd).off('close', onClose)
        if (error) reject(error)
        else if (more !== undefined) resolve(Buffer.concat(more, this.receivedBytes))
        else resolve(first ?? Buffer.alloc(0))
      }
      const onData = (chunk: Buffer) => {
        this.receivedBytes += chunk.length
        if (this.receivedBytes > bytesMax) {
          request.pause()
          return finish(new BodyError('TooLarge'))
        }
        this.lastMs = this.watch.clock.monotonicMs()
        if (first === undefined) first = chunk
        else if (more === undefined) more = [first, chunk]
        else more.push(chunk)
      }
      const onEnd = () => {
        this.#ended = true
        finish()
      }
      const onClose = () => finish(new BodyError('Aborted'))
      this.started = true
      this.#onFailure = finish
      this.watch.add(this)
      this.#waitsSinceMs = this.lastMs
      // An aborted request emits 'error'; 'close' follows and ends the read.
      request.on('error', ignore)
      request.on('data', onData).on('end', onEnd).on('close', onClose)
      if (request.destroyed) finish(new BodyError('Aborted'))
      else this.onFirstRead?.()
    })
  }

  onIdle(): void {
    this.#fail(new BodyError('Idle'))
  }

  #fail(error: BodyError): void {
    if (this.#onFailure) {
      this.#onFailure(error)
      return
    }
    this.watch.remove(this)
    this.#error ??= error
    this.failed = true
    const waiter = this.#waiter
    this.#waiter = undefined
    waiter?.reject(this.#error)
  }

  #start(): void {
    this.started = true
    const { request } = this
    if (request.destroyed && !request.complete) {
      this.#error = new BodyError('Aborted')
      this.failed = true
      return
    }
    request.on('error', ignore)
    request.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length
      if (this.#closed) return
      const waiter = this.#waiter
      if (waiter) {
        this.#waiter = undefined
        this.watch.remove(this)
        this.#waitedMs += this.watch.clock.monotonicMs() - this.#waitsSinceMs
        waiter.resolve(chunk)
        return
      }
      this.#queue.push(chunk)
      this.#queuedBytes += chunk.length
      this.memory?.adjust(chunk.length)
      if (!this.#paused && (this.#queuedBytes >= AHEAD_MAX || this.#isShort)) {
        this.#paused = true
        request.pause()
      }
    })
    request.on('end', () => {
      this.#ended = true
      this.watch.remove(this)
      const waiter = this.#waiter
      this.#waiter = undefined
      waiter?.resolve(undefined)
    })
    request.on('close', () => {
      if (!this.#ended) this.#fail(new BodyError('Aborted'))
    })
    this.onFirstRead?.()
  }

  /** Gives back what the request holds of the memory of all; nothing more is read. */
  close(): void {
    this.#closed = true
    this.#forgetQueue()
    this.#holdInstead(0)
  }

  #forgetQueue(): void {
    if (this.#queuedBytes > 0) this.memory?.release(this.#queuedBytes)
    this.#queue = []
    this.#queuedBytes = 0
  }

  /** Whether memory is too short to receive ahead of the reader. */
  get #isShort(): boolean {
    return this.memory?.isBeyond(AHEAD_SHARE) === true
  }

  /**
   * Throws away the rest of the body, at most `bytesMax`. Resolves with whether the end was reached; false
   * after an idle time, or when the client went away. No other read may follow.
   */
  discard(bytesMax: number): Promise<boolean> {
    const { request } = this
    this.watch.remove(this)
    this.#forgetQueue()
    if (this.#ended || request.readableEnded) return Promise.resolve(true)
    if (request.destroyed) return Promise.resolve(false)
    request.removeAllListeners('data')
    return new Promise((resolve) => {
      let discarded = 0
      const finish = (whole: boolean) => {
        this.watch.remove(this)
        request.off('data', onData).off('end', onEnd).off('close', onClose)
        if (!whole) request.pause()
        resolve(whole)
      }
      const onData = (chunk: Buffer) => {
        this.lastMs = this.watch.clock.monotonicMs()
        discarded += chunk.length
        this.#discardedBytes = discarded
        if (discarded > bytesMax) finish(false)
      }
      const onEnd = () => finish(true)
      const onClose = () => finish(false)
      this.#onFailure = () => finish(false)
      this.#discardedBytes = 0
      this.rate = DOCUMENT_RATE
      this.watch.add(this)
      this.#waitedMs = 0
      this.#waitsSinceMs = this.lastMs
      request.on('error', ignore)
      request.on('data', onData).on('end', onEnd).on('close', onClose)
      request.resume()
    })
  }
}

function ignore(): void {}
