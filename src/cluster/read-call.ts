import type { NodeId, RpcReply, Transport } from '../net/transport.js'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError, errorCode } from '../util/errors.js'
import type { NodeReply, QuorumCallOptions } from './placement.js'
import { quorumsOf } from './quorum-sizes.js'
import type { SilentNodes } from './silent-nodes.js'

/** A read asks one more node when one is silent for twice its usual round trip, but not before this, in ms. */
export const HEDGE_MS_MIN = 10
/** What is assumed of a link whose round-trip time is not measured yet, in ms. */
export const RTT_MS_UNKNOWN = 100
export const NO_ROLE = 'this node has no role in a cluster layout (yet)'

export function quorumUnavailable(method: string, got: number, needed: number, cause: unknown): CarportError {
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
 * One read: the first nodes of `order` that make a quorum of every set at once, more when one fails, or is slow.
 * A node that is in several sets is asked once and counts in each.
 */
export class ReadCall {
  #replies: NodeReply[] | undefined = []
  readonly #asked = new Set<NodeId>()
  readonly #answered: number[]
  readonly #pending: number[]
  /** Nodes of each set that were not asked yet. */
  readonly #left: number[]
  readonly #open = new Set<NodeId>()
  #firstError: unknown
  #hedge: Timer | undefined

  constructor(
    private readonly env: { transport: Transport; clock: Clock; silent: SilentNodes },
    private readonly sets: readonly (readonly NodeId[])[],
    private readonly order: readonly NodeId[],
    private readonly method: string,
    private readonly body: unknown,
    private readonly options: QuorumCallOptions & { quorum: number },
    private readonly resolve: (replies: NodeReply[]) => void,
    private readonly reject: (error: unknown) => void,
    private readonly done: () => void,
  ) {
    this.#answered = sets.map(() => 0)
    this.#pending = sets.map(() => 0)
    this.#left = sets.map((set) => set.length)
  }

  start(): void {
    if (this.order.length === 0) {
      this.#settle(new CarportError('LayoutNotReady', NO_ROLE))
      return
    }
    quorumsOf(this.options.quorum, this.sets)
    if (!this.#checkReachable()) return
    this.#ask(this.#answered.map((answered, i) => answered + this.#pending[i]!))
  }

  /** Asks further nodes for the sets of which fewer than a quorum are counted, and arms the hedge for them. */
  #ask(counted: number[]): void {
    const { sets, order, options, env } = this
    const nodes: NodeId[] = []
    let rttMs = 0
    for (const node of order) {
      if (this.#asked.has(node)) continue
      let wanted = false
      for (let i = 0; i < sets.length; i++) {
        if (counted[i]! < options.quorum && sets[i]!.includes(node)) wanted = true
      }
      if (!wanted) continue
      nodes.push(node)
      this.#asked.add(node)
      this.#open.add(node)
      for (let i = 0; i < sets.length; i++) {
        if (!sets[i]!.includes(node)) continue
        counted[i]!++
        this.#pending[i]!++
        this.#left[i]!--
      }
      rttMs = Math.max(rttMs, env.transport.rttMs(node) ?? RTT_MS_UNKNOWN)
    }
    // Backwards, so that the own node, which does its work in this very turn, comes after the messages.
    for (const node of nodes.reverse()) {
      env.transport.call(node, this.method, this.body, options).then(
        (reply) => this.#succeeded(node, reply),
        (error) => this.#failed(node, error),
      )
    }
    this.#hedge?.cancel()
    this.#hedge = undefined
    if (this.#asked.size < order.length) {
      this.#hedge = env.clock.after(Math.max(2 * rttMs, HEDGE_MS_MIN), () => {
        this.#hedge = undefined
        if (!this.#replies) return
        for (const node of this.#open) if (node !== env.transport.self) env.silent.add(node)
        this.#ask([...this.#answered])
      })
    }
  }

  #succeeded(node: NodeId, reply: RpcReply): void {
    const { env, sets, options } = this
    if (reply.stream) discardStream(reply)
    env.silent.answered(node)
    if (!this.#replies) return
    this.#open.delete(node)
    this.#replies.push({ node, body: reply.body })
    let complete = true
    for (let i = 0; i < sets.length; i++) {
      if (sets[i]!.includes(node)) {
        this.#answered[i]!++
        this.#pending[i]!--
      }
      if (this.#answered[i]! < options.quorum) complete = false
    }
    if (complete) this.#settle(undefined)
  }

  #failed(node: NodeId, error: unknown): void {
    this.options.onFailure?.(node, error)
    if (!this.#replies) return
    this.#open.delete(node)
    for (let i = 0; i < this.sets.length; i++) if (this.sets[i]!.includes(node)) this.#pending[i]!--
    // A refusal tells the caller more than a node that is away.
    if (this.#firstError === undefined || errorCode(error) === 'NotCaughtUp') this.#firstError = error
    if (!this.#checkReachable()) return
    this.#ask(this.#answered.map((answered, i) => answered + this.#pending[i]!))
  }

  /** Settles with an error when those who answered, may answer and could still be asked are too few. */
  #checkReachable(): boolean {
    const { sets, options } = this
    for (let i = 0; i < sets.length; i++) {
      if (this.#answered[i]! + this.#pending[i]! + this.#left[i]! >= options.quorum) continue
      this.#settle(quorumUnavailable(this.method, this.#answered[i]!, options.quorum, this.#firstError))
      return false
    }
    return true
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
