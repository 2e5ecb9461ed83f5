import { readFile } from 'node:fs/promises'
import type { ConsulDiscovery, KubernetesDiscovery } from '../../config/discovery.js'
import type { HttpCall } from '../../platform/http-call.js'
import { CarportError } from '../../util/errors.js'
import { Worker, type WorkerEnv } from '../../util/worker.js'
import { announceToConsul, consulNodes, type FoundNode, type OwnNode } from './consul.js'
import { announceToKubernetes, type KubernetesApi, kubernetesNodes } from './kubernetes.js'

const EVERY_MS = 60_000
/** Where Kubernetes puts what a pod needs to reach the API of its cluster. */
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** A directory of nodes. */
export interface Directory {
  find(): Promise<FoundNode[]>
  announce(own: OwnNode): Promise<void>
}

export function consulDirectory(config: ConsulDiscovery, call: HttpCall): Directory {
  return {
    find: () => consulNodes(config, call),
    announce: (own) => announceToConsul(config, call, own),
  }
}

/** @throws CarportError InvalidArgument outside of a pod */
export function kubernetesDirectory(
  config: KubernetesDiscovery,
  call: HttpCall,
  env: Readonly<Record<string, string | undefined>>,
): Directory {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env
  if (!host) {
    throw new CarportError(
      'InvalidArgument',
      'kubernetes_discovery works in a pod only: KUBERNETES_SERVICE_HOST is not set',
    )
  }
  const api: KubernetesApi = {
    url: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    token: async () => (await readFile(`${ACCOUNT}/token`, 'utf8')).trim(),
    caFile: `${ACCOUNT}/ca.crt`,
    call,
  }
  return {
    find: () => kubernetesNodes(config, api),
    announce: (own) => announceToKubernetes(config, api, own),
  }
}

/**
 * Finds other nodes in a directory, and makes this one known there, once a minute. A failure is logged and tried again.
 * @param own undefined: this node has no address that it could announce
 */
export function discovery(
  name: string,
  env: WorkerEnv,
  directory: Directory,
  own: OwnNode | undefined,
  learn: (nodes: FoundNode[]) => void,
): Worker {
  return new Worker(name, env, async () => {
    // Looked up first: a node that cannot announce itself still finds the others.
    learn(await directory.find())
    if (own) await directory.announce(own)
    return EVERY_MS * (0.75 + env.random.float() / 2)
  })
}
