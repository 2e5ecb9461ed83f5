import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  type BucketCounts,
  COUNTER_TREE,
  NO_COUNTS,
  readCounts,
  setCounts,
} from '../src/model/buckets/counters.js'
import { recountBuckets } from '../src/model/buckets/recount.js'
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
  expect(right).toMatchObject({ buckets: 2, corrected: [] })
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
    buckets: 3,
    corrected: ids.map((id) => id.toString('hex')).sort(),
  })
  expect(counted()).toEqual(before)
})
