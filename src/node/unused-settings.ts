import type { Config } from '../config/config.js'

/**
 * Keys of a configuration file that are set and understood, but that this version does nothing with: the operator should
 * hear of each at the start rather than find out later.
 */
export function unusedSettings(config: Config): string[] {
  if (config.configFile === null) return []
  const unused: Record<string, boolean> = {
    workers: config.workers > 1,
    rpc_bind_outgoing: config.rpc.bindOutgoing,
    rpc_ping_timeout_msec: config.rpc.pingTimeoutMs !== null,
    rpc_timeout_msec: config.rpc.timeoutMs !== null,
    rpc_public_addr_subnet: config.rpc.publicAddrSubnet !== null,
    k2v_api: config.k2vApi !== null,
  }
  return Object.keys(unused).filter((key) => unused[key])
}
