import { type NodeId, Priority } from '../net/transport.js'
import type { Service } from '../util/service.js'
import { restoreAside } from './aside.js'
import { ConditionalReplica } from './conditional-replica.js'
import { DamagedRows } from './damaged-rows.js'
import { Finisher } from './finisher.js'
import { TombstoneGc } from './gc.js'
import { LocalTable } from './local.js'
import { LostVotes } from './lost-votes.js'
import { RetryQueue } from './queue.js'
import { Replica } from './replica.js'
import { ASIDE_TREE } from './row-keys.js'
import { RowScrub } from './row-scrub.js'
import type { TableSchema } from './schema.js'
import { copyOf, Standing } from './standing.js'
import { StandingReplica } from './standing-rpc.js'
import { Suspects } from './suspects.js'
import { TableSync } from './sync.js'
import { RepairReplica } from './sync-rpc.js'
import { SyncSession } from './sync-session.js'
import { Table, type TableEnv } from './table.js'
import { TransferReplica } from './transfer-rpc.js'

export interface TableSetOptions {
  /** Age at which tombstones may be collected, in ms (default a day). */
  tombstoneDelayMs?: number
  /** Time between two passes of anti-entropy, in ms (default ten minutes). */
  syncIntervalMs?: number
  /** How soon anti-entropy follows a start, a link that came up, or a change of layout, in ms (default 2 s). */
  syncSoonMs?: number
  /** Most entries and bytes of writes kept for replicas that are away (default 100 000, 64 MiB). */
  retryEntriesMax?: number
  retryBytesMax?: number
}

const HOUR_MS = 3600_000
/** Longer than any read or write takes, with its write-back or repair, in ms. */
const SETTLE_MS = 90_000

/**
 * All replicated tables of a node with the services that keep them: retry of missed writes, anti-entropy,
 * collection of tombstones. Tables answer their peers from `add` on; the services run between start and stop.
 */
export class TableSet implements Service {
  readonly name = 'tables'
  readonly retry: RetryQueue
  readonly sync: TableSync
  readonly gc: TombstoneGc
  readonly damaged: DamagedRows
  readonly finisher: Finisher
  /** What this node's copies are worth. */
  readonly standing: Standing
  readonly lostVotes: LostVotes
  readonly #suspects: Suspects
  readonly #locals = new Map<string, LocalTable<unknown>>()

  constructor(
    private readonly env: TableEnv,
    options: TableSetOptions = {},
  ) {
    const delayMs = options.tombstoneDelayMs ?? 24 * HOUR_MS
    const settleMs = Math.min(SETTLE_MS, delayMs / 4)
    this.standing = new Standing(env)
    this.lostVotes = new LostVotes(env)
    new StandingReplica(this.standing, env)
    this.#suspects = new Suspects(env, this.standing, this.#locals, settleMs, delayMs)
    const retry = {
      // A write sent late must not meet replicas that have already forgotten the tombstone after it.
      expireAfterMs: Math.min(6 * HOUR_MS, delayMs / 4),
      entriesMax: options.retryEntriesMax ?? 100_000,
      bytesMax: options.retryBytesMax ?? 64 << 20,
      onMissed: (node: NodeId) => this.sync.compared.mayDiffer(node),
    }
    this.retry = new RetryQueue(env, this.#locals, retry, this.standing)
    const sync = {
      intervalMs: options.syncIntervalMs ?? 10 * 60_000,
      soonMs: options.syncSoonMs ?? 2_000,
      againMs: 2.5 * (options.syncSoonMs ?? 2_000),
      gapMs: 10 * (options.syncSoonMs ?? 2_000),
    }
    this.damaged = new DamagedRows(env)
    this.finisher = new Finisher(env)
    this.sync = new TableSync(env, sync, this.standing, this.#suspects)
    const gc = {
      delayMs,
      intervalMs: Math.min(60_000, delayMs),
      postponeMs: Math.min(10 * 60_000, delayMs),
      settleMs,
    }
    this.gc = new TombstoneGc(env, gc, this.standing, this.#locals)
  }

  /** Builds a table and registers its RPC methods. Its trees (see tableTrees) must be in the Db. */
  add<E>(schema: TableSchema<E>): Table<E> {
    if (this.#locals.has(schema.name)) throw new Error(`table ${schema.name} is added twice`)
    const local = new LocalTable(schema, (partition) => this.gc.dueMs(schema, partition), this.env.clock)
    const erased = local as unknown as LocalTable<unknown>
    this.#locals.set(schema.name, erased)
    this.sync.addTable(erased)
    this.gc.addTable(erased)
    this.damaged.addTable(erased)
    new Replica(local, this.env, this.standing)
    new RepairReplica(local, this.env, this.standing)
    new TransferReplica(local, this.env, this.standing)
    const table = new Table(local, this.env, this.retry, this.standing)
    const { promises } = local
    if (promises) {
      new ConditionalReplica(local, promises, this.env, this.standing, this.lostVotes)
      const finish = (rowKey: Buffer) => table.finish(rowKey)
      promises.onHeld = (rowKey) => this.finisher.add(schema.name, rowKey, finish)
    }
    return table
  }

  /** A walk that verifies all rows; the scrub makes its steps. */
  rowScrub(): RowScrub {
    return new RowScrub(this.env.db, this.env.clock, [...this.#locals.values()], (rows) =>
      this.damaged.marked(rows),
    )
  }

  /** Rows that were put aside (see Suspects) and are still kept. */
  asideCount(): number {
    return this.env.db.count(ASIDE_TREE)
  }

  /** See restoreAside. */
  restoreAside(signal: AbortSignal): Promise<number> {
    return restoreAside(this.env, this.standing, this.#locals, signal)
  }

  /**
   * Compares this node's copy of a partition with a peer's now, for requests that wait for it.
   * @throws CarportError of the first call that failed
   */
  async compareWith<E>(
    local: LocalTable<E>,
    peer: NodeId,
    partition: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { env, standing } = this
    const counts = { rowsPulled: 0, rowsPushed: 0, rowsDropped: 0 }
    const session = new SyncSession(local, env, counts, signal, standing, this.#suspects, Priority.high)
    const joins = !standing.votes(copyOf(local.schema, partition))
    await session.syncWith(peer, [{ partition, joins }], new Map(), () => {})
  }

  async start(): Promise<void> {
    this.retry.start()
    this.sync.start()
    this.gc.start()
    this.damaged.start()
    this.finisher.start()
  }

  async stop(): Promise<void> {
    await Promise.all([this.sync.stop(), this.gc.stop(), this.damaged.stop(), this.finisher.stop()])
    await this.retry.stop()
  }
}
