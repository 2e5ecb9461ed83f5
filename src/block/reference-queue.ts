import { callNearest } from '../cluster/outside.js'
import type { Placement, QuorumCaller } from '../cluster/placement.js'
import type { Db, Reader, Tx } from '../db/db.js'
import { Priority } from '../net/transport.js'
import { type Backoff, backoffMs } from '../util/backoff.js'
import type { Clock } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { eachLimited } from '../util/limited.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import { Worker, WorkerService } from '../util/worker.js'
import type { BlockRefRow, BlockRefTable } from './block-ref.js'
import { QUEUED_REFERENCES, type QueuedReferences } from './queued-references.js'
import { type CarriedReference, METHODS, packReferences } from './wire.js'

/** Sequence number (8 bytes) → rows of one owner, and where they are from. */
const QUEUE = 'block:refqueue'
export const REFS_TREES: readonly string[] = [QUEUE]

/** References sent at once. */
const BATCH_REFS = 500
/** What reading so many takes, in steps of a transaction. */
const READ_STEPS = 20
/**
 * How long an entry rests before it is carried, in ms, plus as much again at random: every replica of the row that
 * changed has the same entry, and the later ones find that it is done.
 */
const LINGER_MS = 500
const BACKOFF: Backoff = { baseMs: 1_000, maxMs: 60_000 }
const CALL_TIMEOUT_MS = 30_000
/** Rows that are asked for at the same time, whether they are gone: over slow paths, too, many objects may be deleted in a second. */
const ASKED_AT_ONCE = 64

interface QueueItem extends QueuedReferences {
  key: Buffer
}

/** Whether a queued reference is still wanted, by the `source` it was queued with; see ReferenceQueue.isWanted. */
export type IsWanted = (reader: Reader, source: Buffer) => 'yes' | 'no' | 'unknown'

/**
 * Whether a quorum knows that a row no longer refers to its blocks, by the `source` that its reference was queued with.
 * @throws CarportError if no quorum tells
 */
export type IsGone = (source: Buffer) => Promise<boolean>

/** Entries that failed: they rest until `untilMs`, those after key `upTo` do not. */
interface Resting {
  /** Passes that failed in a row. */
  failures: number
  untilMs: number
  upTo: Buffer
}

/**
 * Carries references from the rows that hold them to the block_ref table, through a durable queue.
 *
 * An entry may be old: its node was away, or its database went back in time. Meanwhile the reference may have been deleted, by
 * another replica of the row or by a later entry that was carried earlier, and its tombstone collected. So a live
 * reference goes only while the row that it is of still wants it.
 *
 * And a row may have changed on this node alone, by a write that failed, and whose row was lost with this node's copy. A reference that
 * was deleted stays so for ever, so a deletion goes only when a quorum of the row's replicas has the change. If it has not, the
 * entry is dropped: whoever gets the change later queues it again.
 */
export class ReferenceQueue extends WorkerService {
  readonly name = 'block-refs'
  /** Asked right before a reference is carried; set by whoever knows the rows. */
  isWanted: IsWanted = () => 'yes'
  /** The same of a deleted one. */
  isGone: IsGone = async () => true
  protected readonly worker: Worker
  readonly #onCommit = () => this.worker.wake()
  #resting: Resting | undefined
  #carried = 0
  #failures = 0

  constructor(
    private readonly db: Db,
    private readonly table: BlockRefTable,
    private readonly placement: Placement,
    private readonly caller: QuorumCaller,
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly log: Log,
    /** The longest time between two looks at the queue, in ms; an entry that is added wakes the worker. */
    private readonly pollMs: number,
  ) {
    super()
    this.worker = new Worker(this.name, { clock, random, log }, (signal) => this.#work(signal), {
      queueLength: () => db.count(QUEUE),
      lingerMs: LINGER_MS,
    })
  }

  /**
   * In the transaction of a row's onUpdate: `owner` (16-byte id of a version or list) now references, or no longer
   * references, these blocks. Deleted wins for ever over present for the same owner and block.
   * @param source tells `isWanted` and `isGone` later which row it is; at most 64 KiB
   */
  enqueue(tx: Tx, owner: Buffer, hashes: readonly Buffer[], deleted: boolean, source?: Buffer): void {
    if (hashes.length === 0) return
    let sequence = Math.floor(this.clock.nowMs() * 1000)
    for (const last of tx.keys(QUEUE, { reverse: true, limit: 1 })) {
      sequence = Math.max(sequence, decodeSequence(last) + 1)
    }
    const rows = hashes.map((hash) => ({ hash, owner, deleted }))
    const item = { rows, tried: false, ...(source && { source }) }
    tx.put(QUEUE, encodeSequence(sequence), QUEUED_REFERENCES.encode(item))
    tx.onCommit(this.#onCommit)
  }

  /** How old the oldest entry is, in ms; 0 if there is none. While it is old, blocks must not be deleted. */
  oldestAgeMs(): number {
    for (const key of this.db.keys(QUEUE, { limit: 1 })) {
      return Math.max(0, this.clock.nowMs() - decodeSequence(key) / 1000)
    }
    return 0
  }

  /** The first and last entry, whose keys grow with each; undefined while nothing is to be carried. */
  ends(): { first: Buffer; last: Buffer } | undefined {
    for (const first of this.db.keys(QUEUE, { limit: 1 })) {
      for (const last of this.db.keys(QUEUE, { reverse: true, limit: 1 })) return { first, last }
    }
    return undefined
  }

  stats(): { queued: number; carried: number; failures: number; oldestAgeMs: number } {
    return {
      queued: this.db.count(QUEUE),
      carried: this.#carried,
      failures: this.#failures,
      oldestAgeMs: this.oldestAgeMs(),
    }
  }

  /** One pass; returns when the next is due at the latest, in ms. */
  async #work(signal: AbortSignal): Promise<number> {
    await this.#pass(signal)
    const restMs = this.#resting ? this.#resting.untilMs - this.clock.monotonicMs() : this.pollMs
    return Math.max(1, Math.min(restMs, this.pollMs))
  }

  /** Carries all entries, or only those after the failed ones while these rest. */
  async #pass(signal: AbortSignal): Promise<void> {
    const nowMs = this.clock.monotonicMs()
    const resting = this.#resting && nowMs < this.#resting.untilMs ? this.#resting : undefined
    let cursor = resting?.upTo
    let failed = false
    for (;;) {
      if (signal.aborted) return
      const items = await this.#read(cursor)
      if (items.length === 0) break
      if (!(await this.#carry(items, signal))) failed = true
      cursor = items.at(-1)!.key
    }
    if (failed) this.#resting = this.#rest(resting, nowMs, cursor!)
    else if (!resting) this.#resting = undefined
  }

  #rest(resting: Resting | undefined, nowMs: number, upTo: Buffer): Resting {
    if (resting) return { ...resting, upTo }
    const failures = (this.#resting?.failures ?? 0) + 1
    return { failures, untilMs: nowMs + backoffMs(BACKOFF, failures - 1, this.random), upTo }
  }

  /**
   * The next entries. What a transaction sees is durable when it ends: an entry that a power cut takes back, with the change of the
   * row that it is of, must not be carried, since a reference that was deleted stays so for ever.
   */
  async #read(after: Buffer | undefined): Promise<QueueItem[]> {
    const last = this.ends()?.last
    if (!last || (after && last.compare(after) <= 0)) return []
    const range = after ? { start: encodeSequence(decodeSequence(after) + 1) } : {}
    return this.db.transact((tx) => {
      const items: QueueItem[] = []
      let refs = 0
      for (const { key, value } of tx.range(QUEUE, range)) {
        const item = { key: Buffer.from(key), ...QUEUED_REFERENCES.decode(value) }
        items.push(item)
        refs += item.rows.length
        if (refs >= BATCH_REFS) break
      }
      return items
    }, READ_STEPS)
  }

  /** Sends the items' rows by partition. Rows that failed stay in the queue. Returns whether none is left. */
  async #carry(items: readonly QueueItem[], signal: AbortSignal): Promise<boolean> {
    const byPartition = new Map<number, CarriedReference[]>()
    const unwanted: QueueItem[] = []
    const wanted: QueueItem[] = []
    const gone = await this.#askWhatIsGone(items)
    for (const item of items) {
      const { rows, tried, source } = item
      const isWanted = gone.get(item) ?? (isLive(item) && source ? this.isWanted(this.db, source) : 'yes')
      if (isWanted === 'no') unwanted.push(item)
      if (isWanted !== 'yes') continue
      wanted.push(item)
      for (const row of rows) {
        // A try without a quorum may have left the row on this very node, which tells nothing of the others.
        if (!tried && this.#isDone(row)) continue
        const list = byPartition.get(row.hash[0]!)
        const sent = source && row.deleted ? { ...row, source } : row
        if (list) list.push(sent)
        else byPartition.set(row.hash[0]!, [sent])
      }
    }
    const failed = byPartition.size > 0 ? await this.#insert(byPartition, signal) : new Set<number>()
    await this.db.transact((tx) => {
      for (const { key } of unwanted) tx.delete(QUEUE, key)
      for (const { key, rows, tried, source } of wanted) {
        const left = rows.filter((row) => failed.has(row.hash[0]!))
        if (left.length === 0) tx.delete(QUEUE, key)
        else if (left.length < rows.length || !tried)
          tx.put(QUEUE, key, QUEUED_REFERENCES.encode({ rows: left, tried: true, ...(source && { source }) }))
      }
    })
    return failed.size === 0 && unwanted.length + wanted.length === items.length
  }

  /** Of deletions that this node is to carry itself: whether a quorum has them, or 'unknown' if none tells. */
  async #askWhatIsGone(items: readonly QueueItem[]): Promise<Map<QueueItem, 'yes' | 'no' | 'unknown'>> {
    const fates = new Map<QueueItem, 'yes' | 'no' | 'unknown'>()
    // For a node that has no role, the one asks that carries them.
    if (!this.#hasRole()) return fates
    const asked = items.filter(
      (item) => item.source && !isLive(item) && (item.tried || !item.rows.every((row) => this.#isDone(row))),
    )
    await eachLimited(asked, ASKED_AT_ONCE, async (item) => {
      try {
        fates.set(item, (await this.isGone(item.source!)) ? 'yes' : 'no')
      } catch (error) {
        this.log.debug({ error }, 'no quorum tells whether references are deleted; they stay queued')
        fates.set(item, 'unknown')
      }
    })
    return fates
  }

  #hasRole(): boolean {
    return this.placement.layoutVersion === 0 || this.placement.writeSets(0).length > 0
  }

  /**
   * Carries references for a node that has no role: those that are not deleted on a quorum are left out.
   * @throws CarportError if no quorum tells that, or takes them
   */
  async carryFor(references: readonly CarriedReference[]): Promise<void> {
    const staying = new Set<string>()
    const sources = new Map(
      references.flatMap(({ source }) => (source ? [[source.toString('latin1'), source] as const] : [])),
    )
    await eachLimited([...sources], ASKED_AT_ONCE, async ([name, source]) => {
      if (!(await this.isGone(source))) staying.add(name)
    })
    const rows = references.filter(({ source }) => !source || !staying.has(source.toString('latin1')))
    if (rows.length > 0)
      await this.table.insertMany(rows.map(({ hash, owner, deleted }) => ({ hash, owner, deleted })))
  }

  /** Returns the partitions whose rows did not reach a quorum. */
  async #insert(
    byPartition: ReadonlyMap<number, CarriedReference[]>,
    signal: AbortSignal,
  ): Promise<Set<number>> {
    const all = [...byPartition.values()].flat()
    try {
      await this.#send(all, signal)
      this.#carried += all.length
      return new Set()
    } catch (error) {
      if (byPartition.size === 1) {
        this.#failures++
        this.log.warn({ error }, 'block references could not be carried; they stay queued')
        return new Set(byPartition.keys())
      }
    }
    // One partition without a quorum must not hold the others back.
    const failed = new Set<number>()
    await Promise.all(
      [...byPartition].map(async ([partition, rows]) => {
        try {
          await this.#send(rows, signal)
          this.#carried += rows.length
        } catch {
          failed.add(partition)
        }
      }),
    )
    if (failed.size > 0) {
      this.#failures++
      this.log.warn({ partitions: failed.size }, 'block references could not be carried; they stay queued')
    }
    return failed
  }

  /**
   * A node that has lost its role may write nothing by itself, but the references in its queue may be known to nobody
   * else: a member of the layout carries it.
   */
  async #send(rows: readonly CarriedReference[], signal: AbortSignal): Promise<void> {
    const { caller, placement } = this
    if (this.#hasRole()) return this.table.insertMany(rows)
    const options = { timeoutMs: CALL_TIMEOUT_MS, priority: Priority.background, signal }
    const none = new CarportError('LayoutNotReady', 'no node of the layout is known to carry references')
    await callNearest(caller, placement.allNodes(), METHODS.carry, packReferences(rows), options, none)
  }

  /** Whether another replica of the row that changed has carried the reference already, as far as this node sees. */
  #isDone(row: BlockRefRow): boolean {
    const sets = this.placement.writeSets(row.hash[0]!)
    if (sets.length === 0 || !sets.every((set) => set.includes(this.caller.self))) return false
    const stored = this.table.local.get(this.db, row.hash, row.owner)
    return stored !== undefined && (stored.deleted || !row.deleted)
  }
}

function isLive({ rows }: QueueItem): boolean {
  return !rows[0]!.deleted
}

function encodeSequence(sequence: number): Buffer {
  const key = Buffer.allocUnsafe(8)
  key.writeUInt32BE(Math.floor(sequence / 2 ** 32), 0)
  key.writeUInt32BE(sequence % 2 ** 32, 4)
  return key
}

function decodeSequence(key: Buffer): number {
  return key.readUInt32BE(0) * 2 ** 32 + key.readUInt32BE(4)
}
