import { join } from 'node:path'
import type { Config } from '../config/config.js'
import { openLmdb } from '../db/lmdb.js'
import { type Recount, recountBuckets } from '../model/buckets/recount.js'
import { recountK2v } from '../model/k2v/recount.js'
import { realClock } from '../platform/clock-and-random.js'
import { lockFolder } from '../platform/folder-lock.js'
import { silentLog } from '../util/log.js'
import { ALL_TREES } from './core.js'
import { refuseGarageFolders } from './garage-folder.js'

/** What is counted: the objects of buckets, or the items of K2V partition keys. */
export type CountedKind = 'objects' | 'k2v'

/**
 * Counts what this node stores anew, while the node is stopped.
 * @throws CarportError Conflict if the node runs, or the folder is Garage's
 */
export async function repairCounters(config: Config, kind: CountedKind): Promise<Recount> {
  refuseGarageFolders(config.metadataDir, [])
  const lock = await lockFolder(config.metadataDir)
  try {
    const db = await openLmdb({
      path: join(config.metadataDir, 'db'),
      trees: ALL_TREES,
      fsync: config.metadataFsync,
      mapSizeBytes: config.lmdbMapSizeBytes,
      clock: realClock,
      log: silentLog,
    })
    try {
      return await (kind === 'k2v' ? recountK2v(db) : recountBuckets(db))
    } finally {
      await db.close()
    }
  } finally {
    await lock.release()
  }
}
