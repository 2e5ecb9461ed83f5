/** A version that became current again is in both tables of objects, and counted once. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type BucketCounts, NO_COUNTS, readCounts, setCounts } from '../src/model/buckets/counters.js'
import { recountBuckets } from '../src/model/buckets/recount.js'
import { COUNTED_ONCE_TREE } from '../src/model/versions/counting.js'
import { AdminCluster, contentOf } from './admin-nodes.js'

const cluster = new AdminCluster(1)
beforeAll(async () => {
  await cluster.start()
  await cluster.layOut()
})
afterAll(() => cluster.stop())

const model = () => cluster.nodes[0]!.core.model

/** A bucket with versions, and what may be done to a key of it. */
async function versionedBucket(name: string) {
  const { bucket } = await cluster.newBucket(name)
  const { buckets } = model()
  await cluster.run(buckets.setDocument(bucket(), 'versioning', 'enabled'))
  const { id } = bucket()
  const key = Buffer.from('k')
  return {
    id,
    counts: (): BucketCounts => readCounts(cluster.nodes[0]!.db, id),
    put: (bytes: number) => cluster.putObject(bucket(), 'k', contentOf(`${name} ${bytes}`, bytes)),
    mark: () => cluster.run(model().objects.delete(id, key, '', bucket().versioning)),
    deleteVersion: (version: { id: Buffer } | 'null') =>
      cluster.run(model().objects.deleteVersion(id, key, version === 'null' ? version : version.id)),
    suspend: () => cluster.run(buckets.setDocument(bucket(), 'versioning', 'suspended')),
  }
}

async function expectRecounted(counts: BucketCounts, bucket: { counts(): BucketCounts }) {
  expect(bucket.counts()).toEqual(counts)
  expect(await cluster.run(recountBuckets(cluster.nodes[0]!.db))).toMatchObject({ corrected: [] })
  expect(bucket.counts()).toEqual(counts)
}

describe('a version that became current again', () => {
  it('is counted as the current one alone, and as a noncurrent one when it is replaced', async () => {
    const bucket = await versionedBucket('again')
    const first = await bucket.put(400)
    const second = await bucket.put(500)
    await bucket.deleteVersion(second)
    await expectRecounted({ ...NO_COUNTS, objects: 1, bytes: 400 }, bucket)
    const third = await bucket.put(7)
    await expectRecounted({ ...NO_COUNTS, objects: 1, noncurrent: 1, bytes: 407 }, bucket)
    await bucket.deleteVersion(third)
    await expectRecounted({ ...NO_COUNTS, objects: 1, bytes: 400 }, bucket)
    await bucket.deleteVersion(first)
    await expectRecounted(NO_COUNTS, bucket)
  })

  it('is counted so also where it is the null version', async () => {
    const bucket = await versionedBucket('null')
    await bucket.suspend()
    await bucket.put(400)
    await cluster.run(model().buckets.setDocument(model().buckets.byId(bucket.id)!, 'versioning', 'enabled'))
    const second = await bucket.put(500)
    await bucket.deleteVersion(second)
    await expectRecounted({ ...NO_COUNTS, objects: 1, bytes: 400 }, bucket)
    await bucket.suspend()
    await bucket.put(9)
    await expectRecounted({ ...NO_COUNTS, objects: 1, bytes: 9 }, bucket)
    await bucket.deleteVersion('null')
    await expectRecounted(NO_COUNTS, bucket)
  })

  it('is counted so also where it is a delete marker', async () => {
    const bucket = await versionedBucket('marked')
    await bucket.put(400)
    await bucket.mark()
    const next = await bucket.put(500)
    await bucket.deleteVersion(next)
    await expectRecounted({ ...NO_COUNTS, markers: 1, noncurrent: 1, bytes: 400 }, bucket)
    await bucket.put(3)
    await expectRecounted({ ...NO_COUNTS, objects: 1, noncurrent: 2, bytes: 403 }, bucket)
  })
})

describe('a store whose earlier release counted such versions twice', () => {
  /** Makes it one where that release ran until now. */
  async function asBefore(bucket: Awaited<ReturnType<typeof versionedBucket>>, twice: Partial<BucketCounts>) {
    const { db } = cluster.nodes[0]!
    const right = bucket.counts()
    const wrong = { ...right }
    for (const name of Object.keys(twice) as (keyof BucketCounts)[]) wrong[name] += twice[name]!
    await cluster.run(
      db.transact((tx) => {
        for (const key of [...tx.keys(COUNTED_ONCE_TREE)]) tx.delete(COUNTED_ONCE_TREE, key)
        setCounts(tx, bucket.id, wrong)
      }),
    )
    return right
  }

  it('counts them once soon after it was started, and later changes as well', async () => {
    const bucket = await versionedBucket('of-before')
    for (let i = 0; i < 300; i++) await bucket.put(1)
    await bucket.deleteVersion(await bucket.put(500))
    const right = await asBefore(bucket, { noncurrent: 1, bytes: 1 })
    expect(bucket.counts()).not.toEqual(right)
    const { core } = await cluster.restart(0)
    await cluster.clock.until(() => core.cluster.layout.layoutVersion === 1, 10_000)
    await cluster.clock.until(() => bucket.counts().bytes === right.bytes, 10_000)
    await expectRecounted(right, bucket)
    await bucket.put(7)
    await expectRecounted({ ...right, noncurrent: right.noncurrent + 1, bytes: right.bytes + 7 }, bucket)
  })

  it('never counts them less than once if they are replaced or deleted before', async () => {
    const bucket = await versionedBucket('changed')
    const first = await bucket.put(400)
    await bucket.deleteVersion(await bucket.put(500))
    await asBefore(bucket, { noncurrent: 1, bytes: 400 })
    await bucket.put(7)
    await expectRecounted({ ...NO_COUNTS, objects: 1, noncurrent: 1, bytes: 407 }, bucket)
    await bucket.deleteVersion(first)
    await expectRecounted({ ...NO_COUNTS, objects: 1, bytes: 7 }, bucket)
  })

  it('is mended by a recount, too', async () => {
    const bucket = await versionedBucket('recounted')
    await bucket.put(400)
    await bucket.deleteVersion(await bucket.put(500))
    const right = await asBefore(bucket, { noncurrent: 1, bytes: 400 })
    const { corrected } = await cluster.run(recountBuckets(cluster.nodes[0]!.db))
    expect(corrected).toEqual([bucket.id.toString('hex')])
    expect(bucket.counts()).toEqual(right)
    await bucket.put(7)
    await expectRecounted({ ...right, noncurrent: 1, bytes: 407 }, bucket)
  })
})
