import type { Reader, Tx } from '../db/db.js'
import type { Clock } from '../util/clock.js'
import { crc32c } from '../util/crc32c.js'
import { CarportError } from '../util/errors.js'
import { BALLOT_BYTES, type Ballot, ballotTimeUs, lastBallotOf, laterBallot } from './ballot.js'
import { PROMISE_TREE } from './row-keys.js'
import type { Row, RowCodec } from './rows.js'
import type { ConditionalRows, TableSchema } from './schema.js'

/** How long rows that were here are remembered, in ms: longer than a conditional write may take. */
export const REMEMBERED_MS = 60_000
const REMEMBERED_MAX = 50_000
/** Ballots that are remembered of one row. */
const BALLOTS_MAX = 32
/** Promises of gone rows that are older may go: nobody is left who was promised anything. In µs. */
const OLD_US = 3600e6
const RECORD_BYTES = BALLOT_BYTES + 4

/**
 * What this node promised to coordinators of conditional writes, durable, by row key: it votes for no conditional row with an
 * earlier ballot, and takes none from repair. A record may go only when the row itself says as much: a conditional one by its
 * ballot, a plain one by a later time.
 */
export class Promises<E> {
  /** Told of each row that a promise kept out, and that has to be voted on anew; may be called inside of transactions. */
  onHeld: (rowKey: Buffer) => void = () => {}
  readonly rows: ConditionalRows<E>
  readonly #prefix: Buffer
  readonly #held = new WeakSet<Row<E>>()
  readonly #underAnother = new WeakSet<Row<E>>()
  #voting: Row<E> | undefined
  /** By id (latin1), in the order of time: conditional rows that were this node's copy or had its vote, and under which ballots. */
  readonly #had = new Map<string, { atMs: number; ballots: Ballot[] }>()
  /** Counts how often something was forgotten too early. */
  forgotten = 0

  constructor(
    private readonly schema: TableSchema<E>,
    private readonly codec: RowCodec<E>,
    private readonly clock: Clock,
  ) {
    this.rows = schema.conditional!
    this.#prefix = Buffer.from(`${schema.name}\0`)
  }

  /** @throws CarportError Corrupted */
  get(reader: Reader, rowKey: Buffer): Ballot | undefined {
    if (reader.count(PROMISE_TREE) === 0) return undefined
    const key = this.#key(rowKey)
    const record = reader.get(PROMISE_TREE, key)
    if (!record) return undefined
    const ballot = record.subarray(0, BALLOT_BYTES)
    if (record.length === RECORD_BYTES && record.readUInt32BE(BALLOT_BYTES) === checksum(key, ballot))
      return ballot
    throw new CarportError(
      'Corrupted',
      `table ${this.schema.name}: a promise for a row is damaged on this node`,
    )
  }

  put(tx: Tx, rowKey: Buffer, ballot: Ballot): void {
    const key = this.#key(rowKey)
    const record = Buffer.allocUnsafe(RECORD_BYTES)
    record.set(ballot)
    record.writeUInt32BE(checksum(key, ballot), BALLOT_BYTES)
    tx.put(PROMISE_TREE, key, record)
  }

  /** What a ballot must not be before, to be voted for: by the promise, the row that is stored, and its time. */
  bound(reader: Reader, rowKey: Buffer, stored: E | undefined): Ballot | undefined {
    const promise = this.get(reader, rowKey)
    if (stored === undefined) return promise
    const ofRow = laterBallot(this.rows.ballotOf(stored), lastBallotOf(this.schema.timeUs!(stored)))
    return laterBallot(promise, ofRow)
  }

  /**
   * What may be stored of a row that somebody brings: the row itself; of the stored row under another ballot what does not
   * depend on ballots, which is no vote for the row under that one; nothing if a promise keeps it out.
   */
  admit(tx: Tx, row: Row<E>, stored: () => E | undefined): Row<E> | undefined {
    const { rows } = this
    const ballot = rows.ballotOf(row.entry)
    if (ballot === undefined || row === this.#voting) return row
    const current = stored()
    const bound = laterBallot(this.get(tx, row.key), current && rows.ballotOf(current))
    if (bound === undefined || ballot.compare(bound) >= 0) return row
    if (current !== undefined) {
      const order = rows.compare(row.entry, current)
      if (rows.isSame(row.entry, current)) {
        if (order !== 0) this.#underAnother.add(row)
        if (order > 0) this.#hold(row)
        return this.codec.encode(rows.underBallot(row.entry, rows.ballotOf(current)!))
      }
      // It is not stored in any case.
      if (order < 0) return row
    }
    this.#hold(row)
    return undefined
  }

  #hold(row: Row<E>): void {
    this.#held.add(row)
    this.onHeld(row.key)
  }

  /** Whether a row that was not taken, or not under its ballot, was kept out by a promise. */
  wasHeld(row: Row<E>): boolean {
    return this.#held.has(row)
  }

  /** Whether the same row was here already under another ballot, and stays under that. */
  isUnderAnother(row: Row<E>): boolean {
    return this.#underAnother.has(row)
  }

  /** Runs `store` for a row that gets this node's vote: promises were asked before. */
  voting<T>(row: Row<E>, store: () => T): T {
    this.#voting = row
    try {
      return store()
    } finally {
      this.#voting = undefined
    }
  }

  /**
   * A row was stored: it may stand for the promise. The row that it replaced may have stood for a later ballot than it does: a
   * plain row comes after a conditional one by the time of that one's base, which is earlier than its ballot.
   */
  stored(tx: Tx, row: Row<E>, before?: E): void {
    const ballot = this.rows.ballotOf(row.entry)
    if (ballot) this.remember(tx, row.entry)
    const replaced = before && this.rows.ballotOf(before)
    if (replaced && !this.#covers(row.entry, replaced)) {
      const promise = this.get(tx, row.key)
      if (!promise || promise.compare(replaced) < 0) this.put(tx, row.key, replaced)
      return
    }
    if (tx.count(PROMISE_TREE) === 0) return
    const key = this.#key(row.key)
    const promise = tx.get(PROMISE_TREE, key)
    if (!promise) return
    if (this.#covers(row.entry, promise.subarray(0, BALLOT_BYTES))) tx.delete(PROMISE_TREE, key)
  }

  /** Whether a stored row says by itself that no ballot before that one has a vote any more. */
  #covers(entry: E, promise: Ballot): boolean {
    const ballot = this.rows.ballotOf(entry)
    if (ballot) return ballot.compare(promise) >= 0
    return this.schema.timeUs!(entry) > ballotTimeUs(promise)
  }

  /** A row is gone, deleted long ago or moved away. */
  dropped(tx: Tx, rowKey: Buffer): void {
    if (tx.count(PROMISE_TREE) === 0) return
    const key = this.#key(rowKey)
    const promise = tx.get(PROMISE_TREE, key)
    if (promise && ballotTimeUs(promise) < this.clock.nowMs() * 1000 - OLD_US) tx.delete(PROMISE_TREE, key)
  }

  /** Notes a conditional row that is this node's copy, or has its vote. */
  remember(tx: Tx, entry: E): void {
    const id = this.rows.idOf(entry).toString('latin1')
    const ballot = this.rows.ballotOf(entry)!
    tx.onCommit(() => {
      const nowMs = this.clock.monotonicMs()
      const ballots = this.#had.get(id)?.ballots ?? []
      if (!ballots.some((other) => other.equals(ballot))) ballots.push(Buffer.from(ballot))
      if (ballots.length > BALLOTS_MAX) {
        ballots.shift()
        this.forgotten++
      }
      this.#had.delete(id)
      this.#had.set(id, { atMs: nowMs, ballots })
      for (const [old, { atMs }] of this.#had) {
        const isOld = nowMs - atMs > REMEMBERED_MS
        if (!isOld && this.#had.size <= REMEMBERED_MAX) break
        if (!isOld) this.forgotten++
        this.#had.delete(old)
      }
    })
  }

  /**
   * The ballots under which a row was here in the last minute, and since the start of this process. To be asked once earlier
   * transactions are through, so that they are remembered.
   */
  had(id: Buffer): readonly Ballot[] {
    return this.#had.get(id.toString('latin1'))?.ballots ?? []
  }

  #key(rowKey: Buffer): Buffer {
    return Buffer.concat([this.#prefix, rowKey])
  }
}

function checksum(key: Buffer, ballot: Ballot): number {
  return crc32c(ballot, 0, crc32c(key))
}
