import type { NodeInfoAnswer } from '../types.js'
import { statusOf } from './cluster.js'
import type { AdminContext } from './context.js'

/** Optional parts of the program, by the names that administrators look for. */
const FEATURES = ['lmdb', 'metrics', 'consul-discovery', 'kubernetes-discovery'] as const

/** What this node is. */
export function nodeInfo({ cluster, self, api }: AdminContext): NodeInfoAnswer {
  const own = cluster.status().find((node) => node.id === self)!
  const { garageVersion, hostname, addr, isUp, role, draining, dataPartition, metadataPartition } =
    statusOf(own)
  return {
    nodeId: self,
    garageVersion: garageVersion ?? '',
    garageFeatures: [...FEATURES],
    rustVersion: api.runtime,
    dbEngine: 'lmdb',
    ...{ hostname, addr, isUp, role, draining, dataPartition, metadataPartition },
    connectionParameters: api.connectionParameters,
  }
}
