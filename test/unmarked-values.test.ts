/** Values of a node's own that the first release wrote without a version, and that the kept store has none of. */
import { pack } from 'msgpackr'
import { expect, test } from 'vitest'
import { decodeRecord, encodeRecord } from '../src/block/rc-record.js'
import { ERROR_TREES, ResyncErrors } from '../src/block/resync-errors.js'
import { CLUSTER_TREE, DbPeerStore } from '../src/cluster/peer-store.js'
import { silentLog } from '../src/util/log.js'
import { MemoryDb } from '../testing/memory-db.js'

test('the record of a block', () => {
  const record = { count: 3, present: true, deleting: false, keepUntilMs: 12.5, dueMs: 7 }
  const stored = encodeRecord(record)
  expect(stored[0]).toBe(1)
  expect(decodeRecord(stored)).toEqual(record)
  expect(decodeRecord(stored.subarray(1))).toEqual(record)
})

test('a block that could not be fetched', async () => {
  const db = new MemoryDb({ trees: [...ERROR_TREES] })
  const errors = new ResyncErrors(db)
  const [old, now] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
  const head = Buffer.alloc(12)
  head.writeUInt32BE(2, 0)
  head.writeDoubleBE(1000, 4)
  await db.transact((tx) => {
    tx.put(ERROR_TREES[0]!, old, Buffer.concat([head, Buffer.from('gone')]))
    errors.record(tx, now, 2000, 'away')
  })
  expect(errors.list(10)).toEqual([
    { hash: old, attempts: 2, lastTryMs: 1000, message: 'gone' },
    { hash: now, attempts: 1, lastTryMs: 2000, message: 'away' },
  ])
  await db.transact((tx) => errors.record(tx, old, 3000, 'still gone'))
  expect(errors.get(db, old)).toMatchObject({ attempts: 3, message: 'still gone' })
})

test('the list of peers', async () => {
  const db = new MemoryDb({ trees: [CLUSTER_TREE] })
  const store = new DbPeerStore(db, silentLog)
  const peers = [{ id: 'ab'.repeat(32), addresses: ['10.0.0.1:3901'] }]
  await db.transact((tx) => tx.put(CLUSTER_TREE, Buffer.from('peers'), pack(peers)))
  expect(store.load()).toEqual(peers)
  await store.save(peers)
  expect(db.get(CLUSTER_TREE, Buffer.from('peers'))![0]).toBe(1)
  expect(store.load()).toEqual(peers)
})
