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
}

export interface QuorumWriteOptions extends QuorumCallOptions {
  /** Successes needed in each set, or in all of them; a set that needs none only gets the message. */
  quorum: number | readonly number[]
  judge?: (body: unknown) => 'taken' | 'overruled' | 'unknown'
  onFailure?: (node: NodeId, error: unknown) => void
}

/** Calls on several replicas at once. */
export interface QuorumCaller {
  readonly self: NodeId
  /**
   * Sends the same body to every node of every set, once per node, and resolves with the replies that had arrived
   * when each set had `quorum` successes. The other calls go on in the background; `onFailure` is called for each node
   * that failed or timed out, even after the promise resolved, so that the write can be queued for it.
   *
   * With `judge`, replies that it calls 'overruled' are no successes: the node has a later row, and never had the one that
   * is written. When every set has so many of them that no quorum of it can have had that row, the promise resolves with
   * just these replies. 'unknown' counts as a failure. In between, when nodes fail and neither is certain, it is not
   * known whether the row has been read meanwhile, and the promise rejects.
   * @throws CarportError QuorumUnavailable as soon as some set can no longer reach the quorum.
   */
  write(
    sets: readonly (readonly NodeId[])[],
    method: string,
    body: unknown,
    options: QuorumWriteOptions,
  ): Promise<{ node: NodeId; body: unknown }[]>
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
  ): Promise<{ node: NodeId; body: unknown }[]>
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
