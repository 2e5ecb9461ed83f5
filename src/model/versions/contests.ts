import { pack, unpack } from 'msgpackr'
import { callNearest, isOutside } from '../../cluster/outside.js'
import type { Placement, QuorumCaller } from '../../cluster/placement.js'
import type { Db, Tx } from '../../db/db.js'
import { Priority, type Transport } from '../../net/transport.js'
import { ballotTimeUs } from '../../table/ballot.js'
import type { Table } from '../../table/table.js'
import { CarportError, errorCode } from '../../util/errors.js'
import { versioned } from '../../util/format.js'
import type { WorkerEnv } from '../../util/worker.js'
import { bucketPartition } from '../sort-keys.js'
import { DUE_BYTES, DueQueue } from '../upkeep/due-queue.js'
import { isOfPlace } from './chain.js'
import { decodeHead, encodeHead } from './codec.js'
import { noncurrentCopy } from './noncurrent.js'
import { PLACE_TREE, Places, type Rival } from './places.js'
import type { VersionRecord } from './record.js'
import { fateByCurrent } from './row-fate.js'
import { live, selectorOf } from './selector.js'
import { tombstoneOf, withdrawnOf } from './tables.js'

/** [due u48 ms][version id] → the losing row, and its rival's id */
const CONTEST_TREE = 'model:contests'
export const CONTEST_TREES = [CONTEST_TREE, PLACE_TREE] as const

/**
 * How soon a row is looked at that another one took the place of, in ms. By then its coordinator has told its client, if it ever does,
 * and withdrawn what lost: that is its deadline, and the timeouts of the calls that it may have begun just before.
 */
const SOON_MS = 60_000
/** How soon a noncurrent version is looked at that may have a rival, in ms: the key's row may tell already. */
const RIVALS_MS = 1000
/** After this time no coordinator goes on with a proposal: replicas refuse ballots that are half as old. In ms. */
const OLD_MS = 3_600_000

/** How soon a contest is looked at again that nobody could decide, in ms. */
const AGAIN_MS = 60_000

/** Takes over a contest, encoded, from a node that has no role any more. */
const METHOD = 'model/contest'
const TIMEOUT_MS = 30_000

interface Contest {
  row: VersionRecord
  /** A noncurrent version of the same place. */
  rival?: Rival | undefined
}

/**
 * Decides about rows of conditional writes that may have lost. Two writes that were judged on one base have one place in the
 * order, and at most one of them ever took effect; but a replica that sees one replace the other cannot tell which: a third
 * coordinator may be about to finish the one that went. So neither contents nor versions go at that moment. The replica keeps
 * the row, and asks a quorum later:
 *
 * - The key's row follows from the lost one, or has its place: then it is known.
 * - A later row does not tell: a plain one, or one so far on in the chain that its lineage does not reach back. If the lost row became
 *   a noncurrent version, and another one has its place, the greater ballot decides, as soon as nobody can bring a greater one: at
 *   once if the chain has gone on, else when no coordinator is left. What is no version by then never took effect.
 *
 * A write that lost is withdrawn: a tombstone keeps it from becoming a version, and releases its content.
 */
export class Contests extends DueQueue {
  /** Writes that were withdrawn since the start. */
  withdrawn = 0
  readonly #places: Places

  constructor(
    private readonly deps: WorkerEnv & {
      db: Db
      objects: Table<VersionRecord>
      versions: Table<VersionRecord>
      transport: Pick<Transport, 'handle'>
      quorum: QuorumCaller
      placement: Placement
      /** Default: OLD_MS. */
      oldMs?: number | undefined
    },
  ) {
    super('contests', CONTEST_TREE, deps)
    this.#places = new Places(deps)
    deps.transport.handle(METHOD, async (body) => {
      if (!Buffer.isBuffer(body)) throw new CarportError('InvalidArgument', 'malformed contest')
      const contest = FORMAT.decode(body)
      // Of two nodes that go, none can decide: they would hand it to each other without end.
      if (isOutside(deps.placement)) throw new CarportError('LayoutNotReady', 'this node has no role')
      await deps.db.transact((tx) => this.#enqueue(tx, contest, 0))
      return { body: null }
    })
  }

  /** In the transaction in which another row took the place of a conditional one. */
  replaced(tx: Tx, row: VersionRecord): void {
    this.#enqueue(tx, { row }, this.#soonMs)
  }

  /**
   * In the transaction in which a conditional row becomes a noncurrent version by a row so far on in its chain that this does
   * not tell whether it ever took effect.
   */
  doubted(tx: Tx, row: VersionRecord): void {
    this.#enqueue(tx, { row }, RIVALS_MS)
  }

  /** In the transaction in which a conditional row became a noncurrent version. */
  placed(tx: Tx, version: VersionRecord): void {
    const rival = this.#places.placed(tx, version)
    if (rival) this.#enqueue(tx, { row: version, rival }, RIVALS_MS)
  }

  /** In the transaction in which a noncurrent version went. */
  unplaced(tx: Tx, version: VersionRecord): void {
    this.#places.unplaced(tx, version)
  }

  get #oldMs(): number {
    return this.deps.oldMs ?? OLD_MS
  }

  get #soonMs(): number {
    return Math.min(SOON_MS, this.#oldMs)
  }

  /** Whether the coordinator of a proposal that was made at a time, HLC µs, has told what it knows of it by now. */
  isSettled(timeUs: number): boolean {
    return this.deps.clock.nowMs() * 1000 >= timeUs + this.#soonMs * 1000
  }

  /** Whether no coordinator goes on with a proposal any more that was made at a time, HLC µs. */
  isOld(timeUs: number): boolean {
    return this.deps.clock.nowMs() * 1000 >= timeUs + this.#oldMs * 1000
  }

  #enqueue(tx: Tx, contest: Contest, inMs: number): void {
    this.add(tx, inMs, contest.row.id, FORMAT.encode(contest))
  }

  protected async settle(key: Buffer): Promise<void> {
    const { db, log } = this.deps
    const stored = db.get(CONTEST_TREE, key)
    /** How soon it is looked at again, in ms; undefined: never. */
    let againMs: number | undefined
    try {
      const isDecided = !stored || (await this.#decideOrHandOver(FORMAT.decode(stored), stored))
      if (!isDecided) againMs = this.#oldMs
    } catch (error) {
      if (errorCode(error) === 'Closed') throw error
      // Others may be of buckets whose replicas are there.
      const level = errorCode(error) === 'Corrupted' ? 'warn' : 'debug'
      log[level]({ error }, 'a contest of two writes cannot be decided now, to be tried again')
      againMs = AGAIN_MS
    }
    await db.transact((tx) => {
      tx.delete(CONTEST_TREE, key)
      if (againMs !== undefined) this.add(tx, againMs, key.subarray(DUE_BYTES), stored!)
    })
  }

  /** A node that has left the layout can ask no quorum, and may be the only one that saw the row replaced. */
  #decideOrHandOver(contest: Contest, stored: Buffer): Promise<boolean> {
    return isOutside(this.deps.placement) ? this.#handOver(contest, stored) : this.#decide(contest)
  }

  /** @throws the error of the last replica that was asked to take it */
  async #handOver({ row }: Contest, stored: Buffer): Promise<true> {
    const { placement, quorum } = this.deps
    const options = { timeoutMs: TIMEOUT_MS, priority: Priority.background }
    const none = new CarportError('LayoutNotReady', 'no other node has the rows of a contest')
    await callNearest(
      quorum,
      placement.storageSet(bucketPartition(row.bucket)),
      METHOD,
      stored,
      options,
      none,
    )
    return true
  }

  /** @returns whether nothing is left to find out */
  async #decide({ row, rival }: Contest): Promise<boolean> {
    const { objects, versions } = this.deps
    const { fate, current } = await fateByCurrent(objects, row)
    if (fate === 'won') return true
    if (fate === 'lost') return this.#withdraw(row)
    const isOld = this.isOld(ballotTimeUs(row.chain!.ballot))
    // Where the chain has gone on, no ballot of this place will have a quorum any more.
    if (!isOld && fate !== 'outrun') return false
    // A tombstone that all replicas had took everything with it.
    if (!current) return this.#withdraw(row)
    if (fate === 'open') return false
    const { bucket, key } = row
    const noncurrent = async (of: Rival) =>
      live(
        await noncurrentCopy(versions, { bucket, key, selector: selectorOf(of) }, current, { body: false }),
      )
    const version = await noncurrent(row)
    if (!version?.id.equals(row.id)) return isOld ? this.#withdraw(row) : false
    const found = rival ?? (await this.#places.rivalOf(row))
    const other = found && (await noncurrent(found))
    if (!other?.id.equals(found!.id) || !isOfPlace(version, other)) return true
    return this.#withdraw(version.chain!.ballot.compare(other.chain!.ballot) < 0 ? version : other)
  }

  async #withdraw(row: VersionRecord): Promise<true> {
    const { versions } = this.deps
    // Null versions have a slot of their own beside.
    const slot = row.isNull
      ? [
          tombstoneOf(
            { ...row, bucket: row.bucket, key: row.key, isNull: true, timeUs: row.createdUs },
            row.id,
          ),
        ]
      : []
    await versions.insertMany([withdrawnOf(row), ...slot])
    this.withdrawn++
    return true
  }
}

const FORMAT = versioned<Contest>('contest', {
  encode: ({ row, rival }) => pack([encodeHead(row), rival ? rival.id : null, rival?.isNull === true]),
  writes: 1,
  versions: {
    1(payload) {
      const [head, id, isNull] = unpack(payload) as unknown[]
      if (!Buffer.isBuffer(head)) throw new CarportError('Corrupted', 'malformed contest')
      const row = decodeHead(head, () => undefined)
      return { row, ...(Buffer.isBuffer(id) && { rival: { id, isNull: isNull === true } }) }
    },
  },
})
