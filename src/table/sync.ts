import { majority } from '../cluster/placement.js'
import type { NodeId } from '../net/transport.js'
import { errorCode } from '../util/errors.js'
import type { Service } from '../util/service.js'
import { sharedAbortController } from '../util/shared-abort.js'
import { Worker, type WorkerStats } from '../util/worker.js'
import { ComparedPeers } from './compared-peers.js'
import { comparisonsWith } from './comparisons.js'
import { handOver } from './hand-over.js'
import { Joins } from './joins.js'
import type { LocalTable } from './local.js'
import { replicasOf } from './replicas.js'
import { copyOf, FULL_COPY, type Standing } from './standing.js'
import { type PeerStanding, standingOf } from './standing-rpc.js'
import type { Suspects } from './suspects.js'
import { type SyncCounts, SyncSession } from './sync-session.js'
import type { TableEnv } from './table.js'

export interface SyncOptions {
  /** Time between two passes over everything, in ms, before jitter of a quarter either way. */
  intervalMs: number
  /** How soon a pass follows after a start, a change of layout, or a link that came up, in ms, before jitter. */
  soonMs: number
  /** When a copy, here or on a peer, is not ready: how soon it is looked at again, in ms. */
  againMs: number
  /** The least time between two comparisons with a peer that misses writes again and again, in ms. */
  gapMs: number
}

/** The status of one table's anti-entropy. */
export interface SyncStatus extends SyncCounts {
  table: string
  running: boolean
  /** End of the last pass over all peers, in ms since the epoch; undefined before the first. */
  lastPassMs: number | undefined
  /** Peers that could not be compared with in the last pass. */
  failedPeers: NodeId[]
  /** Partitions here that belong to other nodes and are being handed over. */
  foreignPartitions: number
  /** Partitions that were not compared with enough replicas since this process started or the layout changed. */
  openPartitions: number
  /** The newest `ackedVersion` of the placement whose data this node has whole. */
  syncedVersion: number
}

const POLL_MS = 5_000
const RETRY_AFTER_MS = 60_000
/** How long a peer's word about its copies is taken for the state of now, in ms. */
const TOLD_FOR_MS = 10_000

interface TableState {
  readonly local: LocalTable<unknown>
  readonly status: SyncStatus
  /** The placement's `ackedVersion`, and the peers that each partition was compared with since it became that. */
  version: number
  readonly synced: Map<number, Set<NodeId>>
}

/**
 * Anti-entropy: compares this node's copies with those of every other replica, from time to time and soon after
 * something happened that may have left them different; hands over partitions that moved to other nodes; and tells
 * the placement when a layout version's data is here.
 */
export class TableSync implements Service {
  readonly name = 'table-sync'
  /** Which peers were compared with since something may have left the copies different. */
  readonly compared: ComparedPeers
  readonly #worker: Worker
  readonly #tables: TableState[] = []
  readonly #connected = new Set<NodeId>()
  /** Peers to compare with soon, beside the passes over all. */
  #dirty = new Set<NodeId>()
  #dirtyAtMs = 0
  #passAtMs = 0
  #seenVersion = 0
  #unsubscribe: (() => void) | undefined
  #passes: Promise<unknown> = Promise.resolve()
  #stopped = sharedAbortController()
  readonly #joins: Joins
  /** Peers whose copies are not whole, or whose layout is behind: to be compared with again soon. */
  readonly #again = new Set<NodeId>()
  /** Peers with which a comparison failed in the pass under way. */
  readonly #failed = new Set<NodeId>()
  /** Answers of peers in the pass under way. */
  readonly #told = new Map<string, { atMs: number; answer: PeerStanding | undefined }>()

  constructor(
    private readonly env: TableEnv,
    private readonly options: SyncOptions,
    private readonly standing: Standing,
    private readonly suspects: Suspects,
  ) {
    this.compared = new ComparedPeers(env)
    this.#joins = new Joins(standing, (copy) =>
      this.#tables
        .filter(({ local }) => (local.schema.placement === 'full') === (copy === FULL_COPY))
        .map(({ status }) => status.table),
    )
    standing.onChange(() => {
      this.#passAtMs = Math.min(this.#passAtMs, this.#soon())
      this.#worker.wake()
    })
    this.#worker = new Worker(this.name, env, () => this.#work())
  }

  addTable(local: LocalTable<unknown>): void {
    const status: SyncStatus = {
      table: local.schema.name,
      running: false,
      lastPassMs: undefined,
      failedPeers: [],
      foreignPartitions: 0,
      openPartitions: 0,
      syncedVersion: 0,
      rowsPulled: 0,
      rowsPushed: 0,
      rowsDropped: 0,
    }
    this.#tables.push({ local, status, version: 0, synced: new Map() })
  }

  start(): void {
    this.#stopped = sharedAbortController()
    this.#passAtMs = this.#soon()
    this.#unsubscribe = this.env.placement.onChange(() => {
      this.#passAtMs = Math.min(this.#passAtMs, this.#soon())
      this.#worker.wake()
    })
    this.#worker.start()
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    this.#stopped.abort(new Error('stopped'))
    await this.#worker.stop()
    await this.#passes.catch(() => {})
  }

  workerStats(): WorkerStats {
    return this.#worker.stats()
  }

  syncStatus(): SyncStatus[] {
    return this.#tables.map((table) => ({
      ...table.status,
      failedPeers: [...table.status.failedPeers],
      openPartitions: this.#openPartitions(table),
    }))
  }

  /**
   * One pass over all tables and all peers that are reachable, now. Resolves with whether every comparison and
   * hand-over went through.
   */
  syncNow(): Promise<boolean> {
    return this.#pass(undefined)
  }

  async #work(): Promise<number> {
    const { clock } = this.env
    this.#watchLinks()
    this.#compareUncompared()
    if (this.#seenVersion !== this.env.placement.ackedVersion) {
      this.#seenVersion = this.env.placement.ackedVersion
      this.#passAtMs = Math.min(this.#passAtMs, this.#soon())
    }
    const now = clock.monotonicMs()
    if (now >= this.#passAtMs) {
      // Set the time of the next pass before this one runs, so that a change of layout during it can ask for an earlier one.
      this.#passAtMs = now + this.options.intervalMs * (0.75 + this.env.random.float() / 2)
      this.#dirty.clear()
      const whole = await this.#pass(undefined)
      if (!whole) this.#passAtMs = Math.min(this.#passAtMs, clock.monotonicMs() + RETRY_AFTER_MS)
    } else if (this.#dirty.size > 0 && now >= this.#dirtyAtMs) {
      const peers = this.#dirty
      this.#dirty = new Set()
      await this.#pass(peers)
    }
    const nextMs = this.#dirty.size > 0 ? Math.min(this.#passAtMs, this.#dirtyAtMs) : this.#passAtMs
    return Math.max(0, Math.min(POLL_MS, nextMs - clock.monotonicMs()))
  }

  #soon(): number {
    return this.env.clock.monotonicMs() + this.options.soonMs * (0.5 + this.env.random.float())
  }

  /** Notes peers whose link came up since the last look. */
  #watchLinks(): void {
    const { placement, transport } = this.env
    for (const node of placement.allNodes()) {
      if (node === transport.self) continue
      if (!transport.isConnected(node)) this.#connected.delete(node)
      else if (!this.#connected.has(node)) {
        this.#connected.add(node)
        this.compared.mayDiffer(node)
        if (this.#dirty.size === 0) this.#dirtyAtMs = this.#soon()
        this.#dirty.add(node)
      }
    }
  }

  /** Lets a comparison follow with peers that missed a write and are up, but not for each write. */
  #compareUncompared(): void {
    for (const node of this.compared.waiting(this.options.gapMs)) {
      if (this.#dirty.has(node)) continue
      if (this.#dirty.size === 0) this.#dirtyAtMs = this.#soon()
      this.#dirty.add(node)
    }
  }

  /** Runs passes one after the other. */
  #pass(peers: ReadonlySet<NodeId> | undefined): Promise<boolean> {
    const pass = this.#passes.then(async () => {
      let whole = true
      const startMs = this.env.clock.monotonicMs()
      this.#again.clear()
      this.#told.clear()
      this.#failed.clear()
      for (const table of this.#tables) {
        table.status.running = true
        try {
          if (!(await this.#passTable(table, peers))) whole = false
        } finally {
          table.status.running = false
        }
      }
      for (const node of this.#connected) {
        const isWhole = !this.#failed.has(node) && !this.#again.has(node)
        if (isWhole && (!peers || peers.has(node))) this.compared.note(node, startMs)
      }
      if (await this.#joins.finish()) for (const table of this.#tables) this.#markSynced(table)
      this.#askAgain()
      return whole && this.#again.size === 0 && this.standing.joining().length === 0
    })
    this.#passes = pass.catch(() => {})
    return pass
  }

  /**
   * Takes this node's joining copies for whole, with what they have: for an administrator who knows that the other
   * replicas are lost, or that all went back in time together. Resolves with their number.
   */
  trustCopies(): Promise<number> {
    return this.#joins.trust()
  }

  /** Lets another comparison follow soon with those peers whose copies, or own ones, were not ready. */
  #askAgain(): void {
    if (this.standing.joining().length > 0) for (const node of this.#connected) this.#again.add(node)
    const isBehind = this.#tables.some(({ status }) => status.syncedVersion < this.env.placement.ackedVersion)
    if ((this.#again.size === 0 || !isBehind) && this.standing.joining().length === 0) return
    if (this.#dirty.size === 0) this.#dirtyAtMs = this.env.clock.monotonicMs() + this.options.againMs
    for (const node of this.#again) this.#dirty.add(node)
  }

  async #passTable(table: TableState, only: ReadonlySet<NodeId> | undefined): Promise<boolean> {
    const { clock, log, transport } = this.env
    const { local, status } = table
    const { signal } = this.#stopped
    const session = new SyncSession(local, this.env, status, signal, this.standing, this.suspects)
    const own = this.#ownPartitions(table)
    const failed: NodeId[] = []
    const fail = (peer: NodeId) => {
      failed.push(peer)
      this.#failed.add(peer)
    }
    let roots = new Map<number, Buffer | null>()
    let rootsVersion = this.#versionOf(table)
    for (const [peer, partitions] of this.#byPeer(table, own)) {
      if (only && !only.has(peer)) continue
      if (!transport.isConnected(peer)) {
        fail(peer)
        continue
      }
      const version = this.#versionOf(table)
      if (version !== rootsVersion) {
        roots = new Map()
        rootsVersion = version
      }
      try {
        const theirs = await this.#standingOf(table, peer, partitions)
        const { comparisons, ends, isWhole } = comparisonsWith(
          this.standing,
          this.#joins,
          local,
          peer,
          partitions,
          theirs,
        )
        if (!isWhole) this.#again.add(peer)
        const isAcked = theirs === undefined || theirs.ackedVersion === version
        if (!isAcked) this.#again.add(peer)
        const done = (partition: number) => {
          ends.get(partition)?.(status.table)
          if (!isAcked || this.#versionOf(table) !== version) return
          const peers = table.synced.get(partition)
          if (peers) peers.add(peer)
          else table.synced.set(partition, new Set([peer]))
        }
        await session.syncWith(peer, comparisons, roots, done)
      } catch (error) {
        if (this.#stopped.signal.aborted || errorCode(error) === 'Closed') throw error
        log.info(
          { table: status.table, peer, error },
          'comparison with a replica broke off, to be tried again',
        )
        fail(peer)
      }
    }
    const handedOver = only ? true : await handOver(this.env, this.standing, table, session, signal)
    if (!only) {
      status.failedPeers = failed
      status.lastPassMs = clock.nowMs()
    }
    this.#markSynced(table)
    return failed.length === 0 && handedOver
  }

  /** What a peer's copies are worth: asked once for all tables of a pass, if it does not take long. */
  async #standingOf(
    { local }: TableState,
    peer: NodeId,
    partitions: readonly number[],
  ): Promise<PeerStanding | undefined> {
    const { clock } = this.env
    const id = `${peer} ${local.schema.placement}`
    const known = this.#told.get(id)
    if (known && clock.monotonicMs() - known.atMs < TOLD_FOR_MS) return known.answer
    const copies = partitions.map((partition) => copyOf(local.schema, partition))
    const atMs = clock.monotonicMs()
    const answer = await standingOf(this.env, this.standing, peer, copies, this.#stopped.signal)
    this.#told.set(id, { atMs, answer })
    return answer
  }

  #ownPartitions({ local }: TableState): readonly number[] {
    return local.schema.placement === 'full' ? [0] : this.env.placement.ownPartitions()
  }

  /** The partitions that this node shares with each peer. */
  #byPeer({ local }: TableState, own: readonly number[]): Map<NodeId, number[]> {
    const { placement, transport } = this.env
    const byPeer = new Map<NodeId, number[]>()
    for (const partition of own) {
      for (const node of replicasOf(placement, local.schema, partition)) {
        if (node === transport.self) continue
        const partitions = byPeer.get(node)
        if (partitions) partitions.push(partition)
        else byPeer.set(node, [partition])
      }
    }
    return byPeer
  }

  /** The placement's `ackedVersion`, after what was noted for an older one is forgotten. */
  #versionOf(table: TableState): number {
    const version = this.env.placement.ackedVersion
    if (table.version !== version) {
      table.version = version
      table.synced.clear()
    }
    return version
  }

  /**
   * A layout's data is whole here when every own partition was compared, since all nodes write to it, with so many
   * replicas of each live layout version that every write quorum has one of them.
   */
  #markSynced(table: TableState): void {
    const { local, status } = table
    const version = this.#versionOf(table)
    if (version === 0 || status.syncedVersion >= version) return
    if (!this.#ownPartitions(table).every((partition) => this.#isCompared(table, partition))) return
    status.syncedVersion = version
    this.env.placement.markSynced(local.schema.name, version)
  }

  #isCompared({ local, synced }: TableState, partition: number): boolean {
    const { placement, transport } = this.env
    if (!this.standing.votes(copyOf(local.schema, partition))) return false
    const full = local.schema.placement === 'full'
    const peers = synced.get(partition)
    return (full ? placement.controlSets() : placement.writeSets(partition)).every((set) => {
      const quorum = full ? majority(set.length) : placement.writeQuorum
      const needed = Math.max(1, set.length - quorum + 1)
      return set.filter((node) => node === transport.self || peers?.has(node)).length >= needed
    })
  }

  #openPartitions(table: TableState): number {
    const { ackedVersion, layoutVersion } = this.env.placement
    const { syncedVersion } = table.status
    if (layoutVersion === 0 || (syncedVersion > 0 && syncedVersion >= ackedVersion)) return 0
    const isOpen = (partition: number) =>
      table.version !== ackedVersion || !this.#isCompared(table, partition)
    return Math.max(1, this.#ownPartitions(table).filter(isOpen).length)
  }
}
