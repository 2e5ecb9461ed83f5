import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { SeededRandom } from '../../testing/cluster-fakes.js'
import { MemoryDb } from '../../testing/memory-db.js'
import { NodeDisk } from '../platform/node-disk.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import { silentLog } from '../util/log.js'
import { ALL_TREES } from './core.js'
import { DataFolders, MARK_FILE } from './data-folders.js'

let dir: string
let one: string
let two: string
const random = new SeededRandom(1)
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'carport-folders-'))
  one = join(dir, 'one')
  two = join(dir, 'two')
  for (const path of [one, two]) mkdirSync(path)
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const open = (db: MemoryDb, log: Log = silentLog, paths = [one, two]) =>
  new DataFolders(paths, { db, disk: new NodeDisk(), random, log })
const database = () => new MemoryDb({ trees: ALL_TREES })

it('new folders are marked, and known again by another process', async () => {
  const db = database()
  await open(db).check()
  expect(readFileSync(join(one, MARK_FILE), 'utf8')).toMatch(/^[0-9a-f]{32}\n$/)
  const again = open(db)
  await again.check()
  expect(again.lost()).toEqual([])
  expect(again.isWritable(one)).toBe(true)
})

it('a folder that is empty or another one is lost until its own is back', async () => {
  const db = database()
  const errors: object[] = []
  const folders = open(db, { ...silentLog, error: (fields) => void errors.push(fields) })
  await folders.check()
  renameSync(one, join(dir, 'away'))
  mkdirSync(one)
  await folders.check()
  await folders.check()
  expect(folders.lost()).toEqual([one])
  expect([folders.isWritable(one), folders.isWritable(two)]).toEqual([false, true])
  // It is said once.
  expect(errors).toEqual([{ folder: one }])
  rmSync(one, { recursive: true })
  renameSync(join(dir, 'away'), one)
  await folders.check()
  expect(folders.lost()).toEqual([])
})

it('a mark that cannot be read now is not gone: what was known of its folder holds', async () => {
  const db = database()
  const errors: object[] = []
  const warnings: object[] = []
  const folders = open(db, {
    ...silentLog,
    error: (fields) => void errors.push(fields),
    warn: (fields) => void warnings.push(fields),
  })
  await folders.check()
  const away = join(dir, 'away')
  renameSync(two, away)
  // Node reads no folder, which stands for any error but that there is no file.
  const mark = join(one, MARK_FILE)
  renameSync(mark, join(one, 'kept'))
  mkdirSync(mark)
  await folders.check()
  await folders.check()
  expect(folders.lost()).toEqual([two])
  expect(warnings).toMatchObject([{ folder: one, error: { code: 'EISDIR' } }])
  renameSync(away, two)
  rmSync(mark, { recursive: true })
  await folders.check()
  expect(folders.lost()).toEqual([one])
  mkdirSync(mark)
  await folders.check()
  expect(folders.lost()).toEqual([one])
  await expect(folders.accept()).rejects.toMatchObject({ code: 'EISDIR' })
  rmSync(mark, { recursive: true })
  renameSync(join(one, 'kept'), mark)
  await folders.check()
  expect(folders.lost()).toEqual([])
  expect(errors).toEqual([{ folder: two }, { folder: one }])
})

it.skipIf(process.platform === 'win32')(
  'a folder whose disk hangs does not hide that another one is lost',
  async () => {
    const db = database()
    let lost = () => {}
    const told = new Promise<void>((resolve) => {
      lost = resolve
    })
    const folders = open(db, { ...silentLog, error: () => lost() })
    await folders.check()
    const mark = join(one, MARK_FILE)
    const text = readFileSync(mark)
    rmSync(mark)
    // Who opens a pipe to read waits for its writer.
    execFileSync('mkfifo', [mark])
    rmSync(two, { recursive: true })
    const checked = folders.check()
    await told
    expect(folders.lost()).toEqual([two])
    writeFileSync(mark, text)
    await checked
    expect(folders.lost()).toEqual([two])
  },
)

it('a folder that is new and whose mark cannot be read is marked once it can', async () => {
  const db = database()
  const mark = join(one, MARK_FILE)
  mkdirSync(mark)
  const folders = open(db)
  await folders.check()
  expect(folders.isWritable(one)).toBe(true)
  rmSync(mark, { recursive: true })
  await folders.check()
  expect(readFileSync(mark, 'utf8')).toMatch(/^[0-9a-f]{32}\n$/)
})

it('the folder of another node is not taken for the own one', async () => {
  const db = database()
  await open(db, silentLog, [one]).check()
  await open(database(), silentLog, [two]).check()
  rmSync(one, { recursive: true })
  renameSync(two, one)
  const folders = open(db, silentLog, [one])
  await folders.check()
  expect(folders.lost()).toEqual([one])
})

it('a lost folder is taken as it is when that is asked for, even if it is gone', async () => {
  const db = database()
  const folders = open(db)
  await folders.check()
  rmSync(one, { recursive: true })
  await folders.accept()
  expect(folders.lost()).toEqual([])
  expect(readFileSync(join(one, MARK_FILE), 'utf8')).toMatch(/^[0-9a-f]{32}\n$/)
})

it('an empty database takes the marks that are there', async () => {
  await open(database()).check()
  const before = readFileSync(join(one, MARK_FILE), 'utf8')
  const folders = open(database())
  await folders.check()
  expect(folders.lost()).toEqual([])
  expect(readFileSync(join(one, MARK_FILE), 'utf8')).toBe(before)
})

it('a folder that cannot be marked, since its disk is full, is used all the same', async () => {
  const disk = {
    writeDurable: () => Promise.reject(new CarportError('StorageFull', 'full')),
  }
  const folders = new DataFolders([one], { db: database(), disk, random, log: silentLog })
  await folders.check()
  expect(folders.isWritable(one)).toBe(true)
})
