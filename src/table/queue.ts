import { type NodeId, Priority } from '../net/transport.js'
import { type Backoff, backoffMs } from '../util/backoff.js'
import type { Timer } from '../util/clock.js'
import { errorCode } from '../util/errors.js'
import type { Service } from '../util/service.js'
import { Worker, type WorkerStats } from '../util/worker.js'
import { inParts } from './in-parts.js'
import type { LocalTable } from './local.js'
import { encodeMarks, type WireMarks } from './marks.js'
import { methodOf } from './replica.js'
import { replicasOf } from './replicas.js'
import {
  entryKey,
  FORMAT,
  keptEntryKey,
  nodePrefix,
  queuedNodes,
  type Stored,
  tableOf,
  withMisses,
} from './retry-entries.js'
import { prefixEnd, RETRY_TREE, rowKeyOf, successor } from './row-keys.js'
import { type WireRow, wireBytes } from './rows.js'
import { copyOf, type Standing } from './standing.js'
import { isUnknownMethod } from './standing-rpc.js'
import type { MissedWrites, TableEnv } from './table.js'

export interface RetryOptions {
  /** How long a write is kept for a replica that is away, in ms; less than the tombstones' delay. */
  expireAfterMs: number
  /** Most entries kept; beyond it, anti-entropy does the rest. */
  entriesMax: number
  /** Most bytes kept. */
  bytesMax: number
  /** Called for each write that a replica missed, also if it is not kept. */
  onMissed(node: NodeId): void
}

const BATCH_BYTES_MAX = 1 << 20
const BATCH_ROWS_MAX = 200
const PUSH_TIMEOUT_MS = 30_000
/** How long misses are gathered before they are stored, in ms. */
const FLUSH_AFTER_MS = 100
const POLL_MS = 2_000
/** Time between two looks while nothing waits, in ms; what is stored meanwhile wakes the worker. */
const POLL_IDLE_MS = 10_000
const BACKOFF: Backoff = { baseMs: 2_000, maxMs: 60_000 }
const SWEEP_EVERY_MS = 10 * 60_000

interface Pending {
  key: Buffer
  stored: Stored
}

/** The rows of one table that are sent to a node in one message. */
interface Group {
  table: string
  /** Rows of this node's own copy, which are as good as it is; others are writes that their coordinator kept. */
  own: boolean
  rows: WireRow[]
}

const MISSES_MAX = 200

/**
 * Hinted handoff: writes that reached their quorum but not this or that replica are kept, and sent when it is
 * reachable again. It only saves time: a write that is lost here (a crash before it was stored, a bound reached, an entry
 * expired) is found by anti-entropy.
 */
export class RetryQueue implements MissedWrites, Service {
  readonly name = 'table-retry'
  readonly #worker: Worker
  #pending = new Map<string, Pending>()
  #flushTimer: Timer | undefined
  #flushing: Promise<void> = Promise.resolve()
  #bytes = 0
  #full = false
  #idle = false
  #sinceMs: number | undefined
  #sweepAtMs = 0
  readonly #backoff = new Map<NodeId, { failures: number; untilMs: number }>()

  constructor(
    private readonly env: TableEnv,
    private readonly tables: ReadonlyMap<string, LocalTable<unknown>>,
    private readonly options: RetryOptions,
    private readonly standing: Standing,
  ) {
    this.#worker = new Worker(this.name, env, (signal) => this.#work(signal), {
      queueLength: () => env.db.count(RETRY_TREE),
    })
  }

  start(): void {
    this.#bytes = 0
    for (const { key, value } of this.env.db.range(RETRY_TREE)) this.#bytes += key.length + value.length
    if (this.#bytes > 0) this.#sinceMs = this.env.clock.nowMs()
    this.#worker.start()
  }

  async stop(): Promise<void> {
    await this.#worker.stop()
    await this.flush()
  }

  workerStats(): WorkerStats {
    return this.#worker.stats()
  }

  /**
   * Entries stored, and about how many bytes they take, since what was stored before an error is not counted; for how long
   * there have been some, in ms, counted from the start at the earliest.
   */
  status(): { entries: number; bytes: number; waitingMs: number } {
    const entries = this.env.db.count(RETRY_TREE)
    const waitingMs = entries > 0 ? this.env.clock.nowMs() - (this.#sinceMs ?? this.env.clock.nowMs()) : 0
    return { entries, bytes: this.#bytes, waitingMs }
  }

  add(node: NodeId, table: string, rows: readonly WireRow[]): void {
    const { clock, placement, transport } = this.env
    const schema = this.tables.get(table)?.schema
    if (!schema) return
    this.options.onMissed(node)
    const expiresMs = clock.nowMs() + this.options.expireAfterMs
    for (const [partition, partitionKey, sortKey, head, body] of rows) {
      const rowKey = rowKeyOf(partition, partitionKey, sortKey)
      const local = replicasOf(placement, schema, partition).includes(transport.self)
      const key = local ? entryKey(node, table, rowKey) : keptEntryKey(node, table, rowKey, head, expiresMs)
      const id = key.toString('latin1')
      const misses = (this.#pending.get(id)?.stored[4] ?? 0) + 1
      const stored: Stored = local ? [expiresMs, rowKey, null, null, misses] : [expiresMs, rowKey, head, body]
      this.#pending.set(id, { key, stored })
    }
    this.#flushTimer ??= clock.after(FLUSH_AFTER_MS, () => {
      this.flush().catch((error: unknown) => {
        if (errorCode(error) !== 'Closed')
          this.env.log.warn({ error }, 'missed writes not queued, left to anti-entropy')
      })
    })
  }

  /** Stores the gathered misses. */
  flush(): Promise<void> {
    this.#flushTimer?.cancel()
    this.#flushTimer = undefined
    const entries = [...this.#pending.values()]
    this.#pending = new Map()
    if (entries.length > 0) this.#flushing = this.#flushing.then(() => this.#store(entries))
    const done = this.#flushing
    this.#flushing = done.catch(() => {})
    return done
  }

  async #store(entries: readonly Pending[]): Promise<void> {
    const room = Math.max(0, this.options.entriesMax - this.env.db.count(RETRY_TREE))
    let bytes = this.#bytes
    const kept: Pending[] = []
    for (const entry of entries) {
      const size = entry.key.length + FORMAT.encode(entry.stored).length
      if (kept.length >= room || bytes + size > this.options.bytesMax) break
      bytes += size
      kept.push(entry)
    }
    if (kept.length < entries.length && !this.#full) {
      this.env.log.warn({ entries: this.env.db.count(RETRY_TREE) }, 'retry queue full: left to anti-entropy')
    }
    this.#full = kept.length < entries.length
    const added = await inParts(this.env.db, kept, (tx, part) => {
      let sum = 0
      for (const { key, stored } of part) {
        const before = tx.get(RETRY_TREE, key)
        const value = FORMAT.encode(before ? withMisses(stored, FORMAT.decode(before)) : stored)
        sum += value.length - (before?.length ?? -key.length)
        tx.put(RETRY_TREE, key, value)
      }
      return sum
    })
    this.#bytes += added.reduce((sum, part) => sum + part, 0)
    this.#sinceMs ??= this.env.clock.nowMs()
    if (this.#idle) this.#worker.wake()
  }

  async #work(signal: AbortSignal): Promise<number> {
    const { clock, db, placement, random, transport } = this.env
    this.#idle = db.count(RETRY_TREE) === 0
    if (this.#idle) {
      this.#bytes = 0
      this.#sinceMs = undefined
      return POLL_IDLE_MS
    }
    for (const node of queuedNodes(db)) {
      if (signal.aborted) return 0
      if (placement.layoutVersion > 0 && !placement.allNodes().includes(node)) {
        await this.#forget(node, signal)
        continue
      }
      const backoff = this.#backoff.get(node)
      if (!transport.isConnected(node) || (backoff && backoff.untilMs > clock.monotonicMs())) continue
      try {
        await this.#drain(node, signal)
        this.#backoff.delete(node)
      } catch (error) {
        if (errorCode(error) === 'Closed') throw error
        const failures = (backoff?.failures ?? 0) + 1
        const untilMs = clock.monotonicMs() + backoffMs(BACKOFF, failures - 1, random)
        this.#backoff.set(node, { failures, untilMs })
        this.env.log.debug({ node, error }, 'missed writes not delivered, to be tried again')
      }
    }
    if (clock.monotonicMs() >= this.#sweepAtMs) {
      await this.#sweep(signal)
      this.#sweepAtMs = clock.monotonicMs() + SWEEP_EVERY_MS
    }
    return POLL_MS
  }

  /** Sends all that waits for `node`. @throws the error of a call that failed */
  async #drain(node: NodeId, signal: AbortSignal): Promise<void> {
    const { db } = this.env
    const prefix = nodePrefix(node)
    let start = prefix
    while (!signal.aborted) {
      const batch: { key: Buffer; value: Buffer }[] = []
      const groups = new Map<string, Group>()
      let bytes = 0
      for (const { key, value } of db.range(RETRY_TREE, { start, end: prefixEnd(prefix)! })) {
        if (batch.length >= BATCH_ROWS_MAX || bytes > BATCH_BYTES_MAX) break
        batch.push({ key: Buffer.from(key), value: Buffer.from(value) })
        for (const { table, own, row } of this.#rowsToSend(node, tableOf(key), value)) {
          bytes += wireBytes(row)
          const id = `${table} ${own}`
          const group = groups.get(id)
          if (group) group.rows.push(row)
          else groups.set(id, { table, own, rows: [row] })
        }
      }
      if (batch.length === 0) return
      // Made in the turn in which the rows were read.
      const messages = [...groups.values()].map((group) => ({ group, marks: this.#marksOf(group) }))
      for (const { group, marks } of messages) await this.#send(node, group, marks, signal)
      await this.#remove(batch)
      start = successor(batch.at(-1)!.key)
    }
  }

  /** Drops all that waits for a node that left every live layout: other nodes hold its partitions now. */
  async #forget(node: NodeId, signal: AbortSignal): Promise<void> {
    const prefix = nodePrefix(node)
    while (!signal.aborted) {
      const range = { start: prefix, end: prefixEnd(prefix)!, limit: BATCH_ROWS_MAX }
      const batch = [...this.env.db.range(RETRY_TREE, range)].map(({ key, value }) => ({
        key: Buffer.from(key),
        value: Buffer.from(value),
      }))
      if (batch.length === 0) return
      await this.#remove(batch)
    }
  }

  /** The rows that an entry stands for, the one that was written first. */
  #rowsToSend(
    node: NodeId,
    tableName: string,
    value: Buffer,
  ): { table: string; own: boolean; row: WireRow }[] {
    const table = this.tables.get(tableName)
    if (!table) return []
    const { db, clock, placement } = this.env
    const [expiresMs, rowKey, head, body, misses] = FORMAT.decode(value)
    if (expiresMs <= clock.nowMs()) return []
    if (!replicasOf(placement, table.schema, rowKey[0]!).includes(node)) return []
    if (head)
      return [{ table: tableName, own: false, row: table.codec.wire(rowKey, head, body ?? undefined) }]
    // A copy that is not whole gives no rows to others.
    if (!this.standing.votes(copyOf(table.schema, rowKey[0]!))) return []
    const row = table.encoded(db, rowKey)
    if (!row) return []
    const rows = [{ table: tableName, own: true, row: table.codec.wire(rowKey, row.head, row.body) }]
    for (const moved of this.tables.values()) {
      const { source } = moved.schema
      if (source?.table !== tableName) continue
      const at = 1 + table.schema.partitionKeyBytes
      const start = Buffer.concat([rowKey.subarray(0, at), source.prefix(rowKey.subarray(at))])
      const range = { start, end: prefixEnd(start)!, limit: Math.min(MISSES_MAX, misses ?? 1) }
      let bytes = 0
      for (const { key } of db.range(moved.trees.head, range)) {
        const stored = moved.encoded(db, Buffer.from(key))
        if (!stored) continue
        const wire = moved.codec.wire(Buffer.from(key), stored.head, stored.body)
        bytes += wireBytes(wire)
        if (bytes > BATCH_BYTES_MAX) break
        rows.push({ table: moved.schema.name, own: true, row: wire })
      }
    }
    return rows
  }

  #marksOf({ table, rows }: Group): [copy: number, marks: WireMarks][] {
    const { schema } = this.tables.get(table)!
    const copies = new Set(rows.map(([partition]) => copyOf(schema, partition)))
    return [...copies].map((copy) => [copy, encodeMarks(this.standing.marksIn(this.env.db, copy))])
  }

  async #send(
    node: NodeId,
    { table, own, rows }: Group,
    marks: [copy: number, marks: WireMarks][],
    signal: AbortSignal,
  ): Promise<void> {
    const { log, quorum } = this.env
    const options = { timeoutMs: PUSH_TIMEOUT_MS, priority: Priority.background, signal }
    try {
      const [method, body] = own ? ['offer', [marks, rows]] : ['hint', [rows]]
      try {
        await quorum.call(node, methodOf(table, method as string), body, options)
      } catch (error) {
        if (!isUnknownMethod(error)) throw error
        await quorum.call(node, methodOf(table, 'push'), [rows], options)
      }
    } catch (error) {
      const code = errorCode(error)
      if (code !== 'InvalidArgument' && code !== 'Conflict') throw error
      log.warn({ node, table, error }, 'a replica refuses missed writes: left to anti-entropy')
    }
  }

  /** Removes entries, unless they were written anew meanwhile. */
  async #remove(entries: readonly { key: Buffer; value: Buffer }[]): Promise<void> {
    const freed = await this.env.db.transact((tx) => {
      let sum = 0
      for (const { key, value } of entries) {
        if (!tx.peek(RETRY_TREE, key)?.equals(value)) continue
        tx.delete(RETRY_TREE, key)
        sum += key.length + value.length
      }
      return sum
    })
    this.#bytes = Math.max(0, this.#bytes - freed)
  }

  /** Removes expired entries, for nodes that do not come back. */
  async #sweep(signal: AbortSignal): Promise<void> {
    let start: Buffer | undefined
    while (!signal.aborted) {
      const expired: { key: Buffer; value: Buffer }[] = []
      let last: Buffer | undefined
      for (const { key, value } of this.env.db.range(RETRY_TREE, {
        ...(start ? { start } : {}),
        limit: 500,
      })) {
        last = Buffer.from(key)
        if (FORMAT.decode(value)[0] <= this.env.clock.nowMs()) {
          expired.push({ key: last, value: Buffer.from(value) })
        }
      }
      if (expired.length > 0) await this.#remove(expired)
      if (!last) return
      start = successor(last)
    }
  }
}
