import { type NodeId, Priority } from '../net/transport.js'
import { sleep } from '../util/clock.js'
import { errorCode } from '../util/errors.js'
import { Worker, WorkerService } from '../util/worker.js'
import { sweepAside } from './aside.js'
import { DUE_BYTES, gcKeyOf, gcPrefixOf } from './gc-keys.js'
import type { LocalTable } from './local.js'
import { type CollectionMark, encodeMark, newestNumber, PREPARED_KEPT } from './marks.js'
import { methodOf } from './replica.js'
import { replicasOf } from './replicas.js'
import { GC_TREE, HASH_BYTES, prefixEnd, successor } from './row-keys.js'
import { batchesOf } from './rows.js'
import { copyOf, type Standing } from './standing.js'
import { rowHashes, sameHash, sourcesOf } from './suspects.js'
import { HASHES_MAX, REPAIR_BYTES_MAX, REPAIR_ROWS_MAX } from './sync-rpc.js'
import type { TableEnv } from './table.js'
import { dropTombstones } from './transfer-rpc.js'

export interface GcOptions {
  /** Age at which a tombstone may be collected, in ms. */
  delayMs: number
  /** Time between two looks at the queue, in ms. */
  intervalMs: number
  /** How long the tombstones of an unreachable replica wait, in ms. */
  postponeMs: number
  /**
   * Time from the confirmation by all replicas to the collection, in ms: longer than any read or write that was under way
   * at the confirmation, and that may carry a row of before it.
   */
  settleMs: number
}

/** Tombstones that are confirmed, and wait to be collected, at the same time; and the bytes of their keys. */
const CONFIRMED_MAX = 20_000
const CONFIRMED_BYTES_MAX = 8 << 20
const BATCH_MAX = 100
const CALL_TIMEOUT_MS = 30_000
const ATTEMPTS_MAX = 3
/** How long rows that were put aside are kept, in ms: thirty days. */
const ASIDE_KEPT_MS = 30 * 24 * 3600_000
const SWEEP_EVERY_MS = 3600_000

interface Due {
  queueKey: Buffer
  rowHash: Buffer
  rowKey: Buffer
}

/** Tombstones of one partition of a table that every replica has confirmed under a mark. */
interface Confirmed {
  local: LocalTable<unknown>
  partition: number
  mark: CollectionMark
  others: readonly NodeId[]
  items: Due[]
}

/** The mark of a partition in one pass over the queue, and the replicas that take part under it. */
interface OpenMark {
  mark: CollectionMark
  replicas: string
}

/** The marks of one pass over the queue: each copy's open mark, and all marks that replicas were asked to confirm. */
class Look {
  readonly open = new Map<number, OpenMark>()
  readonly asked: { readonly copy: number; readonly mark: CollectionMark }[] = []

  begin(copy: number, open: OpenMark): OpenMark {
    this.open.set(copy, open)
    this.asked.push({ copy, mark: open.mark })
    return open
  }
}

/**
 * Collection of tombstones, in two phases: every replica confirms that it holds the tombstone or a later row, and
 * remembers the collection's mark; then, after a while, each deletes the tombstone, if it is still that very one, and
 * takes no rows any more from copies that do not know the mark (see marks.ts). If any replica is away, the tombstone
 * stays; so it does while the row from which its own may move again (see TableSchema.source) differs between replicas.
 */
export class TombstoneGc extends WorkerService {
  readonly name = 'table-gc'
  protected readonly worker: Worker
  readonly #tables: LocalTable<unknown>[] = []
  /** By copy: marks of this node under which nothing was dropped, and never will be, the newest last. */
  readonly #gone = new Map<number, CollectionMark[]>()
  #sweepAtMs = 0

  constructor(
    private readonly env: TableEnv,
    private readonly options: GcOptions,
    private readonly standing: Standing,
    private readonly locals: ReadonlyMap<string, LocalTable<unknown>>,
  ) {
    super()
    this.worker = new Worker(this.name, env, async (signal) => {
      await this.#collectAll(signal)
      await this.#sweep()
      return options.intervalMs * (0.75 + env.random.float() / 2)
    })
  }

  addTable(local: LocalTable<unknown>): void {
    this.#tables.push(local)
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
    const { clock } = this.env
    let collected = 0
    let isAll = false
    const nowMs = clock.nowMs()
    const after = new Map<string, Buffer>()
    while (!isAll && !signal?.aborted && clock.doubt?.() === undefined) {
      const look = new Look()
      let confirmed: Confirmed[] = []
      try {
        const found = await this.#confirmDue(look, nowMs, after, signal)
        isAll = found.isAll
        if (found.confirmed.length > 0) await sleep(clock, this.options.settleMs, signal)
        // A clock that jumped meanwhile may have made them due.
        if (clock.doubt?.() === undefined) confirmed = found.confirmed
      } finally {
        this.#noteGone(look, confirmed)
      }
      for (const group of confirmed) collected += await this.#collect(group)
    }
    return collected
  }

  /** Lets the replicas confirm what is due and comes after what was looked at, as much as may wait at the same time. */
  async #confirmDue(
    look: Look,
    nowMs: number,
    after: Map<string, Buffer>,
    signal: AbortSignal | undefined,
  ): Promise<{ confirmed: Confirmed[]; isAll: boolean }> {
    const confirmed: Confirmed[] = []
    let isAll = true
    let count = 0
    let bytes = 0
    for (const local of this.#tables) {
      const { name } = local.schema
      while (!signal?.aborted) {
        if (count >= CONFIRMED_MAX || bytes >= CONFIRMED_BYTES_MAX) {
          isAll = false
          break
        }
        const due = this.#due(local, nowMs, after.get(name))
        if (due.length === 0) break
        after.set(name, due.at(-1)!.queueKey)
        for (const group of await this.#confirmAll(local, due, look)) {
          confirmed.push(group)
          count += group.items.length
          for (const { rowKey } of group.items) bytes += rowKey.length
        }
      }
    }
    return { confirmed, isAll }
  }

  /** Notes the marks under which nothing is dropped, so that the replicas forget them. @param confirmed what is dropped */
  #noteGone({ asked }: Look, confirmed: readonly Confirmed[]): void {
    for (const { copy, mark } of asked) {
      if (confirmed.some((group) => group.mark === mark)) continue
      this.#gone.set(copy, [...(this.#gone.get(copy) ?? []), mark].slice(-PREPARED_KEPT))
    }
  }

  async #sweep(): Promise<void> {
    const { clock } = this.env
    if (clock.monotonicMs() < this.#sweepAtMs || clock.doubt?.() !== undefined) return
    this.#sweepAtMs = clock.monotonicMs() + SWEEP_EVERY_MS
    await sweepAside(this.env, clock.nowMs() - ASIDE_KEPT_MS)
  }

  /** How long the oldest tombstone of all tables has been due, in ms; 0 if none is. */
  overdueMs(): number {
    const nowMs = this.env.clock.nowMs()
    const first = [...this.#tables.values()].flatMap((local) => this.#dueMs(local))
    return Math.max(0, ...first.map((dueMs) => nowMs - dueMs))
  }

  #dueMs(local: LocalTable<unknown>): number[] {
    const start = gcPrefixOf(local.schema.name)
    const [key] = this.env.db.keys(GC_TREE, { start, end: prefixEnd(start)!, limit: 1 })
    return key ? [key.readUIntBE(start.length, DUE_BYTES)] : []
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

  /** Lets all replicas confirm tombstones that are due; those that cannot be collected now are postponed. */
  async #confirmAll(local: LocalTable<unknown>, due: readonly Due[], look: Look): Promise<Confirmed[]> {
    const { db, log, placement, transport } = this.env
    const moot: Due[] = []
    const byPartition = new Map<number, Due[]>()
    for (const item of due) {
      const partition = item.rowKey[0]!
      const held = replicasOf(placement, local.schema, partition).includes(transport.self)
      // Overwritten or gone, or the partition's new replicas see to it.
      if (!held || !local.rowHash(db, item.rowKey)?.equals(item.rowHash)) moot.push(item)
      else byPartition.set(partition, [...(byPartition.get(partition) ?? []), item])
    }
    await this.#forget(moot)
    const confirmed: Confirmed[] = []
    for (const [partition, all] of byPartition) {
      let items = all
      try {
        items = await this.#movedOut(local, partition, all)
        const group = await this.#confirm(local, partition, items, look)
        if (group) confirmed.push(group)
        await this.#postpone(
          local,
          all.filter((item) => !group?.items.includes(item)),
        )
      } catch (error) {
        if (errorCode(error) === 'Closed') throw error
        log.debug({ table: local.schema.name, partition, error }, 'tombstones wait for a replica')
        await this.#postpone(local, all)
      }
    }
    return confirmed
  }

  /** Those tombstones whose row cannot move here once more from another table, on any replica. */
  async #movedOut(local: LocalTable<unknown>, partition: number, items: Due[]): Promise<Due[]> {
    const sources = sourcesOf(
      this.env.db,
      local,
      this.locals,
      items.map(({ rowKey }) => ({ key: rowKey })),
    )
    if (!sources) return items
    const { transport } = this.env
    const others = this.#replicas(local, partition).filter((node) => node !== transport.self)
    const theirs = await Promise.all(
      others.map((node) => rowHashes(this.env, sources.table, node, sources.keys)),
    )
    return items.filter(
      (_, i) => sources.settled[i] && theirs.every((hashes) => sameHash(sources.hashes[i], hashes[i])),
    )
  }

  /** @returns undefined if nothing can be collected now; @throws what a call failed with */
  async #confirm(
    local: LocalTable<unknown>,
    partition: number,
    items: Due[],
    look: Look,
  ): Promise<Confirmed | undefined> {
    const { db, random, transport } = this.env
    const copy = copyOf(local.schema, partition)
    const replicas = this.#replicas(local, partition)
    const others = replicas.filter((node) => node !== transport.self)
    if (items.length === 0 || !this.standing.votes(copy)) return undefined
    if (!others.every((node) => transport.isConnected(node))) return undefined
    const rows = items.flatMap(({ rowKey }) => {
      const row = local.encoded(db, rowKey)
      return row ? [local.codec.wire(rowKey, row.head, row.body)] : []
    })
    // A tombstone that is damaged here cannot be sent, and must not go anywhere before all have it.
    if (rows.length < items.length) return undefined
    let n = newestNumber(this.standing.marks(copy)) + 1
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const names = [...replicas].sort().join()
      let open = look.open.get(copy)
      // A mark stands for all that was confirmed under it, so all of that is confirmed by the same replicas.
      if (open?.replicas !== names || attempt > 0) {
        open = look.begin(copy, { mark: { n, id: random.bytes(4).readUInt32BE() }, replicas: names })
      }
      const { mark } = open
      const gone = this.#gone.get(copy) ?? []
      let newest = 0
      for (const batch of batchesOf(rows, REPAIR_BYTES_MAX, Math.min(REPAIR_ROWS_MAX, HASHES_MAX))) {
        const body = [encodeMark(mark), replicas, batch, gone.map(encodeMark)]
        // The own copy is asked like the others: it may have given rows away meanwhile.
        const answers = await Promise.all(replicas.map((node) => this.#call(local, node, 'confirm', body)))
        newest = Math.max(newest, ...answers.map(Number))
        if (newest > 0) break
      }
      if (newest === 0) {
        if (this.#gone.get(copy) === gone) this.#gone.delete(copy)
        return { local, partition, mark, others, items }
      }
      n = newest + 1
    }
    return undefined
  }

  /** Returns how many tombstones were collected. */
  async #collect({ local, partition, mark, others, items }: Confirmed): Promise<number> {
    const { db, log } = this.env
    try {
      const keys = items.map(({ rowKey }) => rowKey)
      const body = [encodeMark(mark), keys, Buffer.concat(items.map(({ rowHash }) => rowHash))]
      await Promise.all(others.map((node) => this.#call(local, node, 'drop', body)))
      await db.transact((tx) => {
        this.standing.collect(tx, copyOf(local.schema, partition), mark)
        dropTombstones(
          tx,
          local,
          items.map(({ rowKey, rowHash }) => ({ key: rowKey, hash: rowHash })),
        )
        for (const { queueKey } of items) tx.delete(GC_TREE, queueKey)
      })
      return items.length
    } catch (error) {
      if (errorCode(error) === 'Closed') throw error
      log.debug({ table: local.schema.name, partition, error }, 'the collection of tombstones broke off')
      await this.#postpone(local, items)
      return 0
    }
  }

  #replicas(local: LocalTable<unknown>, partition: number): readonly NodeId[] {
    return replicasOf(this.env.placement, local.schema, partition)
  }

  async #forget(items: readonly Due[]): Promise<void> {
    if (items.length === 0) return
    await this.env.db.transact((tx) => items.forEach((item) => void tx.delete(GC_TREE, item.queueKey)))
  }

  async #postpone(local: LocalTable<unknown>, items: readonly Due[]): Promise<void> {
    if (items.length === 0) return
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

  async #call(local: LocalTable<unknown>, node: NodeId, method: string, body: unknown): Promise<unknown> {
    const reply = await this.env.quorum.call(node, methodOf(local.schema.name, method), body, {
      timeoutMs: CALL_TIMEOUT_MS,
      priority: Priority.background,
    })
    return reply.body
  }
}
