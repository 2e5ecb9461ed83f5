import { BlockList, isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { formatAddress } from '../cluster/address.js'
import type { Config } from '../config/config.js'

/** The address to announce to other nodes; undefined: they use the one that connections come from. */
export function publicAddress(
  { publicAddr, publicAddrSubnet, bindAddr }: Config['rpc'],
  ownAddresses: readonly string[] = localAddresses(),
): string | undefined {
  if (publicAddr) return formatAddress(publicAddr)
  if (publicAddrSubnet === null) return undefined
  const host = ownAddresses.find((address) => isWithin(address, publicAddrSubnet))
  return host === undefined ? undefined : formatAddress({ host, port: bindAddr.port })
}

/** The address that connections to other nodes come from; undefined: the system chooses. */
export function outgoingHost({ bindOutgoing, bindAddr: { host } }: Config['rpc']): string | undefined {
  const isAny = host === '0.0.0.0' || host === '::'
  return bindOutgoing && !isAny && isIP(host) !== 0 ? host : undefined
}

function localAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? []).map(({ address }) => address),
  )
}

function isWithin(address: string, network: string): boolean {
  const slash = network.indexOf('/')
  const base = network.slice(0, slash)
  if (isIP(base) !== isIP(address)) return false
  const family = isIP(base) === 4 ? 'ipv4' : 'ipv6'
  const list = new BlockList()
  list.addSubnet(base, Number(network.slice(slash + 1)), family)
  return list.check(address, family)
}
