import { tryParseAddress } from './address.js'

/** Bytes on the file system of a folder, or summed over several. */
export interface DiskSpace {
  available: number
  total: number
}

/** What a node tells the others of itself, about every ten seconds and when it changes. */
export interface NodeStatus {
  hostname: string
  /** The program's version. */
  version: string
  replicationFactor: number
  layoutVersion: number
  /** Digest of the whole layout history, staged changes and trackers included. */
  layoutDigest: string
  /** The configured rpc_public_addr, `host:port`. */
  publicAddress: string | null
  /** Where it listens, for nodes without a public address: together with the host that its peers see. */
  rpcPort: number
  metadataDisk: DiskSpace | null
  dataDisk: DiskSpace | null
  /** Rows and blocks that the node has still to fetch or send; null if it does not say. */
  queueLength: number | null
}

const TEXT_LENGTH_MAX = 255

/** Checks a status that another node sent; undefined if it is malformed. Unknown fields are left out. */
export function parseNodeStatus(value: unknown): NodeStatus | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const status = value as Record<string, unknown>
  const { hostname, version, replicationFactor, layoutVersion, layoutDigest, publicAddress, rpcPort } = status
  if (!isText(hostname) || !isText(version) || !isText(layoutDigest)) return undefined
  if (!isCount(replicationFactor) || !isCount(layoutVersion) || !isCount(rpcPort)) return undefined
  const address = isText(publicAddress) && tryParseAddress(publicAddress) ? publicAddress : null
  return {
    hostname,
    version,
    replicationFactor,
    layoutVersion,
    layoutDigest,
    publicAddress: address,
    rpcPort,
    metadataDisk: parseDiskSpace(status.metadataDisk),
    dataDisk: parseDiskSpace(status.dataDisk),
    queueLength: isCount(status.queueLength) ? status.queueLength : null,
  }
}

function parseDiskSpace(value: unknown): DiskSpace | null {
  if (typeof value !== 'object' || value === null) return null
  const { available, total } = value as Record<string, unknown>
  return isCount(available) && isCount(total) ? { available, total } : null
}

/** Host names come into log lines and terminals: no control characters. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_LENGTH_MAX && !/[\x00-\x1f\x7f-\x9f]/.test(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
