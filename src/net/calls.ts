import type { CarportError } from '../util/errors.js'
import type { CallContext } from './call-context.js'
import type { Deadline } from './deadline.js'
import { ProtocolError } from './frames.js'
import { MESSAGE_BYTES_MAX } from './messages.js'
import type { MessageSource } from './outbox.js'
import type { InboundStream, OutboundStream, StreamHost } from './streams.js'
import type { Priority, RpcReply } from './transport.js'

/** A message whose frames are coming in. */
export class MessageParts {
  readonly #parts: Buffer[] = []
  bytes = 0

  /** @throws ProtocolError when the message becomes too large. */
  add(part: Buffer): void {
    this.bytes += part.length
    if (this.bytes > MESSAGE_BYTES_MAX) throw new ProtocolError('an oversized message')
    this.#parts.push(part)
  }

  join(): Buffer {
    return Buffer.concat(this.#parts, this.bytes)
  }
}

/** A call of this node that the peer serves. */
export class OutgoingCall {
  readonly id: number
  readonly method: string
  readonly timeoutMs: number
  readonly #resolve: (reply: RpcReply) => void
  readonly #reject: (error: unknown) => void
  request: MessageSource | undefined
  /** The request's stream. */
  upload: OutboundStream | undefined
  /** The reply's stream. */
  download: InboundStream | undefined
  replyParts: MessageParts | undefined
  deadline: Deadline | undefined
  settled = false
  #signal: AbortSignal | undefined
  #onAbort: (() => void) | undefined

  constructor(
    id: number,
    method: string,
    timeoutMs: number,
    resolve: (reply: RpcReply) => void,
    reject: (error: unknown) => void,
  ) {
    this.id = id
    this.method = method
    this.timeoutMs = timeoutMs
    this.#resolve = resolve
    this.#reject = reject
  }

  listen(signal: AbortSignal, onAbort: () => void): void {
    this.#signal = signal
    this.#onAbort = onAbort
    signal.addEventListener('abort', onAbort, { once: true })
  }

  messageSent(): void {
    this.upload?.release()
  }

  /** Notes that the request's stream made progress: only silence counts against the deadline. */
  touch(): void {
    this.deadline?.touch()
  }

  succeed(reply: RpcReply): void {
    this.settled = true
    this.deadline?.cancel()
    this.#resolve(reply)
  }

  /** Ends the call with `error`; after its reply, ends the streams that are left. */
  fail(error: unknown): void {
    this.deadline?.cancel()
    if (!this.settled) {
      this.settled = true
      this.#reject(error)
    }
    this.upload?.stop()
    this.download?.fail(error)
    this.release()
  }

  /** Whether nothing is left to do. */
  get finished(): boolean {
    return this.settled && (this.upload?.finished ?? true) && (this.download?.finished ?? true)
  }

  release(): void {
    if (this.#onAbort) this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#onAbort = undefined
  }
}

/** A call of the peer that this node serves. */
export class IncomingCall {
  readonly id: number
  readonly method: string
  readonly priority: Priority
  readonly context: CallContext
  /** The request's stream. */
  readonly upload: InboundStream | undefined
  reply: MessageSource | undefined
  /** The reply's stream. */
  download: OutboundStream | undefined
  /** Whether the caller went away. */
  aborted = false

  readonly #host: StreamHost

  constructor(
    host: StreamHost,
    id: number,
    method: string,
    priority: Priority,
    context: CallContext,
    upload: InboundStream | undefined,
  ) {
    this.#host = host
    this.id = id
    this.method = method
    this.priority = priority
    this.context = context
    this.upload = upload
  }

  messageSent(): void {
    this.download?.release()
    this.#host.streamFinished(this.id)
  }

  /** Aborts the call, since nobody waits for the reply any more. */
  abort(reason: CarportError): void {
    this.aborted = true
    this.context.abort(reason)
    this.upload?.fail(reason)
    this.reply?.withdraw()
    this.download?.stop()
  }

  /** Whether nothing is left to do. */
  get finished(): boolean {
    return (
      this.reply !== undefined &&
      !this.reply.ready &&
      (this.upload?.finished ?? true) &&
      (this.download?.finished ?? true)
    )
  }
}
