import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import { CallContext } from './call-context.js'
import { Deadline } from './deadline.js'
import { errorForCaller } from './messages.js'
import { endSource, type Touchable } from './streams.js'
import type { ByteStream, CallOptions, NodeId, RpcHandler, RpcReply } from './transport.js'

/**
 * A call of a node to itself: the handler gets the very body and streams, nothing is encoded. Errors, deadlines and
 * aborts are as on a link.
 */
export function callLocal(
  clock: Clock,
  log: Log,
  self: NodeId,
  method: string,
  handler: RpcHandler | undefined,
  body: unknown,
  options: CallOptions,
): Promise<RpcReply> {
  return new Promise((resolve, reject) => {
    const { timeoutMs, signal } = options
    // The promise rejects with any error thrown here.
    if (signal?.aborted) throw signal.reason
    if (!(timeoutMs > 0)) throw new CarportError('InvalidArgument', `a timeout of ${timeoutMs} ms`)
    if (!handler) throw new CarportError('RemoteError', `unknown method ${method}`)
    const progress = { touch: () => {} }
    const upload = options.stream && new WatchedStream(options.stream, clock, timeoutMs, progress)
    const context = new CallContext(clock, timeoutMs, self, upload)
    let download: WatchedStream | undefined
    let settled = false

    const giveUp = (error: unknown) => {
      release()
      upload?.fail(error)
      download?.fail(error)
      context.abort(new CarportError('PeerUnreachable', 'the caller went away'))
      settled = true
      reject(error)
    }
    const onAbort = () => giveUp(signal?.reason)
    const release = () => {
      deadline.cancel()
      signal?.removeEventListener('abort', onAbort)
    }
    const succeed = (reply: RpcReply) => {
      if (!reply) return fail(new TypeError('the handler returned no reply'))
      context.replied()
      if (settled) {
        if (reply.stream) endSource(reply.stream[Symbol.asyncIterator]())
        return
      }
      settled = true
      deadline.cancel()
      // Watch the reply's stream before the request's is returned: it may be made from that one.
      if (reply.stream)
        download = new WatchedStream(reply.stream, clock, timeoutMs, undefined, method, release)
      if (upload && !upload.opened) void upload.return()
      if (!download) {
        release()
        return resolve(reply)
      }
      resolve({ body: reply.body, stream: download })
    }
    const fail = (error: unknown) => {
      context.replied()
      if (settled) return
      settled = true
      release()
      if (!(error instanceof CarportError)) log.error({ method, err: error }, 'RPC handler failed')
      void upload?.return()
      reject(errorForCaller(error, method))
    }

    const deadline = new Deadline(clock, timeoutMs, () => {
      giveUp(new CarportError('Timeout', `${method}: no reply within ${timeoutMs} ms`))
    })
    progress.touch = () => {
      deadline.touch()
      context.touch()
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      const reply = handler(body, context)
      if (reply instanceof Promise) reply.then(succeed, fail)
      else succeed(reply)
    } catch (error) {
      fail(error)
    }
  })
}

/** Passes a stream on; a reader that waits too long for a chunk, or whose call was given up, gets an error. */
class WatchedStream implements AsyncIterableIterator<Buffer, undefined> {
  opened = false
  readonly #iterator: AsyncIterator<Buffer>
  readonly #clock: Clock
  readonly #silenceMs: number
  readonly #progress: Touchable | undefined
  readonly #method: string
  readonly #onEnd: (() => void) | undefined
  #ended = false
  #failure: unknown
  #rejectWaiting: ((error: unknown) => void) | undefined

  constructor(
    source: ByteStream,
    clock: Clock,
    silenceMs: number,
    progress?: Touchable,
    method = '',
    onEnd?: () => void,
  ) {
    this.#iterator = source[Symbol.asyncIterator]()
    this.#clock = clock
    this.#silenceMs = silenceMs
    this.#progress = progress
    this.#method = method
    this.#onEnd = onEnd
  }

  [Symbol.asyncIterator](): this {
    this.opened = true
    return this
  }

  next(): Promise<IteratorResult<Buffer, undefined>> {
    this.opened = true
    if (this.#failure !== undefined) {
      const error = this.#failure
      this.#failure = undefined
      return Promise.reject(error)
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => {
      let timer: Timer | undefined
      const settle = () => {
        timer?.cancel()
        this.#rejectWaiting = undefined
      }
      this.#rejectWaiting = (error) => {
        settle()
        reject(error)
      }
      timer = this.#clock.after(this.#silenceMs, () => {
        this.fail(new CarportError('Timeout', `the stream was silent for ${this.#silenceMs} ms`))
      })
      this.#iterator.next().then(
        (result) => {
          settle()
          this.#progress?.touch()
          if (result.done) this.#end()
          resolve(result.done ? { done: true, value: undefined } : result)
        },
        (error) => {
          settle()
          this.#end()
          reject(errorForCaller(error, this.#method))
        },
      )
    })
  }

  return(): Promise<IteratorResult<Buffer, undefined>> {
    this.opened = true
    if (!this.#ended) {
      this.#end()
      endSource(this.#iterator)
    }
    return Promise.resolve({ done: true, value: undefined })
  }

  /** Ends the stream of a call that was given up: the reader gets `error`, and the source is returned. */
  fail(error: unknown): void {
    if (this.#ended) return
    this.#end()
    endSource(this.#iterator)
    if (this.#rejectWaiting) this.#rejectWaiting(error)
    else this.#failure = error
  }

  #end(): void {
    this.#ended = true
    this.#onEnd?.()
  }
}
