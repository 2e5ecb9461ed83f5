import type { Duplex } from 'node:stream'
import type { Clock, Hlc } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import { MessageParts, OutgoingCall } from './calls.js'
import { Deadline } from './deadline.js'
import {
  FLAG_END,
  FLAG_PRIORITY_SHIFT,
  FLAG_STREAM,
  FrameDecoder,
  type FrameSink,
  FrameType,
  ProtocolError,
} from './frames.js'
import { IncomingCalls } from './incoming-calls.js'
import { LinkPulse } from './link-pulse.js'
import { decodeError, decodeReply, decodeRequest, encodeRequest, TIMEOUT_MS_MAX } from './messages.js'
import { type BatchPool, MessageSource, Outbox, QUEUE_BYTES_MAX } from './outbox.js'
import { InboundStream, OutboundStream, type StreamHost } from './streams.js'
import { type CallOptions, type NodeId, Priority, type RpcHandler, type RpcReply } from './transport.js'

/** Parts of unfinished messages from the peer; its own outbound queue is half as long. */
const PART_BYTES_MAX = 2 * QUEUE_BYTES_MAX
const EMPTY = Buffer.alloc(0)

export interface LinkOptions {
  socket: Duplex
  /** Bytes that arrived together with the end of the handshake. */
  firstBytes: Buffer
  peer: NodeId
  /** Whether this side opened the connection. */
  dialed: boolean
  /** Whether the peer's HLC times count; a client's do not. */
  trustPeerTime: boolean
  handlers: ReadonlyMap<string, RpcHandler>
  clock: Clock
  /** Undefined in a client, which has no time to tell. */
  hlc: Hlc | undefined
  log: Log
  pool: BatchPool
  /** See LinkPulse. */
  pingTimeoutMs?: number | undefined
  /** Called once, as soon as the link is of no use any more. */
  onDown(link: Link): void
}

/**
 * One connection to a peer, after the handshake: carries the calls of both sides, their streams, and pings.
 * It owns the socket.
 */
export class Link implements FrameSink, StreamHost {
  readonly peer: NodeId
  readonly dialed: boolean
  readonly clock: Clock
  readonly outbox: Outbox
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>
  readonly #options: LinkOptions
  readonly #decoder = new FrameDecoder(this)
  readonly #outgoing = new Map<number, OutgoingCall>()
  readonly #incoming: IncomingCalls
  readonly #pulse: LinkPulse
  readonly #requestParts = new Map<number, MessageParts>()
  #partBytes = 0
  #nextId: number
  #down = false
  /** Whether another link replaces this one, so that it takes no new calls. */
  #draining = false
  #drainedSent = false
  #drainedReceived = false

  constructor(options: LinkOptions) {
    this.#options = options
    this.peer = options.peer
    this.dialed = options.dialed
    this.clock = options.clock
    this.#nextId = options.dialed ? 1 : 2
    const { socket, peer, handlers, log } = options
    this.#incoming = new IncomingCalls(this, peer, handlers, log)
    this.outbox = new Outbox((batch, done) => {
      socket.write(batch, (error) => {
        if (!error) done()
      })
    }, options.pool)
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve())
    })
    socket.on('error', (error) => this.fail(`the connection broke: ${error.message}`))
    socket.on('close', () => this.fail('the connection was closed'))
    socket.on('end', () => this.fail('the peer closed the connection'))
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    this.#pulse = new LinkPulse(
      this.clock,
      {
        ping: (payload) => this.outbox.addControl(FrameType.ping, 0, payload),
        onSilent: () => {
          log.warn({ peer }, 'RPC link dropped: the peer is silent')
          this.fail('the peer is silent')
        },
      },
      options.pingTimeoutMs,
    )
    this.#pulse.start()
  }

  /** Begins to read, once the owner is ready for calls. */
  start(): void {
    const { firstBytes, socket } = this.#options
    if (firstBytes.length > 0) this.#receive(firstBytes)
    socket.resume()
  }

  /** The smoothed round-trip time in milliseconds; undefined before the first answer to a ping. */
  get rttMs(): number | undefined {
    return this.#pulse.rttMs
  }

  get isDown(): boolean {
    return this.#down
  }

  /** Calls of this side that are under way. */
  get callsInFlight(): number {
    return this.#outgoing.size
  }

  hlcToSend(): number {
    return this.#options.hlc?.now() ?? 0
  }

  /** As `Transport.call`. */
  call(method: string, body: unknown, options: CallOptions): Promise<RpcReply> {
    return new Promise((resolve, reject) => {
      // The promise rejects with any error thrown here.
      const { signal, stream, priority = Priority.normal } = options
      if (signal?.aborted) throw signal.reason
      if (this.#down) throw unreachable('the link is down')
      if (this.outbox.queuedBytes > QUEUE_BYTES_MAX) throw unreachable('the link is overloaded')
      const timeoutMs = checkedTimeout(options.timeoutMs)
      const message = encodeRequest(this.hlcToSend(), timeoutMs, method, body, options)
      const call = new OutgoingCall(this.#takeId(), method, timeoutMs, resolve, reject)
      if (stream) call.upload = new OutboundStream(this, call.id, priority, method, stream, call)
      this.#outgoing.set(call.id, call)
      const flags = (priority << FLAG_PRIORITY_SHIFT) | (stream ? FLAG_STREAM : 0)
      call.request = new MessageSource(
        this.outbox,
        FrameType.request,
        call.id,
        flags,
        priority,
        message,
        stream && call,
      )
      call.deadline = new Deadline(this.clock, timeoutMs, () => {
        this.#abandon(call, new CarportError('Timeout', `${method}: no reply within ${timeoutMs} ms`))
      })
      if (signal) call.listen(signal, () => this.#abandon(call, signal.reason))
    })
  }

  /** Makes no new calls, and closes the connection as soon as neither side has one under way. */
  drain(): void {
    this.#draining = true
    this.#checkDrained()
  }

  /** Takes calls again: the link that should replace this one is gone. */
  undrain(): void {
    this.#draining = false
    this.#drainedSent = false
  }

  /** Whether the peer was told that it may close the connection, and may have done so. */
  get mayClose(): boolean {
    return this.#drainedSent && this.#drainedReceived
  }

  /** Breaks the link; calls and streams under way fail. */
  fail(reason: string, cause?: unknown): void {
    if (this.#down) return
    this.#down = true
    this.#pulse.stop()
    const error = new CarportError('PeerUnreachable', reason, { cause })
    this.outbox.close()
    const outgoing = [...this.#outgoing.values()]
    this.#outgoing.clear()
    this.#requestParts.clear()
    this.#options.socket.destroy()
    this.#options.onDown(this)
    for (const call of outgoing) call.fail(error)
    this.#incoming.abortAll(error)
  }

  // --- incoming frames

  #receive(chunk: Buffer): void {
    if (this.#down) return
    this.#pulse.heard()
    try {
      this.#decoder.push(chunk)
    } catch (error) {
      const reason = error instanceof ProtocolError ? error.message : `an internal error: ${error}`
      this.#options.log.warn({ peer: this.peer, reason }, 'RPC link dropped: the peer broke the protocol')
      this.fail(`the peer broke the protocol: ${reason}`, error)
    }
  }

  onData(id: number, piece: Buffer, end: boolean): void {
    // There may be none: this side can give a stream up while its last bytes are on the way.
    this.#inboundStream(id)?.push(piece, end)
  }

  onFrame(type: FrameType, flags: number, id: number, payload: Buffer): void {
    if (this.#down) return
    switch (type) {
      case FrameType.request:
        this.#onRequest(flags, id, payload)
        break
      case FrameType.reply:
      case FrameType.error:
        this.#onReply(type, flags, id, payload)
        break
      case FrameType.streamError: {
        const { hlcUs, error } = decodeError(payload)
        this.#observe(hlcUs)
        this.#inboundStream(id)?.fail(error)
        break
      }
      case FrameType.stop:
        this.#outboundStream(id)?.stop()
        break
      case FrameType.credit:
        this.#outboundStream(id)?.grant(payload.readUInt32BE(0))
        break
      case FrameType.cancel:
        this.#onCancel(id)
        break
      case FrameType.ping:
        this.outbox.addControl(FrameType.pong, 0, Buffer.from(payload))
        break
      case FrameType.pong:
        this.#pulse.onPong(payload)
        break
      case FrameType.drained:
        this.#drainedReceived = true
        this.#checkDrained()
        break
    }
  }

  #isOwn(id: number): boolean {
    return ((id & 1) === 1) === this.dialed
  }

  #outboundStream(id: number): OutboundStream | undefined {
    return this.#isOwn(id) ? this.#outgoing.get(id)?.upload : this.#incoming.get(id)?.download
  }

  #inboundStream(id: number): InboundStream | undefined {
    return this.#isOwn(id) ? this.#outgoing.get(id)?.download : this.#incoming.get(id)?.upload
  }

  #observe(hlcUs: number): void {
    if (this.#options.trustPeerTime) this.#options.hlc?.observe(hlcUs)
  }

  /** The message, if `payload` is its last part. */
  #collect(parts: MessageParts | undefined, flags: number, payload: Buffer): Buffer | undefined {
    const last = (flags & FLAG_END) !== 0
    if (!parts) return last ? payload : undefined
    parts.add(payload)
    this.#partBytes += payload.length
    if (this.#partBytes > PART_BYTES_MAX) throw new ProtocolError('too many unfinished messages')
    if (!last) return undefined
    this.#partBytes -= parts.bytes
    return parts.join()
  }

  #dropParts(parts: MessageParts | undefined): void {
    if (parts) this.#partBytes -= parts.bytes
  }

  #onRequest(flags: number, id: number, payload: Buffer): void {
    if (this.#isOwn(id) || this.#incoming.get(id)) throw new ProtocolError('a request with a wrong id')
    let parts = this.#requestParts.get(id)
    if (!parts && (flags & FLAG_END) === 0) {
      parts = new MessageParts()
      this.#requestParts.set(id, parts)
    }
    const message = this.#collect(parts, flags, payload)
    if (!message) return
    if (parts) this.#requestParts.delete(id)
    // A peer that said it was done makes calls again after all.
    this.#drainedReceived = false
    const request = decodeRequest(message)
    this.#observe(request.hlcUs)
    const priority = (flags >> FLAG_PRIORITY_SHIFT) as Priority
    this.#incoming.serve(id, priority, request, (flags & FLAG_STREAM) !== 0)
  }

  #onReply(type: FrameType, flags: number, id: number, payload: Buffer): void {
    if (!this.#isOwn(id)) throw new ProtocolError('a reply with a wrong id')
    const call = this.#outgoing.get(id)
    // The call was given up while its reply was on the way.
    if (!call) return
    if (call.settled) throw new ProtocolError('a second reply')
    if (!call.replyParts && (flags & FLAG_END) === 0) call.replyParts = new MessageParts()
    const message = this.#collect(call.replyParts, flags, payload)
    if (!message) return
    call.replyParts = undefined
    if (type === FrameType.error) {
      const { hlcUs, error } = decodeError(message)
      this.#observe(hlcUs)
      this.#outgoing.delete(id)
      call.request?.withdraw()
      call.fail(error)
      this.#checkDrained()
      return
    }
    const { hlcUs, body } = decodeReply(message)
    this.#observe(hlcUs)
    if ((flags & FLAG_STREAM) !== 0) {
      call.download = new InboundStream(this, id, call.timeoutMs)
      call.succeed({ body, stream: call.download })
    } else {
      call.succeed({ body })
    }
    this.streamFinished(id)
  }

  #onCancel(id: number): void {
    if (this.#isOwn(id)) throw new ProtocolError('a cancellation with a wrong id')
    this.#dropParts(this.#requestParts.get(id))
    this.#requestParts.delete(id)
    this.#incoming.abort(id, unreachable('the caller went away'))
  }

  // --- the calls' ends

  /** Forgets call `id` if nothing of it is left. */
  streamFinished(id: number): void {
    if (this.#isOwn(id)) {
      const call = this.#outgoing.get(id)
      if (!call?.finished) return
      call.release()
      this.#outgoing.delete(id)
      this.#checkDrained()
    } else {
      this.#incoming.forgetFinished(id)
    }
  }

  /** Ends a call, or its streams, since the caller gave up on it. */
  #abandon(call: OutgoingCall, error: unknown): void {
    if (!this.#outgoing.delete(call.id)) return
    if (call.request?.withdraw()) this.outbox.addControl(FrameType.cancel, call.id, EMPTY)
    this.#dropParts(call.replyParts)
    call.fail(error)
    this.#checkDrained()
  }

  #takeId(): number {
    let id = this.#nextId
    // After 2^31 calls ids come again; some may still be in use.
    while (this.#outgoing.has(id)) id = id > 0xffff_fffc ? 2 - (id & 1) : id + 2
    this.#nextId = id > 0xffff_fffc ? 2 - (id & 1) : id + 2
    return id
  }

  #checkDrained(): void {
    if (!this.#draining || this.#down || this.#outgoing.size > 0) return
    if (!this.#drainedSent) {
      this.#drainedSent = true
      this.outbox.addControl(FrameType.drained, 0, EMPTY)
    }
    // The dialing side closes and the other waits for it, so that the last frame is read before the end.
    if (this.#drainedReceived && this.dialed) this.#options.socket.end()
  }
}

/** @throws CarportError InvalidArgument */
export function checkedTimeout(timeoutMs: number): number {
  if (!(timeoutMs > 0)) throw new CarportError('InvalidArgument', `a timeout of ${timeoutMs} ms`)
  return Math.min(timeoutMs, TIMEOUT_MS_MAX)
}

function unreachable(message: string): CarportError {
  return new CarportError('PeerUnreachable', message)
}
