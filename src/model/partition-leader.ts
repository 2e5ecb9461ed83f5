import type { Placement } from '../cluster/cluster.js'
import type { Transport } from '../net/transport.js'

/**
 * Whether this node does the background work of a partition that one replica is enough for: the first replica that is up,
 * from a place that differs by partition, so that the work is spread. While nodes disagree about who is up, two may do it
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
): string | undefined {
  const nodes = placement.readSet(partition)
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[(partition + i) % nodes.length]!
    if (node === transport.self || transport.isConnected(node)) return node
  }
  return undefined
}
