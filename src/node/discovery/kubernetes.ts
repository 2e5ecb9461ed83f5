import { isIP } from 'node:net'
import type { KubernetesDiscovery } from '../../config/discovery.js'
import type { HttpCall } from '../../platform/http-call.js'
import type { FoundNode, OwnNode } from './consul.js'

/** The kind of resource is Garage's, so that what reads the one reads the other. */
const GROUP = 'deuxfleurs.fr'
const PLURAL = 'garagenodes'
const SERVICE_LABEL = 'garage.deuxfleurs.fr/service'
const CRD_PATH = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const TIMEOUT_MS = 10_000
const BYTES_MAX = 8 << 20

/** How a pod reaches the API of its cluster. */
export interface KubernetesApi {
  /** Without a slash at the end. */
  url: string
  /** Read for each call, since tokens are replaced. */
  token: () => Promise<string>
  caFile: string | null
  call: HttpCall
}

type Answer = { status: number; value: Record<string, unknown> }

/** The nodes that are listed in the namespace; malformed entries are left out. @throws Error */
export async function kubernetesNodes(config: KubernetesDiscovery, api: KubernetesApi): Promise<FoundNode[]> {
  const selector = encodeURIComponent(`${SERVICE_LABEL}=${config.serviceName}`)
  const { status, value } = await ask(api, 'GET', `${nodesPath(config)}?labelSelector=${selector}`)
  // Before the first node announced itself, nobody may have made the kind.
  if (status === 404) return []
  expectSuccess(status, 'the list of nodes')
  const items = Array.isArray(value.items) ? (value.items as unknown[]) : []
  return items.flatMap((item) => {
    const { metadata, spec } = (item ?? {}) as Record<string, Record<string, unknown> | undefined>
    const { address, port } = spec ?? {}
    if (typeof metadata?.name !== 'string' || typeof address !== 'string' || !isIP(address)) return []
    if (!Number.isInteger(port)) return []
    return [{ id: metadata.name, addresses: [`${isIP(address) === 6 ? `[${address}]` : address}:${port}`] }]
  })
}

/** Makes this node known. @throws Error, also when the own address is a name: the resource has room for IP addresses only */
export async function announceToKubernetes(
  config: KubernetesDiscovery,
  api: KubernetesApi,
  own: OwnNode,
): Promise<void> {
  if (!isIP(own.host)) throw new Error(`${own.host} is no IP address, which Kubernetes discovery needs`)
  if (!config.skipCrd) await makeKind(api)
  const path = `${nodesPath(config)}/${own.id}`
  const before = await ask(api, 'GET', path)
  const metadata = (before.value.metadata ?? {}) as Record<string, unknown>
  const resource = {
    apiVersion: `${GROUP}/v1`,
    kind: 'GarageNode',
    metadata: {
      name: own.id,
      labels: { [SERVICE_LABEL]: config.serviceName },
      ...(before.status === 200 && { resourceVersion: metadata.resourceVersion }),
    },
    spec: { hostname: own.hostname, address: own.host, port: own.port },
  }
  const { status } =
    before.status === 200
      ? await ask(api, 'PUT', path, resource)
      : await ask(api, 'POST', nodesPath(config), resource)
  expectSuccess(status, 'the announcement of this node')
}

async function makeKind(api: KubernetesApi): Promise<void> {
  const name = `${PLURAL}.${GROUP}`
  if ((await ask(api, 'GET', `${CRD_PATH}/${name}`)).status === 200) return
  const spec = {
    type: 'object',
    required: ['address', 'hostname', 'port'],
    properties: {
      address: { type: 'string' },
      hostname: { type: 'string' },
      port: { type: 'integer', minimum: 0, maximum: 65535 },
    },
  }
  const { status } = await ask(api, 'POST', CRD_PATH, {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name },
    spec: {
      group: GROUP,
      names: { kind: 'GarageNode', plural: PLURAL, singular: 'garagenode' },
      scope: 'Namespaced',
      versions: [
        {
          ...{ name: 'v1', served: true, storage: true },
          schema: { openAPIV3Schema: { type: 'object', required: ['spec'], properties: { spec } } },
        },
      ],
    },
  })
  // 409: another node was first.
  if (status !== 409) expectSuccess(status, 'the kind of resource')
}

function nodesPath({ namespace }: KubernetesDiscovery): string {
  return `/apis/${GROUP}/v1/namespaces/${encodeURIComponent(namespace)}/${PLURAL}`
}

async function ask(api: KubernetesApi, method: string, path: string, body?: object): Promise<Answer> {
  const { status, body: text } = await api.call(api.url + path, {
    ...{ method, timeoutMs: TIMEOUT_MS, bytesMax: BYTES_MAX },
    headers: { authorization: `Bearer ${await api.token()}`, accept: 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
    tls: { caFile: api.caFile, certFile: null, keyFile: null, skipVerify: false },
  })
  const value: unknown = status < 300 ? JSON.parse(text) : {}
  return { status, value: typeof value === 'object' && value !== null ? { ...value } : {} }
}

function expectSuccess(status: number, what: string): void {
  if (status >= 300) throw new Error(`Kubernetes answered ${status} to ${what}`)
}
