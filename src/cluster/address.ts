import type { NodeId } from '../net/transport.js'
import { CarportError } from '../util/errors.js'

/** Where a node's RPC listens. `host` is a name or an IP address without brackets. */
export interface NodeAddress {
  host: string
  port: number
}

/** A peer as an operator names it; the id is unknown if only an address was given. */
export interface PeerSpec {
  id: NodeId | undefined
  address: NodeAddress
}

const NODE_ID = /^[0-9a-f]{64}$/
/** Refuses only texts that can be no address: the resolver has the last word. */
const IPV6 = /^(?=.*:.*:)[0-9a-fA-F:.]{2,45}(%[A-Za-z0-9_.-]{1,16})?$/
/** DNS names and IPv4; underscores occur in container networks. */
const HOST_NAME = /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?$/

export function isNodeId(value: unknown): value is NodeId {
  return typeof value === 'string' && NODE_ID.test(value)
}

/** `host:port`, with brackets around IPv6. */
export function formatAddress(address: NodeAddress): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** Reads an address; undefined when `text` is not `host:port`, `1.2.3.4:port` or `[v6]:port`. */
export function tryParseAddress(text: string): NodeAddress | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  if (!match) return undefined
  const port = Number(match[3])
  if (port < 1 || port > 65535) return undefined
  if (match[1] !== undefined) return IPV6.test(match[1]) ? { host: match[1].toLowerCase(), port } : undefined
  return HOST_NAME.test(match[2]!) ? { host: match[2]!.toLowerCase(), port } : undefined
}

/**
 * Reads `id@host:port` or `host:port`.
 * @throws CarportError InvalidArgument
 */
export function parsePeerSpec(text: string): PeerSpec {
  const at = text.indexOf('@')
  const id = at < 0 ? undefined : text.slice(0, at).toLowerCase()
  if (id !== undefined && !isNodeId(id)) {
    throw new CarportError('InvalidArgument', `"${text}": a node id is 64 hex digits, as "node id" prints it`)
  }
  const address = tryParseAddress(text.slice(at + 1))
  if (!address) {
    throw new CarportError('InvalidArgument', `"${text}": expected <node id>@<host>:<port> or <host>:<port>`)
  }
  return { id, address }
}

/** Whether `value` may stand as the host of an address. */
export function isHost(value: unknown): value is string {
  return typeof value === 'string' && (IPV6.test(value) || HOST_NAME.test(value))
}
