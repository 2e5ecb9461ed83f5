import type { Reader, TreeName, Tx } from '../db/db.js'
import type { Clock } from '../util/clock.js'
import { CLAIM_TREES, type Claim, Claims, decodeTime, encodeTime, OWNER_BYTES } from './claims.js'
import { HASH_BYTES } from './format.js'
import { decodeRecord, encodeRecord, judge, newRecord, type RcRecord, type Verdict } from './rc-record.js'

/** hash → RcRecord */
const RC: TreeName = 'block:rc'
/** due time, hash → nothing: the resync queue, each block at most once */
const QUEUE: TreeName = 'block:queue'
/** hash → nothing: blocks that are referenced, queued, and not here; so that their number is known without a walk */
const ABSENT: TreeName = 'block:absent'

export const RC_TREES: readonly TreeName[] = [RC, ...CLAIM_TREES, QUEUE, ABSENT]

const NOTHING = Buffer.alloc(0)

/** The owner of a claim that no reference redeems; it only expires. */
export const NO_OWNER = Buffer.alloc(OWNER_BYTES)

export interface Graces {
  /** How long a block is kept after its last reference went. */
  unreferencedMs: number
  /** How long a block is kept after it was written, if its reference does not arrive; longer than any upload. */
  unclaimedMs: number
}

export const GRACES: Graces = { unreferencedMs: 600_000, unclaimedMs: 86_400_000 }

export interface QueueEntry {
  dueMs: number
  hash: Buffer
}

/**
 * Local reference counts, kept in the transactions of the block_ref table's hook, with the queue of blocks that
 * must be looked at. What keeps a block alive at zero references: `keepUntilMs` of its record, and claims,
 * which a write makes and the reference by the same owner redeems.
 */
export class RefCounts {
  /** Called after a commit that queued something earlier than `armedForMs`. */
  onDue: () => void = () => {}
  /** Called in the transaction in which nobody wants a block any more that is not here. */
  onUnwanted: (tx: Tx, hash: Buffer) => void = () => {}
  /** When the resync service will look at the queue by itself. */
  armedForMs = Number.POSITIVE_INFINITY
  readonly claims = new Claims()
  readonly #due = () => this.onDue()

  constructor(
    private readonly clock: Clock,
    readonly graces: Graces = GRACES,
  ) {}

  get(reader: Reader, hash: Buffer): RcRecord | undefined {
    const bytes = reader.peek(RC, hash)
    return bytes && decodeRecord(bytes)
  }

  /** A reference by `owner` became live. A block that is not here is queued to be fetched. */
  referenced(tx: Tx, hash: Buffer, owner: Buffer): void {
    const record = this.get(tx, hash) ?? newRecord()
    record.count++
    this.claims.delete(tx, hash, owner)
    if (record.count === 1 && !record.present) this.#queue(tx, hash, record, this.clock.nowMs())
    this.#put(tx, hash, record)
  }

  /** A live reference went. At zero the block is queued to be deleted after its grace. */
  unreferenced(tx: Tx, hash: Buffer): void {
    const record = this.get(tx, hash)
    // A count that is wrong already is left to the repair; it must not become negative.
    if (!record || record.count === 0) return
    record.count--
    if (record.count === 0) this.#startGrace(tx, hash, record)
    this.#put(tx, hash, record)
  }

  /** The owner will never reference the block: its claim ends. */
  renounced(tx: Tx, hash: Buffer, owner: Buffer): void {
    if (!this.claims.delete(tx, hash, owner)) return
    const record = this.get(tx, hash)
    if (!record || record.count > 0) return
    this.#startGrace(tx, hash, record)
    this.#put(tx, hash, record)
  }

  /**
   * The block is kept for the long grace, for `owner` to reference it. `present` says that its file is written, or
   * will be before the write is acknowledged. Returns false if the deleter is at work on it: the claim
   * stands, but the file may vanish until the deleter is done, and must be written again then.
   * @param by the process that claims it; see claimantId
   */
  claim(tx: Tx, hash: Buffer, owner: Buffer, present: boolean, by?: Buffer): boolean {
    const record = this.get(tx, hash) ?? newRecord()
    const untilMs = this.clock.nowMs() + this.graces.unclaimedMs
    this.claims.put(tx, { hash, owner, untilMs, by })
    if (record.dueMs === 0) this.#queue(tx, hash, record, untilMs)
    if (present && !record.deleting) record.present = true
    this.#put(tx, hash, record)
    return !record.deleting
  }

  /** Takes over a claim that another replica has: its block is to be fetched if it is not here. */
  adoptClaim(tx: Tx, claim: Claim): void {
    const { hash, owner, by } = claim
    const nowMs = this.clock.nowMs()
    const untilMs = Math.min(claim.untilMs, nowMs + this.graces.unclaimedMs)
    if (untilMs <= nowMs || (this.claims.get(tx, hash, owner)?.untilMs ?? 0) >= untilMs) return
    this.claims.put(tx, { hash, owner, untilMs, by })
    const record = this.get(tx, hash) ?? newRecord()
    if (!record.present) this.#queue(tx, hash, record, nowMs)
    else if (record.dueMs === 0) this.#queue(tx, hash, record, untilMs)
    this.#put(tx, hash, record)
  }

  /** Lets a claim that is still there expire earlier. */
  shortenClaim(tx: Tx, { hash, owner }: Claim, untilMs: number): void {
    const claim = this.claims.get(tx, hash, owner)
    if (!claim || claim.untilMs <= untilMs) return
    this.claims.put(tx, { ...claim, untilMs })
    const record = this.get(tx, hash)
    if (!record || record.count > 0) return
    this.#queue(tx, hash, record, Math.max(record.keepUntilMs, this.claims.untilMs(tx, hash)))
    this.#put(tx, hash, record)
  }

  /** Takes note that the file is there, or is not. An absent one that is referenced is queued. */
  setPresent(tx: Tx, hash: Buffer, present: boolean): void {
    const record = this.get(tx, hash)
    if (!record) return
    record.present = present
    if (!present && record.count > 0) this.#queue(tx, hash, record, this.clock.nowMs())
    this.#put(tx, hash, record)
  }

  /** Queues a block to be looked at; an earlier time in the queue stands, unless `replace`. */
  enqueue(tx: Tx, hash: Buffer, dueMs: number, replace = false): void {
    const record = this.get(tx, hash) ?? newRecord()
    if (!replace && record.dueMs !== 0 && record.dueMs <= dueMs) return
    this.#queue(tx, hash, record, dueMs)
    this.#put(tx, hash, record)
  }

  /** A file of which nothing was known: it is kept for the long grace. Returns false if something is known. */
  adopt(tx: Tx, hash: Buffer): boolean {
    const record = this.get(tx, hash)
    if (record?.present) return false
    if (record && record.count > 0) this.setPresent(tx, hash, true)
    else this.claim(tx, hash, NO_OWNER, true)
    return true
  }

  /** What to do about a block, as of now. A block without a record is adopted by whoever finds its file. */
  judge(reader: Reader, hash: Buffer, exists: boolean): Verdict {
    const record = this.get(reader, hash)
    if (!record) return { kind: 'forget' }
    const claimedUntilMs = record.count > 0 ? 0 : this.claims.untilMs(reader, hash)
    return judge(record, claimedUntilMs, exists, this.clock.nowMs())
  }

  /** Whether the block is here, or is wanted: otherwise it is no failure that it is not. */
  isHereOrWanted(reader: Reader, hash: Buffer): boolean {
    return this.get(reader, hash)?.present === true || this.judge(reader, hash, false).kind === 'fetch'
  }

  /**
   * The file was seen to be there. A referenced block then leaves the queue, unless it has claims, which are forgotten
   * when they have expired: those of writes that were given up.
   */
  settle(tx: Tx, hash: Buffer): void {
    const record = this.get(tx, hash)
    if (!record) return
    if (record.count > 0) {
      const untilMs = this.claims.forgetExpired(tx, hash, this.clock.nowMs())
      if (untilMs > 0) this.#queue(tx, hash, record, untilMs)
      else this.#unqueue(tx, hash, record)
    }
    record.present = true
    this.#put(tx, hash, record)
  }

  /**
   * First half of a deletion: decides again, in the transaction. Returns false if the block must stay. Until
   * `endDelete`, or after a crash in between, it stands in the queue for `retryMs` later.
   */
  beginDelete(tx: Tx, hash: Buffer, retryMs: number): boolean {
    const record = this.get(tx, hash)
    if (!record || this.judge(tx, hash, true).kind !== 'delete') return false
    record.present = false
    record.deleting = true
    this.#queue(tx, hash, record, this.clock.nowMs() + retryMs)
    this.#put(tx, hash, record)
    return true
  }

  /** Second half, after the file went: forgets the block, unless it was claimed or referenced meanwhile. */
  endDelete(tx: Tx, hash: Buffer): void {
    const record = this.get(tx, hash)
    if (!record) return
    const verdict = this.judge(tx, hash, false)
    if (verdict.kind === 'forget') {
      this.forget(tx, hash)
      return
    }
    record.deleting = false
    record.present = false
    this.#queue(tx, hash, record, verdict.kind === 'wait' ? verdict.untilMs : this.clock.nowMs())
    this.#put(tx, hash, record)
  }

  /** Instead of `endDelete` if the file could not be removed: whoever waits for the deleter need not wait for the disk. */
  abandonDelete(tx: Tx, hash: Buffer, exists: boolean): void {
    const record = this.get(tx, hash)
    if (!record?.deleting) return
    record.deleting = false
    record.present = exists
    if (!exists && record.count > 0) this.#queue(tx, hash, record, this.clock.nowMs())
    this.#put(tx, hash, record)
  }

  /** Drops all that is known of a block without references, claims and file. */
  forget(tx: Tx, hash: Buffer): void {
    const record = this.get(tx, hash)
    if (!record || this.judge(tx, hash, false).kind !== 'forget') return
    this.#unqueue(tx, hash, record)
    this.claims.deleteAll(tx, hash)
    tx.delete(RC, hash)
    if (tx.has(ABSENT, hash)) tx.delete(ABSENT, hash)
  }

  /**
   * Takes a referenced block out of the queue, whether it is here or not. Unreferenced and claimed ones stay: without
   * the queue they would stay for ever. Returns whether it was queued.
   */
  unqueueReferenced(tx: Tx, hash: Buffer): boolean {
    const record = this.get(tx, hash)
    if (!record || record.dueMs === 0 || record.count === 0 || record.deleting) return false
    if (this.claims.untilMs(tx, hash) > 0) return false
    this.#unqueue(tx, hash, record)
    this.#put(tx, hash, record)
    return true
  }

  /** Sets a count that was found wrong, with all that follows from it. Returns the count of before. */
  repair(tx: Tx, hash: Buffer, count: number): number {
    const record = this.get(tx, hash) ?? newRecord()
    const before = record.count
    if (before === count) return before
    record.count = count
    if (count === 0) this.#startGrace(tx, hash, record)
    else if (!record.present) this.#queue(tx, hash, record, this.clock.nowMs())
    this.#put(tx, hash, record)
    return before
  }

  /** The first entries of the queue that are due by `nowMs`, oldest first. */
  due(reader: Reader, nowMs: number, limit: number): QueueEntry[] {
    const entries: QueueEntry[] = []
    for (const key of reader.keys(QUEUE, { end: encodeTime(nowMs + 1), limit }))
      entries.push(decodeQueueKey(key))
    return entries
  }

  /** Queue entries from `fromMs` on, latest first. */
  latest(reader: Reader, fromMs: number, limit: number): QueueEntry[] {
    const entries: QueueEntry[] = []
    const options = { start: encodeTime(fromMs), reverse: true, limit }
    for (const key of reader.keys(QUEUE, options)) entries.push(decodeQueueKey(key))
    return entries
  }

  /** Blocks to be looked at now: all that are missing, and of the others that are due at most `limit`. */
  pending(reader: Reader, nowMs: number, limit: number): number {
    const others = this.due(reader, nowMs, limit).filter(({ hash }) => !reader.has(ABSENT, hash))
    return reader.count(ABSENT) + others.length
  }

  /** When the first entry of the queue is due; undefined if it is empty. */
  nextDueMs(reader: Reader): number | undefined {
    for (const key of reader.keys(QUEUE, { limit: 1 })) return decodeQueueKey(key).dueMs
    return undefined
  }

  /** Hashes with a record, in order, after `after` (exclusive), of one partition if given. */
  hashes(reader: Reader, options: { after?: Buffer; partition?: number; limit: number }): Buffer[] {
    const { after, partition } = options
    let start = partition === undefined ? undefined : Buffer.from([partition])
    if (after) start = Buffer.concat([after, Buffer.from([0])])
    const end = partition === undefined || partition === 255 ? undefined : Buffer.from([partition + 1])
    return [...reader.keys(RC, { ...(start && { start }), ...(end && { end }), limit: options.limit })]
  }

  /**
   * Entries in the queue, how many blocks have a record, and how many are referenced, queued and not here. A database of an
   * earlier release counts these as they are looked at, which all are that are due.
   */
  sizes(reader: Reader): { queued: number; known: number; claims: number; absent: number } {
    return {
      queued: reader.count(QUEUE),
      known: reader.count(RC),
      claims: this.claims.count(reader),
      absent: reader.count(ABSENT),
    }
  }

  #startGrace(tx: Tx, hash: Buffer, record: RcRecord): void {
    record.keepUntilMs = this.clock.nowMs() + this.graces.unreferencedMs
    if (!record.present) this.onUnwanted(tx, hash)
    if (record.dueMs === 0 || record.dueMs > record.keepUntilMs)
      this.#queue(tx, hash, record, record.keepUntilMs)
  }

  /** Moves the block's place in the queue; the caller stores the record. */
  #queue(tx: Tx, hash: Buffer, record: RcRecord, dueMs: number): void {
    const rounded = Math.ceil(dueMs)
    if (record.dueMs === rounded) return
    if (record.dueMs !== 0) tx.delete(QUEUE, queueKey(record.dueMs, hash))
    tx.put(QUEUE, queueKey(rounded, hash), NOTHING)
    record.dueMs = rounded
    if (rounded < this.armedForMs) tx.onCommit(this.#due)
  }

  #unqueue(tx: Tx, hash: Buffer, record: RcRecord): void {
    if (record.dueMs !== 0) tx.delete(QUEUE, queueKey(record.dueMs, hash))
    record.dueMs = 0
  }

  #put(tx: Tx, hash: Buffer, record: RcRecord): void {
    tx.put(RC, hash, encodeRecord(record))
    const isAbsent = isMissing(record) && record.dueMs !== 0
    if (isAbsent !== tx.has(ABSENT, hash)) {
      if (isAbsent) tx.put(ABSENT, hash, NOTHING)
      else tx.delete(ABSENT, hash)
    }
  }
}

/** Whether references want a block that is not here. */
export function isMissing(record: RcRecord): boolean {
  return record.count > 0 && !record.present
}

function queueKey(dueMs: number, hash: Buffer): Buffer {
  return Buffer.concat([encodeTime(dueMs), hash], 8 + HASH_BYTES)
}

function decodeQueueKey(key: Buffer): QueueEntry {
  return { dueMs: decodeTime(key), hash: Buffer.from(key.subarray(8)) }
}
