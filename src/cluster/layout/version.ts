import { createHash } from 'node:crypto'
import type { NodeId } from '../../net/transport.js'
import { PARTITION_COUNT } from './partitions.js'
import type { LayoutVersion, NodeRole, OldVersion } from './types.js'

/** A layout version with its stamp; roles are put in order. */
export function makeVersion(fields: Omit<LayoutVersion, 'stamp'>): LayoutVersion {
  const roles = new Map([...fields.roles].sort(([a], [b]) => (a < b ? -1 : 1)))
  const content = [
    fields.version,
    fields.replicationFactor,
    fields.parameters.zoneRedundancy,
    [...roles].map(([id, { zone, capacityBytes, tags }]) => [id, zone, capacityBytes, tags]),
    fields.partitionSizeBytes,
    fields.storageNodes,
    Buffer.from(fields.assignment).toString('base64'),
  ]
  const hash = createHash('sha256').update(JSON.stringify(content)).digest().readUInt32BE(0)
  return { ...fields, roles, stamp: fields.version * 2 ** 32 + hash }
}

/** The replicas of one partition. Equal sets of one version are the same object. */
export interface ReplicaSet {
  /** Sorted. */
  readonly nodes: readonly NodeId[]
  /** A key that is equal for equal sets, of whichever version. */
  readonly key: string
}

const replicaSetsOf = new WeakMap<LayoutVersion, readonly ReplicaSet[]>()

/** The replicas of all partitions; computed once per version. */
export function replicaSets(version: LayoutVersion): readonly ReplicaSet[] {
  let sets = replicaSetsOf.get(version)
  if (sets === undefined) {
    const { replicationFactor, assignment, storageNodes } = version
    const shared = new Map<string, ReplicaSet>()
    sets = Array.from({ length: PARTITION_COUNT }, (_, partition) => {
      const at = partition * replicationFactor
      const nodes = Array.from(assignment.subarray(at, at + replicationFactor), (i) => storageNodes[i]!)
      const key = nodes.join()
      const set = shared.get(key) ?? { nodes, key }
      shared.set(key, set)
      return set
    })
    replicaSetsOf.set(version, sets)
  }
  return sets
}

/** How many partitions each storage node holds; nodes without any are in it with 0. */
export function partitionCounts(version: LayoutVersion): Map<NodeId, number> {
  const counts = new Uint32Array(version.storageNodes.length)
  for (const index of version.assignment) counts[index]!++
  return new Map(version.storageNodes.map((id, index) => [id, counts[index]!]))
}

export function isStorage(role: NodeRole): boolean {
  return role.capacityBytes !== null
}

/** Makes the summary of a version that is no longer live. */
export function summarize(version: LayoutVersion): OldVersion {
  const storageNodes = version.storageNodes.length
  return { stamp: version.stamp, storageNodes, gatewayNodes: version.roles.size - storageNodes }
}
