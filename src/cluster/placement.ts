import type { ByteStream, NodeId, Priority, RpcReply } from '../net/transport.js'

/**
 * The cluster as the storage layers see it: which nodes hold a partition now, and how to reach a quorum of them.
 * While a layout change is under way several layout versions are live: a write needs a quorum in the set of each,
 * a read goes to the newest version whose data is complete.
 */
export interface Placement {
  /**
   * Sets of replicas, one per live layout version (equal sets once), each of `replicationFactor` nodes. Empty on a
   * node without a role in the newest layout: it may not coordinate requests. Must be taken in the same turn in
   * which the call that uses them starts; `readSet` too.
   */
  writeSets(partition: number): readonly (readonly NodeId[])[]
  /** The replicas to read from. */
  readSet(partition: number): readonly NodeId[]
  /** Every node that may hold data of the partition in any live version, without doubles. */
  storageSet(partition: number): readonly NodeId[]
  /** Partitions that this node must hold in some live version. */
  ownPartitions(): readonly number[]
  /** All nodes of the cluster in any live version, gateways included: where full-copy tables live. */
  allNodes(): readonly NodeId[]
  /**
   * The nodes whose majorities decide about full-copy tables: the storage nodes of each live layout version, equal
   * sets once. A write needs a majority of each. Empty on a node without a role in the newest layout. Gateways get
   * every write too, but do not count: nobody waits until a new one has its copies.
   */
  controlSets(): readonly (readonly NodeId[])[]
  /** The nodes of which a majority knows every acknowledged row of full-copy tables; empty as `controlSets`. */
  controlReadSet(): readonly NodeId[]
  /** Successes needed in each write set, and for a read of sharded tables. */
  readonly writeQuorum: number
  readonly readQuorum: number
  /** The number of the newest layout version; 0 before the first. */
  readonly layoutVersion: number
  /**
   * What a writer tells replicas of the newest layout: its number, and as a fraction what tells it from another one that was
   * applied under the same number. A release before this one tells and expects the number alone.
   */
  readonly layoutMark: number
  /**
   * The same of the layout version that all nodes acknowledged: replicas refuse writers that know older ones only, or another
   * layout of that number.
   */
  readonly writersMark: number
  /** Asks that node for its layout, since it has a newer one, and resolves once it is in use here. Never rejects. */
  catchUp(node: NodeId): Promise<void>
  /** The numbers of the oldest and the newest live layout version; 0 before the first. */
  readonly liveVersions: { readonly oldest: number; readonly newest: number }
  /** Whether this node holds the partition (or the full-copy tables) in that version; undefined if it is not live. */
  holdsIn(version: number, partition: number | 'full'): boolean | undefined
  /**
   * A copy of a partition of which nothing is recorded is whole if the layout is of this version or an older one: this
   * database was there when the cluster's first layout was applied, or an earlier release kept no such records.
   */
  readonly completeUpTo: number
  /** Whether peers have confirmed, since the start, that this node's database did not go back in time. */
  readonly confirmed: boolean
  /** Calls `fn` after every change that affects the methods above. Returns the unsubscriber. */
  onChange(fn: () => void): () => void
  /**
   * The newest layout whose write sets every node uses: a growing number to compare and pass to `markSynced`,
   * not the layout's own number; 0 before the first layout, and while writes may be under way that do not go to
   * the newest one. Only what anti-entropy compares after this was reached is sure to meet all acknowledged
   * writes of older layouts.
   */
  readonly ackedVersion: number
  /**
   * Tells the layout that table `name` has everything of its partitions on this node: each was compared with so
   * many replicas of `readSet` that every write quorum of it has one of them. `ackedVersion` is what
   * the placement said when the anti-entropy that has now gone through **began**. When all tables said so, the
   * copies of older layouts are no longer needed.
   */
  markSynced(name: string, ackedVersion: number): void
}

export interface QuorumCallOptions {
  /** The deadline of each node's call. */
  timeoutMs: number
  priority?: Priority
  /** Is told of each node that failed or timed out, also after the promise resolved. Must not throw. */
  onFailure?: (node: NodeId, error: unknown) => void
}

export interface NodeReply {
  node: NodeId
  body: unknown
}

export interface QuorumWriteOptions extends QuorumCallOptions {
  /** Successes needed in each set, or in all of them; a set that needs none only gets the message. */
  quorum: number | readonly number[]
  /** What a reply means; 'unknown' counts as a failure. */
  judge?: (body: unknown) => 'taken' | 'unknown'
  /** A node that has stored durably what is written: it counts as one that took it, and gets no message. */
  heldBy?: NodeId | undefined
  /** Is told of each reply before it is judged, also after the promise resolved. Must not throw. */
  onReply?: (node: NodeId, body: unknown) => void
}

/**
 * What became of a write of one row:
 *  - 'taken': a quorum of each set had it as its copy;
 *  - 'replaced': a quorum of each set has it or something later, which was written at the same time;
 *  - 'overruled': nobody has read it and nobody will. Later rows were there, and it must be written again to be seen;
 *  - 'undecided': a quorum answered, but nobody knows which of these it is.
 */
export type WriteVerdict = 'taken' | 'replaced' | 'overruled' | 'undecided'

export interface JudgedWriteOptions extends Omit<QuorumWriteOptions, 'judge'> {
  /**
   * What a reply means. 'taken': what is written is, or was, the node's copy. 'blind': the same, but the node may lack what was
   * acknowledged before. 'overruled': the node has something later and never had what is written. 'unknown' counts as a failure.
   */
  judge: (body: unknown) => 'taken' | 'blind' | 'overruled' | 'unknown'
  /** The row's time is later than that of every write acknowledged before this one began. */
  isSafe?: boolean
  /** The own node's copy was not later when this began. */
  ownLooked?: boolean
  /** Whether the own node has told nobody that it has the row, and need not. */
  canWithdraw?: () => boolean
  /** The writer would rather look again than wait for who is silent. */
  mayRepeat?: boolean
}

/** Calls on several replicas at once. */
export interface QuorumCaller {
  readonly self: NodeId
  /**
   * Sends the same body to every node of every set, once per node, and resolves with the replies that had arrived
   * when each set had `quorum` successes. The other calls go on in the background; `onFailure` is called for each node
   * that failed or timed out, even after the promise resolved, so that the write can be queued for it.
   * @throws CarportError QuorumUnavailable as soon as some set can no longer reach the quorum.
   */
  write(
    sets: readonly (readonly NodeId[])[],
    method: string,
    body: unknown,
    options: QuorumWriteOptions,
  ): Promise<NodeReply[]>
  /**
   * A write of one row that later rows may hide (WriteCall has the argument). Resolves with the replies of those who took
   * it, or else of those who had something later, as soon as the verdict is sure.
   * @throws CarportError QuorumUnavailable when no quorum of some set answers.
   */
  writeJudged(
    sets: readonly (readonly NodeId[])[],
    method: string,
    body: unknown,
    options: JudgedWriteOptions,
  ): Promise<{ verdict: WriteVerdict; replies: NodeReply[] }>
  /**
   * Asks the nearest `quorum` nodes first (the own node, then by round-trip time, links that are down last) and
   * further ones when one fails or is slow (hedged after about twice its usual round trip).
   * @throws CarportError QuorumUnavailable when fewer than `quorum` nodes can answer.
   */
  read(
    nodes: readonly NodeId[],
    method: string,
    body: unknown,
    options: QuorumCallOptions & { quorum: number },
  ): Promise<NodeReply[]>
  /** As `read`, of a quorum of each of several sets. */
  readSets(
    sets: readonly (readonly NodeId[])[],
    method: string,
    body: unknown,
    options: QuorumCallOptions & { quorum: number },
  ): Promise<NodeReply[]>
  /**
   * Begins a write of several calls, of which the layout's progress waits for the end: no newer layout version is acknowledged
   * by this node before the returned function was called. Call it in the same turn in which the sets are taken from the
   * Placement.
   */
  beginWrite(): () => void
  /** A call to that node took longer than usual: others are asked first until it answers, or for some seconds. */
  keptWaiting(node: NodeId): void
  /** Whether there is no link to that node, or it has not answered for longer than usual. */
  mayBeAway(node: NodeId): boolean
  /** `nodes`, nearest first: the own node, then by round-trip time; nodes that are not connected last. */
  nearestFirst(nodes: readonly NodeId[]): NodeId[]
  /** One call to one node. */
  call(
    node: NodeId,
    method: string,
    body: unknown,
    options: QuorumCallOptions & { stream?: ByteStream; signal?: AbortSignal },
  ): Promise<RpcReply>
}

/** More than half of `nodes`. */
export function majority(nodes: number): number {
  return Math.floor(nodes / 2) + 1
}
