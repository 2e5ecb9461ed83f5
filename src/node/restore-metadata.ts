import { constants, existsSync } from 'node:fs'
import { copyFile, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Settings } from '../config/config.js'
import { syncPath } from '../db/lmdb.js'
import { checkLmdbFile } from '../db/lmdb-check.js'
import { lockFolder } from '../platform/folder-lock.js'
import { keepFilesPrivate } from '../platform/private-files.js'
import type { Clock } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { refuseGarageFolders } from './garage-folder.js'
import { SNAPSHOT_NAME } from './metadata-snapshot.js'

const DATA_FILE = 'data.mdb'
/** A copy that is being made; a crash leaves it behind, and the next restore removes it. */
const UNFINISHED = 'db.restoring'

/** Where the database comes from: the newest snapshot, the one in that folder, or the other replicas, from nothing. */
export type RestoreSource = 'newest' | 'replicas' | { folder: string }

export interface Restored {
  /** The folder of the snapshot; null: the next start begins with an empty database. */
  snapshot: string | null
  /** Where the database of before is now; null if there was none. */
  before: string | null
}

/**
 * Puts a snapshot, or nothing, in the place of a stopped node's database, which is moved aside and kept. The node's key and
 * its data folders stay as they are.
 * @throws CarportError Conflict if the node runs; NotFound without a snapshot; Corrupted for one that is damaged;
 * InvalidArgument to begin from nothing where no other replica has the rows; StorageFull
 */
export async function restoreMetadata(
  settings: Pick<
    Settings,
    'metadataDir' | 'metadataSnapshotsDir' | 'replicationFactor' | 'allowWorldReadableSecrets'
  >,
  source: RestoreSource,
  clock: Clock,
): Promise<Restored> {
  const { metadataDir, replicationFactor } = settings
  refuseGarageFolders(metadataDir, [])
  if (source === 'replicas' && replicationFactor === 1) {
    throw new CarportError(
      'InvalidArgument',
      'replication_factor = 1: no other node has the rows of this one, so that only a snapshot helps',
    )
  }
  if (!existsSync(metadataDir)) throw new CarportError('NotFound', `there is no folder ${metadataDir}`)
  if (!settings.allowWorldReadableSecrets) keepFilesPrivate()
  const lock = await lockFolder(metadataDir)
  try {
    const snapshot = source === 'replicas' ? null : await findSnapshot(settings.metadataSnapshotsDir, source)
    const unfinished = join(metadataDir, UNFINISHED)
    await rm(unfinished, { recursive: true, force: true })
    if (snapshot !== null) await copySnapshot(snapshot, unfinished)
    const database = join(metadataDir, 'db')
    let before: string | null = null
    if (existsSync(database)) {
      before = join(metadataDir, `db.before-${new Date(clock.nowMs()).toISOString().replace(/\.\d+/, '')}`)
      await rename(database, before)
    }
    if (snapshot !== null) await rename(unfinished, database)
    await syncPath(metadataDir)
    return { snapshot, before }
  } finally {
    await lock.release()
  }
}

/** The folder of the snapshot, once it is known to hold a database. */
async function findSnapshot(folder: string, source: 'newest' | { folder: string }): Promise<string> {
  const path = source === 'newest' ? await newestOf(folder) : source.folder
  if (!existsSync(join(path, DATA_FILE))) {
    throw new CarportError(
      'NotFound',
      `${path} is no snapshot of the metadata: there is no ${DATA_FILE} in it`,
    )
  }
  checkLmdbFile(path)
  return path
}

async function newestOf(folder: string): Promise<string> {
  const names = await readdir(folder).catch(() => [] as string[])
  const newest = names
    .filter((name) => SNAPSHOT_NAME.test(name))
    .sort()
    .at(-1)
  if (newest !== undefined) return join(folder, newest)
  throw new CarportError(
    'NotFound',
    `there is no snapshot in ${folder}: name one in another folder, or take the rows from the other replicas by --from-replicas`,
  )
}

/** A copy, since the snapshot may be needed again. It shares the blocks of the disk where the file system can do that. */
async function copySnapshot(snapshot: string, target: string): Promise<void> {
  await mkdir(target, { mode: 0o700 })
  try {
    await copyFile(join(snapshot, DATA_FILE), join(target, DATA_FILE), constants.COPYFILE_FICLONE)
    await syncPath(join(target, DATA_FILE))
    await syncPath(target)
    const [from, to] = await Promise.all([snapshot, target].map((path) => stat(join(path, DATA_FILE))))
    if (from!.size !== to!.size) throw new CarportError('Corrupted', `the copy of ${snapshot} is not whole`)
  } catch (cause) {
    await rm(target, { recursive: true, force: true })
    const { code } = cause as NodeJS.ErrnoException
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw cause
    throw new CarportError('StorageFull', `there is no room for a copy of ${snapshot} beside the database`, {
      cause,
    })
  }
}
