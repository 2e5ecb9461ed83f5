import { type NodeId, Priority } from '../net/transport.js'
import { errorCode } from '../util/errors.js'
import type { Service } from '../util/service.js'
import { Worker, type WorkerStats } from '../util/worker.js'
import { LeafChanges } from './leaves.js'
import { gcKeyOf, gcPrefixOf, type LocalTable } from './local.js'
import { methodOf } from './replica.js'
import { replicasOf } from './replicas.js'
import { GC_TREE, HASH_BYTES, successor } from './row-keys.js'
import { batchesOf } from './rows.js'
import { REPAIR_BYTES_MAX, REPAIR_ROWS_MAX } from './sync-rpc.js'
import type { TableEnv } from './table.js'

export interface GcOptions {
  /** Age at which a tombstone may be collected, in ms. */
  delayMs: number
  /** Time between two looks at the queue, in ms. */
  intervalMs: number
  /** When a replica was not reachable: how long its tombstones wait, in ms. */
  postponeMs: number
}

const BATCH_MAX = 100
const CALL_TIMEOUT_MS = 30_000

interface Due {
  queueKey: Buffer
  rowHash: Buffer
  rowKey: Buffer
}

/**
 * Collection of tombstones, in two phases: every replica confirms that it holds the tombstone or a later row, so
 * that none is left that could bring the deleted row back; then each deletes it, if it is still that very one.
 * If any replica is away, the tombstone stays.
 */
export class TombstoneGc implements Service {
  readonly name = 'table-gc'
  readonly #worker: Worker
  readonly #tables: LocalTable<unknown>[] = []

  constructor(
    private readonly env: TableEnv,
    private readonly options: GcOptions,
  ) {
    this.#worker = new Worker(this.name, env, async (signal) => {
      await this.#collectAll(signal)
      return options.intervalMs * (0.75 + env.random.float() / 2)
    })
  }

  addTable(local: LocalTable<unknown>): void {
    this.#tables.push(local)
  }

  start(): void {
    this.#worker.start()
  }

  stop(): Promise<void> {
    return this.#worker.stop()
  }

  workerStats(): WorkerStats {
    return this.#worker.stats()
  }

  /**
   * When a tombstone written now is due here. Each replica of a partition has its own turn, so that the first one
   * does the work for all.
   */
  dueMs(schema: { placement: 'sharded' | 'full' }, partition: number): number {
    const { clock, placement, transport } = this.env
    const turn = Math.max(0, replicasOf(placement, schema, partition).indexOf(transport.self))
    return clock.nowMs() + this.options.delayMs * (1 + turn / 24)
  }

  /** Works off what is due now. Returns the number of tombstones collected here. */
  collectNow(signal?: AbortSignal): Promise<number> {
    return this.#collectAll(signal)
  }

  async #collectAll(signal?: AbortSignal): Promise<number> {
    let collected = 0
    for (const local of this.#tables) {
      const nowMs = this.env.clock.nowMs()
      let after: Buffer | undefined
      while (!signal?.aborted) {
        const due = this.#due(local, nowMs, after)
        if (due.length === 0) break
        collected += await this.#collect(local, due)
        after = due.at(-1)!.queueKey
      }
    }
    return collected
  }

  #due(local: LocalTable<unknown>, nowMs: number, after: Buffer | undefined): Due[] {
    const prefix = gcPrefixOf(local.schema.name)
    const start = after ? successor(after) : prefix
    const end = gcKeyOf(prefix, nowMs + 1, Buffer.alloc(0))
    const due: Due[] = []
    for (const { key, value } of this.env.db.range(GC_TREE, { start, end, limit: BATCH_MAX })) {
      due.push({
        queueKey: Buffer.from(key),
        rowHash: Buffer.from(value.subarray(0, HASH_BYTES)),
        rowKey: Buffer.from(value.subarray(HASH_BYTES)),
      })
    }
    return due
  }

  async #collect(local: LocalTable<unknown>, due: readonly Due[]): Promise<number> {
    const { db, placement, transport } = this.env
    const moot: Due[] = []
    const byPartition = new Map<number, Due[]>()
    for (const item of due) {
      const partition = item.rowKey[0]!
      const held = replicasOf(placement, local.schema, partition).includes(transport.self)
      // Overwritten or gone, or the partition's new replicas see to it.
      if (!held || !local.rowHash(db, item.rowKey)?.equals(item.rowHash)) moot.push(item)
      else byPartition.set(partition, [...(byPartition.get(partition) ?? []), item])
    }
    if (moot.length > 0)
      await db.transact((tx) => moot.forEach((item) => void tx.delete(GC_TREE, item.queueKey)))
    let collected = 0
    for (const [partition, items] of byPartition) {
      const replicas = replicasOf(placement, local.schema, partition)
      try {
        if (await this.#collectPartition(local, partition, replicas, items)) collected += items.length
        else await this.#postpone(local, items)
      } catch (error) {
        if (errorCode(error) === 'Closed') throw error
        this.env.log.debug({ table: local.schema.name, partition, error }, 'tombstones wait for a replica')
        await this.#postpone(local, items)
      }
    }
    return collected
  }

  /** @returns false if it has to wait; @throws what a call failed with */
  async #collectPartition(
    local: LocalTable<unknown>,
    partition: number,
    replicas: readonly NodeId[],
    items: readonly Due[],
  ): Promise<boolean> {
    const { db, placement, transport } = this.env
    const version = placement.layoutVersion
    const others = replicas.filter((node) => node !== transport.self)
    if (!others.every((node) => transport.isConnected(node))) return false

    const rows = items.flatMap(({ rowKey }) => {
      const row = local.encoded(db, rowKey)
      return row ? [local.codec.wire(rowKey, row.head, row.body)] : []
    })
    // A tombstone that is damaged here cannot be sent, and must not go anywhere before all have it.
    if (rows.length < items.length) return false
    for (const batch of batchesOf(rows, REPAIR_BYTES_MAX, REPAIR_ROWS_MAX)) {
      await Promise.all(others.map((node) => this.#call(local, node, 'push', [batch])))
    }
    const now = replicasOf(placement, local.schema, partition)
    if (placement.layoutVersion !== version || !now.every((node) => replicas.includes(node))) return false

    const body = [items.map(({ rowKey }) => rowKey), Buffer.concat(items.map(({ rowHash }) => rowHash))]
    await Promise.all(others.map((node) => this.#call(local, node, 'collect', body)))
    await db.transact((tx) => {
      const leaves = new LeafChanges()
      for (const { rowKey, rowHash, queueKey } of items) {
        local.drop(tx, rowKey, rowHash, leaves)
        tx.delete(GC_TREE, queueKey)
      }
      leaves.flush(tx, local.trees)
    })
    return true
  }

  async #postpone(local: LocalTable<unknown>, items: readonly Due[]): Promise<void> {
    const { clock, db } = this.env
    const prefix = gcPrefixOf(local.schema.name)
    await db.transact((tx) => {
      for (const { queueKey, rowHash, rowKey } of items) {
        tx.delete(GC_TREE, queueKey)
        const later = gcKeyOf(prefix, clock.nowMs() + this.options.postponeMs, rowHash)
        tx.put(GC_TREE, later, Buffer.concat([rowHash, rowKey]))
      }
    })
  }

  async #call(local: LocalTable<unknown>, node: NodeId, method: string, body: unknown): Promise<void> {
    await this.env.quorum.call(node, methodOf(local.schema.name, method), body, {
      timeoutMs: CALL_TIMEOUT_MS,
      priority: Priority.background,
    })
  }
}
