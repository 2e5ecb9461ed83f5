import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import { CallContext } from './call-context.js'
import { IncomingCall } from './calls.js'
import { FLAG_STREAM, FrameType } from './frames.js'
import { encodeError, encodeReply, errorForCaller, type RequestMessage } from './messages.js'
import { MessageSource, QUEUE_BYTES_MAX } from './outbox.js'
import { endSource, InboundStream, OutboundStream, type StreamHost } from './streams.js'
import type { NodeId, Priority, RpcHandler, RpcReply } from './transport.js'

const INCOMING_CALLS_MAX = 8192

/** The calls of one peer that this node serves. */
export class IncomingCalls {
  readonly #host: StreamHost
  readonly #peer: NodeId
  readonly #handlers: ReadonlyMap<string, RpcHandler>
  readonly #log: Log
  readonly #calls = new Map<number, IncomingCall>()

  constructor(host: StreamHost, peer: NodeId, handlers: ReadonlyMap<string, RpcHandler>, log: Log) {
    this.#host = host
    this.#peer = peer
    this.#handlers = handlers
    this.#log = log
  }

  get(id: number): IncomingCall | undefined {
    return this.#calls.get(id)
  }

  serve(id: number, priority: Priority, request: RequestMessage, hasStream: boolean): void {
    const { method, timeoutMs, body } = request
    let context: CallContext
    const progress = { touch: () => context.touch() }
    const upload = hasStream ? new InboundStream(this.#host, id, timeoutMs, progress) : undefined
    context = new CallContext(this.#host.clock, timeoutMs, this.#peer, upload, request)
    const call = new IncomingCall(this.#host, id, method, priority, context, upload)
    const busy = this.#calls.size >= INCOMING_CALLS_MAX
    this.#calls.set(id, call)
    const handler = this.#handlers.get(method)
    if (!handler || busy) {
      const text = handler ? 'too many calls at once' : `unknown method ${method}`
      this.#replyError(call, new CarportError('RemoteError', text))
      return
    }
    try {
      const reply = handler(body, context)
      if (reply instanceof Promise) {
        reply.then(
          (reply) => this.#reply(call, reply),
          (error) => this.#replyError(call, error),
        )
      } else {
        this.#reply(call, reply)
      }
    } catch (error) {
      this.#replyError(call, error)
    }
  }

  /** Aborts a call whose caller is gone or no longer interested. */
  abort(id: number, reason: CarportError): void {
    const call = this.#calls.get(id)
    if (!call) return
    this.#calls.delete(id)
    call.abort(reason)
  }

  abortAll(reason: CarportError): void {
    for (const id of [...this.#calls.keys()]) this.abort(id, reason)
  }

  /** Forgets call `id` if nothing of it is left. */
  forgetFinished(id: number): void {
    if (this.#calls.get(id)?.finished) this.#calls.delete(id)
  }

  #reply(call: IncomingCall, reply: RpcReply): void {
    call.context.replied()
    if (call.aborted) {
      if (reply?.stream) endSource(reply.stream[Symbol.asyncIterator]())
      return
    }
    const host = this.#host
    let message: Buffer
    try {
      if (host.outbox.queuedBytes > QUEUE_BYTES_MAX) {
        throw new CarportError('RemoteError', 'the link is overloaded')
      }
      message = encodeReply(host.hlcToSend(), reply.body, call.method)
      if (reply.stream) {
        call.download = new OutboundStream(host, call.id, call.priority, call.method, reply.stream)
      }
    } catch (error) {
      if (reply?.stream) endSource(reply.stream[Symbol.asyncIterator]())
      this.#replyError(call, error)
      return
    }
    this.#send(call, FrameType.reply, reply.stream ? FLAG_STREAM : 0, message)
    if (call.upload && !call.upload.opened) call.upload.stop()
  }

  #replyError(call: IncomingCall, error: unknown): void {
    call.context.replied()
    if (call.aborted) return
    if (!(error instanceof CarportError)) {
      this.#log.error({ method: call.method, peer: this.#peer, err: error }, 'RPC handler failed')
    }
    const message = encodeError(this.#host.hlcToSend(), errorForCaller(error, call.method))
    this.#send(call, FrameType.error, 0, message)
    // The caller ends the stream's source when it reads the error.
    call.upload?.fail(error)
  }

  #send(call: IncomingCall, type: FrameType, flags: number, message: Buffer): void {
    call.reply = new MessageSource(this.#host.outbox, type, call.id, flags, call.priority, message, call)
  }
}
