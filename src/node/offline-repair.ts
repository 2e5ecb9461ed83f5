import { join } from 'node:path'
import type { Config } from '../config/config.js'
import { openLmdb } from '../db/lmdb.js'
import { type Recount, recountBuckets } from '../model/buckets/recount.js'
import { realClock } from '../platform/clock-and-random.js'
import { lockFolder } from '../platform/folder-lock.js'
import { silentLog } from '../util/log.js'
import { ALL_TREES } from './core.js'
import { refuseGarageFolders } from './garage-folder.js'

/**
 * Counts the contents of this node's buckets anew, while the node is stopped.
 * @throws CarportError Conflict if the node runs, or the folder is Garage's
 */
export async function repairObjectCounters(config: Config): Promise<Recount> {
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
      return await recountBuckets(db)
    } finally {
      await db.close()
    }
  } finally {
    await lock.release()
  }
}
