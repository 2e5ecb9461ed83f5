import type { Clock } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { Deadline } from './deadline.js'
import type { ByteStream, CallOptions, NodeId } from './transport.js'

/**
 * What a handler learns of its call. Most handlers never look at `signal`, so that it and its timer are made when
 * they do; the time counts from the call's arrival all the same.
 */
export class CallContext {
  readonly from: NodeId
  readonly stream?: ByteStream
  readonly trace?: string
  readonly readMark?: number
  readonly #clock: Clock
  readonly #timeoutMs: number
  #lastMs: number
  #controller: AbortController | undefined
  #deadline: Deadline | undefined
  #abortedBy: CarportError | undefined
  #replied = false

  constructor(
    clock: Clock,
    timeoutMs: number,
    from: NodeId,
    stream: ByteStream | undefined,
    { trace, readMark }: Pick<CallOptions, 'trace' | 'readMark'> = {},
  ) {
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#lastMs = clock.monotonicMs()
    this.from = from
    if (stream) this.stream = stream
    if (trace !== undefined) this.trace = trace
    if (readMark !== undefined) this.readMark = readMark
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      const leftMs = this.#timeoutMs - (this.#clock.monotonicMs() - this.#lastMs)
      if (this.#abortedBy) this.#controller.abort(this.#abortedBy)
      else if (!this.#replied && leftMs <= 0) this.#expire()
      else if (!this.#replied) this.#startDeadline(leftMs)
    }
    return this.#controller.signal
  }

  /** A chunk of the request's stream came in. */
  touch(): void {
    this.#lastMs = this.#clock.monotonicMs()
    this.#deadline?.touch()
  }

  /** The reply is made: the deadline is met. The signal still tells when the caller goes away. */
  replied(): void {
    this.#replied = true
    this.#deadline?.cancel()
  }

  /** The caller went away. */
  abort(reason: CarportError): void {
    if (this.#abortedBy) return
    this.#abortedBy = reason
    this.#deadline?.cancel()
    this.#controller?.abort(reason)
  }

  #startDeadline(leftMs: number): void {
    this.#deadline = new Deadline(this.#clock, leftMs, () => {
      const idleMs = this.#clock.monotonicMs() - this.#lastMs
      if (idleMs < this.#timeoutMs - 1) this.#startDeadline(this.#timeoutMs - idleMs)
      else this.#expire()
    })
  }

  #expire(): void {
    this.abort(new CarportError('Timeout', `the call was not served within ${this.#timeoutMs} ms`))
  }
}
