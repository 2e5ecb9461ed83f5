import type { NodeId } from '../net/transport.js'
import { type Backoff, backoffMs } from '../util/backoff.js'
import type { Clock, Timer } from '../util/clock.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { Service } from '../util/service.js'
import { formatAddress, isNodeId, type NodeAddress, type PeerSpec, tryParseAddress } from './address.js'

/** A link came up or went down. */
export interface LinkEvent {
  node: NodeId
  up: boolean
  /** The other end's IP address, as this node's socket sees it. */
  remoteHost?: string
}

/** The part of a transport that peering needs: TlsTransport in a node, the simulator's network in tests. */
export interface Dialer {
  readonly self: NodeId
  /**
   * Opens a link, or finds that there is one to that node already. Resolves with the id of the node that answered.
   * @throws CarportError PeerUnreachable, Timeout; Conflict if another node than `expectedId` answered.
   */
  connect(address: NodeAddress, expectedId?: NodeId): Promise<NodeId>
  /** Closes the link to a node, if there is one. */
  disconnect(node: NodeId): void
  /** Calls `fn` at each link that came up (the first to a node) or went down (the last). Returns the unsubscriber. */
  onLink(fn: (event: LinkEvent) => void): () => void
  /** The nodes with a link now. */
  links(): readonly NodeId[]
}

/** A peer in the form in which nodes exchange and store it. Addresses are `host:port`, the best first. */
export interface PeerRecord {
  id: NodeId
  addresses: string[]
}

/** Keeps the peers over a restart. */
export interface PeerStore {
  load(): PeerRecord[]
  save(peers: PeerRecord[]): Promise<void>
}

export interface PeeringOptions {
  dialer: Dialer
  clock: Clock
  random: Random
  log: Log
  store: PeerStore
  /** Peers of the configuration; each is dialled for ever. */
  bootstrapPeers: readonly PeerSpec[]
  /** Whether the layout knows the node: such peers are never forgotten. */
  isMember?: (node: NodeId) => boolean
}

/** The waits between dials; left to chance in part, so that nodes that lost each other do not dial in step. */
const BACKOFF: Backoff = { baseMs: 500, maxMs: 30_000 }
/** How soon a link that broke is made anew, at the latest, in ms: calls wait half a second for it (see LinkWaits). */
const RELINK_MS = 100
const FAILURES_TO_WARN = 3
const ADDRESSES_PER_PEER = 6
const PEERS_MAX = 1000
/** A peer that is neither in the layout nor configured is dialled this long without success, then forgotten. */
const FORGET_AFTER_MS = 3600_000

interface Peer {
  readonly id: NodeId
  /** The best first: announced by the node itself or dialled with success. */
  addresses: NodeAddress[]
  up: boolean
  /** Monotonic ms when the link was last known to be up; undefined before the first. */
  lastUpMs: number | undefined
  /** The other end's address of an inbound or outbound link. */
  remoteHost: string | undefined
  readonly knownSinceMs: number
  readonly dialing: Redial
}

/** A configured address whose node may change its id. */
interface Seed {
  readonly address: NodeAddress
  node: NodeId | undefined
  readonly dialing: Redial
}

interface Redial {
  failures: number
  running: boolean
  timer: Timer | undefined
}

export interface PeerState {
  id: NodeId
  up: boolean
  addresses: NodeAddress[]
  /** Milliseconds since the link was last up; 0 while it is; undefined if it never was. */
  lastSeenMsAgo: number | undefined
}

/**
 * Keeps links to all known peers (a full mesh): the configured ones, those stored by an earlier run, and those
 * that other nodes tell of.
 */
export class Peering implements Service {
  readonly name = 'peering'
  readonly #peers = new Map<NodeId, Peer>()
  readonly #seeds: Seed[]
  readonly #listeners = new Set<(event: LinkEvent) => void>()
  #unsubscribe: (() => void) | undefined
  #running = false
  #saving: Promise<void> | undefined
  #dirty = false

  constructor(private readonly options: PeeringOptions) {
    this.#seeds = options.bootstrapPeers
      .filter((spec) => spec.id === undefined)
      .map((spec) => ({ address: spec.address, node: undefined, dialing: newRedial() }))
  }

  start(): void {
    const { dialer, store, bootstrapPeers } = this.options
    this.#running = true
    for (const record of store.load()) this.#add(record.id, parseAddresses(record.addresses))
    for (const { id, address } of bootstrapPeers) if (id) this.#add(id, [address])
    this.#unsubscribe = dialer.onLink((event) => this.#linkChanged(event))
    for (const node of dialer.links()) this.#linkChanged({ node, up: true })
    for (const peer of this.#peers.values()) this.#redialPeer(peer, 0)
    for (const seed of this.#seeds) this.#redialSeed(seed, 0)
  }

  async stop(): Promise<void> {
    this.#running = false
    this.#unsubscribe?.()
    for (const { dialing } of this.#peers.values()) dialing.timer?.cancel()
    for (const { dialing } of this.#seeds) dialing.timer?.cancel()
    await this.#saving
  }

  /** Calls `fn` after each link that came up or went down, once `peers()` shows it. */
  onLink(fn: (event: LinkEvent) => void): () => void {
    this.#listeners.add(fn)
    return () => this.#listeners.delete(fn)
  }

  /** All known peers, without the own node. */
  peers(): PeerState[] {
    const now = this.options.clock.monotonicMs()
    return [...this.#peers.values()].map((peer) => ({
      id: peer.id,
      up: peer.up,
      addresses: peer.addresses,
      lastSeenMsAgo: peer.up ? 0 : peer.lastUpMs === undefined ? undefined : now - peer.lastUpMs,
    }))
  }

  connected(): NodeId[] {
    const nodes: NodeId[] = []
    for (const peer of this.#peers.values()) if (peer.up) nodes.push(peer.id)
    return nodes
  }

  /** Whether it knows other nodes, by their ids or addresses, and is linked to none. */
  get isCutOff(): boolean {
    const isOther = ({ node }: Seed) => node !== this.options.dialer.self
    return this.connected().length === 0 && (this.#peers.size > 0 || this.#seeds.some(isOther))
  }

  isUp(node: NodeId): boolean {
    return node === this.options.dialer.self || this.#peers.get(node)?.up === true
  }

  /** The list for other nodes: the peers that are alive or belong to the layout. */
  records(): PeerRecord[] {
    const records: PeerRecord[] = []
    for (const peer of this.#peers.values()) {
      if (peer.addresses.length > 0 && (peer.up || this.options.isMember?.(peer.id))) {
        records.push(toRecord(peer))
      }
    }
    return records
  }

  /** Takes another node's list of peers, unvalidated. Malformed entries are skipped. */
  learn(records: unknown): void {
    if (!Array.isArray(records)) return
    for (const record of records.slice(0, PEERS_MAX)) {
      if (typeof record !== 'object' || record === null) continue
      const { id, addresses } = record as Record<string, unknown>
      if (isNodeId(id) && Array.isArray(addresses)) this.#hear(id, parseAddresses(addresses))
    }
  }

  /** Takes a node's own word about its address, which comes before every address learned from others. */
  announced(node: NodeId, address: NodeAddress): void {
    const peer = this.#peers.get(node)
    if (!peer) return
    const first = peer.addresses[0]
    if (first && sameAddress(first, address)) return
    peer.addresses = [address, ...peer.addresses.filter((a) => !sameAddress(a, address))].slice(
      0,
      ADDRESSES_PER_PEER,
    )
    this.#save()
  }

  /** The IP address the link to a node comes from. */
  remoteHost(node: NodeId): string | undefined {
    return this.#peers.get(node)?.remoteHost
  }

  /**
   * Connects to a node now, and keeps the link from then on. Resolves with its id; a node needs no link to itself, so that
   * one list of nodes can be given to all of them.
   * @throws CarportError PeerUnreachable, Timeout, Conflict (another id).
   */
  async connect(spec: PeerSpec): Promise<NodeId> {
    const { dialer } = this.options
    if (spec.id === dialer.self) return dialer.self
    const id = await dialer.connect(spec.address, spec.id)
    if (id !== dialer.self) this.#hear(id, [spec.address])
    return id
  }

  #hear(id: NodeId, addresses: NodeAddress[]): void {
    if (id === this.options.dialer.self) return
    const known = this.#peers.get(id)
    if (!this.#add(id, addresses)) return
    this.#save()
    const peer = this.#peers.get(id)!
    if (known) peer.dialing.failures = 0
    this.#redialPeer(peer, 0)
  }

  /** Returns whether something was new. */
  #add(id: NodeId, addresses: readonly NodeAddress[]): boolean {
    if (id === this.options.dialer.self) return false
    let peer = this.#peers.get(id)
    let changed = false
    if (!peer) {
      if (this.#peers.size >= PEERS_MAX) return false
      peer = {
        id,
        addresses: [],
        up: false,
        lastUpMs: undefined,
        remoteHost: undefined,
        knownSinceMs: this.options.clock.monotonicMs(),
        dialing: newRedial(),
      }
      this.#peers.set(id, peer)
      changed = true
    }
    for (const address of addresses) {
      if (peer.addresses.some((a) => sameAddress(a, address))) continue
      // A dead peer's full list must not keep its new address out: drop the address heard of longest ago.
      if (peer.addresses.length >= ADDRESSES_PER_PEER) {
        if (peer.up) continue
        peer.addresses.pop()
      }
      peer.addresses.push(address)
      changed = true
    }
    return changed
  }

  #linkChanged(event: LinkEvent): void {
    if (!this.#running || event.node === this.options.dialer.self) return
    if (event.up && this.#add(event.node, [])) this.#save()
    const peer = this.#peers.get(event.node)
    if (!peer || (peer.up === event.up && !event.up)) return
    const changed = peer.up !== event.up
    peer.up = event.up
    peer.lastUpMs = this.options.clock.monotonicMs()
    if (event.up) {
      // A socket that listens on both protocols shows IPv4 peers as IPv4-mapped IPv6 addresses.
      peer.remoteHost = event.remoteHost?.replace(/^::ffff:(?=\d+\.)/i, '') ?? peer.remoteHost
      peer.dialing.failures = 0
      peer.dialing.timer?.cancel()
    } else {
      this.#redialPeer(peer, RELINK_MS * (0.5 + this.options.random.float() / 2))
      for (const seed of this.#seeds) {
        if (seed.node === peer.id) this.#redialSeed(seed, backoffMs(BACKOFF, 0, this.options.random))
      }
    }
    if (!changed) return
    this.options.log.info({ peer: peer.id }, event.up ? 'peer connected' : 'peer disconnected')
    for (const fn of this.#listeners) fn(event)
  }

  #redialPeer(peer: Peer, delayMs: number): void {
    this.#schedule(peer.dialing, delayMs, async () => {
      if (peer.up) return true
      if (this.#shouldForget(peer)) {
        this.#peers.delete(peer.id)
        this.#save()
        this.options.log.info({ peer: peer.id }, 'forgot a peer that did not answer for an hour')
        return true
      }
      for (const address of peer.addresses) {
        if (peer.up || !this.#running) return true
        if (await this.#dial(address, peer.id, peer.dialing.failures)) break
      }
      // Not "connected": the link may have broken again meanwhile, and its event was ignored while this ran.
      return peer.up
    })
  }

  #redialSeed(seed: Seed, delayMs: number): void {
    this.#schedule(seed.dialing, delayMs, async () => {
      if (seed.node !== undefined && this.isUp(seed.node)) return true
      const id = await this.#dial(seed.address, undefined, seed.dialing.failures)
      if (id === undefined) return false
      seed.node = id
      this.#hear(id, [seed.address])
      return this.isUp(id)
    })
  }

  async #dial(
    address: NodeAddress,
    expectedId: NodeId | undefined,
    failures: number,
  ): Promise<NodeId | undefined> {
    const { dialer, log } = this.options
    try {
      const id = await dialer.connect(address, expectedId)
      if (expectedId !== undefined && id !== expectedId) return undefined
      return id
    } catch (error) {
      const fields = { peer: expectedId, address: formatAddress(address), error: String(error) }
      // Nodes that start together miss each other at first, so log only a failure that lasts, and only once.
      if (failures === FAILURES_TO_WARN) log.warn(fields, 'still cannot connect to a peer; will go on trying')
      else log.debug(fields, 'could not connect to a peer')
      return undefined
    }
  }

  /** Runs `attempt` after `delayMs`, again with growing delays until it returns true; one at a time. */
  #schedule(redial: Redial, delayMs: number, attempt: () => Promise<boolean>): void {
    if (redial.running || !this.#running) return
    redial.timer?.cancel()
    redial.timer = this.options.clock.after(delayMs, () => {
      redial.running = true
      attempt().then((done) => {
        redial.running = false
        if (done) redial.failures = 0
        else this.#schedule(redial, backoffMs(BACKOFF, ++redial.failures, this.options.random), attempt)
      })
    })
  }

  #shouldForget(peer: Peer): boolean {
    const { bootstrapPeers, isMember, clock } = this.options
    if (isMember?.(peer.id) || bootstrapPeers.some((spec) => spec.id === peer.id)) return false
    return clock.monotonicMs() - (peer.lastUpMs ?? peer.knownSinceMs) > FORGET_AFTER_MS
  }

  #save(): void {
    this.#dirty = true
    this.#saving ??= this.#saveLoop()
  }

  async #saveLoop(): Promise<void> {
    // One turn later, so that a list of many new peers is written once.
    await undefined
    while (this.#dirty) {
      this.#dirty = false
      try {
        await this.options.store.save([...this.#peers.values()].map(toRecord))
      } catch (error) {
        this.options.log.warn({ error: String(error) }, 'could not store the list of peers')
      }
    }
    this.#saving = undefined
  }
}

function newRedial(): Redial {
  return { failures: 0, running: false, timer: undefined }
}

function toRecord(peer: Peer): PeerRecord {
  return { id: peer.id, addresses: peer.addresses.map(formatAddress) }
}

function sameAddress(a: NodeAddress, b: NodeAddress): boolean {
  return a.port === b.port && a.host === b.host
}

function parseAddresses(texts: readonly unknown[]): NodeAddress[] {
  const addresses: NodeAddress[] = []
  for (const text of texts.slice(0, ADDRESSES_PER_PEER)) {
    const address = typeof text === 'string' ? tryParseAddress(text) : undefined
    if (address) addresses.push(address)
  }
  return addresses
}
