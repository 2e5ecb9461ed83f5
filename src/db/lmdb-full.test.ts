import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import type { Clock } from '../util/clock.js'
import { silentLog } from '../util/log.js'
import { openLmdb } from './lmdb.js'

const disk = vi.hoisted(() => ({ full: false, writing: 0 }))
vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>()
  const full = () => Object.assign(new Error('no space left on device'), { code: 'ENOSPC', errno: -28 })
  const writeSync = (...args: Parameters<typeof real.writeSync>) => {
    if (disk.full) throw full()
    return real.writeSync(...args)
  }
  const write = (fd: number, bytes: Buffer, done: (error: Error | null, count: number) => void) => {
    if (disk.full) return setImmediate(done, full(), 0)
    disk.writing++
    real.write(fd, bytes, (error, count) => {
      disk.writing--
      done(error, count)
    })
  }
  return { ...real, writeSync, write }
})

const clock: Clock = { nowMs: () => 0, monotonicMs: () => 0, after: () => ({ cancel() {} }) }
const key = (i: number) => Buffer.from(String(i).padStart(6, '0'))

it('on a full disk refuses puts before LMDB notices, still deletes, and stays readable and openable', async () => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'carport-lmdb-'))
  const options = { path: folder, trees: ['a'], fsync: true, clock, log: silentLog }
  const db = await openLmdb(options)
  const value = Buffer.alloc(100_000, 1)
  let count = 0
  const put = () => db.transact((tx) => tx.put('a', key(count), value)).then(() => count++)
  for (let i = 0; i < 20; i++) await put()
  disk.full = true
  await vi.waitUntil(() => disk.writing === 0)
  const sizeBefore = fs.statSync(join(folder, 'data.mdb')).size
  const refusal = await (async () => {
    for (;;) await put()
  })().catch((error: unknown) => error)
  expect(refusal).toMatchObject({ name: 'CarportError', code: 'StorageFull' })
  expect(fs.statSync(join(folder, 'data.mdb')).size).toBe(sizeBefore)

  // A node's own records still find room, also in a store that is opened now.
  await db.transact((tx) => tx.putRecord('a', key(900_000), Buffer.from('started')))
  await db.close()
  const full = await openLmdb(options)
  await full.transact((tx) => tx.putRecord('a', key(900_000), Buffer.from('started again')))
  expect(full.get('a', key(900_000))!.toString()).toBe('started again')
  await expect(full.transact((tx) => tx.put('a', key(count), value))).rejects.toMatchObject({
    code: 'StorageFull',
  })
  await full.transact((tx) => tx.delete('a', key(900_000)))
  await full.close()
  const reopened = await openLmdb(options)

  const mixed = await Promise.allSettled([
    reopened.transact((tx) => tx.delete('a', key(0))),
    reopened.transact((tx) => tx.put('a', key(999), value)),
    reopened.transact((tx) => tx.delete('a', key(1))),
  ])
  expect(mixed.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  for (let i = 2; i < count; i++) await reopened.transact((tx) => tx.delete('a', key(i)))
  expect(reopened.count('a')).toBe(0)
  await reopened.close()

  const again = await openLmdb(options)
  expect(again.count('a')).toBe(0)
  disk.full = false
  await again.transact((tx) => tx.put('a', key(1), value))
  expect(again.get('a', key(1))!.equals(value)).toBe(true)
  await again.close()
  fs.rmSync(folder, { recursive: true })
})
