import type { IncomingHttpHeaders } from 'node:http'
import { BlockList, isIP } from 'node:net'

/** The client as the connection, or a proxy that is trusted, tells of it. */
export interface Client {
  address: string
  /** Whether the client's own connection was TLS, as far as the proxy says; undefined if it says nothing. */
  secure: boolean | undefined
}

/** Addresses whose answers are kept. */
const KNOWN_MAX = 1000

interface Hop {
  address: string | undefined
  proto: string | undefined
}

/**
 * The proxies whose word counts about who the client is. Anybody can send X-Forwarded-For: it counts only as far as
 * each hop that wrote it is one of these, from the nearest on.
 */
export class TrustedProxies {
  readonly #list = new BlockList()
  /** The answers of the list, which cost a few microseconds each. */
  readonly #known = new Map<string, boolean>()

  /** @param networks addresses ("192.0.2.1") and networks ("10.0.0.0/8", "fd00::/8") */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const [address = '', bits] = network.split('/')
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
      if (bits === undefined) this.#list.addAddress(address, family)
      else this.#list.addSubnet(address, Number(bits), family)
    }
  }

  has(address: string): boolean {
    let trusted = this.#known.get(address)
    if (trusted === undefined) {
      const family = isIP(address)
      trusted = family !== 0 && this.#list.check(address, family === 6 ? 'ipv6' : 'ipv4')
      if (this.#known.size >= KNOWN_MAX) this.#known.clear()
      this.#known.set(address, trusted)
    }
    return trusted
  }

  /**
   * Who the client is. X-Forwarded-For and X-Forwarded-Proto count before Forwarded (RFC 7239), which a proxy that
   * writes the former passes on as the client sent it.
   * @param peer the address at the other end of the connection; '' for a Unix socket, which counts as trusted
   */
  clientOf(peer: string, headers: IncomingHttpHeaders): Client {
    if (peer !== '' && !this.has(peer)) return { address: peer, secure: undefined }
    const hops = hopsOf(headers)
    let address = peer
    let proto = hops.at(-1)?.proto
    for (const hop of hops.reverse()) {
      if (hop.address === undefined) break
      address = hop.address
      proto = hop.proto ?? proto
      if (!this.has(address)) break
    }
    return { address, secure: proto === undefined ? undefined : proto === 'https' }
  }
}

/** What the proxies wrote, the farthest first. */
function hopsOf(headers: IncomingHttpHeaders): Hop[] {
  const forwardedFor = textOf(headers['x-forwarded-for'])
  const forwardedProto = textOf(headers['x-forwarded-proto'])
  if (forwardedFor === undefined && forwardedProto === undefined) {
    return (textOf(headers.forwarded) ?? '')
      .split(',')
      .filter((element) => element.trim() !== '')
      .map(parseElement)
  }
  // X-Forwarded-Proto is one value, of the connection to the first proxy, or one for each hop.
  const protos = (forwardedProto ?? '').split(',').map((proto) => proto.trim().toLowerCase())
  const addresses = (forwardedFor ?? '').split(',')
  return addresses.map((text, i) => ({
    address: addressOf(text),
    proto: (protos.length === addresses.length ? protos[i] : protos.at(-1)) || undefined,
  }))
}

function textOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header
}

/** One element of Forwarded: `for=192.0.2.60;proto=https;by=203.0.113.43`. */
function parseElement(element: string): Hop {
  const hop: Hop = { address: undefined, proto: undefined }
  for (const pair of element.split(';')) {
    const at = pair.indexOf('=')
    if (at < 0) continue
    const name = pair.slice(0, at).trim().toLowerCase()
    const value = pair
      .slice(at + 1)
      .trim()
      .replace(/^"(.*)"$/, '$1')
    if (name === 'for') hop.address = addressOf(value)
    else if (name === 'proto') hop.proto = value.toLowerCase()
  }
  return hop
}

/** An address as proxies write it: "192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]:4711". */
function addressOf(text: string): string | undefined {
  const trimmed = text.trim()
  const bracketed = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(trimmed)
  const address = bracketed?.[1] ?? (/^[\d.]+:\d{1,5}$/.test(trimmed) ? trimmed.split(':')[0]! : trimmed)
  return isIP(address) === 0 ? undefined : address
}
