import { pack, unpack } from 'msgpackr'
import type { Db } from '../db/db.js'
import { looksLikeMsgpack, versioned } from '../util/format.js'
import type { Log } from '../util/log.js'
import { isNodeId } from './address.js'
import type { PeerRecord, PeerStore } from './peering.js'

/** The tree of the database that holds the cluster layer's state. */
export const CLUSTER_TREE = 'cluster'

const PEERS_KEY = Buffer.from('peers')

/** Keeps the list of peers in the database. The list is a cache: if it cannot be read, it starts anew. */
export class DbPeerStore implements PeerStore {
  constructor(
    private readonly db: Db,
    private readonly log: Log,
  ) {}

  load(): PeerRecord[] {
    const bytes = this.db.get(CLUSTER_TREE, PEERS_KEY)
    if (!bytes) return []
    try {
      return FORMAT.decode(bytes)
    } catch (error) {
      this.log.warn({ error: String(error) }, 'the stored list of peers cannot be read; it is made anew')
    }
    return []
  }

  save(peers: PeerRecord[]): Promise<void> {
    const bytes = FORMAT.encode(peers)
    return this.db.transact((tx) => tx.put(CLUSTER_TREE, PEERS_KEY, bytes))
  }
}

const FORMAT = versioned<PeerRecord[]>('list of peers', {
  encode: (peers) => pack(peers),
  writes: 1,
  versions: { 1: decodePeers },
  unmarked: { is: looksLikeMsgpack, decode: decodePeers },
})

function decodePeers(payload: Buffer): PeerRecord[] {
  const records: unknown = unpack(payload)
  return Array.isArray(records) ? records.filter(isPeerRecord) : []
}

function isPeerRecord(value: unknown): value is PeerRecord {
  if (typeof value !== 'object' || value === null) return false
  const { id, addresses } = value as Record<string, unknown>
  return isNodeId(id) && Array.isArray(addresses) && addresses.every((a) => typeof a === 'string')
}
