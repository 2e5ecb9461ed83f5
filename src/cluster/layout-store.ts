import { pack, unpack } from 'msgpackr'
import type { Db, Tx } from '../db/db.js'
import { CarportError } from '../util/errors.js'
import { decodeHistory, type EncodedHistory } from './layout/codec.js'
import { type LayoutHistory, newestVersion } from './layout/types.js'
import { CLUSTER_TREE } from './peer-store.js'

const LAYOUT_KEY = Buffer.from('layout')

/** Keeps the layout history in the node's database. */
export class LayoutStore {
  constructor(
    private readonly db: Db,
    private readonly replicationFactor: number,
  ) {}

  /**
   * Reads the stored history; undefined if there is none yet.
   * @throws CarportError InvalidArgument when it was made for another replication factor, Corrupted
   */
  load(): LayoutHistory | undefined {
    const bytes = this.db.get(CLUSTER_TREE, LAYOUT_KEY)
    if (!bytes) return undefined
    let history: LayoutHistory
    try {
      history = decodeHistory(unpack(bytes))
    } catch (cause) {
      throw new CarportError('Corrupted', 'the stored cluster layout cannot be read', { cause })
    }
    const stored = newestVersion(history)?.replicationFactor
    if (stored !== undefined && stored !== this.replicationFactor) {
      throw new CarportError(
        'InvalidArgument',
        `replication_factor = ${this.replicationFactor}, but the stored cluster layout was made for ${stored}: ` +
          'set it back; it cannot be changed in a cluster that holds data',
      )
    }
    return history
  }

  /** Resolves when the history is durable, with what `also` writes in the same transaction. */
  async save(history: EncodedHistory, also: (tx: Tx) => void): Promise<void> {
    const bytes = pack(history)
    await this.db.transact((tx) => {
      tx.put(CLUSTER_TREE, LAYOUT_KEY, bytes)
      also(tx)
    })
  }
}
