import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { CONTRACT_TREES, describeDbContract } from '../../testing/db-contract.js'
import type { Clock } from '../util/clock.js'
import { silentLog } from '../util/log.js'
import type { Tx } from './db.js'
import { BATCH_STEPS_MAX, openLmdb, STEP_BYTES } from './lmdb.js'

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

describe('the view of reads', () => {
  const folder = mkdtempSync(join(tmpdir(), 'carport-lmdb-'))
  const [tree] = CONTRACT_TREES
  const key = Buffer.from('key')
  const options = { trees: CONTRACT_TREES, fsync: false, clock: stillClock, log: silentLog }
  const opened = openLmdb({ ...options, path: join(folder, 'db.lmdb') })
  afterAll(async () => {
    await (await opened).close()
    rmSync(folder, { recursive: true })
  })

  test('is another one whenever a read may find something else', async () => {
    const db = await opened
    for (let i = 0; i < 200; i++) {
      const before = db.get(tree, key)
      const view = db.viewId!()
      const write = db.transact((tx) => tx.put(tree, key, Buffer.from(String(i))))
      // Until the write's promise resolves, reads may find either value.
      for (let turn = 0; turn < i % 4; turn++) {
        if (db.viewId!() === view) expect(db.get(tree, key)).toEqual(before)
        await new Promise((resolve) => setImmediate(resolve))
      }
      await write
      expect(db.viewId!()).not.toBe(view)
      expect(db.get(tree, key)?.toString()).toBe(String(i))
    }
  })

  test('stays the same within a turn, and there is none in a transaction', async () => {
    const db = await opened
    expect(db.viewId!()).toBe(db.viewId!())
    await db.transact(() => expect(db.viewId!()).toBeUndefined())
  })
})

/** Runs functions of transactions, and returns how many ran in each turn of the event loop. */
async function runsOfTurns(
  count: number,
  steps: (i: number) => number,
  run: (tx: Tx, i: number) => void,
): Promise<{ order: number[]; turns: number[][] }> {
  const folder = mkdtempSync(join(tmpdir(), 'carport-lmdb-'))
  const options = { trees: CONTRACT_TREES, fsync: false, clock: stillClock, log: silentLog }
  const db = await openLmdb({ ...options, path: join(folder, 'db.lmdb') })
  let turn = 0
  let isOver = false
  const next = () => {
    turn++
    if (!isOver) setImmediate(next)
  }
  next()
  const order: number[] = []
  const turns: number[][] = []
  await Promise.all(
    Array.from({ length: count }, (_, i) =>
      db.transact((tx) => {
        order.push(i)
        turns[turn] = [...(turns[turn] ?? []), i]
        run(tx, i)
      }, steps(i)),
    ),
  )
  isOver = true
  await db.close()
  rmSync(folder, { recursive: true })
  return { order, turns: turns.filter((each) => each !== undefined) }
}

test('a commit runs no more functions than one turn of the event loop may take', async () => {
  const [tree] = CONTRACT_TREES
  const { order, turns } = await runsOfTurns(
    40,
    (i) => (i === 7 ? 10 * BATCH_STEPS_MAX : 100),
    (tx, i) => tx.put(tree, Buffer.from([i + 1]), Buffer.from('x')),
  )
  expect(order).toEqual([...order.keys()])
  expect(order).toHaveLength(40)
  for (const turn of turns) expect(turn.length).toBeLessThanOrEqual(turn.includes(7) ? 1 : 2)
})

test('nor more than may read and write so many bytes, which are known only when it runs', async () => {
  const [tree] = CONTRACT_TREES
  const key = Buffer.from('long')
  const { order, turns } = await runsOfTurns(
    60,
    () => 1,
    (tx, i) => {
      if (i === 0) tx.put(tree, key, Buffer.alloc(1 << 20))
      else expect(tx.get(tree, key)).toHaveLength(1 << 20)
      expect(tx.bytes).toBe(1 << 20)
    },
  )
  expect(order).toEqual([...order.keys()])
  expect(order).toHaveLength(60)
  // A turn ends behind the function that has crossed the bound.
  const most = BATCH_STEPS_MAX / ((1 << 20) / STEP_BYTES) + 1
  for (const turn of turns) expect(turn.length).toBeLessThanOrEqual(most)
})
