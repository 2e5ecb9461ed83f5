import { pack, unpack } from 'msgpackr'
import type { Placement } from '../cluster/placement.js'
import type { Db, Reader, Tx } from '../db/db.js'
import type { NodeId, Transport } from '../net/transport.js'
import { CarportError, errorCode } from '../util/errors.js'
import { versioned } from '../util/format.js'
import type { Log } from '../util/log.js'
import {
  type CollectionMark,
  type CopyMarks,
  decodeMarks,
  encodeMarks,
  hasPrepared,
  joinMarks,
  missed,
  NO_MARKS,
  newestNumber,
  withCollected,
  withoutPrepared,
  withPrepared,
} from './marks.js'
import { STANDING_TREE } from './row-keys.js'
import type { TableSchema } from './schema.js'

/** Where the standing of the full tables' copies is kept; 0 to 255 are the partitions of all sharded tables. */
export const FULL_COPY = 256
const COPIES = 257

/**
 * What a node's copy of a partition, with all its tables, is worth:
 *  - 'whole': it has every acknowledged row, like any replica. It votes in reads, and may give rows to other replicas.
 *  - 'joining': it began empty, went back in time, or missed a collection of tombstones. It takes writes, copies what the
 *    others have, and neither votes nor gives rows away, until it has been compared with enough whole copies.
 *  - 'left': it was whole when the layout gave the partition to other nodes.
 */
export type CopyState = 'whole' | 'joining' | 'left'

interface Copy {
  readonly state: CopyState
  readonly marks: CopyMarks
}

const STATES: readonly CopyState[] = ['whole', 'joining', 'left']
const FORMAT = versioned<Copy>('standing of a copy', {
  encode: ({ state, marks }) => pack([STATES.indexOf(state), encodeMarks(marks)]),
  writes: 1,
  versions: { 1: decodeCopy },
})
/** The newest layout version that this node knew, and (as bits) which copies it held in it. */
interface SeenLayout {
  readonly newest: number
  readonly held: Buffer
}

const SEEN_KEY = Buffer.from('layout')
const SEEN_FORMAT = versioned<SeenLayout>('layout that was seen', {
  encode: ({ newest, held }) => pack([newest, held]),
  writes: 1,
  versions: { 1: decodeSeen },
})

/** The default of a partition without a record: rows of an earlier release, handed over while nothing was collected. */
const UNKNOWN: Copy = { state: 'left', marks: NO_MARKS }

export interface StandingEnv {
  readonly db: Db
  readonly transport: Transport
  readonly placement: Placement
  readonly log: Log
}

/** The number of the copy that a table's partition belongs to. */
export function copyOf(schema: Pick<TableSchema<unknown>, 'placement'>, partition: number): number {
  return schema.placement === 'full' ? FULL_COPY : partition
}

/** The durable standing of this node's copies, in the same database as their rows: when that goes back, so does this. */
export class Standing {
  readonly #states: CopyState[] = []
  readonly #marks: CopyMarks[] = []
  /** Counts how often each copy began to join in this process: comparisons made for an earlier join do not count. */
  readonly #joins = new Int32Array(COPIES)
  readonly #known = new Uint8Array(COPIES)
  readonly #listeners: (() => void)[] = []
  readonly #joined: ((tx: Tx, copy: number) => void)[] = []
  /** The layout at the last look, stored once all that followed from it is. */
  #seen: SeenLayout | undefined

  constructor(private readonly env: StandingEnv) {
    for (let copy = 0; copy < COPIES; copy++) {
      const stored = decode(env.db.get(STANDING_TREE, keyOf(copy)))
      this.#states.push(stored?.state ?? UNKNOWN.state)
      this.#marks.push(stored?.marks ?? UNKNOWN.marks)
      this.#known[copy] = stored ? 1 : 0
    }
    const seen = env.db.get(STANDING_TREE, SEEN_KEY)
    this.#seen = seen && SEEN_FORMAT.decode(seen)
    env.placement.onChange(() => this.follow())
    this.follow()
  }

  /** Calls `fn` after a copy began to join or became whole. */
  onChange(fn: () => void): void {
    this.#listeners.push(fn)
  }

  /** Calls `fn` in the transaction that makes a copy whole which had to join the others. */
  onJoined(fn: (tx: Tx, copy: number) => void): void {
    this.#joined.push(fn)
  }

  state(copy: number): CopyState {
    return this.#states[copy]!
  }

  /** Whether this node's copy counts in reads. */
  votes(copy: number): boolean {
    if (this.#states[copy] !== 'whole') return false
    // Where one copy alone answers reads, no other need be up to vouch for it.
    const { placement } = this.env
    return placement.readQuorum === 1 || placement.confirmed
  }

  /**
   * Whether reads ask this node for a copy that may lack what was acknowledged. One that is only needed for a layout to come is
   * not asked yet, and had nothing to lose.
   */
  isBlind(copy: number): boolean {
    const { placement, transport } = this.env
    return !this.votes(copy) && placement.readSet(copy).includes(transport.self)
  }

  /** @throws CarportError NotCaughtUp if this node's copy may lack what was acknowledged */
  checkVote(copy: number): void {
    if (this.votes(copy)) return
    const name = copy === FULL_COPY ? 'the full tables' : `partition ${copy}`
    throw new CarportError('NotCaughtUp', `this node's copy of ${name} is not caught up with the others yet`)
  }

  /** @throws CarportError NotCaughtUp before a peer has told that this node's database did not go back in time */
  checkConfirmed(): void {
    if (this.env.placement.confirmed) return
    throw new CarportError(
      'NotCaughtUp',
      "no other node has told yet that this node's database did not go back in time",
    )
  }

  /** Names the join under way of a copy, for `complete`. */
  joinOf(copy: number): number {
    return this.#joins[copy]!
  }

  marks(copy: number): CopyMarks {
    return this.#marks[copy]!
  }

  isOwn(copy: number): boolean {
    return this.isHolder(copy, this.env.transport.self)
  }

  /** Whether a node holds the partition in a live layout version, as far as this node knows. */
  isHolder(copy: number, node: NodeId): boolean {
    return this.holders(copy).includes(node)
  }

  holders(copy: number): readonly NodeId[] {
    const { placement } = this.env
    return copy === FULL_COPY ? placement.allNodes() : placement.storageSet(copy)
  }

  /** The copies that this node has to have, and how many of them are whole. */
  counts(): { whole: number; total: number } {
    let whole = 0
    let total = 0
    for (let copy = 0; copy < COPIES; copy++) {
      if (!this.isOwn(copy)) continue
      total++
      if (this.#states[copy] === 'whole') whole++
    }
    return { whole, total }
  }

  /** This node's copies that are joining. */
  joining(): number[] {
    const copies: number[] = []
    for (let copy = 0; copy < COPIES; copy++)
      if (this.#states[copy] === 'joining' && this.isOwn(copy)) copies.push(copy)
    return copies
  }

  /**
   * The replicas of which `needed` must be compared with until a joining copy is whole: so many that every write quorum,
   * of which this copy may have been one, has another node among them.
   */
  quorumToJoin(copy: number): { nodes: readonly NodeId[]; needed: number } {
    const { placement, transport } = this.env
    const full = copy === FULL_COPY
    const read = full ? placement.controlReadSet() : placement.readSet(copy)
    // A node without a role may read nothing, but what it holds may still be read by others.
    const set = read.length > 0 ? read : full ? [] : placement.storageSet(copy)
    const quorum = full ? Math.floor(set.length / 2) + 1 : placement.writeQuorum
    const nodes = set.filter((node) => node !== transport.self)
    return { nodes, needed: Math.min(nodes.length, Math.max(0, set.length - quorum + 1)) }
  }

  /** Brings the states in line with the layout. */
  follow(): void {
    const { placement } = this.env
    if (placement.layoutVersion === 0) return
    let changed = false
    for (let copy = 0; copy < COPIES; copy++) {
      const state = this.#states[copy]!
      const own = this.isOwn(copy)
      let next = state
      if (!own) {
        if (state === 'whole') next = 'left'
      } else if (this.#known[copy] === 0) {
        next = placement.layoutVersion <= placement.completeUpTo ? 'whole' : 'joining'
      } else if (state === 'left' || (state === 'whole' && !this.#stayed(copy))) next = 'joining'
      if (next === state && (this.#known[copy] === 1 || !own)) continue
      this.#setState(copy, next)
      changed = true
    }
    this.#saw()
    if (changed) this.#tell()
  }

  /**
   * Whether this node held the partition at all times since the layout that it saw last, so that writes went to it. The
   * live versions are always an interval of numbers, whose ends only grow: a moment without this node is possible if it
   * is missing in one of the versions that may have been the only live one meanwhile; or, if there is none of these, in all
   * that were live all the time.
   */
  #stayed(copy: number): boolean {
    const seen = this.#seen
    if (!seen) return true
    const { placement } = this.env
    const { oldest } = placement.liveVersions
    const name = copy === FULL_COPY ? 'full' : copy
    if (oldest > seen.newest) {
      const held = (seen.held[copy >> 3]! & (1 << (copy & 7))) !== 0
      return held && oldest === seen.newest + 1 && placement.holdsIn(oldest, name) === true
    }
    for (let version = oldest; version <= seen.newest; version++) {
      if (placement.holdsIn(version, name)) return true
    }
    return false
  }

  /** Remembers the layout of now; stored after all states that were changed because of it. */
  #saw(): void {
    const { placement, db, log } = this.env
    const { newest } = placement.liveVersions
    const held = Buffer.alloc((COPIES + 7) >> 3)
    for (let copy = 0; copy < COPIES; copy++) {
      if (placement.holdsIn(newest, copy === FULL_COPY ? 'full' : copy)) held[copy >> 3]! |= 1 << (copy & 7)
    }
    if (this.#seen?.newest === newest && this.#seen.held.equals(held)) return
    const seen = { newest, held }
    this.#seen = seen
    db.transact((tx) => tx.put(STANDING_TREE, SEEN_KEY, SEEN_FORMAT.encode(seen))).catch((error: unknown) => {
      if (errorCode(error) !== 'Closed') log.error({ error }, 'could not store which layout was seen')
    })
  }

  /** A copy turned out to be worth less than it was taken for: it joins anew. */
  demote(copy: number, why: string): void {
    if (this.#states[copy] !== 'whole') return
    this.env.log.warn({ copy, why }, 'the copy of a partition joins the others anew')
    this.#setState(copy, 'joining')
    this.#tell()
  }

  /** The whole database went back in time: every copy joins anew. */
  demoteAll(why: string): void {
    this.env.log.warn(
      { why },
      "this node's database went back in time: all of its partitions join the others anew",
    )
    for (let copy = 0; copy < COPIES; copy++) {
      if (this.#known[copy] === 1 && this.#states[copy] !== 'joining') this.#setState(copy, 'joining')
      else this.#joins[copy]!++
    }
    this.#tell()
  }

  /** A join went through: the copy has all that `others` have. Resolves when that is durable. */
  async complete(copy: number, join: number, others: readonly CopyMarks[]): Promise<void> {
    await this.env.db.transact((tx) => {
      if (this.#joins[copy] !== join || this.#states[copy] !== 'joining') return
      const marks = others.reduce(joinMarks, this.marksIn(tx, copy))
      this.#put(tx, copy, { state: 'whole', marks })
      for (const fn of this.#joined) fn(tx, copy)
      tx.onCommit(() => {
        if (this.#joins[copy] !== join) return
        this.#states[copy] = 'whole'
      })
    })
    this.#tell()
  }

  // ---- In transactions: what is read and written there is in step with the rows ----

  marksIn(reader: Reader, copy: number): CopyMarks {
    return (decode(reader.get(STANDING_TREE, keyOf(copy))) ?? UNKNOWN).marks
  }

  /**
   * To be called in the transaction that takes rows of another copy, with the marks that this one had when they were
   * read. @throws CarportError Conflict if it missed a collection: the rows may be deleted ones
   */
  checkSource(tx: Tx, copy: number, theirs: CopyMarks): void {
    if (!missed(theirs, this.marksIn(tx, copy))) return
    throw new CarportError(
      'Conflict',
      'a copy that missed a collection of tombstones must not give rows to others',
    )
  }

  /**
   * Notes that this copy has all tombstones of a collection. Returns 0, or the greatest number known here if the
   * mark's is not greater.
   * @param gone earlier ones of the same node that came to nothing
   */
  prepare(tx: Tx, copy: number, mark: CollectionMark, gone: readonly CollectionMark[] = []): number {
    const marks = withoutPrepared(this.marksIn(tx, copy), gone)
    if (hasPrepared(marks, mark)) return 0
    const newest = newestNumber(marks)
    if (mark.n <= newest) return newest
    this.#putMarks(tx, copy, withPrepared(marks, mark))
    return 0
  }

  /** To be called in the transaction that drops tombstones. @throws CarportError Conflict unless they were confirmed */
  collect(tx: Tx, copy: number, mark: CollectionMark): void {
    const marks = this.marksIn(tx, copy)
    if (!hasPrepared(marks, mark)) {
      throw new CarportError('Conflict', 'this copy did not confirm the tombstones that are to be collected')
    }
    this.#putMarks(tx, copy, withCollected(marks, mark))
  }

  #putMarks(tx: Tx, copy: number, marks: CopyMarks): void {
    const stored = decode(tx.get(STANDING_TREE, keyOf(copy)))
    this.#put(tx, copy, { state: stored?.state ?? this.#states[copy]!, marks })
  }

  #put(tx: Tx, copy: number, { state, marks }: Copy): void {
    tx.put(STANDING_TREE, keyOf(copy), FORMAT.encode({ state, marks }))
    tx.onCommit(() => {
      this.#marks[copy] = marks
    })
  }

  /** In force at once, and stored soon: after a crash before that, the layout or a peer says it again. */
  #setState(copy: number, state: CopyState): void {
    this.#states[copy] = state
    this.#known[copy] = 1
    if (state === 'joining') this.#joins[copy]!++
    this.env.db
      .transact((tx) => this.#put(tx, copy, { state: this.#states[copy]!, marks: this.marksIn(tx, copy) }))
      .catch((error: unknown) => {
        if (errorCode(error) !== 'Closed')
          this.env.log.error({ copy, error }, 'could not store the state of a copy')
      })
  }

  #tell(): void {
    for (const fn of this.#listeners) fn()
  }
}

function decodeSeen(payload: Buffer): SeenLayout {
  const value: unknown = unpack(payload)
  if (!Array.isArray(value) || typeof value[0] !== 'number' || !Buffer.isBuffer(value[1])) {
    throw new CarportError('Corrupted', 'malformed record of the layout that was seen')
  }
  return { newest: value[0], held: Buffer.from(value[1]) }
}

function keyOf(copy: number): Buffer {
  const key = Buffer.allocUnsafe(2)
  key.writeUInt16BE(copy)
  return key
}

function decode(stored: Buffer | undefined): Copy | undefined {
  return stored && FORMAT.decode(stored)
}

function decodeCopy(payload: Buffer): Copy {
  const value: unknown = unpack(payload)
  if (!Array.isArray(value) || STATES[value[0]] === undefined) {
    throw new CarportError('Corrupted', 'malformed standing of a copy')
  }
  return { state: STATES[value[0]]!, marks: decodeMarks(value[1]) }
}
