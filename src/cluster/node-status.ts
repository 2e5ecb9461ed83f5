import { tryParseAddress } from './address.js'

/** Bytes on the file system of a folder, or summed over several. */
export interface DiskSpace {
  available: number
  total: number
}

/** The disks of a node as they were last measured; null where they could not be. */
export interface DiskReport {
  metadata: DiskSpace | null
  data: DiskSpace | null
  /** Data folders whose disk seems not to be there, was wiped, or does not take writes. */
  lostFolders?: number
}

/** A node's report of itself to the others, sent about every ten seconds and when something in it changes. */
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
  /** The port where it listens. With the host that its peers see, it is the address of a node without a public one. */
  rpcPort: number
  metadataDisk: DiskSpace | null
  dataDisk: DiskSpace | null
  /** Rows and blocks that the node has still to fetch or send; null if it does not say. */
  queueLength: number | null
  /** Its wall clock when it said this, ms since the epoch; null if it does not say. */
  clockMs: number | null
  /** How far it finds its clock ahead of the others' (negative: behind), ms; null if it does not say. */
  clockOffMs: number | null
  /** Why it does not rely on its clock; null if it does. */
  clockDoubt: string | null
  /** The node's copies of partitions, and how many of them are whole and count in reads; null if it does not say. */
  copies: { whole: number; total: number } | null
  /** Rows that are damaged on the node and not repaired yet; null if it does not say. */
  damagedRows: number | null
  /** Data folders whose disk seems not to be there, or was wiped; null if it does not say. */
  lostFolders: number | null
  /** Whether the node knows conditional writes; absent if it does not say. */
  conditionalWrites?: boolean
  /** Whether the node has the tables of K2V; absent if it does not say. */
  k2v?: boolean
}

const TEXT_LENGTH_MAX = 255

/**
 * Keeps who a node is, and forgets how far it said to be: what it said before it was away may be from before a restart that
 * took its data, and would pass for the state that it has now.
 */
export function forgetProgress(statuses: Map<string, NodeStatus>, node: string): void {
  const last = statuses.get(node)
  if (last)
    statuses.set(node, { ...last, queueLength: null, copies: null, damagedRows: null, lostFolders: null })
}

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
    clockMs: isCount(status.clockMs) ? status.clockMs : null,
    clockOffMs: Number.isSafeInteger(status.clockOffMs) ? (status.clockOffMs as number) : null,
    clockDoubt: isText(status.clockDoubt) ? status.clockDoubt : null,
    copies: parseCopies(status.copies),
    damagedRows: isCount(status.damagedRows) ? status.damagedRows : null,
    lostFolders: isCount(status.lostFolders) ? status.lostFolders : null,
    conditionalWrites: status.conditionalWrites === true,
    k2v: status.k2v === true,
  }
}

function parseCopies(value: unknown): NodeStatus['copies'] {
  if (typeof value !== 'object' || value === null) return null
  const { whole, total } = value as Record<string, unknown>
  return isCount(whole) && isCount(total) ? { whole, total } : null
}

function parseDiskSpace(value: unknown): DiskSpace | null {
  if (typeof value !== 'object' || value === null) return null
  const { available, total } = value as Record<string, unknown>
  return isCount(available) && isCount(total) ? { available, total } : null
}

/** Refuses control characters, since host names are written to logs and terminals. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_LENGTH_MAX && !/[\x00-\x1f\x7f-\x9f]/.test(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
