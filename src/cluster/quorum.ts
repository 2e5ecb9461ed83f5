import type { ByteStream, CallOptions, NodeId, RpcReply, Transport } from '../net/transport.js'
import type { Clock } from '../util/clock.js'
import { errorCode } from '../util/errors.js'
import { InFlight } from './in-flight.js'
import type {
  JudgedWriteOptions,
  NodeReply,
  QuorumCaller,
  QuorumCallOptions,
  QuorumWriteOptions,
  WriteVerdict,
} from './placement.js'
import { discardStream, quorumUnavailable, ReadCall, RTT_MS_UNKNOWN } from './read-call.js'
import { SilentNodes } from './silent-nodes.js'
import { WriteCall } from './write-call.js'

/** A silent node comes after all that answer, and before those that are not connected. */
const SILENT_MS_MORE = 1e9

type ReadOptions = QuorumCallOptions & { quorum: number }

/**
 * Quorum calls over a Transport. The deadlines of the single calls are the transport's; nothing here needs
 * a timer except the hedging of a read that has nodes left to ask.
 */
export class Quorum implements QuorumCaller {
  readonly self: NodeId
  readonly #writes = new InFlight()
  readonly #reads = new InFlight()
  readonly #silent: SilentNodes
  readonly #env: { transport: Transport; clock: Clock; silent: SilentNodes }
  /** The layout by which this node reads: replicas hear of it, so that they can refuse one that all others have left. */
  readMark: (() => number) | undefined

  constructor(
    private readonly transport: Transport,
    clock: Clock,
    /** Replaces the deadlines of all quorum calls, in ms (rpc_timeout_msec). */
    private readonly timeoutMs?: number,
  ) {
    this.self = transport.self
    this.#silent = new SilentNodes(clock)
    this.#env = { transport, clock, silent: this.#silent }
  }

  write(
    sets: readonly (readonly NodeId[])[],
    method: string,
    body: unknown,
    given: QuorumWriteOptions,
  ): Promise<NodeReply[]> {
    const options = this.#timed(given)
    const first = sets[0]
    const isAlone = sets.length === 1 && first!.length === 1 && options.quorum === 1
    if (isAlone && first![0] === options.heldBy) return Promise.resolve([{ node: first![0]!, body: null }])
    const epoch = this.#writes.enter()
    if (isAlone) {
      const node = first![0]!
      return this.transport.call(node, method, body, options).then(
        (reply) => {
          this.#writes.leave(epoch)
          if (reply.stream) discardStream(reply)
          options.onReply?.(node, reply.body)
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
      const settled = (_: WriteVerdict, replies: NodeReply[]) => resolve(replies)
      new WriteCall(this.#env, sets, method, options, settled, reject, done).start(body)
    })
  }

  writeJudged(
    sets: readonly (readonly NodeId[])[],
    method: string,
    body: unknown,
    given: JudgedWriteOptions,
  ): Promise<{ verdict: WriteVerdict; replies: NodeReply[] }> {
    const options = this.#timed(given)
    const epoch = this.#writes.enter()
    return new Promise((resolve, reject) => {
      const done = () => this.#writes.leave(epoch)
      const settled = (verdict: WriteVerdict, replies: NodeReply[]) => resolve({ verdict, replies })
      new WriteCall(this.#env, sets, method, options, settled, reject, done).start(body)
    })
  }

  read(nodes: readonly NodeId[], method: string, body: unknown, options: ReadOptions): Promise<NodeReply[]> {
    return this.readSets([nodes], method, body, options)
  }

  readSets(
    sets: readonly (readonly NodeId[])[],
    method: string,
    body: unknown,
    given: ReadOptions,
  ): Promise<NodeReply[]> {
    const options = this.#read(given)
    const epoch = this.#reads.enter()
    const nodes = sets.length === 1 ? sets[0]! : [...new Set(sets.flat())]
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
          options.onFailure?.(node, error)
          // The only replica lost what it had: asking it again will not help.
          if (errorCode(error) === 'Corrupted') throw error
          throw quorumUnavailable(method, 0, 1, error)
        },
      )
    }
    return new Promise((resolve, reject) => {
      const order = this.nearestFirst(nodes)
      // Those that count in several sets first.
      const shares = (node: NodeId) => sets.reduce((n, set) => n + Number(set.includes(node)), 0)
      if (sets.length > 1) order.sort((a, b) => shares(b) - shares(a))
      const done = () => this.#reads.leave(epoch)
      new ReadCall(this.#env, sets, order, method, body, options, resolve, reject, done).start()
    })
  }

  #read(given: ReadOptions): ReadOptions & Pick<CallOptions, 'readMark'> {
    const options = this.#timed(given)
    return this.readMark ? { ...options, readMark: this.readMark() } : options
  }

  #timed<O extends { timeoutMs: number }>(options: O): O {
    return this.timeoutMs === undefined ? options : { ...options, timeoutMs: this.timeoutMs }
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

  keptWaiting(node: NodeId): void {
    this.#silent.add(node)
  }

  mayBeAway(node: NodeId): boolean {
    return !this.transport.isConnected(node) || this.#silent.has(node)
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
    const rttMs = this.transport.rttMs(node) ?? RTT_MS_UNKNOWN
    return this.#silent.has(node) ? SILENT_MS_MORE + rttMs : rttMs
  }
}
