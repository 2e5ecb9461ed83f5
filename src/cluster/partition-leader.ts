import type { NodeId, Transport } from '../net/transport.js'
import type { Placement } from './placement.js'

/**
 * Whether this node does the work of a partition that one replica is enough for. The first replica that is up does it,
 * counted from a place that differs by partition, so that the work is spread. While nodes disagree about who is up, two may do it
 * at the same time, or none for a while: the work must bear both.
 */
export function leadsPartition(
  placement: Pick<Placement, 'readSet'>,
  transport: Pick<Transport, 'self' | 'isConnected'>,
  partition: number,
): boolean {
  return partitionLeader(placement, transport, partition) === transport.self
}

/** The first replica of a partition that is up, as this node sees it; undefined if it sees none. */
export function partitionLeader(
  placement: Pick<Placement, 'readSet'>,
  transport: Pick<Transport, 'self' | 'isConnected'>,
  partition: number,
): NodeId | undefined {
  return replicaOrder(placement, partition).find((node) => transport.isConnected(node))
}

/** The replicas of a partition in the order in which they are asked to do its work: the same on every node. */
export function replicaOrder(placement: Pick<Placement, 'readSet'>, partition: number): NodeId[] {
  const nodes = placement.readSet(partition)
  return nodes.map((_, i) => nodes[(partition + i) % nodes.length]!)
}
