import type { Placement } from '../cluster/placement.js'
import type { NodeId } from '../net/transport.js'
import type { TableSchema } from './schema.js'

/** Every node that may hold rows of this partition of the table in a live layout version. */
export function replicasOf(
  placement: Placement,
  schema: Pick<TableSchema<unknown>, 'placement'>,
  partition: number,
): readonly NodeId[] {
  return schema.placement === 'full' ? placement.allNodes() : placement.storageSet(partition)
}
