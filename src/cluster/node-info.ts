import type { NodeId } from '../net/transport.js'
import { formatAddress } from './address.js'
import type { NodeRole } from './layout/types.js'
import type { DiskSpace, NodeStatus } from './node-status.js'
import type { PeerState } from './peering.js'

/** A node as an operator sees it. */
export interface NodeInfo {
  id: NodeId
  isSelf: boolean
  hostname: string | null
  /** The program's version. */
  version: string | null
  /** `host:port` of its RPC, the best known. */
  address: string | null
  isUp: boolean
  /** Seconds since its link was last up: 0 while it is, null if there was none since this node started. */
  lastSeenSecsAgo: number | null
  /** Its role in the newest layout. */
  role: NodeRole | null
  /** Whether it stores nothing in the newest layout, but something in an older one that is still live. */
  draining: boolean
  layoutVersion: number | null
  metadataDisk: DiskSpace | null
  dataDisk: DiskSpace | null
  /** The number of rows and blocks that it has still to fetch or send; null while unknown. */
  queueLength: number | null
  /** How far it finds its clock ahead of the others' (negative: behind), ms; null while unknown. */
  clockOffMs: number | null
  /** Why it does not rely on its clock; null if it does. */
  clockDoubt: string | null
  /** Its copies of partitions, and how many of them count in reads; null while unknown. */
  copies: { whole: number; total: number } | null
  /** See NodeStatus. */
  damagedRows: number | null
  conditionalWrites?: boolean
  k2v?: boolean
  lostFolders: number | null
}

/** All known nodes: the own one first, then those of the layout, then other peers. */
export function nodeInfos(input: {
  self: NodeId
  ownStatus: NodeStatus
  ownAddress: string | null
  peers: readonly PeerState[]
  /** The last status of each node; kept when the node is gone. */
  statuses: ReadonlyMap<NodeId, NodeStatus>
  layout: {
    allNodes(): readonly NodeId[]
    role(node: NodeId): NodeRole | null
    isDraining(node: NodeId): boolean
  }
}): NodeInfo[] {
  const { self, layout } = input
  const peers = new Map(input.peers.map((peer) => [peer.id, peer]))
  const ids = new Set([self, ...layout.allNodes(), ...peers.keys()])
  return [...ids].map((id) => {
    const isSelf = id === self
    const status = isSelf ? input.ownStatus : input.statuses.get(id)
    const peer = peers.get(id)
    const address = peer?.addresses[0]
    const seenMsAgo = isSelf ? 0 : peer?.lastSeenMsAgo
    return {
      id,
      isSelf,
      hostname: status?.hostname ?? null,
      version: status?.version ?? null,
      address: isSelf ? input.ownAddress : address ? formatAddress(address) : null,
      isUp: isSelf || peer?.up === true,
      lastSeenSecsAgo: seenMsAgo === undefined ? null : Math.floor(seenMsAgo / 1000),
      role: layout.role(id),
      draining: layout.isDraining(id),
      layoutVersion: status?.layoutVersion ?? null,
      metadataDisk: status?.metadataDisk ?? null,
      dataDisk: status?.dataDisk ?? null,
      queueLength: status?.queueLength ?? null,
      clockOffMs: status?.clockOffMs ?? null,
      clockDoubt: status?.clockDoubt ?? null,
      copies: status?.copies ?? null,
      damagedRows: status?.damagedRows ?? null,
      ...(status?.conditionalWrites !== undefined && { conditionalWrites: status.conditionalWrites }),
      ...(status?.k2v !== undefined && { k2v: status.k2v }),
      lostFolders: status?.lostFolders ?? null,
    }
  })
}
