import type { LayoutVersion } from './types.js'
import { replicaSets } from './version.js'

/** What is left of a layout's partitions when some nodes are away. */
export interface Survival {
  /** The zone that is away. */
  zone: string
  nodes: number
  /** Partitions without a write quorum, without a read quorum, and without any copy. */
  withoutWrites: number
  withoutReads: number
  withoutCopy: number
}

/** How many arbitrary nodes may be away so that each partition still takes writes, is read, and has a copy. */
export interface NodeLosses {
  writes: number
  reads: number
  data: number
}

export interface Quorums {
  write: number
  read: number
}

/** What the loss of each zone with storage nodes would do to a layout, in the order of the zones' names. */
export function zoneLosses(version: LayoutVersion, { write, read }: Quorums): Survival[] {
  const zoneOf = (node: string) => version.roles.get(node)!.zone
  const zones = [...new Set(version.storageNodes.map(zoneOf))].sort()
  return zones.map((zone) => {
    const result: Survival = {
      zone,
      nodes: version.storageNodes.filter((node) => zoneOf(node) === zone).length,
      withoutWrites: 0,
      withoutReads: 0,
      withoutCopy: 0,
    }
    for (const { nodes } of replicaSets(version)) {
      const left = nodes.filter((node) => zoneOf(node) !== zone).length
      if (left < write) result.withoutWrites++
      if (left < read) result.withoutReads++
      if (left === 0) result.withoutCopy++
    }
    return result
  })
}

/** The losses of nodes that every partition survives, wherever the nodes are. */
export function nodeLosses({ replicationFactor }: LayoutVersion, { write, read }: Quorums): NodeLosses {
  return {
    writes: Math.max(0, replicationFactor - write),
    reads: Math.max(0, replicationFactor - read),
    data: replicationFactor - 1,
  }
}
