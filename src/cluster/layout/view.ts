import type { NodeId } from '../../net/transport.js'
import { members, minAck, readVersion, stampOf, syncTarget } from './history.js'
import { PARTITION_COUNT } from './partitions.js'
import { currentVersion, type LayoutHistory, markOf, newestVersion } from './types.js'
import { replicaSets } from './version.js'

/** Garage's consistency modes: degraded reads from one replica, dangerous also writes to one only. */
export type ConsistencyMode = 'consistent' | 'degraded' | 'dangerous'

export interface Quorums {
  read: number
  write: number
}

/**
 * Successes needed of `replicationFactor` replicas. When consistent, both quorums are a majority. Half of an even
 * number of replicas would be enough for a read to meet every acknowledged write, but not for showing what it found:
 * a row that only half of the replicas hold was perhaps never acknowledged, and the next read may ask the other half.
 */
export function quorumsOf(replicationFactor: number, mode: ConsistencyMode): Quorums {
  const majority = Math.floor(replicationFactor / 2) + 1
  return {
    read: mode === 'consistent' ? majority : 1,
    write: mode === 'dangerous' ? 1 : majority,
  }
}

const NO_SETS: readonly (readonly NodeId[])[] = []
const NO_NODES: readonly NodeId[] = []

/**
 * The places of all data according to one history, computed once: answers are shared arrays. A request takes the view
 * that is current when it begins and keeps it to its end. Before the first layout all sets are
 * empty.
 */
export class LayoutView {
  /** The newest version's number; 0 before the first. */
  readonly version: number
  /** The stamp, which tells apart layouts under one number; 0 before the first. */
  readonly stamp: number
  readonly readVersion: number
  /**
   * The version that all members acked. A write made with an older view is a leftover of a node that was skipped
   * as dead; replicas refuse it, and its node takes the newer layout and writes again (Placement.writersMark).
   */
  readonly minAck: number
  /** The stamps of the newest version and of that one, as Placement has them. */
  readonly mark: number
  readonly writersMark: number
  /** The same of the version by which this node reads. */
  readonly readMark: number
  /** The same of the oldest live version: all nodes have ended their reads by older ones. */
  readonly readersMark: number
  /** The version to copy data for; undefined while older writes may be under way. */
  readonly syncTarget: number | undefined
  /** All nodes with a role in a live version, sorted. */
  readonly allNodes: readonly NodeId[]
  /** Partitions of this node in some live version: it copies them for `syncTarget`, and may not drop them. */
  readonly ownPartitions: readonly number[]
  /**
   * Whether this node may coordinate requests: it has a role in the newest version. Layout changes do not wait for
   * other nodes, so writes of theirs could be missed.
   */
  readonly mayCoordinate: boolean

  readonly #writeSets: (readonly (readonly NodeId[])[])[] = []
  readonly #readSets: (readonly NodeId[])[] = []
  readonly #storageSets: (readonly NodeId[])[] = []
  /** The storage nodes of each live version, sorted, equal sets once. */
  readonly controlSets: readonly (readonly NodeId[])[]
  /** The storage nodes of the version that is read. */
  readonly controlReadSet: readonly NodeId[]

  constructor(
    readonly history: LayoutHistory,
    readonly self: NodeId,
  ) {
    const newest = newestVersion(history)
    this.version = currentVersion(history)
    this.stamp = newest?.stamp ?? 0
    this.readVersion = readVersion(history)
    this.minAck = minAck(history)
    this.mark = markOf(this.stamp)
    this.writersMark = markOf(stampOf(history, this.minAck))
    this.readMark = markOf(stampOf(history, this.readVersion))
    this.readersMark = markOf(history.versions[0]?.stamp ?? 0)
    this.syncTarget = syncTarget(history)
    this.allNodes = members(history)
    this.mayCoordinate = newest?.roles.has(self) ?? false
    const storageNodes = history.versions.map((version) => [...version.storageNodes].sort())
    this.controlSets = [...new Map(storageNodes.map((nodes) => [nodes.join(), nodes])).values()]
    const own: number[] = []
    const perVersion = history.versions.map(replicaSets)
    const readIndex = history.versions.findIndex(({ version }) => version === this.readVersion)
    this.controlReadSet = storageNodes[readIndex] ?? NO_NODES
    for (let p = 0; p < PARTITION_COUNT && newest !== undefined; p++) {
      const distinct = new Map(perVersion.map((sets) => [sets[p]!.key, sets[p]!.nodes]))
      const writeSets = [...distinct.values()]
      const storageSet = writeSets.length === 1 ? writeSets[0]! : [...new Set(writeSets.flat())].sort()
      this.#writeSets.push(writeSets)
      this.#readSets.push(perVersion[readIndex]![p]!.nodes)
      this.#storageSets.push(storageSet)
      if (storageSet.includes(self)) own.push(p)
    }
    this.ownPartitions = own
  }

  /** The replicas of the partition in each live version, equal sets once. */
  writeSets(partition: number): readonly (readonly NodeId[])[] {
    return this.#writeSets[partition] ?? NO_SETS
  }

  /**
   * The replicas to read from, and to copy from for `syncTarget`: a row that a write quorum acknowledged is found in
   * `replicationFactor + 1 - write quorum` of them.
   */
  readSet(partition: number): readonly NodeId[] {
    return this.#readSets[partition] ?? NO_NODES
  }

  /** Every node that holds the partition in some live version. */
  storageSet(partition: number): readonly NodeId[] {
    return this.#storageSets[partition] ?? NO_NODES
  }
}

/** A text that is equal for histories that place data equally: one view serves them. */
export function placementKey(history: LayoutHistory): string {
  return [...history.versions.map(({ stamp }) => stamp), minAck(history), readVersion(history)].join()
}
