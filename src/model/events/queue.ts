import { pack, unpack } from 'msgpackr'
import type { Db, Reader, Tx } from '../../db/db.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import { CarportError } from '../../util/errors.js'
import { looksLikeMsgpack, versioned } from '../../util/format.js'
import { EVENT_NAMES, type EventName, type ObjectEvent, TARGET_BYTES } from './rules.js'

/** Event id → record. */
export const EVENT_TREE = 'model:events'
/** [target 8][due u48 ms][rest of the event id] → nothing */
export const EVENT_DUE_TREE = 'model:events_due'
/** [version id 16][target 8][kind, rule] → nothing: the delivered events, by age */
export const EVENT_DONE_TREE = 'model:events_done'
export const EVENT_TREES = [EVENT_TREE, EVENT_DUE_TREE, EVENT_DONE_TREE] as const

const EMPTY = Buffer.alloc(0)
const DUE_BYTES = 6
/** What reading a batch of due events takes, in steps of a transaction. */
const DUE_STEPS = 20
/** Events of a target that is gone which are dropped in one transaction, and its steps. */
const DROP_ROWS = 500
const DROP_STEPS = 256
/** Events that are counted in one turn of the event loop. */
const COUNT_ROWS = 5000
/** Entries of the log of deliveries that are forgotten in one transaction. */
const TRIM_ROWS = 1000

/** An event that waits to be delivered. */
export interface QueuedEvent {
  id: Buffer
  event: ObjectEvent
  ruleId: string
  dueMs: number
  attempts: number
}

/** A node's queue of events for targets, and its log of those that are delivered. All on disk. */
export class EventQueue {
  /** How many events wait for each target, by its key as latin1: of those that come before #countedTo. */
  readonly #waiting = new Map<string, number>()
  /** Undefined once all are counted. */
  #countedTo: Buffer | undefined = EMPTY

  constructor(private readonly db: Db) {}

  /** Adds an event, unless it is known already. In the transaction of the change that it tells of. */
  add(tx: Tx, queued: Omit<QueuedEvent, 'attempts'>): void {
    const { id } = queued
    if (tx.has(EVENT_TREE, id) || tx.has(EVENT_DONE_TREE, doneKey(id))) return
    this.#put(tx, { ...queued, attempts: 0 })
    tx.onCommit(() => this.#tally(id, 1))
  }

  /**
   * Events of a target that are due, the longest due first. What a transaction sees is durable when it ends: nothing is told of a
   * change that a power cut takes back.
   */
  async due(target: Buffer, nowMs: number, limit: number): Promise<QueuedEvent[]> {
    const nextMs = this.nextDueMs(target)
    if (nextMs === undefined || nextMs > nowMs) return []
    const range = { start: target, end: dueKey(target, nowMs + 1, EMPTY), limit }
    return this.db.transact((tx) => {
      const keys = [...tx.keys(EVENT_DUE_TREE, range)].map((key) => Buffer.from(key))
      const found: QueuedEvent[] = []
      for (const key of keys) {
        const id = Buffer.concat([target, key.subarray(TARGET_BYTES + DUE_BYTES)])
        const queued = this.get(tx, id)
        if (queued) found.push(queued)
      }
      return found
    }, DUE_STEPS)
  }

  /** When the next event of a target is due, in ms since the epoch; undefined if none waits. */
  nextDueMs(target: Buffer): number | undefined {
    for (const key of this.db.keys(EVENT_DUE_TREE, { start: target, limit: 1 })) {
      if (!target.equals(key.subarray(0, TARGET_BYTES))) return undefined
      return key.readUIntBE(TARGET_BYTES, DUE_BYTES)
    }
    return undefined
  }

  /** Moves events to other times, with other counts of attempts. Events that are gone meanwhile stay so. */
  postpone(changes: readonly Pick<QueuedEvent, 'id' | 'dueMs' | 'attempts'>[]): Promise<void> {
    return this.db.transact((tx) => {
      for (const { id, dueMs, attempts } of changes) {
        const stored = this.get(tx, id)
        if (!stored) continue
        tx.delete(EVENT_DUE_TREE, dueKeyOf(stored))
        this.#put(tx, { ...stored, dueMs, attempts })
      }
    })
  }

  /** Takes events out, and remembers that they are delivered. */
  done(ids: readonly Buffer[]): Promise<void> {
    return this.db.transact((tx) => {
      for (const id of ids) {
        this.#remove(tx, id)
        tx.put(EVENT_DONE_TREE, doneKey(id), EMPTY)
      }
    })
  }

  /** Takes an event out undelivered. */
  drop(id: Buffer): Promise<void> {
    return this.db.transact((tx) => this.#remove(tx, id))
  }

  /** 'done', 'waiting', or undefined for what this node knows nothing of. */
  stateOf(id: Buffer): 'done' | 'waiting' | undefined {
    if (this.db.has(EVENT_DONE_TREE, doneKey(id))) return 'done'
    return this.db.has(EVENT_TREE, id) ? 'waiting' : undefined
  }

  /** Forgets deliveries of versions made before `beforeUs`. Returns whether there are more. */
  async trim(beforeUs: number): Promise<boolean> {
    const end = Buffer.alloc(8)
    end.writeBigUInt64BE(BigInt(Math.max(0, Math.floor(beforeUs))))
    const keys = [...this.db.keys(EVENT_DONE_TREE, { end, limit: TRIM_ROWS })].map((key) => Buffer.from(key))
    if (keys.length === 0) return false
    await this.db.transact((tx) => {
      for (const key of keys) tx.delete(EVENT_DONE_TREE, key)
    })
    return keys.length === TRIM_ROWS
  }

  /** Takes out some of the events of targets that are no longer configured; returns how many: 0 if none is left. */
  async keepOnly(targets: readonly Buffer[]): Promise<number> {
    const ids = this.#someOfOthers(targets)
    if (ids.length === 0) return 0
    await this.db.transact((tx) => {
      for (const id of ids) this.#remove(tx, id)
    }, DROP_STEPS)
    return ids.length
  }

  /** Ids of events of one target that is not among these. */
  #someOfOthers(targets: readonly Buffer[]): Buffer[] {
    let start: Buffer | undefined
    while (true) {
      const [first] = this.db.keys(EVENT_TREE, { ...(start && { start }), limit: 1 })
      if (!first) return []
      const target = Buffer.from(first.subarray(0, TARGET_BYTES))
      const end = prefixEnd(target)
      if (!targets.some((other) => other.equals(target))) {
        const range = { start: target, ...(end && { end }), limit: DROP_ROWS }
        return [...this.db.keys(EVENT_TREE, range)].map((id) => Buffer.from(id))
      }
      if (!end) return []
      start = end
    }
  }

  /** Events that wait for a target; too few until all that were there at the start are counted. */
  waiting(target: Buffer): number {
    return this.#waiting.get(target.toString('latin1')) ?? 0
  }

  /**
   * Counts some of the events that were there at the start. One that comes or goes in that very moment may be miscounted, which a
   * bound of a million bears.
   * @returns whether there are more
   */
  countSome(): boolean {
    if (!this.#countedTo) return false
    let rows = 0
    let last: Buffer = EMPTY
    const start = this.#countedTo.length > 0 && { start: this.#countedTo }
    for (const id of this.db.keys(EVENT_TREE, { ...start, limit: COUNT_ROWS })) {
      rows++
      this.#addToCount(id, 1)
      if (rows === COUNT_ROWS) last = Buffer.from(id)
    }
    this.#countedTo = rows === COUNT_ROWS ? successor(last) : undefined
    return this.#countedTo !== undefined
  }

  #tally(id: Buffer, change: number): void {
    if (!this.#countedTo || id.compare(this.#countedTo) < 0) this.#addToCount(id, change)
  }

  #addToCount(id: Buffer, change: number): void {
    const target = id.toString('latin1', 0, TARGET_BYTES)
    this.#waiting.set(target, Math.max(0, (this.#waiting.get(target) ?? 0) + change))
  }

  /** Events that wait, for all targets. */
  get backlog(): number {
    return this.db.count(EVENT_TREE)
  }

  get(reader: Reader, id: Buffer): QueuedEvent | undefined {
    const stored = reader.get(EVENT_TREE, id)
    return stored && { id, ...FORMAT.decode(stored) }
  }

  #put(tx: Tx, queued: QueuedEvent): void {
    tx.put(EVENT_TREE, queued.id, FORMAT.encode(queued))
    tx.put(EVENT_DUE_TREE, dueKeyOf(queued), EMPTY)
  }

  #remove(tx: Tx, id: Buffer): void {
    const stored = this.get(tx, id)
    if (!stored) return
    tx.delete(EVENT_DUE_TREE, dueKeyOf(stored))
    tx.delete(EVENT_TREE, id)
    tx.onCommit(() => this.#tally(id, -1))
  }
}

function dueKeyOf({ id, dueMs }: QueuedEvent): Buffer {
  return dueKey(id.subarray(0, TARGET_BYTES), dueMs, id.subarray(TARGET_BYTES))
}

function dueKey(target: Buffer, dueMs: number, rest: Buffer): Buffer {
  const due = Buffer.alloc(DUE_BYTES)
  due.writeUIntBE(Math.max(0, Math.floor(dueMs)), 0, DUE_BYTES)
  return Buffer.concat([target, due, rest])
}

function doneKey(id: Buffer): Buffer {
  return Buffer.concat([
    id.subarray(TARGET_BYTES, TARGET_BYTES + 16),
    id.subarray(0, TARGET_BYTES),
    id.subarray(TARGET_BYTES + 16),
  ])
}

type StoredEvent = Omit<QueuedEvent, 'id'>

/** The id is the key. */
const FORMAT = versioned<StoredEvent>('queued event', {
  encode({ event, ruleId, dueMs, attempts }) {
    const { name, bucket, key, versionId, isNull, size, etag, owner, timeUs, generation, row } = event
    return pack([
      EVENT_NAMES.indexOf(name),
      ...[bucket, key, versionId, isNull, size ?? null, etag ?? null, owner, timeUs, generation],
      ...[ruleId, dueMs, attempts],
      row ? [row.timeUs, row.generation, row.id, row.root, row.isNull] : null,
    ])
  },
  writes: 2,
  versions: {
    1: decodeEvent,
    2(payload) {
      const { event, ...queued } = decodeEvent(payload, 14)
      const row = (unpack(payload) as unknown[])[13]
      return { ...queued, event: { ...event, ...(Array.isArray(row) && { row: decodeRow(row) }) } }
    },
  },
  unmarked: { is: looksLikeMsgpack, decode: decodeEvent },
})

function decodeRow(fields: readonly unknown[]): NonNullable<ObjectEvent['row']> {
  const [timeUs, generation, id, root, isNull] = fields as [number, number, unknown, unknown, boolean]
  if (!Buffer.isBuffer(id) || !Buffer.isBuffer(root)) throw new CarportError('Corrupted', 'malformed event')
  return { timeUs, generation, id, root, isNull }
}

function decodeEvent(payload: Buffer, fields = 13): StoredEvent {
  const v = unpack(payload) as unknown
  if (!Array.isArray(v) || v.length !== fields || !Buffer.isBuffer(v[1]) || !Buffer.isBuffer(v[2])) {
    throw new CarportError('Corrupted', 'malformed event')
  }
  const [name, bucket, key, versionId, isNull, size, etag, owner, timeUs, generation] = v as [
    number,
    Buffer,
    Buffer,
    Buffer,
    boolean,
    number | null,
    string | null,
    string,
    number,
    number,
  ]
  return {
    event: {
      name: EVENT_NAMES[name] as EventName,
      ...{ bucket, key, versionId, isNull, owner, timeUs, generation },
      ...(size !== null && { size }),
      ...(etag !== null && { etag }),
    },
    ruleId: String(v[10]),
    dueMs: Number(v[11]),
    attempts: Number(v[12]),
  }
}
