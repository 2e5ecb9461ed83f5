import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  type BucketCounts,
  COUNTER_TREE,
  NO_COUNTS,
  readCounts,
  setCounts,
} from '../src/model/buckets/counters.js'
import { recountBuckets } from '../src/model/buckets/recount.js'
import {
  INDEX_TREE,
  indexRange,
  NO_COUNTS as NO_ITEMS,
  setCounts as setItemCounts,
} from '../src/model/k2v/counts.js'
import { recountK2v } from '../src/model/k2v/recount.js'
import { AdminCluster, BLOCK_BYTES, contentOf } from './admin-nodes.js'

const cluster = new AdminCluster(1)
beforeAll(async () => {
  await cluster.start()
  await cluster.layOut()
})
afterAll(() => cluster.stop())

it('a recount of the rows gives what was counted while they changed, and sets counters that are wrong', async () => {
  const { db, core } = cluster.nodes[0]!
  const { objects } = core.model
  const plain = await cluster.newBucket('plain')
  const versioned = await cluster.newBucket('versioned')
  const unused = await cluster.newBucket('unused')
  await cluster.run(core.model.buckets.setDocument(versioned.bucket(), 'versioning', 'enabled'))
  for (const { bucket } of [plain, versioned]) {
    await cluster.putObject(bucket(), 'a', contentOf('a', 100))
    await cluster.putObject(bucket(), 'a', contentOf('b', 3 * BLOCK_BYTES))
    await cluster.putObject(bucket(), 'c', contentOf('c', 7))
    await cluster.putObject(bucket(), 'd', contentOf('d', 1))
    await cluster.run(objects.delete(bucket().id, Buffer.from('c'), '', bucket().versioning))
  }
  await cluster.startUpload(plain.bucket(), 'u', [contentOf('p1', 500), contentOf('p2', BLOCK_BYTES)])

  const counted = () =>
    [plain, versioned, unused].map(({ bucket }): BucketCounts => readCounts(db, bucket().id))
  const before = counted()
  expect(before).toEqual([
    {
      ...NO_COUNTS,
      objects: 2,
      bytes: 3 * BLOCK_BYTES + 1,
      uploads: 1,
      parts: 2,
      uploadBytes: 500 + BLOCK_BYTES,
    },
    { ...NO_COUNTS, objects: 2, bytes: 3 * BLOCK_BYTES + 108, noncurrent: 2, markers: 1 },
    NO_COUNTS,
  ])
  const right = await recountBuckets(db)
  expect(right).toMatchObject({ counters: 2, corrected: [] })
  expect(counted()).toEqual(before)

  const ids = [plain, versioned, unused].map(({ bucket }) => bucket().id)
  await cluster.run(
    db.transact((tx) => {
      setCounts(tx, ids[0]!, { ...before[0]!, objects: 9, bytes: 0 })
      tx.delete(COUNTER_TREE, ids[1]!)
      setCounts(tx, ids[2]!, { ...NO_COUNTS, markers: 4 })
    }),
  )
  expect(counted()).not.toEqual(before)
  const mended = await cluster.run(recountBuckets(db))
  expect(mended).toEqual({
    rows: right.rows,
    counters: 3,
    corrected: ids.map((id) => id.toString('hex')).sort(),
  })
  expect(counted()).toEqual(before)
})

it('so does a recount of the items of K2V', async () => {
  const { db, core } = cluster.nodes[0]!
  const { id } = (await cluster.newBucket('items')).bucket()
  const write = (partitionKey: string, sortKey: string, value: string | null) =>
    cluster.run(
      core.model.k2v.write(id, [
        {
          partitionKey: Buffer.from(partitionKey),
          sortKey: Buffer.from(sortKey),
          content: value === null ? null : Buffer.from(value),
          context: undefined,
        },
      ]),
    )
  await write('inbox', '1', 'hello')
  await write('inbox', '1', 'at the same time')
  await write('inbox', '2', 'x'.repeat(3000))
  await write('sent', '1', 'y')
  const index = () => [
    ...indexRange(db, id, { start: Buffer.alloc(0), end: undefined, reverse: false, limit: 100 }),
  ]
  const before = index()
  expect(before).toMatchObject([
    { partitionKey: Buffer.from('inbox'), entries: 2, conflicts: 1, values: 3, bytes: 3021 },
    { partitionKey: Buffer.from('sent'), entries: 1, conflicts: 0, values: 1, bytes: 1 },
  ])
  expect(await recountK2v(db)).toEqual({ rows: 3, counters: 2, corrected: [] })
  await cluster.run(
    db.transact((tx) => {
      setItemCounts(tx, Buffer.concat([id, Buffer.from('inbox')]), { ...NO_ITEMS, entries: 7 })
      tx.delete(INDEX_TREE, Buffer.concat([id, Buffer.from('sent')]))
      setItemCounts(tx, Buffer.concat([id, Buffer.from('ghost')]), { ...NO_ITEMS, entries: 1 })
    }),
  )
  const { corrected } = await cluster.run(recountK2v(db))
  expect(corrected.map((name) => name.split('/')[1]).sort()).toEqual(['ghost', 'inbox', 'sent'])
  expect(index()).toEqual(before)
})
