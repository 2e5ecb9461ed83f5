import type { NodeAddress } from '../src/cluster/address.js'
import type { Dialer, LinkEvent } from '../src/cluster/peering.js'
import { CallContext } from '../src/net/call-context.js'
import { Deadline } from '../src/net/deadline.js'
import { callLocal } from '../src/net/local-call.js'
import {
  decodeError,
  decodeReply,
  decodeRequest,
  encodeError,
  encodeReply,
  encodeRequest,
  errorForCaller,
} from '../src/net/messages.js'
import { endSource } from '../src/net/streams.js'
import type {
  ByteStream,
  CallOptions,
  NodeId,
  RpcHandler,
  RpcReply,
  Transport,
} from '../src/net/transport.js'
import type { Clock, Hlc } from '../src/util/clock.js'
import { CarportError } from '../src/util/errors.js'
import { type Log, silentLog } from '../src/util/log.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimClock } from './sim-clock.js'
import { DIAL_TIMEOUT_MS, type PathProfile } from './sim-paths.js'
import { SimStream } from './sim-stream.js'

export interface SimTransportOptions {
  self: NodeId
  address: NodeAddress
  /** The node's own clock, which stops when it crashes. */
  clock: Clock
  hlc: Hlc
  log?: Log
}

/** How long after a lost message the caller notices that the link is bad, in milliseconds. */
const LOSS_NOTICED_MS = 1000

/** A connection, as the transports at its ends use it. */
export interface LinkOfTransport {
  /** Called when the link goes down. */
  readonly onDown: Set<() => void>
  other(end: SimTransport): SimTransport
  /** Takes a message of `bytes` from one end to the other; `deliver` is called when it arrives. */
  carry(from: SimTransport, bytes: number, deliver: () => void): void
}

/** The network, as a transport uses it. */
export interface NetworkOfTransport {
  readonly clock: SimClock
  readonly random: SeededRandom
  path(from: NodeId, to: NodeId): PathProfile
  delayMs(from: NodeId, to: NodeId, bytes: number): number
  isBlocked(from: NodeId, to: NodeId): boolean
  find(address: NodeAddress): SimTransport | undefined
  link(a: NodeId, b: NodeId): LinkOfTransport | undefined
  linksOf(end: SimTransport): LinkOfTransport[]
  connectNow(a: SimTransport, b: SimTransport): void
  breakLink(link: LinkOfTransport): void
  trace(line: string): void
}

/**
 * One node's end of the simulated network. Bodies go through the real messages' encoding, and every message carries
 * the sender's HLC time, as on TLS links. Calls to the own id are served by the real in-process path.
 */
export class SimTransport implements Transport, Dialer {
  readonly self: NodeId
  readonly address: NodeAddress
  alive = true
  /** Whether a dial is refused at once when the node is down (the machine runs), or meets silence. */
  answersDials = true
  /** Calls that this node does not know, as one of an earlier release. */
  isUnknown: ((method: string) => boolean) | undefined
  readonly #network: NetworkOfTransport
  readonly #handlers = new Map<string, RpcHandler>()
  readonly #listeners = new Set<(event: LinkEvent) => void>()

  constructor(
    network: NetworkOfTransport,
    readonly options: SimTransportOptions,
  ) {
    this.#network = network
    this.self = options.self
    this.address = options.address
  }

  handle(method: string, handler: RpcHandler): void {
    if (this.#handlers.has(method)) throw new Error(`RPC method ${method} has a handler already`)
    this.#handlers.set(method, handler)
  }

  /** Answers a call as another release does. */
  replace(method: string, handler: RpcHandler): void {
    this.#handlers.set(method, handler)
  }

  isConnected(node: NodeId): boolean {
    return node === this.self || this.#network.link(this.self, node) !== undefined
  }

  rttMs(node: NodeId): number | undefined {
    if (node === this.self) return 0
    if (!this.isConnected(node)) return undefined
    const [there, back] = [this.#network.path(this.self, node), this.#network.path(node, this.self)]
    return there.latencyMs + there.jitterMs + back.latencyMs + back.jitterMs
  }

  links(): readonly NodeId[] {
    return this.#network.linksOf(this).map((link) => link.other(this).self)
  }

  onLink(fn: (event: LinkEvent) => void): () => void {
    this.#listeners.add(fn)
    return () => this.#listeners.delete(fn)
  }

  tell(event: LinkEvent): void {
    for (const fn of this.#listeners) fn(event)
  }

  disconnect(node: NodeId): void {
    const link = this.#network.link(this.self, node)
    if (link && this.alive) this.#network.breakLink(link)
  }

  connect(address: NodeAddress, expectedId?: NodeId): Promise<NodeId> {
    return new Promise((resolve, reject) => {
      if (!this.alive) return
      const target = this.#network.find(address)
      const settleAfter = (delayMs: number, fn: () => void) =>
        this.#network.clock.after(delayMs, () => {
          if (this.alive) fn()
        })
      const fail = (code: 'PeerUnreachable' | 'Timeout' | 'Conflict') => () =>
        reject(new CarportError(code, `${address.host}:${address.port}: ${code}`))
      if (!target) return void settleAfter(1, fail('PeerUnreachable'))
      if (target === this) return void settleAfter(1, () => resolve(this.self))
      const network = this.#network
      const roundTripMs =
        network.delayMs(this.self, target.self, 0) + network.delayMs(target.self, this.self, 0)
      const cut = network.isBlocked(this.self, target.self) || network.isBlocked(target.self, this.self)
      if (cut || (!target.alive && !target.answersDials)) {
        return void settleAfter(DIAL_TIMEOUT_MS, fail('Timeout'))
      }
      // A dial takes two round trips: TCP, then TLS and the hello.
      settleAfter(2 * roundTripMs, () => {
        if (!target.alive) return fail('PeerUnreachable')()
        if (expectedId !== undefined && target.self !== expectedId) return fail('Conflict')()
        network.connectNow(this, target)
        resolve(target.self)
      })
    })
  }

  call(to: NodeId, method: string, body: unknown, options: CallOptions): Promise<RpcReply> {
    if (!this.alive) return new Promise(() => {})
    if (to === this.self) {
      const { clock, log = silentLog } = this.options
      return callLocal(clock, log, to, method, this.#handlers.get(method), body, options)
    }
    const link = this.#network.link(this.self, to)
    if (!link) {
      return Promise.reject(new CarportError('PeerUnreachable', `no link to node ${to.slice(0, 16)}`))
    }
    return new Promise<RpcReply>((resolve, reject) => {
      // The promise rejects with any error thrown here.
      if (options.signal?.aborted) throw options.signal.reason
      const bytes = encodeRequest(this.options.hlc.now(), options.timeoutMs, method, body, options)
      new OutgoingCall(this.#network, link, this, method, options, resolve, reject).send(bytes)
    })
  }

  /** Serves a request that came over `link`. */
  serve(link: LinkOfTransport, bytes: Buffer, stream: SimStream | undefined, incoming: IncomingCall): void {
    const { clock, hlc, log = silentLog } = this.options
    const request = decodeRequest(bytes)
    const { hlcUs, timeoutMs, method, body } = request
    hlc.observe(hlcUs)
    const context = new CallContext(clock, timeoutMs, link.other(this).self, stream, request)
    const goAway = () => {
      if (this.alive) context.abort(new CarportError('PeerUnreachable', 'the caller went away'))
    }
    link.onDown.add(goAway)
    incoming.onAbort = goAway
    incoming.onProgress = () => context.touch()
    const answer = (reply: Answer) => {
      context.replied()
      link.onDown.delete(goAway)
      if (!this.alive) return
      if (stream && !stream.opened) void stream.return()
      incoming.answer(reply)
    }
    const serve = async () => {
      try {
        const handler = this.isUnknown?.(method) ? undefined : this.#handlers.get(method)
        if (!handler) {
          this.#network.trace(`unknown ${method}`)
          throw new CarportError('RemoteError', `unknown method ${method}`)
        }
        const reply = await handler(body, context)
        answer({ isError: false, bytes: encodeReply(hlc.now(), reply.body, method), stream: reply.stream })
      } catch (error) {
        if (!(error instanceof CarportError)) log.error({ method, err: error }, 'RPC handler failed')
        const bytes = encodeError(hlc.now(), errorForCaller(error, method))
        answer({ isError: true, bytes, stream: undefined })
      }
    }
    void serve()
  }
}

interface Answer {
  isError: boolean
  bytes: Buffer
  stream: ByteStream | undefined
}

/** A call at its serving end. */
interface IncomingCall {
  answer(answer: Answer): void
  onAbort?: () => void
  onProgress?: () => void
}

/** A call under way, at the caller's end. */
class OutgoingCall {
  readonly #deadline: Deadline
  #settled = false
  #upload: SimStream | undefined
  #download: SimStream | undefined
  #incoming: IncomingCall | undefined

  constructor(
    private readonly network: NetworkOfTransport,
    private readonly link: LinkOfTransport,
    private readonly caller: SimTransport,
    private readonly method: string,
    private readonly options: CallOptions,
    private readonly resolve: (reply: RpcReply) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    const { timeoutMs, signal } = options
    this.#deadline = new Deadline(caller.options.clock, timeoutMs, () => {
      this.#giveUp(new CarportError('Timeout', `${method}: no reply within ${timeoutMs} ms`))
    })
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    link.onDown.add(this.#onDown)
  }

  send(bytes: Buffer): void {
    const { network, link, caller, method } = this
    const target = link.other(caller)
    const lost = network.random.chance(network.path(caller.self, target.self).lossShare)
    const fate = lost ? network.random.pick(['request', 'answer'] as const) : undefined
    if (fate) {
      network.trace(`lose the ${fate} of ${method}`)
      caller.options.clock.after(network.random.float() * LOSS_NOTICED_MS, () => {
        this.#giveUp(new CarportError('PeerUnreachable', 'the link broke during the call'))
      })
      if (fate === 'request') return
    }
    if (this.options.stream) this.#upload = this.#streamTo(target, this.options.stream)
    link.carry(caller, bytes.length, () => {
      network.trace(`${method} ${caller.self.slice(0, 8)} > ${target.self.slice(0, 8)}`)
      this.#incoming = {
        answer: (answer) => {
          if (fate === 'answer') return
          link.carry(target, answer.bytes.length, () => this.#answered(answer))
        },
      }
      target.serve(link, bytes, this.#upload, this.#incoming)
    })
    this.#upload?.start()
  }

  #answered({ isError, bytes, stream }: Answer): void {
    if (this.#settled) {
      if (stream) endSource(stream[Symbol.asyncIterator]())
      return
    }
    const { hlc } = this.caller.options
    const [from, to] = [this.link.other(this.caller).self, this.caller.self]
    this.network.trace(`answer to ${this.method} ${from.slice(0, 8)} > ${to.slice(0, 8)}`)
    this.#settled = true
    this.#deadline.cancel()
    if (isError) {
      const { hlcUs, error } = decodeError(bytes)
      hlc.observe(hlcUs)
      this.#release()
      this.reject(error)
      return
    }
    const { hlcUs, body } = decodeReply(bytes)
    hlc.observe(hlcUs)
    if (stream) {
      this.#download = this.#streamTo(this.caller, stream, this.#release)
      this.#download.start()
      this.resolve({ body, stream: this.#download })
    } else {
      this.#release()
      this.resolve({ body })
    }
  }

  /** Fails the call with `error`, now or in the reply's stream; tells the serving end if the link still works. */
  #giveUp(error: unknown): void {
    this.#release()
    this.#deadline.cancel()
    this.#download?.fail(error)
    this.#upload?.fail(error)
    this.link.carry(this.caller, 8, () => this.#incoming?.onAbort?.())
    if (this.#settled) return
    this.#settled = true
    this.reject(error)
  }

  readonly #onAbort = () => this.#giveUp(this.options.signal?.reason)

  readonly #onDown = () => {
    if (this.caller.alive) this.#giveUp(new CarportError('PeerUnreachable', 'the link broke during the call'))
  }

  readonly #release = () => {
    this.options.signal?.removeEventListener('abort', this.#onAbort)
    this.link.onDown.delete(this.#onDown)
  }

  #streamTo(reader: SimTransport, source: ByteStream, onEnd?: () => void): SimStream {
    const sender = this.link.other(reader)
    return new SimStream({
      source,
      forward: (size, deliver) => this.link.carry(sender, size, deliver),
      backward: (size, deliver) => this.link.carry(reader, size, deliver),
      clock: reader.options.clock,
      silenceMs: this.options.timeoutMs,
      method: this.method,
      senderAlive: () => sender.alive,
      onProgress: () => {
        this.#deadline.touch()
        this.#incoming?.onProgress?.()
      },
      ...(onEnd && { onEnd }),
    })
  }
}
