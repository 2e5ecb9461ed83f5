import type { ByteStream, NodeId, RpcReply, Transport } from '../net/transport.js'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError, errorCode } from '../util/errors.js'
import { InFlight } from './in-flight.js'
import type { QuorumCaller, QuorumCallOptions, QuorumWriteOptions } from './placement.js'
import { quorumsOf } from './quorum-sizes.js'

/** A read asks one more node when one is silent for twice its usual round trip, but not before this, in ms. */
export const HEDGE_MS_MIN = 10
const NO_ROLE = 'this node has no role in a cluster layout (yet)'
/** The round-trip time assumed for a link that has not been measured yet, in ms. */
const RTT_MS_UNKNOWN = 100

export interface NodeReply {
  node: NodeId
  body: unknown
}

type ReadOptions = QuorumCallOptions & { quorum: number }

function quorumUnavailable(method: string, got: number, needed: number, cause: unknown): CarportError {
  const why = cause instanceof Error ? `: ${cause.message}` : ''
  return new CarportError('QuorumUnavailable', `${method}: ${got} of ${needed} replicas answered${why}`, {
    cause,
  })
}

/** Returns a reply's stream that nobody wants, so that its sender stops. */
export function discardStream(reply: RpcReply): void {
  if (reply.stream) {
    const iterator = reply.stream[Symbol.asyncIterator]()
    iterator.return?.()?.then(undefined, () => {})
  }
}

/**
 * Quorum calls over a Transport. The deadlines of the single calls are the transport's; nothing here needs
 * a timer except the hedging of a read that has nodes left to ask.
 */
export class Quorum implements QuorumCaller {
  readonly self: NodeId
  readonly #writes = new InFlight()
  readonly #reads = new InFlight()

  constructor(
    private readonly transport: Transport,
    private readonly clock: Clock,
  ) {
    this.self = transport.self
  }

  write(
    sets: readonly (readonly NodeId[])[],
    method: string,
    body: unknown,
    options: QuorumWriteOptions,
  ): Promise<NodeReply[]> {
    const epoch = this.#writes.enter()
    const first = sets[0]
    if (sets.length === 1 && first!.length === 1 && options.quorum === 1) {
      const node = first![0]!
      return this.transport.call(node, method, body, options).then(
        (reply) => {
          this.#writes.leave(epoch)
          if (reply.stream) discardStream(reply)
          return [{ node, body: reply.body }]
        },
        (error) => {
          this.#writes.leave(epoch)
          options.onFailure?.(node, error)
          throw quorumUnavailable(method, 0, 1, error)
        },
      )
    }
    return new Promise((resolve, reject) => {
      const done = () => this.#writes.leave(epoch)
      new WriteCall(this.transport, sets, method, options, resolve, reject, done).start(body)
    })
  }

  read(nodes: readonly NodeId[], method: string, body: unknown, options: ReadOptions): Promise<NodeReply[]> {
    const epoch = this.#reads.enter()
    if (nodes.length === 1 && options.quorum === 1) {
      const node = nodes[0]!
      return this.transport.call(node, method, body, options).then(
        (reply) => {
          this.#reads.leave(epoch)
          if (reply.stream) discardStream(reply)
          return [{ node, body: reply.body }]
        },
        (error) => {
          this.#reads.leave(epoch)
          // The only replica lost its copy: asking it again will not help.
          if (errorCode(error) === 'Corrupted') throw error
          throw quorumUnavailable(method, 0, 1, error)
        },
      )
    }
    return new Promise((resolve, reject) => {
      const order = this.nearestFirst(nodes)
      const done = () => this.#reads.leave(epoch)
      new ReadCall(this.transport, this.clock, order, method, body, options, resolve, reject, done).start()
    })
  }

  nearestFirst(nodes: readonly NodeId[]): NodeId[] {
    const order: NodeId[] = []
    const costs: number[] = []
    // Insertion sort: sets are of a handful of nodes, and equals must keep their order.
    for (const node of nodes) {
      const cost = this.#cost(node)
      let at = order.length
      while (at > 0 && costs[at - 1]! > cost) at--
      order.splice(at, 0, node)
      costs.splice(at, 0, cost)
    }
    return order
  }

  call(
    node: NodeId,
    method: string,
    body: unknown,
    options: QuorumCallOptions & { stream?: ByteStream; signal?: AbortSignal },
  ): Promise<RpcReply> {
    return this.transport.call(node, method, body, options)
  }

  /**
   * Registers a write that does not go through `write` (block streams). Call it in the same turn in which the
   * write sets were taken from the Placement, and the returned function once, when the write was acknowledged
   * or given up.
   */
  beginWrite(): () => void {
    const epoch = this.#writes.enter()
    let ended = false
    return () => {
      if (ended) return
      ended = true
      this.#writes.leave(epoch)
    }
  }

  /**
   * Resolves when every write that began before this call has been acknowledged or has failed. A layout version
   * may be acknowledged then: whatever this node still writes goes to that version's sets too. Holds as long as
   * callers of `write` take the sets from the Placement in the same turn in which they call it.
   */
  drainWrites(): Promise<void> {
    return this.#writes.drain()
  }

  /** The same for reads: afterwards no read of this node relies on read sets of before the call. */
  drainReads(): Promise<void> {
    return this.#reads.drain()
  }

  #cost(node: NodeId): number {
    if (node === this.self) return -1
    if (!this.transport.isConnected(node)) return Number.POSITIVE_INFINITY
    return this.transport.rttMs(node) ?? RTT_MS_UNKNOWN
  }
}

/** One write to several sets; a node that is in more than one gets it once and counts in each. */
class WriteCall {
  /** Successes that each set needs. */
  readonly #needed: readonly number[]
  readonly #successes: number[]
  readonly #failures: number[]
  /** The number of nodes in each set that had a later row; undefined while there is none. */
  #overruled: number[] | undefined
  #openSets: number
  #pending = 0
  /** The replies so far; undefined once the promise has settled, since later ones are of no use. */
  #replies: NodeReply[] | undefined = []
  #overruling: NodeReply[] | undefined
  #firstError: unknown

  constructor(
    private readonly transport: Transport,
    private readonly sets: readonly (readonly NodeId[])[],
    private readonly method: string,
    private readonly options: QuorumWriteOptions,
    private readonly resolve: (replies: NodeReply[]) => void,
    private readonly reject: (error: unknown) => void,
    private readonly done: () => void,
  ) {
    this.#successes = sets.map(() => 0)
    this.#failures = sets.map(() => 0)
    this.#needed = quorumsOf(options.quorum, sets)
    this.#openSets = this.#needed.filter((needed) => needed > 0).length
  }

  start(body: unknown): void {
    const { sets } = this
    if (sets.length === 0) {
      this.#fail(new CarportError('LayoutNotReady', NO_ROLE))
      return
    }
    for (const [i, set] of sets.entries()) {
      if (set.length < this.#needed[i]!) {
        this.#fail(
          new CarportError(
            'QuorumUnavailable',
            `${this.method}: a quorum of ${this.#needed[i]} needs more than ${set.length} replicas`,
          ),
        )
        return
      }
    }
    const nodes = sets.length === 1 ? sets[0]! : [...new Set(sets.flat())]
    this.#pending = nodes.length
    // The own node last: its work would otherwise delay the messages to the others.
    let own = false
    for (const node of nodes) {
      if (node === this.transport.self) own = true
      else this.#send(node, body)
    }
    if (own) this.#send(this.transport.self, body)
  }

  #send(node: NodeId, body: unknown): void {
    this.transport.call(node, this.method, body, this.options).then(
      (reply) => this.#succeeded(node, reply),
      (error) => this.#failed(node, error),
    )
  }

  #succeeded(node: NodeId, reply: RpcReply): void {
    if (reply.stream) discardStream(reply)
    if (!this.#replies) return
    const { sets, options } = this
    const verdict = options.judge ? options.judge(reply.body) : 'taken'
    if (verdict === 'unknown') {
      this.#countFailure(node, undefined)
      return
    }
    this.#pending--
    if (verdict === 'overruled') {
      this.#overruledBy({ node, body: reply.body })
      return
    }
    this.#replies.push({ node, body: reply.body })
    for (let i = 0; i < sets.length; i++) {
      if (sets[i]!.includes(node) && ++this.#successes[i]! === this.#needed[i]!) this.#openSets--
    }
    if (this.#openSets === 0) this.#succeed(this.#replies)
    else if (this.#pending === 0) this.#giveUp()
  }

  #overruledBy(reply: NodeReply): void {
    const { sets } = this
    this.#overruling ??= []
    this.#overruling.push(reply)
    this.#overruled ??= sets.map(() => 0)
    let everywhere = true
    for (let i = 0; i < sets.length; i++) {
      if (sets[i]!.includes(reply.node)) this.#overruled[i]!++
      if (this.#overruled[i]! <= sets[i]!.length - this.#needed[i]!) everywhere = false
    }
    if (everywhere) this.#succeed(this.#overruling)
    else if (this.#pending === 0) this.#giveUp()
  }

  #failed(node: NodeId, error: unknown): void {
    if (this.#replies) this.#countFailure(node, error)
    this.options.onFailure?.(node, error)
  }

  #countFailure(node: NodeId, error: unknown): void {
    const { sets } = this
    this.#pending--
    this.#firstError ??= error
    for (let i = 0; i < sets.length; i++) {
      if (!sets[i]!.includes(node)) continue
      this.#failures[i]!++
      if (this.#failures[i]! > sets[i]!.length - this.#needed[i]! && this.#replies) this.#failSet(i)
    }
    if (this.#pending === 0 && this.#replies) this.#giveUp()
  }

  /** Settles when every node has answered or failed, and some set has neither the quorum nor enough that overrule it. */
  #giveUp(): void {
    // An even number of replicas can draw: no quorum has the row, so it must be written again.
    if (this.sets.length === 1 && this.#overruling && this.#failures[0] === 0) this.#succeed(this.#overruling)
    else this.#failSet(this.#successes.findIndex((successes, i) => successes < this.#needed[i]!))
  }

  #failSet(i: number): void {
    const cause = this.#firstError ?? new Error('another write of the same was under way')
    this.#fail(quorumUnavailable(this.method, this.#successes[i]!, this.#needed[i]!, cause))
  }

  #succeed(replies: NodeReply[]): void {
    this.#replies = undefined
    this.resolve(replies)
    this.done()
  }

  #fail(error: CarportError): void {
    this.#replies = undefined
    this.reject(error)
    this.done()
  }
}

/** One read: the first `quorum` nodes of `order` at once, more when one fails, or is slow. */
class ReadCall {
  #replies: NodeReply[] | undefined = []
  #next = 0
  #pending = 0
  #firstError: unknown
  #hedge: Timer | undefined

  constructor(
    private readonly transport: Transport,
    private readonly clock: Clock,
    private readonly order: readonly NodeId[],
    private readonly method: string,
    private readonly body: unknown,
    private readonly options: ReadOptions,
    private readonly resolve: (replies: NodeReply[]) => void,
    private readonly reject: (error: unknown) => void,
    private readonly done: () => void,
  ) {}

  start(): void {
    if (this.order.length === 0) {
      this.#settle(new CarportError('LayoutNotReady', NO_ROLE))
      return
    }
    if (!this.#checkReachable()) return
    for (const quorum of quorumsOf(this.options.quorum, [this.order])) this.#ask(quorum)
  }

  /** Asks the next `count` nodes, as far as there are any, and arms the hedge for them. */
  #ask(count: number): void {
    const from = this.#next
    const to = Math.min(from + count, this.order.length)
    let rttMs = 0
    this.#next = to
    this.#pending += to - from
    // Backwards, so that the own node, which does its work in this very turn, comes after the messages.
    for (let i = to - 1; i >= from; i--) {
      const node = this.order[i]!
      rttMs = Math.max(rttMs, this.transport.rttMs(node) ?? RTT_MS_UNKNOWN)
      this.transport.call(node, this.method, this.body, this.options).then(
        (reply) => this.#succeeded(node, reply),
        (error) => this.#failed(error),
      )
    }
    this.#hedge?.cancel()
    this.#hedge = undefined
    if (this.#next < this.order.length) {
      this.#hedge = this.clock.after(Math.max(2 * rttMs, HEDGE_MS_MIN), () => {
        this.#hedge = undefined
        if (this.#replies) this.#ask(this.options.quorum - this.#replies.length)
      })
    }
  }

  #succeeded(node: NodeId, reply: RpcReply): void {
    if (reply.stream) discardStream(reply)
    if (!this.#replies) return
    this.#pending--
    this.#replies.push({ node, body: reply.body })
    if (this.#replies.length === this.options.quorum) this.#settle(undefined)
  }

  #failed(error: unknown): void {
    if (!this.#replies) return
    this.#pending--
    this.#firstError ??= error
    if (!this.#checkReachable()) return
    const missing = this.options.quorum - this.#replies.length - this.#pending
    if (missing > 0) this.#ask(missing)
  }

  /** Settles with an error when the nodes that answered, may answer or could still be asked are too few. */
  #checkReachable(): boolean {
    const { order, options } = this
    const replies = this.#replies!.length
    if (replies + this.#pending + (order.length - this.#next) >= options.quorum) return true
    this.#settle(quorumUnavailable(this.method, replies, options.quorum, this.#firstError))
    return false
  }

  #settle(error: CarportError | undefined): void {
    const replies = this.#replies!
    this.#replies = undefined
    this.#hedge?.cancel()
    this.#hedge = undefined
    if (error) this.reject(error)
    else this.resolve(replies)
    this.done()
  }
}
