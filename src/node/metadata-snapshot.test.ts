import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ManualClock } from '../../testing/cluster-fakes.js'
import type { Db } from '../db/db.js'
import { openLmdb } from '../db/lmdb.js'
import { silentLog } from '../util/log.js'
import { MetadataSnapshots } from './metadata-snapshot.js'

let dir: string
let db: Db
const clock = new ManualClock()
const open = (path: string) =>
  openLmdb({ path, trees: ['t'], fsync: true, mapSizeBytes: 2 ** 30, clock, log: silentLog })
const key = Buffer.from('k')

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'carport-snapshot-'))
  db = await open(join(dir, 'db'))
})
afterEach(async () => {
  await db.close()
  rmSync(dir, { recursive: true, force: true })
})

it('a snapshot is a database of its own, and the last two are kept', async () => {
  const folder = join(dir, 'snapshots')
  const snapshots = new MetadataSnapshots(db, folder, clock)
  const paths: string[] = []
  for (const value of ['1', '2', '3']) {
    await db.transact((tx) => tx.put('t', key, Buffer.from(value)))
    paths.push(await snapshots.write())
    await clock.advance(1500)
  }
  expect(readdirSync(folder).map((name) => join(folder, name))).toEqual(paths.slice(1))
  expect(paths[0]).toMatch(/\/2023-11-14T22:13:20Z$/)
  const copy = await open(paths[1]!)
  expect(copy.get('t', key)?.toString()).toBe('2')
  await copy.close()
})

it('one is written at a time, and a failed one leaves nothing', async () => {
  const folder = join(dir, 'snapshots')
  const snapshots = new MetadataSnapshots(db, folder, clock)
  const first = snapshots.write()
  await expect(snapshots.write()).rejects.toThrow(/already/)
  const path = await first
  await expect(snapshots.write()).rejects.toThrow(/this very second/)
  await clock.advance(1000)
  const broken: Db = Object.create(db, {
    snapshot: {
      value: async (target: string) => {
        await db.snapshot(target)
        throw new Error('disk gone')
      },
    },
  })
  await expect(new MetadataSnapshots(broken, folder, clock).write()).rejects.toThrow('disk gone')
  expect(readdirSync(folder).map((name) => join(folder, name))).toEqual([path])
  expect(existsSync(join(path, 'data.mdb'))).toBe(true)
})

it('one is written on a schedule, also after one that failed, the last two are kept, and none after the end', async () => {
  const folder = join(dir, 'snapshots')
  const errors: object[] = []
  let isBroken = false
  const sometimes: Db = Object.create(db, {
    snapshot: {
      value: async (target: string) => {
        if (isBroken) throw new Error('disk gone')
        await db.snapshot(target)
      },
    },
  })
  const snapshots = new MetadataSnapshots(sometimes, folder, clock)
  const random = { bytes: () => Buffer.alloc(0), float: () => 0.5 }
  const log = { ...silentLog, error: (fields: object) => void errors.push(fields) }
  const timer = snapshots.every(3600_000, random, log)
  const names = () => (existsSync(folder) ? readdirSync(folder).sort() : [])
  const next = async (changed: () => boolean) => {
    await clock.advance(3600_000)
    await expect.poll(changed).toBe(true)
  }
  expect(names()).toEqual([])
  await next(() => names().length === 1)
  await next(() => names().length === 2)
  const [first, second] = names()
  await next(() => names().length === 2 && !names().includes(first!))
  expect(names()).toContain(second)
  isBroken = true
  await next(() => errors.length === 1)
  expect(names()).toHaveLength(2)
  isBroken = false
  await next(() => !names().includes(second!))
  timer.cancel()
  const kept = names()
  await clock.advance(4 * 3600_000)
  expect(names()).toEqual(kept)
  expect(kept.every((name) => !name.endsWith('.tmp'))).toBe(true)
})
