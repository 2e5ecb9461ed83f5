import { createHash } from 'node:crypto'
import type { NodeId } from '../../net/transport.js'
import { PARTITION_COUNT } from '../cluster.js'
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

/** The replicas of one partition, in the order of their ids. */
export function partitionNodes(version: LayoutVersion, partition: number): NodeId[] {
  const { replicationFactor, assignment, storageNodes } = version
  const nodes: NodeId[] = []
  for (let i = 0; i < replicationFactor; i++) {
    nodes.push(storageNodes[assignment[partition * replicationFactor + i]!]!)
  }
  return nodes
}

/** The replicas of all partitions. */
export function allPartitionNodes(version: LayoutVersion): NodeId[][] {
  return Array.from({ length: PARTITION_COUNT }, (_, partition) => partitionNodes(version, partition))
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

/** What is kept of a version when it is live no more. */
export function summarize(version: LayoutVersion): OldVersion {
  const storageNodes = version.storageNodes.length
  return { stamp: version.stamp, storageNodes, gatewayNodes: version.roles.size - storageNodes }
}
