import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type * as lmdb from 'lmdb'
import { expect, it, vi } from 'vitest'
import type { Clock } from '../util/clock.js'
import { silentLog } from '../util/log.js'
import { openLmdb } from './lmdb.js'

const disk = vi.hoisted(() => ({ failsNextSync: false, failsNextWrite: false }))
vi.mock('lmdb', async (original) => {
  const real = await original<typeof lmdb>()
  const failure = () => Object.assign(new Error('Input/output error'), { code: 5 })
  return {
    ...real,
    /** LMDB shows a commit before it syncs it: one whose sync fails is rejected, and can be read. */
    open(options: lmdb.RootDatabaseOptionsWithPath) {
      const root = real.open(options)
      const childTransaction = root.childTransaction.bind(root)
      root.childTransaction = (async (action: () => unknown) => {
        if (disk.failsNextWrite) {
          disk.failsNextWrite = false
          throw failure()
        }
        const outcome = await childTransaction(action)
        if (!disk.failsNextSync) return outcome
        disk.failsNextSync = false
        throw failure()
      }) as never
      return root
    },
  }
})

const clock: Clock = { nowMs: () => 0, monotonicMs: () => 0, after: () => ({ cancel() {} }) }
const key = Buffer.from('key')

it('a commit that can be read, and that the disk did not keep, is the last one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'carport-lmdb-'))
  const causes: unknown[] = []
  const options = { path: folder, trees: ['a'], fsync: true, clock, log: silentLog }
  const db = await openLmdb({ ...options, onBroken: (cause) => causes.push(cause) })
  const put = (value: string) => db.transact((tx) => tx.put('a', key, Buffer.from(value)))
  await put('kept')

  disk.failsNextWrite = true
  await expect(put('refused')).rejects.toMatchObject({ code: 5 })
  expect(db.get('a', key)!.toString()).toBe('kept')
  await put('kept, too')
  expect(causes).toEqual([])

  disk.failsNextSync = true
  const failed = put('not on the disk')
  const waiting = [failed.catch((error: unknown) => error).then(() => put('after it')), failed]
  for (const result of await Promise.allSettled(waiting)) expect(result.status).toBe('rejected')
  expect(causes).toMatchObject([{ code: 5 }])
  await expect(put('later')).rejects.toMatchObject({ code: 'Closed', cause: { code: 5 } })
  await db.close()
  rmSync(folder, { recursive: true })
})
