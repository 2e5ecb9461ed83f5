import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Clock } from '../util/clock.js'
import { silentLog } from '../util/log.js'
import { openLmdb } from './lmdb.js'
import { checkLmdbFile } from './lmdb-check.js'

const clock: Clock = { nowMs: () => 0, monotonicMs: () => 0, after: () => ({ cancel() {} }) }
const dir = mkdtempSync(join(tmpdir(), 'carport-lmdb-check-'))
const options = { trees: ['a', 'b'], fsync: false, clock, log: silentLog }
const original = join(dir, 'original')
const key = (i: number) => Buffer.from(String(i).padStart(6, '0'))

beforeAll(async () => {
  const db = await openLmdb({ ...options, path: original })
  for (let batch = 0; batch < 20; batch++) {
    await db.transact((tx) => {
      for (let i = 0; i < 200; i++)
        tx.put('a', key(batch * 200 + i), Buffer.alloc(i % 9 === 0 ? 9000 : 100, i))
    })
    await db.transact((tx) => {
      for (let i = 0; i < 50; i++) tx.delete('a', key(batch * 200 + i * 3))
    })
  }
  await db.close()
})
afterAll(() => rmSync(dir, { recursive: true }))

/** A copy of the store, changed by `change`. */
function copy(name: string, change: (file: string, size: number) => void): string {
  const folder = join(dir, name)
  mkdirSync(folder)
  const file = join(folder, 'data.mdb')
  copyFileSync(join(original, 'data.mdb'), file)
  change(file, statSync(file).size)
  return folder
}

function overwrite(file: string, at: number, bytes: Buffer): void {
  const fd = openSync(file, 'r+')
  writeSync(fd, bytes, 0, bytes.length, at)
  closeSync(fd)
}

it('finds nothing wrong with a sound store, nor with none', async () => {
  checkLmdbFile(original)
  checkLmdbFile(join(dir, 'absent'))
  const db = await openLmdb({ ...options, path: original })
  expect(db.count('a')).toBeGreaterThan(1000)
  checkLmdbFile(original)
  await db.close()
})

const damages: Record<string, (file: string, size: number) => void> = {
  'an empty file': (file) => truncateSync(file, 0),
  'a file of half a page': (file) => truncateSync(file, 2000),
  'a file cut to its meta pages': (file) => truncateSync(file, 8192),
  'a file cut in the middle': (file) => truncateSync(file, 40 * 4096),
  'a file of zeroes': (file, size) => writeFileSync(file, Buffer.alloc(size)),
  'a file of text': (file, size) => writeFileSync(file, Buffer.alloc(size, 'garbage ')),
  'zeroes behind the meta pages': (file, size) => overwrite(file, 8192, Buffer.alloc(size - 8192)),
  'garbage behind the meta pages': (file, size) => overwrite(file, 8192, Buffer.alloc(size - 8192, 0x5a)),
  'a meta page of zeroes': (file) => overwrite(file, 4096, Buffer.alloc(4096)),
}

for (const [what, change] of Object.entries(damages)) {
  it(`refuses ${what} with one sentence and what to do, before LMDB maps it`, async () => {
    const folder = copy(what.replaceAll(' ', '-'), change)
    await expect(openLmdb({ ...options, path: folder })).rejects.toMatchObject({
      code: 'Corrupted',
      message: expect.stringMatching(
        /data\.mdb is damaged \(.+\): run "carport meta restore --from-replicas --yes" and start again/,
      ),
    })
  })
}
