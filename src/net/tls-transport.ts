import { isIP } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { Clock, Hlc } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import { dial, type NodeAddress, secureContext } from './dial.js'
import {
  type Hello,
  INCARNATION_BYTES,
  PROTOCOL_VERSIONS,
  Role,
  SECRET_BYTES,
  Verdict,
  type VersionRange,
} from './handshake.js'
import type { NodeIdentity } from './identity.js'
import { Link } from './link.js'
import { LinkWaits, noLink } from './link-waits.js'
import { Listener } from './listener.js'
import { callLocal } from './local-call.js'
import { BatchPool } from './outbox.js'
import { PeerLinks, type RankedLink } from './peer-links.js'
import type { HandshakeOptions, SecureConnection } from './secure-connection.js'
import type { CallOptions, NodeId, RpcHandler, RpcReply, Transport } from './transport.js'

/** The most clients (commands of the CLI) connected at once. */
const CLIENTS_MAX = 64
/** More links than this to one peer mean that something is wrong with it. */
const LINKS_PER_PEER_MAX = 8

export interface TlsTransportOptions {
  identity: NodeIdentity
  /** rpc_secret: 32 bytes, the same in the whole cluster. */
  rpcSecret: Buffer
  /** Where to listen; port 0 takes a free one. */
  listen: NodeAddress
  clock: Clock
  random: Random
  hlc: Hlc
  log: Log
  /** The own IP address that connections to others come from; any unless it is given. */
  outgoingHost?: string
  /** After how long without a byte a peer is silent, in ms (see LinkPulse). */
  pingTimeoutMs?: number
  /** The versions of the protocol to offer; only tests of upgrades set this. */
  versions?: VersionRange
}

/** A link to a peer came up (the first) or went down (the last). */
export interface LinkEvent {
  node: NodeId
  up: boolean
  /** The other end's IP address or, for a link that this side opened, the host that was dialed. */
  remoteHost?: string
}

export interface LinkInfo {
  node: NodeId
  /** The address that was dialed; of an inbound link, the other end's address and ephemeral port. */
  address: NodeAddress
  rttMs: number | undefined
  inbound: boolean
}

interface Dialing {
  promise: Promise<NodeId>
  giveUp(reason: CarportError): void
}

/** Transport over TLS 1.3: one link per pair of nodes, shared by the calls of both. */
export class TlsTransport implements Transport {
  readonly self: NodeId
  readonly #options: TlsTransportOptions
  readonly #handlers = new Map<string, RpcHandler>()
  readonly #peers = new Map<NodeId, PeerLinks>()
  readonly #clients = new Set<Link>()
  readonly #dialing = new Map<string, Dialing>()
  readonly #listeners = new Set<(event: LinkEvent) => void>()
  readonly #pool = new BatchPool()
  readonly #context: SecureContext
  readonly #incarnation: string
  readonly #openLinks = new Set<Link>()
  readonly #waits: LinkWaits
  #listener: Listener | undefined
  #dialNumber = 0
  #closed = false

  /** @throws CarportError InvalidArgument when the secret is not 32 bytes long. */
  constructor(options: TlsTransportOptions) {
    if (options.rpcSecret.length !== SECRET_BYTES) {
      throw new CarportError('InvalidArgument', `rpc_secret must be ${SECRET_BYTES} bytes (64 hex digits)`)
    }
    this.#options = options
    this.self = options.identity.nodeId
    this.#waits = new LinkWaits(options.clock)
    this.#context = secureContext(options.identity)
    this.#incarnation = options.random.bytes(INCARNATION_BYTES).toString('hex')
  }

  handle(method: string, handler: RpcHandler): void {
    if (this.#handlers.has(method)) throw new Error(`RPC method ${method} has a handler already`)
    this.#handlers.set(method, handler)
  }

  call(to: NodeId, method: string, body: unknown, options: CallOptions): Promise<RpcReply> {
    if (this.#closed) return Promise.reject(closedError())
    if (to === this.self) {
      const { clock, log } = this.#options
      return callLocal(clock, log, to, method, this.#handlers.get(method), body, options)
    }
    const chosen = this.#peers.get(to)?.preferred
    if (chosen) return chosen.link.call(method, body, options)
    if (this.#waits.isExpected(to)) return this.#callOnceLinked(to, method, body, options)
    return Promise.reject(noLink(to))
  }

  async #callOnceLinked(to: NodeId, method: string, body: unknown, options: CallOptions): Promise<RpcReply> {
    const waitedMs = await this.#waits.wait(to, options.timeoutMs, options.signal)
    const timeoutMs = Math.max(1, options.timeoutMs - waitedMs)
    const chosen = this.#peers.get(to)?.preferred
    if (!chosen) throw noLink(to)
    return chosen.link.call(method, body, { ...options, timeoutMs })
  }

  isConnected(node: NodeId): boolean {
    return node === this.self || this.#peers.has(node)
  }

  rttMs(node: NodeId): number | undefined {
    return node === this.self ? 0 : this.#peers.get(node)?.preferred?.link.rttMs
  }

  /**
   * Listens, and resolves with the address that it got.
   * @throws CarportError Conflict when the address is in use, InvalidArgument when it is not this machine's.
   */
  async listen(): Promise<NodeAddress> {
    if (this.#closed || this.#listener) throw new Error('the transport listens only once')
    const { identity, clock, log, listen } = this.#options
    this.#listener = new Listener({
      identity,
      clock,
      log,
      handshake: { ...this.#handshake('listener'), admit: (peer, hello) => this.#admit(peer, hello) },
      onConnection: (connection, remote) => this.#accepted(connection, remote),
    })
    return await this.#listener.listen(listen)
  }

  /**
   * Opens a link, or finds that there is one already. Resolves with the id of the node that answered; that may be
   * the own id, to which no link is kept.
   * @throws CarportError PeerUnreachable, Timeout, Closed; Conflict if another node than `expectedId` answered.
   */
  connect(address: NodeAddress, expectedId?: NodeId): Promise<NodeId> {
    if (this.#closed) return Promise.reject(closedError())
    if (expectedId !== undefined && this.isConnected(expectedId)) return Promise.resolve(expectedId)
    if (expectedId === undefined) {
      const known = this.#findDialed(address)
      if (known !== undefined) return Promise.resolve(known)
    }
    const key = `${expectedId ?? ''}@${address.host}:${address.port}`
    const dialing = this.#dialing.get(key) ?? this.#dial(key, { ...address }, expectedId)
    return dialing.promise
  }

  /** Breaks the links to a node; calls under way fail as PeerUnreachable. */
  disconnect(node: NodeId): void {
    for (const { link } of this.#peers.get(node)?.all() ?? []) link.fail('disconnected')
  }

  /** Calls `fn` at each link that came up (the first to a node) or went down (the last). Returns the unsubscriber. */
  onLink(fn: (event: LinkEvent) => void): () => void {
    this.#listeners.add(fn)
    return () => this.#listeners.delete(fn)
  }

  /** The nodes with a link now. */
  links(): NodeId[] {
    return [...this.#peers.keys()]
  }

  /** The links in use, one per node. */
  linkInfos(): LinkInfo[] {
    const infos: LinkInfo[] = []
    for (const [node, { preferred }] of this.#peers) {
      if (!preferred) continue
      const { link, address } = preferred
      infos.push({ node, address, rttMs: link.rttMs, inbound: !link.dialed })
    }
    return infos
  }

  /** Breaks all links and stops listening. Resolves when every socket is closed. */
  async close(): Promise<void> {
    this.#closed = true
    this.#waits.close(closedError())
    for (const dialing of [...this.#dialing.values()]) dialing.giveUp(closedError())
    const links = [...this.#openLinks]
    for (const link of links) link.fail('this node is shutting down')
    await Promise.all([this.#listener?.close(), ...links.map((link) => link.closed)])
  }

  #handshake(direction: 'dialer' | 'listener'): HandshakeOptions {
    return {
      direction,
      role: Role.peer,
      secret: this.#options.rpcSecret,
      versions: this.#options.versions ?? PROTOCOL_VERSIONS,
      incarnation: this.#incarnation,
      dialNumber: 0,
      hlc: this.#options.hlc,
    }
  }

  #admit(peer: NodeId, hello: Hello): Verdict {
    const full =
      hello.role === Role.client
        ? this.#clients.size >= CLIENTS_MAX
        : (this.#peers.get(peer)?.all().length ?? 0) >= LINKS_PER_PEER_MAX
    return full || this.#closed ? Verdict.tooMany : Verdict.welcome
  }

  #findDialed({ host, port }: NodeAddress): NodeId | undefined {
    for (const [node, links] of this.#peers) {
      const dialed = links
        .all()
        .some((l) => l.link.dialed && l.address.host === host && l.address.port === port)
      if (dialed) return node
    }
    return undefined
  }

  #dial(key: string, address: NodeAddress, expectedId: NodeId | undefined): Dialing {
    const dialNumber = ++this.#dialNumber
    const handshake: HandshakeOptions = { ...this.#handshake('dialer'), dialNumber }
    if (isIP(address.host)) this.#listener?.know(address.host)
    if (expectedId !== undefined) {
      handshake.expectedId = expectedId
      this.#waits.dialing(expectedId)
    }
    let giveUp: Dialing['giveUp'] = () => {}
    const promise = new Promise<NodeId>((resolve, reject) => {
      giveUp = dial(
        address,
        this.#context,
        this.#options.clock,
        handshake,
        (connection, failure) => {
          this.#dialing.delete(key)
          if (!connection) return reject(failure)
          this.#listener?.know(connection.socket.remoteAddress ?? address.host)
          if (connection.peer === this.self) connection.socket.destroy()
          else this.#addPeer(connection, address, true, dialNumber)
          resolve(connection.peer)
        },
        this.#options.outgoingHost,
      )
    })
    const dialing = { promise, giveUp }
    this.#dialing.set(key, dialing)
    return dialing
  }

  #accepted(connection: SecureConnection, remote: NodeAddress): void {
    const { socket, peer, hello } = connection
    // A link to the own id is of no use; the other end, this very process, drops it too.
    if (peer === this.self || this.#closed) return void socket.destroy()
    if (hello.role === Role.peer) {
      this.#addPeer(connection, remote, false, hello.dialNumber)
      return
    }
    const link = this.#makeLink(connection, false, (link) => this.#clients.delete(link))
    this.#clients.add(link)
    link.start()
  }

  #addPeer(connection: SecureConnection, address: NodeAddress, dialed: boolean, dialNumber: number): void {
    const { peer, hello } = connection
    const link = this.#makeLink(connection, dialed, (link) => this.#linkDown(link, address))
    const ranked: RankedLink = {
      link,
      address,
      dialedBySmallerId: dialed ? this.self < peer : peer < this.self,
      dialNumber,
      incarnation: hello.incarnation,
    }
    this.#options.hlc.observe(hello.hlcUs)
    let links = this.#peers.get(peer)
    const first = links === undefined
    if (!links) {
      links = new PeerLinks()
      this.#peers.set(peer, links)
    }
    links.add(ranked)
    if (first) this.#tell({ node: peer, up: true, remoteHost: address.host })
    link.start()
    if (first) this.#waits.linked(peer)
  }

  #linkDown(link: Link, address: NodeAddress): void {
    const links = this.#peers.get(link.peer)
    if (!links) return
    links.remove(link)
    if (links.preferred) return
    this.#peers.delete(link.peer)
    this.#waits.lost(link.peer)
    this.#tell({ node: link.peer, up: false, remoteHost: address.host })
  }

  #makeLink(connection: SecureConnection, dialed: boolean, onDown: (link: Link) => void): Link {
    const { clock, hlc, log } = this.#options
    const link = new Link({
      socket: connection.socket,
      firstBytes: connection.firstBytes,
      peer: connection.peer,
      dialed,
      trustPeerTime: connection.hello.role === Role.peer,
      handlers: this.#handlers,
      clock,
      hlc,
      log,
      pool: this.#pool,
      pingTimeoutMs: this.#options.pingTimeoutMs,
      onDown,
    })
    this.#openLinks.add(link)
    void link.closed.then(() => this.#openLinks.delete(link))
    return link
  }

  #tell(event: LinkEvent): void {
    for (const fn of this.#listeners) {
      try {
        fn(event)
      } catch (err) {
        this.#options.log.error({ err }, 'a listener of RPC links failed')
      }
    }
  }
}

function closedError(): CarportError {
  return new CarportError('Closed', 'the node is shutting down')
}
