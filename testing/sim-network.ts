import type { NodeAddress } from '../src/cluster/address.js'
import type { NodeId } from '../src/net/transport.js'
import type { Timer } from '../src/util/clock.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimClock } from './sim-clock.js'
import { LOCAL_PATH, type PathProfile, RETRANSMIT_MS, RETRANSMIT_MS_MAX, SILENCE_MS } from './sim-paths.js'
import {
  type LinkOfTransport,
  type NetworkOfTransport,
  SimTransport,
  type SimTransportOptions,
} from './sim-transport.js'

/** A connection of two nodes. It dies with either end, or when the network stays silent. */
export class SimLink implements LinkOfTransport {
  up = true
  /** Called when the link goes down, so that calls and streams fail. */
  readonly onDown = new Set<() => void>()
  silence: Timer | undefined

  constructor(
    private readonly network: SimNetwork,
    readonly ends: readonly [SimTransport, SimTransport],
  ) {}

  other(end: SimTransport): SimTransport {
    return end === this.ends[0] ? this.ends[1] : this.ends[0]
  }

  /** Takes a message from one end to the other. It comes late through a cut that heals, never through a dead link. */
  carry(from: SimTransport, bytes: number, deliver: () => void): void {
    if (!this.up || !from.alive) return
    const to = this.other(from)
    this.#arrive(from, to, this.network.delayMs(from.self, to.self, bytes), RETRANSMIT_MS, deliver)
  }

  #arrive(from: SimTransport, to: SimTransport, delayMs: number, retryMs: number, deliver: () => void): void {
    this.network.clock.after(delayMs, () => {
      if (!this.up || !to.alive) return
      if (!this.network.isBlocked(from.self, to.self)) return deliver()
      this.#arrive(from, to, retryMs, Math.min(2 * retryMs, RETRANSMIT_MS_MAX), deliver)
    })
  }
}

export interface SimNetworkOptions {
  clock: SimClock
  random: SeededRandom
  /** The path between nodes without a profile of their own. */
  profile?: PathProfile
  /** Gets one line for each message and event; equal runs give equal lines. */
  trace?: (line: string) => void
}

/**
 * The network of a simulated cluster: makes the transport of each node, and breaks things: partitions (one-way too),
 * slow and lossy paths, dead processes and dead machines.
 */
export class SimNetwork implements NetworkOfTransport {
  readonly clock: SimClock
  readonly random: SeededRandom
  readonly #options: SimNetworkOptions
  readonly #profiles = new PairMap<PathProfile>()
  readonly #nodes = new Map<NodeId, SimTransport>()
  readonly #links = new Set<SimLink>()
  readonly #linksByEnds = new PairMap<SimLink>()
  /** Number of partitions that block a direction. */
  readonly #blocks = new PairMap<number>()

  constructor(options: SimNetworkOptions) {
    this.#options = options
    this.clock = options.clock
    this.random = options.random
  }

  /** Adds a node, the first time or again after a crash, with a transport that has no links and handlers yet. */
  join(options: SimTransportOptions): SimTransport {
    const former = this.#nodes.get(options.self)
    if (former?.alive) throw new Error('that node is up already')
    // The old connections' packets now get a reset.
    if (former) this.#breakLinks(former)
    const transport = new SimTransport(this, options)
    this.#nodes.set(options.self, transport)
    this.trace(`join ${options.self.slice(0, 8)}`)
    return transport
  }

  /**
   * Stops a node at once: its messages reach nobody any more, and its calls never settle. A dead 'process' resets
   * its connections, a dead 'machine' is just silent. The caller stops its clock, database and disk.
   */
  crash(node: NodeId, what: 'process' | 'machine' = 'process'): void {
    const transport = this.#nodes.get(node)
    if (!transport?.alive) return
    transport.alive = false
    transport.answersDials = what === 'process'
    this.trace(`crash ${node.slice(0, 8)} ${what}`)
    if (what === 'process') this.#breakLinks(transport)
    else for (const link of this.linksOf(transport)) this.#expectSilence(link)
  }

  /** Sets how messages go between two nodes, in both directions. */
  setPath(a: NodeId, b: NodeId, profile: PathProfile): void {
    this.#profiles.set(a, b, profile)
    this.#profiles.set(b, a, profile)
  }

  path(from: NodeId, to: NodeId): PathProfile {
    return this.#profiles.get(from, to) ?? this.#options.profile ?? LOCAL_PATH
  }

  /** Blocks all messages between two groups. Returns the function that heals it. */
  partition(groupA: readonly NodeId[], groupB: readonly NodeId[]): () => void {
    const heal = [this.block(groupA, groupB), this.block(groupB, groupA)]
    return () => {
      for (const fn of heal) fn()
    }
  }

  /** Blocks the messages from one group to another; those of the other direction pass. Returns what heals it. */
  block(from: readonly NodeId[], to: readonly NodeId[]): () => void {
    const pairs = from.flatMap((a) => to.filter((b) => b !== a).map((b) => [a, b] as const))
    for (const [a, b] of pairs) this.#blocks.set(a, b, (this.#blocks.get(a, b) ?? 0) + 1)
    this.trace(`block ${from.map(short)} > ${to.map(short)}`)
    for (const link of this.#links) if (this.#isCut(link)) this.#expectSilence(link)
    let healed = false
    return () => {
      if (healed) return
      healed = true
      for (const [a, b] of pairs) this.#blocks.set(a, b, this.#blocks.get(a, b)! - 1)
      this.trace(`heal ${from.map(short)} > ${to.map(short)}`)
      for (const link of this.#links) if (!this.#isCut(link)) link.silence?.cancel()
    }
  }

  isBlocked(from: NodeId, to: NodeId): boolean {
    return (this.#blocks.get(from, to) ?? 0) > 0
  }

  /** The time that a message takes, drawn anew for each. */
  delayMs(from: NodeId, to: NodeId, bytes: number): number {
    const { latencyMs, jitterMs, bytesPerMs } = this.path(from, to)
    return latencyMs + this.random.exponential(jitterMs) + bytes / bytesPerMs
  }

  link(a: NodeId, b: NodeId): SimLink | undefined {
    return this.#linksByEnds.get(a, b)
  }

  linksOf(end: SimTransport): SimLink[] {
    return [...this.#links].filter((link) => link.ends.includes(end))
  }

  /** The node that listens at an address, dead or alive. */
  find(address: NodeAddress): SimTransport | undefined {
    for (const node of this.#nodes.values()) {
      if (node.address.host === address.host && node.address.port === address.port) return node
    }
    return undefined
  }

  connectNow(a: SimTransport, b: SimTransport): void {
    if (this.#linksByEnds.get(a.self, b.self)) return
    const link = new SimLink(this, [a, b])
    this.#links.add(link)
    this.#linksByEnds.set(a.self, b.self, link)
    this.#linksByEnds.set(b.self, a.self, link)
    this.trace(`link ${short(a.self)} ${short(b.self)}`)
    if (this.#isCut(link)) this.#expectSilence(link)
    for (const end of link.ends) {
      const other = link.other(end)
      end.tell({ node: other.self, up: true, remoteHost: other.address.host })
    }
  }

  breakLink(link: SimLink): void {
    if (!link.up) return
    link.up = false
    link.silence?.cancel()
    const [a, b] = link.ends
    this.#links.delete(link)
    this.#linksByEnds.delete(a.self, b.self)
    this.#linksByEnds.delete(b.self, a.self)
    this.trace(`unlink ${short(a.self)} ${short(b.self)}`)
    for (const fn of [...link.onDown]) fn()
    for (const end of link.ends) if (end.alive) end.tell({ node: link.other(end).self, up: false })
  }

  trace(line: string): void {
    this.#options.trace?.(`${this.clock.monotonicMs().toFixed(3)} ${line}`)
  }

  #breakLinks(transport: SimTransport): void {
    for (const link of this.linksOf(transport)) this.breakLink(link)
  }

  #isCut(link: SimLink): boolean {
    const [a, b] = link.ends
    return !a.alive || !b.alive || this.isBlocked(a.self, b.self) || this.isBlocked(b.self, a.self)
  }

  #expectSilence(link: SimLink): void {
    link.silence?.cancel()
    link.silence = this.clock.after(SILENCE_MS, () => {
      if (this.#isCut(link)) this.breakLink(link)
    })
  }
}

function short(node: NodeId): string {
  return node.slice(0, 8)
}

/** Values by a node and another one, in that order: looked up for each message. */
class PairMap<T> {
  readonly #values = new Map<NodeId, Map<NodeId, T>>()

  get(from: NodeId, to: NodeId): T | undefined {
    return this.#values.get(from)?.get(to)
  }

  set(from: NodeId, to: NodeId, value: T): void {
    const row = this.#values.get(from) ?? new Map<NodeId, T>()
    this.#values.set(from, row.set(to, value))
  }

  delete(from: NodeId, to: NodeId): void {
    this.#values.get(from)?.delete(to)
  }
}
