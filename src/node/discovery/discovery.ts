import type { ConsulDiscovery } from '../../config/discovery.js'
import type { HttpCall } from '../../platform/http-call.js'
import { Worker, type WorkerEnv } from '../../util/worker.js'
import { announceToConsul, consulNodes, type FoundNode, type OwnNode } from './consul.js'

const EVERY_MS = 60_000

/**
 * Finds other nodes through Consul, and makes this one known there, once a minute. A failure is logged and tried again.
 * @param own undefined: this node has no address that it could announce
 */
export function consulDiscovery(
  env: WorkerEnv,
  config: ConsulDiscovery,
  call: HttpCall,
  own: OwnNode | undefined,
  learn: (nodes: FoundNode[]) => void,
): Worker {
  return new Worker('consul-discovery', env, async () => {
    // Looked up first: a node that cannot announce itself still finds the others.
    learn(await consulNodes(config, call))
    if (own) await announceToConsul(config, call, own)
    return EVERY_MS * (0.75 + env.random.float() / 2)
  })
}
