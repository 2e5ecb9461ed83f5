/**
 * Small fakes for tests of the cluster layer: a clock that moves only when told, and a network of named nodes with
 * latencies, cuts and dead nodes.
 */
import { createHash } from 'node:crypto'
import { pack, unpack } from 'msgpackr'
import type { NodeAddress } from '../src/cluster/address.js'
import type { Dialer, LinkEvent } from '../src/cluster/peering.js'
import { encodeRequest } from '../src/net/messages.js'
import type { CallOptions, NodeId, RpcHandler, RpcReply, Transport } from '../src/net/transport.js'
import type { Clock, Timer } from '../src/util/clock.js'
import { CarportError } from '../src/util/errors.js'
import type { Random } from '../src/util/random.js'

/** A clock that stands still until `advance`. */
export class ManualClock implements Clock {
  #nowMs = 0
  #sequence = 0
  readonly #timers: { atMs: number; sequence: number; fn: () => void }[] = []

  constructor(private readonly epochMs = 1_700_000_000_000) {}

  nowMs(): number {
    return this.epochMs + this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, fn: () => void): Timer {
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), sequence: this.#sequence++, fn }
    this.#timers.push(timer)
    return {
      cancel: () => {
        const at = this.#timers.indexOf(timer)
        if (at >= 0) this.#timers.splice(at, 1)
      },
    }
  }

  get pendingTimers(): number {
    return this.#timers.length
  }

  /** Moves on by `ms`, running the timers in their order, and after each all promises that can go on. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms
    await settle()
    for (;;) {
      this.#timers.sort((a, b) => a.atMs - b.atMs || a.sequence - b.sequence)
      const timer = this.#timers[0]
      if (!timer || timer.atMs > untilMs) break
      this.#timers.shift()
      this.#nowMs = timer.atMs
      timer.fn()
      await settle()
    }
    this.#nowMs = untilMs
  }

  /** Moves on in steps of `stepMs` until `condition` holds; throws when it does not within `withinMs`. */
  async until(condition: () => boolean, withinMs: number, stepMs = 10): Promise<number> {
    const startMs = this.#nowMs
    await settle()
    while (!condition()) {
      if (this.#nowMs - startMs >= withinMs) throw new Error(`condition not met within ${withinMs} ms`)
      await this.advance(stepMs)
    }
    return this.#nowMs - startMs
  }
}

/** Waits until no promise can go on. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** A seeded generator of numbers from 0 to 1 (mulberry32). */
export class SeededRandom implements Random {
  constructor(private state: number) {}

  float(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => Math.floor(this.float() * 256)))
  }
}

export function nodeId(name: string): NodeId {
  return createHash('sha256').update(name).digest('hex')
}

/** Nodes by address; links carry calls with a latency. */
export class FakeNet {
  readonly nodes = new Map<NodeId, FakeNode>()
  readonly #links = new Set<string>()
  readonly #cuts = new Set<string>()
  /** The latency one way, in ms. */
  latencyMs: (from: NodeId, to: NodeId) => number = () => 1

  constructor(readonly clock: ManualClock) {}

  add(name: string, address: NodeAddress): FakeNode {
    const node = new FakeNode(this, nodeId(name), address)
    this.nodes.set(node.self, node)
    return node
  }

  linked(a: NodeId, b: NodeId): boolean {
    return this.#links.has(pair(a, b))
  }

  /** Opens a link, for tests without peering. */
  link(a: NodeId, b: NodeId): void {
    const key = pair(a, b)
    if (this.#links.has(key)) return
    this.#links.add(key)
    const [x, y] = [this.nodes.get(a)!, this.nodes.get(b)!]
    x.emit({ node: b, up: true, remoteHost: y.address.host })
    y.emit({ node: a, up: true, remoteHost: x.address.host })
  }

  unlink(a: NodeId, b: NodeId): void {
    if (!this.#links.delete(pair(a, b))) return
    this.nodes.get(a)?.emit({ node: b, up: false })
    this.nodes.get(b)?.emit({ node: a, up: false })
  }

  /** Breaks the link and lets none come up. */
  cut(a: NodeId, b: NodeId): void {
    this.#cuts.add(pair(a, b))
    this.unlink(a, b)
  }

  heal(a: NodeId, b: NodeId): void {
    this.#cuts.delete(pair(a, b))
  }

  /** The node's process ends: its links break and its address answers no more. */
  kill(id: NodeId): void {
    this.nodes.get(id)!.alive = false
    for (const other of this.nodes.keys()) this.unlink(id, other)
    this.nodes.delete(id)
  }

  isCut(a: NodeId, b: NodeId): boolean {
    return this.#cuts.has(pair(a, b))
  }
}

function pair(a: NodeId, b: NodeId): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`
}

/** One node's end of the network. */
export class FakeNode implements Transport, Dialer {
  alive = true
  /** Calls that were made, for counting: `to method`. */
  readonly calls: { to: NodeId; method: string }[] = []
  readonly #handlers = new Map<string, RpcHandler>()
  readonly #listeners = new Set<(event: LinkEvent) => void>()

  constructor(
    private readonly net: FakeNet,
    readonly self: NodeId,
    readonly address: NodeAddress,
  ) {}

  handle(method: string, handler: RpcHandler): void {
    if (this.#handlers.has(method)) throw new Error(`${method} is registered twice`)
    this.#handlers.set(method, handler)
  }

  call(to: NodeId, method: string, body: unknown, options: CallOptions): Promise<RpcReply> {
    this.calls.push({ to, method })
    if (to === this.self)
      return this.serve(this.self, method, body, options.stream ? { stream: options.stream } : {})
    const unreachable = () => new CarportError('PeerUnreachable', `no link to ${to.slice(0, 8)}`)
    if (!this.net.linked(this.self, to)) return Promise.reject(unreachable())
    const { clock } = this.net
    const bytes = pack(body)
    return new Promise((resolve, reject) => {
      // As on real links, what does not fit into a message is refused.
      encodeRequest(0, options.timeoutMs, method, body)
      const deadline = clock.after(options.timeoutMs, () => reject(new CarportError('Timeout', method)))
      const finish = (fn: () => void) => {
        deadline.cancel()
        if (this.net.linked(this.self, to)) fn()
        else reject(unreachable())
      }
      clock.after(this.net.latencyMs(this.self, to), () => {
        const target = this.net.nodes.get(to)
        if (!target || !this.net.linked(this.self, to)) return finish(() => {})
        target.serve(this.self, method, unpack(bytes), options).then(
          (reply) =>
            clock.after(this.net.latencyMs(to, this.self), () =>
              finish(() => resolve({ ...reply, body: unpack(pack(reply.body)) })),
            ),
          (error) => clock.after(this.net.latencyMs(to, this.self), () => finish(() => reject(error))),
        )
      })
    })
  }

  async serve(
    from: NodeId,
    method: string,
    body: unknown,
    { readMark, stream }: Pick<CallOptions, 'readMark' | 'stream'> = {},
  ): Promise<RpcReply> {
    const handler = this.#handlers.get(method)
    if (!handler) throw new CarportError('RemoteError', `no handler for ${method}`)
    const { signal } = new AbortController()
    return handler(body, {
      from,
      signal,
      ...(readMark !== undefined && { readMark }),
      ...(stream && { stream }),
    })
  }

  isConnected(node: NodeId): boolean {
    return node === this.self || this.net.linked(this.self, node)
  }

  rttMs(node: NodeId): number | undefined {
    if (node === this.self) return 0
    return this.net.linked(this.self, node)
      ? this.net.latencyMs(this.self, node) + this.net.latencyMs(node, this.self)
      : undefined
  }

  connect(address: NodeAddress, expectedId?: NodeId): Promise<NodeId> {
    return new Promise((resolve, reject) => {
      this.net.clock.after(1, () => {
        const target = [...this.net.nodes.values()].find(
          (node) => node.alive && node.address.host === address.host && node.address.port === address.port,
        )
        if (!this.alive || !target || this.net.isCut(this.self, target.self)) {
          reject(
            new CarportError('PeerUnreachable', `${address.host}:${address.port} refused the connection`),
          )
        } else if (expectedId !== undefined && target.self !== expectedId) {
          reject(new CarportError('Conflict', 'another node answered'))
        } else {
          if (target !== this) this.net.link(this.self, target.self)
          resolve(target.self)
        }
      })
    })
  }

  disconnect(node: NodeId): void {
    this.net.unlink(this.self, node)
  }

  onLink(fn: (event: LinkEvent) => void): () => void {
    this.#listeners.add(fn)
    return () => this.#listeners.delete(fn)
  }

  links(): readonly NodeId[] {
    return [...this.net.nodes.keys()].filter((id) => this.net.linked(this.self, id))
  }

  emit(event: LinkEvent): void {
    for (const fn of this.#listeners) fn(event)
  }
}
