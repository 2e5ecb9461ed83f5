import type { Reader, Tx } from '../db/db.js'
import type { Ballot } from './ballot.js'

/**
 * A row as it is stored and sent. The head is small and says everything that merging, listing and HEAD need;
 * the body (inline content) is kept in a tree of its own, so that walking over heads never touches it.
 * Rows of most tables have no body.
 */
export interface EncodedRow {
  head: Buffer
  body?: Buffer
}

/** Loads a row's body, when something needs it. */
export type BodyLoader = () => Buffer | undefined

/** For tables with conditional writes (see conditional.ts): what there is to know of their rows. */
export interface ConditionalRows<E> {
  /** The ballot of a conditional row; undefined for plain rows. */
  ballotOf(entry: E): Ballot | undefined
  /** What names a row, under whichever ballot. */
  idOf(entry: E): Buffer
  /** The order of rows of one key: 0 only for the same row under the same ballot. */
  compare(a: E, b: E): number
  /** Whether both are the same row, perhaps under different ballots. */
  isSame(a: E, b: E): boolean
  /** A conditional row under another ballot. */
  underBallot(entry: E, ballot: Ballot): E
  /**
   * What became of a row that was proposed, once `base` is on a quorum: 'chosen' if it is that row or one that `base` follows
   * from, 'dead' if it can never be either, 'open' if it still may, undefined if rows of another chain cannot tell.
   */
  fateOf(proposal: E, base: E): 'chosen' | 'dead' | 'open' | 'unknown' | undefined
  /** A replica votes for a row that is hidden by `stored`, a later one, as if it had come before that. */
  voted(tx: Tx, entry: E, stored: E): void
}

/**
 * What a replicated table holds and how its rows merge. `E` is a row decoded; treat it as immutable.
 * Rows are CRDTs: `merge` is commutative, associative and idempotent (src/crdt has the property tests' helpers).
 */
export interface TableSchema<E> {
  readonly name: string
  /** 'sharded': on the replicas of the partition; 'full': on every node, read locally. */
  readonly placement: 'sharded' | 'full'
  /** Every partition key has this length, in bytes. Sort keys are 0 to 1850 bytes. */
  readonly partitionKeyBytes: number
  /** The partition (0..255) of a partition key; not asked for 'full' tables. */
  partition(partitionKey: Buffer): number
  partitionKey(entry: E): Buffer
  sortKey(entry: E): Buffer
  /**
   * Equal entries must encode to equal heads, and different ones to different heads, even if only their bodies differ:
   * replicas compare fingerprints of heads, and take rows with equal heads for the same row. So a head with a body has an
   * id of its own, or a digest of the body.
   */
  encode(entry: E): EncodedRow
  /** @throws any Error on malformed bytes; the table turns it into CarportError Corrupted or InvalidArgument. */
  decode(head: Buffer, body: BodyLoader): E
  /** Returns `current` itself (===) if `incoming` adds nothing, `incoming` itself if it wins whole, else a new entry. */
  merge(current: E, incoming: E): E
  /** Whether the row means "nothing here" and may be collected once every replica has it. */
  isTombstone(entry: E): boolean
  /**
   * For tables whose writes must win over everything acknowledged before: the time (HLC, µs) of the row that hides
   * `incoming` in `merged`, or 0 if `incoming` took effect. The writer then takes a later time and writes again.
   */
  hiddenBy?(incoming: E, merged: E): number
  /**
   * For tables whose rows carry the time of their writer: that time (HLC, µs), the latest if a row has several. Nodes
   * whose clocks are off write none, and replicas take none that is too far ahead (see Replica).
   */
  timeUs?(entry: E): number
  readonly conditional?: ConditionalRows<E>
  /**
   * For tables to which rows move from another table of the same placement and partition keys, when they are replaced
   * there. A node that has not yet heard of the row that replaced one, by the name of `replacedBy`, still holds it
   * there: reads that give `replacedBy` take it into account. `sortKey` is that of the row, or (for ranges) a start
   * that is enough to find it.
   */
  moving?(reader: Reader, partitionKey: Buffer, sortKey: Buffer, replacedBy: Buffer): E | undefined
  /**
   * For the same tables: resolves once it is known what moves to that place, where that depends on a write of this node which is not
   * shown yet, though it has changed this table already; undefined if nothing is undecided.
   */
  undecided?(reader: Reader, partitionKey: Buffer, sortKey: Buffer): Promise<void> | undefined
  /**
   * For tables whose rows are merged from parts of different ages, all of which are shown: those parts of a row that are older than a
   * time (HLC, µs), or those that are not; undefined if it has none. What was deleted for good may come back with an old database
   * beside what was written since, which in other tables one of the two rows hides.
   */
  partOf?(entry: E, age: 'older' | 'younger', thanUs: number): E | undefined
  /**
   * For tables whose readers keep bodies: what names the content of a head's row, so that a reader who has it already need
   * not get its body (see ReadOptions.known).
   */
  contentId?(head: Buffer): Buffer
  /**
   * Whether a body is that of its head, where the head can tell; for rows that were stored before rows had checksums.
   * Left out: cannot be told.
   */
  bodyMatches?(entry: E, body: Buffer): boolean
  /**
   * For the same tables: the row of the other table from which a row of this one moves, in the same partition, by the
   * row's own sort key; and whether that row, as it is, may still move here as `entry`. A tombstone is not collected
   * before all replicas have the same such row, and it cannot move: it would come back as the row that it deleted.
   */
  readonly source?: {
    readonly table: string
    sortKey(sortKey: Buffer): Buffer
    /** The start of the sort keys of all rows that move here from the row of that sort key, the newest first. */
    prefix(sortKey: Buffer): Buffer
    mayMove(row: unknown, entry: E): boolean
  }
  /**
   * Runs in the transaction that changes this node's copy, on every replica, in whatever order rows arrive: must be
   * idempotent in effect. `before` is undefined for a new row. `after` is undefined when a tombstone is collected
   * or the partition moved away from this node: then only local indexes (counters, references) are to be undone.
   */
  onUpdate?(tx: Tx, before: E | undefined, after: E | undefined): void
}
