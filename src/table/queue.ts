import { pack, unpack } from 'msgpackr'
import type { Reader, Tx } from '../db/db.js'
import { type NodeId, Priority } from '../net/transport.js'
import { type Backoff, backoffMs } from '../util/backoff.js'
import type { Timer } from '../util/clock.js'
import { CarportError, errorCode } from '../util/errors.js'
import { looksLikeMsgpack, versioned } from '../util/format.js'
import type { Service } from '../util/service.js'
import { Worker, type WorkerStats } from '../util/worker.js'
import type { LocalTable } from './local.js'
import { methodOf } from './replica.js'
import { replicasOf } from './replicas.js'
import { hash16, prefixEnd, RETRY_TREE, rowKeyOf, successor } from './row-keys.js'
import { type WireRow, wireBytes } from './rows.js'
import type { MissedWrites, TableEnv } from './table.js'

export interface RetryOptions {
  /** How long a write is kept for a replica that is away, in ms; less than the tombstones' delay. */
  expireAfterMs: number
  /** Most entries kept; beyond it, anti-entropy does the rest. */
  entriesMax: number
  /** Most bytes kept. */
  bytesMax: number
}

const BATCH_BYTES_MAX = 1 << 20
const BATCH_ROWS_MAX = 200
const PUSH_TIMEOUT_MS = 30_000
/** How long misses are gathered before they are stored, in ms. */
const FLUSH_AFTER_MS = 100
const POLL_MS = 2_000
/** Time between two looks while nothing waits, since another process of the node may add something, in ms. */
const POLL_IDLE_MS = 10_000
const BACKOFF: Backoff = { baseMs: 2_000, maxMs: 60_000 }
const SWEEP_EVERY_MS = 10 * 60_000

const FORMAT = versioned<Stored>('entry of the retry queue', {
  encode: (entry) => pack(entry),
  writes: 1,
  versions: { 1: decodeStored },
  unmarked: { is: looksLikeMsgpack, decode: decodeStored },
})

/** [expires at, ms][row key][head | null: the current row is read at the time of sending][body | null] */
type Stored = [expiresMs: number, rowKey: Buffer, head: Buffer | null, body: Buffer | null]

/**
 * Hinted handoff: writes that reached their quorum but not this or that replica are kept, and sent when it is
 * reachable again. It only saves time: a write that is lost here (a crash before it was stored, a bound reached, an entry
 * expired) is found by anti-entropy.
 */
export class RetryQueue implements MissedWrites, Service {
  readonly name = 'table-retry'
  readonly #worker: Worker
  #pending = new Map<string, { key: Buffer; value: Buffer }>()
  #flushTimer: Timer | undefined
  #flushing: Promise<void> = Promise.resolve()
  #bytes = 0
  #full = false
  #idle = false
  #sweepAtMs = 0
  readonly #backoff = new Map<NodeId, { failures: number; untilMs: number }>()

  constructor(
    private readonly env: TableEnv,
    private readonly tables: ReadonlyMap<string, LocalTable<unknown>>,
    private readonly options: RetryOptions,
  ) {
    this.#worker = new Worker(this.name, env, (signal) => this.#work(signal), {
      queueLength: () => env.db.count(RETRY_TREE),
    })
  }

  start(): void {
    this.#bytes = 0
    for (const { key, value } of this.env.db.range(RETRY_TREE)) this.#bytes += key.length + value.length
    this.#worker.start()
  }

  async stop(): Promise<void> {
    await this.#worker.stop()
    await this.flush()
  }

  workerStats(): WorkerStats {
    return this.#worker.stats()
  }

  /** Entries stored, and bytes they take (approximately, when several processes write). */
  status(): { entries: number; bytes: number } {
    return { entries: this.env.db.count(RETRY_TREE), bytes: this.#bytes }
  }

  add(node: NodeId, table: string, rows: readonly WireRow[]): void {
    const { clock, placement, transport } = this.env
    const schema = this.tables.get(table)?.schema
    if (!schema) return
    const expiresMs = clock.nowMs() + this.options.expireAfterMs
    for (const [partition, partitionKey, sortKey, head, body] of rows) {
      const rowKey = rowKeyOf(partition, partitionKey, sortKey)
      const local = replicasOf(placement, schema, partition).includes(transport.self)
      const stored: Stored = local ? [expiresMs, rowKey, null, null] : [expiresMs, rowKey, head, body]
      const key = entryKey(node, table, local ? rowKey : Buffer.concat([rowKey, head]))
      this.#pending.set(key.toString('latin1'), { key, value: FORMAT.encode(stored) })
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

  async #store(entries: { key: Buffer; value: Buffer }[]): Promise<void> {
    const room = Math.max(0, this.options.entriesMax - this.env.db.count(RETRY_TREE))
    let bytes = this.#bytes
    const kept: typeof entries = []
    for (const entry of entries) {
      const size = entry.key.length + entry.value.length
      if (kept.length >= room || bytes + size > this.options.bytesMax) break
      bytes += size
      kept.push(entry)
    }
    if (kept.length < entries.length && !this.#full) {
      this.env.log.warn({ entries: this.env.db.count(RETRY_TREE) }, 'retry queue full: left to anti-entropy')
    }
    this.#full = kept.length < entries.length
    const added = await this.env.db.transact((tx) => {
      let sum = 0
      for (const { key, value } of kept) {
        sum += key.length + value.length - sizeOf(tx, key)
        tx.put(RETRY_TREE, key, value)
      }
      return sum
    })
    this.#bytes += added
    if (this.#idle) this.#worker.wake()
  }

  async #work(signal: AbortSignal): Promise<number> {
    const { clock, db, placement, random, transport } = this.env
    this.#idle = db.count(RETRY_TREE) === 0
    if (this.#idle) {
      this.#bytes = 0
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
    const { db, quorum } = this.env
    const prefix = nodePrefix(node)
    let start = prefix
    while (!signal.aborted) {
      const batch: { key: Buffer; value: Buffer }[] = []
      const rows = new Map<string, WireRow[]>()
      let bytes = 0
      for (const { key, value } of db.range(RETRY_TREE, { start, end: prefixEnd(prefix)! })) {
        if (batch.length >= BATCH_ROWS_MAX || bytes > BATCH_BYTES_MAX) break
        const table = tableOf(key)
        const row = this.#rowToSend(node, table, value)
        batch.push({ key: Buffer.from(key), value: Buffer.from(value) })
        if (!row) continue
        bytes += wireBytes(row)
        const group = rows.get(table)
        if (group) group.push(row)
        else rows.set(table, [row])
      }
      if (batch.length === 0) return
      for (const [table, group] of rows) {
        try {
          const options = { timeoutMs: PUSH_TIMEOUT_MS, priority: Priority.background, signal }
          await quorum.call(node, methodOf(table, 'push'), [group], options)
        } catch (error) {
          if (errorCode(error) !== 'InvalidArgument') throw error
          this.env.log.warn({ node, table, error }, 'a replica refuses missed writes: left to anti-entropy')
        }
      }
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

  #rowToSend(node: NodeId, tableName: string, value: Buffer): WireRow | undefined {
    const table = this.tables.get(tableName)
    if (!table) return undefined
    const [expiresMs, rowKey, head, body] = FORMAT.decode(value)
    if (expiresMs <= this.env.clock.nowMs()) return undefined
    if (!replicasOf(this.env.placement, table.schema, rowKey[0]!).includes(node)) return undefined
    if (head) return table.codec.wire(rowKey, head, body ?? undefined)
    const row = table.encoded(this.env.db, rowKey)
    return row && table.codec.wire(rowKey, row.head, row.body)
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

/** [length of node id u8][node id][table][0] and a hash that tells rows apart. */
function entryKey(node: NodeId, table: string, row: Buffer): Buffer {
  return Buffer.concat([nodePrefix(node), Buffer.from(`${table}\0`), hash16(row)])
}

function nodePrefix(node: NodeId): Buffer {
  return Buffer.concat([Buffer.of(node.length), Buffer.from(node, 'latin1')])
}

function tableOf(key: Buffer): string {
  const at = 1 + key[0]!
  return key.toString('utf8', at, key.indexOf(0, at))
}

/** The nodes for which something waits, by jumping from one to the next. */
function queuedNodes(db: Reader): NodeId[] {
  const nodes: NodeId[] = []
  let start: Buffer | undefined = Buffer.of(0)
  while (start) {
    let key: Buffer | undefined
    for (const first of db.keys(RETRY_TREE, { start, limit: 1 })) key = Buffer.from(first)
    if (!key) break
    const prefix = key.subarray(0, 1 + key[0]!)
    nodes.push(prefix.toString('latin1', 1))
    start = prefixEnd(prefix)
  }
  return nodes
}

function sizeOf(tx: Tx, key: Buffer): number {
  const stored = tx.peek(RETRY_TREE, key)
  return stored ? key.length + stored.length : 0
}

function decodeStored(value: Buffer): Stored {
  const stored: unknown = unpack(value)
  if (!Array.isArray(stored) || typeof stored[0] !== 'number' || !Buffer.isBuffer(stored[1])) {
    throw new CarportError('Corrupted', 'malformed entry in the retry queue')
  }
  return stored as Stored
}
