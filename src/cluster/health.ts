import type { NodeId } from '../net/transport.js'
import { PARTITION_COUNT } from './layout/partitions.js'

/** The fields of Garage's GetClusterHealth. */
export interface ClusterHealth {
  /**
   * healthy: all storage nodes are connected; degraded: not all, but a write quorum of every partition;
   * unavailable: some partition has no write quorum.
   */
  status: 'healthy' | 'degraded' | 'unavailable'
  knownNodes: number
  connectedNodes: number
  storageNodes: number
  storageNodesOk: number
  partitions: number
  partitionsQuorum: number
  partitionsAllOk: number
}

/** The cluster's health as one node sees it. `writeSets` of a partition are empty as long as there is no layout. */
export function clusterHealth(input: {
  knownNodes: number
  connectedNodes: number
  storageNodes: readonly NodeId[]
  writeSets: (partition: number) => readonly (readonly NodeId[])[]
  writeQuorum: number
  isUp: (node: NodeId) => boolean
}): ClusterHealth {
  let partitionsQuorum = 0
  let partitionsAllOk = 0
  for (let partition = 0; partition < PARTITION_COUNT; partition++) {
    const sets = input.writeSets(partition)
    let quorum = sets.length > 0
    let allOk = sets.length > 0
    for (const set of sets) {
      let up = 0
      for (const node of set) if (input.isUp(node)) up++
      if (up < input.writeQuorum) quorum = false
      if (up < set.length) allOk = false
    }
    if (quorum) partitionsQuorum++
    if (allOk) partitionsAllOk++
  }
  const storageNodesOk = input.storageNodes.filter(input.isUp).length
  let status: ClusterHealth['status'] = 'unavailable'
  if (partitionsAllOk === PARTITION_COUNT && storageNodesOk === input.storageNodes.length) status = 'healthy'
  else if (partitionsQuorum === PARTITION_COUNT) status = 'degraded'
  return {
    status,
    knownNodes: input.knownNodes,
    connectedNodes: input.connectedNodes,
    storageNodes: input.storageNodes.length,
    storageNodesOk,
    partitions: PARTITION_COUNT,
    partitionsQuorum,
    partitionsAllOk,
  }
}
