import { pack, unpack } from 'msgpackr'
import type { Db } from '../db/db.js'
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
      const records: unknown = unpack(bytes)
      if (Array.isArray(records)) return records.filter(isPeerRecord)
    } catch (error) {
      this.log.warn({ error: String(error) }, 'the stored list of peers cannot be read; it is made anew')
    }
    return []
  }

  save(peers: PeerRecord[]): Promise<void> {
    const bytes = pack(peers)
    return this.db.transact((tx) => tx.put(CLUSTER_TREE, PEERS_KEY, bytes))
  }
}

function isPeerRecord(value: unknown): value is PeerRecord {
  if (typeof value !== 'object' || value === null) return false
  const { id, addresses } = value as Record<string, unknown>
  return isNodeId(id) && Array.isArray(addresses) && addresses.every((a) => typeof a === 'string')
}
