import { majority } from '../cluster/placement.js'
import type { NodeId } from '../net/transport.js'
import { errorCode } from '../util/errors.js'
import type { Service } from '../util/service.js'
import { Worker, type WorkerStats } from '../util/worker.js'
import type { LocalTable } from './local.js'
import { replicasOf } from './replicas.js'
import { type SyncCounts, SyncSession } from './sync-session.js'
import type { TableEnv } from './table.js'

export interface SyncOptions {
  /** Time between two passes over everything, in ms, before jitter of a quarter either way. */
  intervalMs: number
  /** How soon a pass follows after a start, a change of layout, or a link that came up, in ms, before jitter. */
  soonMs: number
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
  /** The newest `ackedVersion` of the placement whose data this node has whole. */
  syncedVersion: number
}

const POLL_MS = 5_000
const RETRY_AFTER_MS = 60_000

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
  #stopped = new AbortController()

  constructor(
    private readonly env: TableEnv,
    private readonly options: SyncOptions,
  ) {
    this.#worker = new Worker(this.name, env, () => this.#work())
  }

  addTable(local: LocalTable<unknown>): void {
    const status: SyncStatus = {
      table: local.schema.name,
      running: false,
      lastPassMs: undefined,
      failedPeers: [],
      foreignPartitions: 0,
      syncedVersion: 0,
      rowsPulled: 0,
      rowsPushed: 0,
      rowsDropped: 0,
    }
    this.#tables.push({ local, status, version: 0, synced: new Map() })
  }

  start(): void {
    this.#stopped = new AbortController()
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
    return this.#tables.map(({ status }) => ({ ...status, failedPeers: [...status.failedPeers] }))
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
    return Math.max(0, Math.min(POLL_MS, this.#passAtMs - clock.monotonicMs()))
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
        if (this.#dirty.size === 0) this.#dirtyAtMs = this.#soon()
        this.#dirty.add(node)
      }
    }
  }

  /** Runs passes one after the other. */
  #pass(peers: ReadonlySet<NodeId> | undefined): Promise<boolean> {
    const pass = this.#passes.then(async () => {
      let whole = true
      for (const table of this.#tables) {
        table.status.running = true
        try {
          if (!(await this.#passTable(table, peers))) whole = false
        } finally {
          table.status.running = false
        }
      }
      return whole
    })
    this.#passes = pass.catch(() => {})
    return pass
  }

  async #passTable(table: TableState, only: ReadonlySet<NodeId> | undefined): Promise<boolean> {
    const { clock, log, transport } = this.env
    const { local, status } = table
    const session = new SyncSession(local, this.env, status, this.#stopped.signal)
    const own = this.#ownPartitions(table)
    const failed: NodeId[] = []
    let roots = new Map<number, Buffer | null>()
    let rootsVersion = this.#versionOf(table)
    for (const [peer, partitions] of this.#byPeer(table, own)) {
      if (only && !only.has(peer)) continue
      if (!transport.isConnected(peer)) {
        failed.push(peer)
        continue
      }
      const version = this.#versionOf(table)
      if (version !== rootsVersion) {
        roots = new Map()
        rootsVersion = version
      }
      try {
        await session.syncWith(peer, partitions, roots, (partition) => {
          if (this.#versionOf(table) !== version) return
          const peers = table.synced.get(partition)
          if (peers) peers.add(peer)
          else table.synced.set(partition, new Set([peer]))
        })
      } catch (error) {
        if (this.#stopped.signal.aborted || errorCode(error) === 'Closed') throw error
        log.info(
          { table: status.table, peer, error },
          'comparison with a replica broke off, to be tried again',
        )
        failed.push(peer)
      }
    }
    const handedOver = only ? true : await this.#handOver(table, session)
    if (!only) {
      status.failedPeers = failed
      status.lastPassMs = clock.nowMs()
    }
    this.#markSynced(table)
    return failed.length === 0 && handedOver
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

  /** Hands over the partitions that are no longer this node's in any live layout version. */
  async #handOver({ local, status }: TableState, session: SyncSession<unknown>): Promise<boolean> {
    const { db, log, placement, transport } = this.env
    status.foreignPartitions = 0
    if (local.schema.placement === 'full' || placement.layoutVersion === 0) return true
    const isForeign = (partition: number) => {
      const replicas = placement.storageSet(partition)
      return placement.layoutVersion > 0 && replicas.length > 0 && !replicas.includes(transport.self)
    }
    let whole = true
    for (let partition = 0; partition < 256; partition++) {
      if (!isForeign(partition) || !local.hasPartition(db, partition)) continue
      status.foreignPartitions++
      const targets = placement.storageSet(partition)
      const isStill = () => isForeign(partition) && sameNodes(targets, placement.storageSet(partition))
      try {
        if (targets.every((node) => transport.isConnected(node))) {
          await session.handOver(partition, targets, isStill)
        }
      } catch (error) {
        if (this.#stopped.signal.aborted || errorCode(error) === 'Closed') throw error
        log.info({ table: status.table, partition, error }, 'hand-over broke off, to be tried again')
      }
      if (local.hasPartition(db, partition)) whole = false
      else status.foreignPartitions--
    }
    return whole
  }

  /**
   * A layout's data is whole here when every own partition was compared, since all nodes write to it, with so many
   * replicas of each live layout version that every write quorum has one of them.
   */
  #markSynced(table: TableState): void {
    const { placement, transport } = this.env
    const { local, status } = table
    const version = this.#versionOf(table)
    if (version === 0 || status.syncedVersion >= version) return
    const full = local.schema.placement === 'full'
    for (const partition of this.#ownPartitions(table)) {
      const peers = table.synced.get(partition)
      for (const set of full ? placement.controlSets() : placement.writeSets(partition)) {
        const quorum = full ? majority(set.length) : placement.writeQuorum
        const needed = Math.max(1, set.length - quorum + 1)
        const have = set.filter((node) => node === transport.self || peers?.has(node)).length
        if (have < needed) return
      }
    }
    status.syncedVersion = version
    placement.markSynced(local.schema.name, version)
  }
}

function sameNodes(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node))
}
