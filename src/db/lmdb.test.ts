import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CONTRACT_TREES, describeDbContract } from '../../testing/db-contract.js'
import type { Clock } from '../util/clock.js'
import { silentLog } from '../util/log.js'
import { openLmdb } from './lmdb.js'

/** Time stands still: the store asks for time only to flush in the background, which close() does as well. */
const stillClock: Clock = { nowMs: () => 0, monotonicMs: () => 0, after: () => ({ cancel() {} }) }

for (const fsync of [true, false]) {
  describeDbContract(`LMDB with fsync ${fsync}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'carport-lmdb-'))
    const options = { trees: CONTRACT_TREES, fsync, clock: stillClock, log: silentLog }
    const db = await openLmdb({ ...options, path: join(folder, 'db.lmdb') })
    const opened = [db]
    return {
      db,
      async reopen() {
        await db.close()
        const again = await openLmdb({ ...options, path: join(folder, 'db.lmdb') })
        opened.push(again)
        return again
      },
      async openSnapshot() {
        await db.snapshot(join(folder, 'snapshot'))
        return openLmdb({ ...options, path: join(folder, 'snapshot') })
      },
      async dispose() {
        for (const each of opened) await each.close()
        rmSync(folder, { recursive: true })
      },
    }
  })
}
