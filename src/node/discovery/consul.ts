import type { ConsulDiscovery } from '../../config/discovery.js'
import type { HttpCall } from '../../platform/http-call.js'

/** The names of the service's metadata are Garage's, so that what reads the one reads the other. */
const PUBKEY = 'fr-deuxfleurs-garagehq-pubkey'
const HOSTNAME = 'fr-deuxfleurs-garagehq-hostname'
const TIMEOUT_MS = 10_000
const BYTES_MAX = 4 << 20

/** A node as a directory lists it; `address` is host:port of its RPC. */
export interface FoundNode {
  id: string
  addresses: string[]
}

/** This node, as it is announced. */
export interface OwnNode {
  id: string
  hostname: string
  host: string
  port: number
}

/** The nodes that Consul's catalog lists; entries of others are left out. @throws Error */
export async function consulNodes(config: ConsulDiscovery, call: HttpCall): Promise<FoundNode[]> {
  const path = `/v1/catalog/service/${encodeURIComponent(config.serviceName)}`
  const entries: unknown = JSON.parse(await ask(config, call, 'GET', path))
  if (!Array.isArray(entries)) throw new Error('Consul answered with something else than a list')
  return entries.flatMap((entry: unknown) => {
    const { Address, ServiceAddress, ServicePort, ServiceMeta } = (entry ?? {}) as Record<string, unknown>
    const id = (ServiceMeta as Record<string, unknown> | undefined)?.[PUBKEY]
    const host = ServiceAddress || Address
    if (typeof id !== 'string' || typeof host !== 'string' || !Number.isInteger(ServicePort)) return []
    return [{ id, addresses: [`${host.includes(':') ? `[${host}]` : host}:${ServicePort}`] }]
  })
}

/** Makes this node known. @throws Error */
export async function announceToConsul(config: ConsulDiscovery, call: HttpCall, own: OwnNode): Promise<void> {
  const id = `garage:${own.id.slice(0, 16)}`
  const service = {
    ID: id,
    Tags: ['advertised-by-garage', own.hostname, ...config.tags],
    Meta: { ...config.meta, [PUBKEY]: own.id, [HOSTNAME]: own.hostname },
    Address: own.host,
    Port: own.port,
  }
  if (config.api === 'agent') {
    const path = '/v1/agent/service/register?replace-existing-checks'
    await ask(config, call, 'PUT', path, { ...service, Name: config.serviceName })
  } else {
    const entry = { Node: id, Address: own.host, Service: { ...service, Service: config.serviceName } }
    await ask(config, call, 'PUT', '/v1/catalog/register', entry)
  }
}

async function ask(
  { url, token, caFile, certFile, keyFile, skipVerify }: ConsulDiscovery,
  call: HttpCall,
  method: string,
  path: string,
  body?: object,
): Promise<string> {
  const answer = await call(url + path, {
    ...{ method, timeoutMs: TIMEOUT_MS, bytesMax: BYTES_MAX },
    ...(token !== null && { headers: { 'X-Consul-Token': token } }),
    ...(body && { body: JSON.stringify(body) }),
    tls: { caFile, certFile, keyFile, skipVerify },
  })
  if (answer.status !== 200) throw new Error(`Consul answered ${answer.status} to ${path}`)
  return answer.body
}
