import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ManualClock } from '../../testing/cluster-fakes.js'
import type { Db } from '../db/db.js'
import { openLmdb } from '../db/lmdb.js'
import { lockFolder } from '../platform/folder-lock.js'
import { silentLog } from '../util/log.js'
import { MetadataSnapshots } from './metadata-snapshot.js'
import { type RestoreSource, restoreMetadata } from './restore-metadata.js'

let dir: string
let snapshots: string
const clock = new ManualClock()
const key = Buffer.from('k')
const open = (path: string) =>
  openLmdb({ path, trees: ['t'], fsync: true, mapSizeBytes: 2 ** 30, clock, log: silentLog })
const put = (db: Db, value: string) => db.transact((tx) => tx.put('t', key, Buffer.from(value)))

async function value(path = join(dir, 'db')): Promise<string | undefined> {
  const db = await open(path)
  const found = db.get('t', key)?.toString()
  await db.close()
  return found
}

const restore = (source: RestoreSource, replicationFactor = 3) =>
  restoreMetadata(
    {
      ...{ metadataDir: dir, metadataSnapshotsDir: snapshots, replicationFactor },
      allowWorldReadableSecrets: true,
    },
    source,
    clock,
  )

/** Two snapshots, of "1" and "2", below a database that has "3". */
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'carport-restore-'))
  snapshots = join(dir, 'snapshots')
  const db = await open(join(dir, 'db'))
  const writer = new MetadataSnapshots(db, snapshots, clock)
  for (const text of ['1', '2', '3']) {
    await put(db, text)
    if (text !== '3') await writer.write()
    await clock.advance(2000)
  }
  await db.close()
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

it('the newest snapshot takes the place of the database, which is kept beside it', async () => {
  const { snapshot, before } = await restore('newest')
  expect(await value()).toBe('2')
  expect(await value(before!)).toBe('3')
  expect(snapshot).toBe(join(snapshots, readdirSync(snapshots).sort().at(-1)!))
  // The snapshot stays as it is, for another time.
  expect(await value(snapshot!)).toBe('2')
  expect(statSync(join(dir, 'db')).mode & 0o077).toBe(0)
})

it('a snapshot is named by its folder', async () => {
  await restore({ folder: join(snapshots, readdirSync(snapshots).sort()[0]!) })
  expect(await value()).toBe('1')
})

it('a damaged database is replaced as well', async () => {
  truncateSync(join(dir, 'db/data.mdb'), 9000)
  await restore('newest')
  expect(await value()).toBe('2')
})

it('with other replicas, the next start may begin from nothing', async () => {
  const { snapshot, before } = await restore('replicas')
  expect(snapshot).toBeNull()
  expect(existsSync(join(dir, 'db'))).toBe(false)
  expect(await value(before!)).toBe('3')
})

it.each<[string, RestoreSource, number, RegExp]>([
  ['there is no other replica', 'replicas', 1, /replication_factor = 1/],
  ['the folder holds no snapshot', { folder: '/nowhere' }, 3, /is no snapshot of the metadata/],
])('nothing is changed when %s', async (_, source, replicationFactor, message) => {
  await expect(restore(source, replicationFactor)).rejects.toThrow(message)
  expect(await value()).toBe('3')
})

it('nothing is changed when there is no snapshot, or it is damaged', async () => {
  for (const name of readdirSync(snapshots)) truncateSync(join(snapshots, name, 'data.mdb'), 9000)
  await expect(restore('newest')).rejects.toThrow(/is damaged/)
  rmSync(snapshots, { recursive: true })
  await expect(restore('newest')).rejects.toThrow(/there is no snapshot in/)
  expect(await value()).toBe('3')
})

it('a node that runs is left alone', async () => {
  const lock = await lockFolder(dir)
  await expect(restore('newest')).rejects.toThrow(/is in use by another node/)
  await lock.release()
  expect(await value()).toBe('3')
})

it('what a crash left behind does not stand in the way', async () => {
  const { before } = await restore('newest')
  // As if the power had failed between the two renames.
  rmSync(join(dir, 'db'), { recursive: true })
  await clock.advance(2000)
  const again = await restore('newest')
  expect(await value()).toBe('2')
  expect([existsSync(before!), again.before]).toEqual([true, null])
})
