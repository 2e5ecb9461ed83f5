import type { Db } from '../db/db.js'
import { type NodeId, Priority, type Transport } from '../net/transport.js'
import type { Clock, Hlc, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { Service } from '../util/service.js'
import { formatAddress, isHost, type PeerSpec, parsePeerSpec, tryParseAddress } from './address.js'
import { AgeWatch } from './age-watch.js'
import { DiskWatch } from './disk-watch.js'
import { type ClusterHealth, clusterHealth } from './health.js'
import type { LayoutHistory, LayoutParameters, LayoutVersion } from './layout/types.js'
import type { ConsistencyMode } from './layout/view.js'
import { LayoutGossip, type PushReport, STATUS_DELAY_MS } from './layout-gossip.js'
import { LayoutManager, type RoleChange } from './layout-manager.js'
import { type NodeInfo, nodeInfos } from './node-info.js'
import { type DiskReport, forgetProgress, type NodeStatus, parseNodeStatus } from './node-status.js'
import { DbPeerStore } from './peer-store.js'
import { type Dialer, Peering } from './peering.js'
import type { Quorum } from './quorum.js'
import { skipRemovedNodes } from './removed-nodes.js'
import { SelfLog } from './self-log.js'

export interface ClusterSystemOptions {
  transport: Transport
  dialer: Dialer
  quorum: Quorum
  db: Db
  clock: Clock
  hlc: Hlc
  random: Random
  log: Log
  replicationFactor: number
  consistencyMode: ConsistencyMode
  bootstrapPeers: readonly PeerSpec[]
  hostname: string
  /** The program's version. */
  version: string
  /** rpc_public_addr, `host:port`. */
  publicAddress?: string
  /** The port of rpc_bind_addr. */
  rpcPort: number
  /** Names of all tables that call `markSynced`; a layout version is complete here when each of them has. */
  syncedTables: readonly string[]
  /** Measures the file systems of the metadata and data folders; called about every ten seconds. */
  diskSpace?: () => Promise<DiskReport>
  /** The number of rows and blocks that this node has still to fetch or send, for its status. */
  queueLength?: () => number
  /** This node's copies of partitions, for its status. */
  copies?: () => { whole: number; total: number }
  /** Rows that are damaged on this node. */
  damagedRows?: () => number
}

const STATUS_EVERY_MS = 10_000
const PEERS_EVERY_ROUNDS = 6
const CALL_TIMEOUT_MS = 10_000
const CONTROL = { timeoutMs: CALL_TIMEOUT_MS, priority: Priority.control }

/**
 * Membership and layout of the cluster, as this node knows them: keeps the links, tells the others of this node about every ten
 * seconds and when something changes, and brings the layout to whoever has another one.
 */
export class ClusterSystem implements Service {
  readonly name = 'cluster'
  readonly peering: Peering
  /** The Placement for the storage layers. */
  readonly layout: LayoutManager
  readonly #gossip: LayoutGossip
  readonly #statuses = new Map<NodeId, NodeStatus>()
  /** What each other node said last; kept when it is gone. */
  readonly statuses: ReadonlyMap<NodeId, NodeStatus> = this.#statuses
  /** This node's address as some peer sees it. */
  #seenHost: string | undefined
  readonly #disks: DiskWatch
  #lastPush: Promise<PushReport> = Promise.resolve({ reached: 0, connected: 0 })
  readonly #selfLog: SelfLog
  readonly #ages: AgeWatch
  #running = false
  #startedAtMs = 0
  #round = 0
  #roundTimer: Timer | undefined
  #newsTimer: Timer | undefined

  constructor(private readonly options: ClusterSystemOptions) {
    const { transport, dialer, db, clock, random, log, bootstrapPeers } = options
    this.layout = new LayoutManager(options)
    this.#disks = new DiskWatch(clock, log, options.diskSpace)
    this.#selfLog = new SelfLog(options.hlc, log)
    this.#ages = new AgeWatch({ layout: this.layout, clock, log, news: () => this.#news() })
    options.hlc.peers.awaitsPeers = () => this.peering.connected().some((node) => !this.#statuses.has(node))
    options.hlc.peers.expectsPeers = () => this.layout.allNodes().some((node) => node !== transport.self)
    this.peering = new Peering({
      dialer,
      clock,
      random,
      log,
      store: new DbPeerStore(db, log),
      bootstrapPeers,
      isMember: (node) => this.layout.isMember(node),
    })
    this.#gossip = new LayoutGossip({
      layout: this.layout,
      replicationFactor: options.replicationFactor,
      clock,
      random,
      log,
      connected: () => this.peering.connected(),
      digestOf: (node) => this.#statuses.get(node)?.layoutDigest,
      call: (node, method, body) => this.#call(node, method, body),
    })
    this.#registerHandlers(transport)
  }

  /** @throws CarportError InvalidArgument when the stored layout has another replication factor; Corrupted. */
  async start(): Promise<void> {
    await this.layout.start()
    this.#running = true
    this.#startedAtMs = this.options.clock.monotonicMs()
    this.#ages.start()
    this.#gossip.start()
    this.layout.onHistory((origin) => {
      if (origin === 'own') this.#lastPush = this.#gossip.push()
      this.#tellRole()
      this.#news()
    })
    this.#tellRole()
    this.peering.onLink((event) => {
      if (event.up) void this.#greet(event.node)
    })
    this.peering.start()
    await this.#disks.measure()
    this.#scheduleRound()
  }

  #tellRole(): void {
    this.#selfLog.role(this.layout.role(this.options.transport.self) !== null, this.layout.layoutVersion)
  }

  async stop(): Promise<void> {
    this.#running = false
    this.#gossip.stop()
    this.#roundTimer?.cancel()
    this.#newsTimer?.cancel()
    await this.peering.stop()
    await this.layout.stop()
  }

  /** All known nodes: this one, those of the layout, and other peers. */
  status(): NodeInfo[] {
    return nodeInfos({
      self: this.options.transport.self,
      ownStatus: this.ownStatus(),
      ownAddress: this.ownAddress(),
      peers: this.peering.peers(),
      statuses: this.#statuses,
      layout: this.layout,
    })
  }

  ownStatus(): NodeStatus {
    const { hlc, hostname, version, replicationFactor, publicAddress, rpcPort } = this.options
    return {
      hostname,
      version,
      replicationFactor,
      layoutVersion: this.layout.layoutVersion,
      layoutDigest: this.layout.digest,
      publicAddress: publicAddress ?? null,
      rpcPort,
      metadataDisk: this.#disks.report.metadata,
      dataDisk: this.#disks.report.data,
      queueLength: this.options.queueLength?.() ?? null,
      clockMs: Math.floor(hlc.peers.ownMs()),
      clockOffMs: Math.round(hlc.peers.offMs()),
      clockDoubt: hlc.peers.isOff() ? (hlc.peers.doubt() ?? null) : null,
      copies: this.options.copies?.() ?? null,
      ...{ damagedRows: this.options.damagedRows?.() ?? null, conditionalWrites: true, k2v: true },
      lostFolders: this.#disks.report.lostFolders ?? null,
    }
  }

  /** This node's `host:port`: rpc_public_addr, else as a peer sees it; null while no peer told. */
  ownAddress(): string | null {
    const { publicAddress, rpcPort } = this.options
    if (publicAddress) return publicAddress
    return this.#seenHost ? formatAddress({ host: this.#seenHost, port: rpcPort }) : null
  }

  /**
   * Connects to `id@host:port` (or `host:port`) now, and keeps the link. Resolves with the node's id.
   * @throws CarportError InvalidArgument, PeerUnreachable, Timeout, Conflict (another id answered).
   */
  connectPeer(spec: string): Promise<NodeId> {
    return this.peering.connect(parsePeerSpec(spec))
  }

  health(): ClusterHealth {
    const peers = this.peering.peers()
    return clusterHealth({
      knownNodes: peers.length + 1,
      connectedNodes: this.peering.connected().length + 1,
      storageNodes: this.layout.storageNodes(),
      writeSets: (partition) => this.layout.view.writeSets(partition),
      writeQuorum: this.layout.writeQuorum,
      isUp: (node) => this.peering.isUp(node),
    })
  }

  /**
   * Stages roles (null removes the node) and parameters for the next layout.
   * @throws CarportError InvalidArgument, NotFound (removal of a node without a role)
   */
  async stageLayout(changes: {
    roles?: readonly RoleChange[]
    parameters?: LayoutParameters | null
  }): Promise<PushReport> {
    await this.layout.stage(changes)
    return this.#lastPush
  }

  /**
   * Makes the staged changes layout `version`, which must be the next one.
   * @throws CarportError Conflict (not the next version, or this node has no role), InvalidArgument (impossible)
   */
  async applyLayout(
    version: number,
  ): Promise<{ before: LayoutHistory; applied: LayoutVersion; push: PushReport }> {
    const result = await this.layout.applyStaged(version)
    return { ...result, push: await this.#lastPush }
  }

  /** Takes back all staged changes. */
  async revertLayout(): Promise<PushReport> {
    await this.layout.revertStaged()
    return this.#lastPush
  }

  /**
   * Stops waiting for the nodes that are down, in a layout change under way.
   * @throws CarportError InvalidArgument when there is nothing to skip
   */
  async skipDeadNodes(options: {
    version: number
    allowMissingData: boolean
  }): Promise<{ ackUpdated: NodeId[]; syncUpdated: NodeId[]; push: PushReport }> {
    const updated = await this.layout.skipDeadNodes({ ...options, isUp: (node) => this.peering.isUp(node) })
    return { ...updated, push: await this.#lastPush }
  }

  // ---- Calls from other nodes ----

  #registerHandlers(transport: Transport): void {
    const handle = (method: string, serve: (from: NodeId, body: unknown) => unknown) => {
      transport.handle(`cluster/${method}`, async (body, { from }) => {
        // The stored layout must be loaded before another one is merged into it.
        if (!this.#running) throw new CarportError('Closed', 'the node is starting or stopping')
        return { body: await serve(from, body) }
      })
    }
    handle('status', (from, body) => {
      // An operator's client is no peer: it only wants the answer.
      if (this.peering.isUp(from)) this.#receiveStatus(from, body)
      return this.#statusFor(from)
    })
    handle('get-layout', () => this.layout.encoded())
    handle('push-layout', async (from, body) => {
      this.#gossip.checkFactor(from)
      await this.layout.merge(body)
      return { digest: this.layout.digest }
    })
    handle('peers', (_from, body) => {
      this.peering.learn(body)
      return this.peering.records()
    })
    handle('connect', (_from, body) => {
      if (typeof body !== 'string')
        throw new CarportError('InvalidArgument', 'cluster/connect needs a string')
      return this.connectPeer(body)
    })
  }

  // ---- Status ----

  #statusFor(node: NodeId): object {
    return {
      ...this.ownStatus(),
      yourHost: this.peering.remoteHost(node) ?? null,
      ...this.#ages.told(node),
    }
  }

  #receiveStatus(from: NodeId, body: unknown): void {
    const status = parseNodeStatus(body)
    if (!status) {
      this.options.log.warn({ peer: from }, 'a peer sent a malformed status; ignored')
      return
    }
    this.#statuses.set(from, status)
    this.#selfLog.peerClockHeard(from, status.clockMs)
    const yourHost = (body as { yourHost?: unknown }).yourHost
    if (isHost(yourHost)) this.#seenHost = yourHost
    this.#ages.heard(from, body as { age?: unknown; yourAge?: unknown })
    this.#learnAddress(from, status)
    this.#gossip.heard(from, status)
  }

  /** Calls `fn` when a peer turns out to remember a later state of this node's database than the one that is here. */
  onWentBack(fn: () => void): void {
    this.#ages.onWentBack(fn)
  }

  #learnAddress(node: NodeId, status: NodeStatus): void {
    const address = status.publicAddress ? tryParseAddress(status.publicAddress) : undefined
    if (address) {
      this.peering.announced(node, address)
      return
    }
    const host = this.peering.remoteHost(node)
    if (host && status.rpcPort > 0) {
      this.peering.learn([{ id: node, addresses: [formatAddress({ host, port: status.rpcPort })] }])
    }
  }

  /** Greets a node whose link came up: both sides exchange their status and their lists of peers. */
  async #greet(node: NodeId): Promise<void> {
    forgetProgress(this.#statuses, node)
    await this.#sendStatus(node)
    await this.#exchangePeers(node)
  }

  async #sendStatus(node: NodeId): Promise<void> {
    const { clock } = this.options
    const sentMs = clock.monotonicMs()
    const reply = await this.#call(node, 'cluster/status', this.#statusFor(node))
    if (!reply) return
    const roundTripMs = clock.monotonicMs() - sentMs
    this.#receiveStatus(node, reply.body)
    this.#selfLog.peerClock(node, this.#statuses.get(node)?.clockMs ?? null, roundTripMs)
  }

  async #exchangePeers(node: NodeId): Promise<void> {
    const reply = await this.#call(node, 'cluster/peers', this.peering.records())
    if (reply) this.peering.learn(reply.body)
  }

  /** Calls a peer; resolves to undefined on failure, since the next round tells the same again. */
  async #call(node: NodeId, method: string, body: unknown): Promise<{ body: unknown } | undefined> {
    try {
      return await this.options.transport.call(node, method, body, CONTROL)
    } catch (error) {
      this.options.log.debug({ peer: node, method, error: String(error) }, 'a peer did not answer')
      return undefined
    }
  }

  /** Sends this node's status to all connected nodes after a short delay, which gathers several changes. */
  #news(): void {
    if (this.#newsTimer || !this.#running) return
    const delayMs = STATUS_DELAY_MS * (0.5 + this.options.random.float())
    this.#newsTimer = this.options.clock.after(delayMs, () => {
      this.#newsTimer = undefined
      this.#broadcastStatus()
    })
  }

  #broadcastStatus(): void {
    for (const node of this.peering.connected()) void this.#sendStatus(node)
  }

  #scheduleRound(): void {
    if (!this.#running) return
    const { clock, log } = this.options
    const delayMs = STATUS_EVERY_MS * (0.9 + this.options.random.float() * 0.2)
    this.#roundTimer = clock.after(delayMs, () => {
      void this.#disks.measure().then(() => {
        if (!this.#running) return
        this.#broadcastStatus()
        const uptimeMs = clock.monotonicMs() - this.#startedAtMs
        skipRemovedNodes(this.layout, this.peering, uptimeMs, log)
        this.#ages.raise()
        const connected = this.peering.connected()
        if (++this.#round % PEERS_EVERY_ROUNDS === 0 && connected.length > 0) {
          const node = connected[Math.floor(this.options.random.float() * connected.length)]!
          void this.#exchangePeers(node)
        }
        this.#scheduleRound()
      })
    })
  }
}
