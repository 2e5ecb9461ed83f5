import type { Service } from '../util/service.js'
import { DamagedRows } from './damaged-rows.js'
import { TombstoneGc } from './gc.js'
import { LocalTable } from './local.js'
import { RetryQueue } from './queue.js'
import { Replica } from './replica.js'
import { RowScrub } from './row-scrub.js'
import type { TableSchema } from './schema.js'
import { TableSync } from './sync.js'
import { RepairReplica } from './sync-rpc.js'
import { Table, type TableEnv } from './table.js'

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

/**
 * All replicated tables of a node with the services that keep them: retry of missed writes, anti-entropy,
 * collection of tombstones. Tables answer their peers from `add` on; the services run between start and stop,
 * in one process of a node.
 */
export class TableSet implements Service {
  readonly name = 'tables'
  readonly retry: RetryQueue
  readonly sync: TableSync
  readonly gc: TombstoneGc
  readonly damaged: DamagedRows
  readonly #locals = new Map<string, LocalTable<unknown>>()

  constructor(
    private readonly env: TableEnv,
    options: TableSetOptions = {},
  ) {
    const delayMs = options.tombstoneDelayMs ?? 24 * HOUR_MS
    this.retry = new RetryQueue(env, this.#locals, {
      // A write sent late must not meet replicas that have already forgotten the tombstone after it.
      expireAfterMs: Math.min(6 * HOUR_MS, delayMs / 4),
      entriesMax: options.retryEntriesMax ?? 100_000,
      bytesMax: options.retryBytesMax ?? 64 << 20,
    })
    this.sync = new TableSync(env, {
      intervalMs: options.syncIntervalMs ?? 10 * 60_000,
      soonMs: options.syncSoonMs ?? 2_000,
    })
    this.damaged = new DamagedRows(env)
    this.gc = new TombstoneGc(env, {
      delayMs,
      intervalMs: 60_000,
      postponeMs: Math.min(10 * 60_000, delayMs),
    })
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
    new Replica(local, this.env)
    new RepairReplica(local, this.env)
    return new Table(local, this.env, this.retry)
  }

  /** A walk that verifies all rows; the scrub makes its steps. */
  rowScrub(): RowScrub {
    return new RowScrub(this.env.db, this.env.clock, [...this.#locals.values()], (rows) =>
      this.damaged.marked(rows),
    )
  }

  async start(): Promise<void> {
    this.retry.start()
    this.sync.start()
    this.gc.start()
    this.damaged.start()
  }

  async stop(): Promise<void> {
    await Promise.all([this.sync.stop(), this.gc.stop(), this.damaged.stop()])
    await this.retry.stop()
  }
}
