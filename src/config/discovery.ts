import {
  type Findings,
  filePath,
  optional,
  parseBoolean,
  parseChoice,
  parseList,
  parseText,
  readSection,
  required,
  type SectionSpec,
} from './section.js'
import { show, ValueError } from './values.js'

/** The keys of [consul_discovery], as in Garage. */
export const CONSUL_DISCOVERY = {
  api: optional(parseChoice(['catalog', 'agent']), 'catalog' as 'catalog' | 'agent'),
  consul_http_addr: required(parseHttpUrl),
  service_name: required(parseText('the name of a service')),
  ca_cert: optional(filePath, null),
  client_cert: optional(filePath, null),
  client_key: optional(filePath, null),
  token: optional(parseText('a token of Consul'), null),
  tls_skip_verify: optional(parseBoolean, false),
  tags: optional(parseList(parseText('a tag'), 'a list of tags'), [] as string[]),
  meta: optional(parseTexts, {} as Record<string, string>),
} satisfies SectionSpec

export interface ConsulDiscovery {
  api: 'catalog' | 'agent'
  /** Without a slash at the end. */
  url: string
  serviceName: string
  /** Paths of PEM files. */
  caFile: string | null
  certFile: string | null
  keyFile: string | null
  token: string | null
  skipVerify: boolean
  tags: readonly string[]
  meta: Readonly<Record<string, string>>
}

/** Reads the section; null without it. Problems go to `findings`. */
export function readConsul(
  table: Record<string, unknown> | null | undefined,
  findings: Findings,
): ConsulDiscovery | null {
  if (!table) return null
  const read = readSection(CONSUL_DISCOVERY, table, 'consul_discovery.', findings)
  if ((read.client_cert === null) !== (read.client_key === null)) {
    findings.problem('consul_discovery.client_cert', 'is set without its other half, expected both, or none')
  }
  if (read.consul_http_addr === undefined || read.service_name === undefined) return null
  return {
    api: read.api ?? 'catalog',
    url: read.consul_http_addr.replace(/\/+$/, ''),
    serviceName: read.service_name,
    caFile: read.ca_cert ?? null,
    certFile: read.client_cert ?? null,
    keyFile: read.client_key ?? null,
    token: read.token ?? null,
    skipVerify: read.tls_skip_verify ?? false,
    tags: read.tags ?? [],
    meta: read.meta ?? {},
  }
}

/** The keys of [kubernetes_discovery], as in Garage. */
export const KUBERNETES_DISCOVERY = {
  namespace: required(parseText('the name of a namespace')),
  service_name: required(parseText('the name of a service')),
  skip_crd: optional(parseBoolean, false),
} satisfies SectionSpec

export interface KubernetesDiscovery {
  namespace: string
  serviceName: string
  /** Whether the kind of resource is made by somebody else. */
  skipCrd: boolean
}

/** Reads the section; null without it. Problems go to `findings`. */
export function readKubernetes(
  table: Record<string, unknown> | null | undefined,
  findings: Findings,
): KubernetesDiscovery | null {
  if (!table) return null
  const read = readSection(KUBERNETES_DISCOVERY, table, 'kubernetes_discovery.', findings)
  if (read.namespace === undefined || read.service_name === undefined) return null
  return { namespace: read.namespace, serviceName: read.service_name, skipCrd: read.skip_crd ?? false }
}

function parseHttpUrl(value: unknown): string {
  if (typeof value !== 'string' || !/^https?:\/\//.test(value) || !URL.canParse(value)) {
    throw new ValueError(`is ${show(value)}`, 'a URL such as "http://127.0.0.1:8500"')
  }
  return value
}

function parseTexts(value: unknown): Record<string, string> {
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isTable || !Object.values(value).every((text) => typeof text === 'string')) {
    throw new ValueError(`is ${show(value)}`, 'a table of texts such as { dns-acl = "allow trusted" }')
  }
  return value as Record<string, string>
}
