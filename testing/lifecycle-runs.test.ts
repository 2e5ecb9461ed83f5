import { describe, expect, test } from 'vitest'
import { replicaOrder } from '../src/cluster/partition-leader.js'
import type { Bucket } from '../src/model/buckets/buckets.js'
import type { Versioning } from '../src/model/buckets/documents.js'
import { NONCE_BYTES, versionId } from '../src/model/content/refs.js'
import type { LifecycleRule } from '../src/model/lifecycle/rules.js'
import type { Model } from '../src/model/model.js'
import { bucketPartition } from '../src/model/sort-keys.js'
import { plainVersion, type VersionRecord } from '../src/model/versions/record.js'
import { tombstoneOf } from '../src/model/versions/tables.js'
import { CarportError } from '../src/util/errors.js'
import { SeededRandom } from './seeded-random.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { cut, onCluster, put } from './sim-histories.js'

const DAY_MS = 86_400_000
const ONE_NODE = { nodes: 1, zones: 1, replicationFactor: 1 }
const ALL = { id: 'all', enabled: true, filter: {}, form: 'filter' } as const
const EXPIRE: LifecycleRule = { ...ALL, expiration: { dateMs: 0 } }
const AFTER_A_DAY: LifecycleRule = { ...ALL, noncurrent: { days: 1 } }

async function bucketWith(
  { model }: { model: Model },
  versioning: Versioning,
  rule: LifecycleRule,
): Promise<Bucket> {
  const { id } = await model.buckets.create('lively')
  const bucket = () => model.buckets.byId(id)!
  if (versioning !== 'off') await model.buckets.setDocument(bucket(), 'versioning', versioning)
  await model.buckets.setDocument(bucket(), 'lifecycle', [rule])
  return bucket()
}

/** Gives a key so many noncurrent versions, each a second older than the one before it, the newest of two days ago. */
async function addOldVersions(
  { core, machine }: SimNode,
  current: VersionRecord,
  count: number,
  mutable: (age: number) => VersionRecord['mutable'] = () => ({}),
): Promise<void> {
  const random = new SeededRandom('versions')
  const { version } = core!.model.tables
  const newestUs = (machine.platform!.clock.nowMs() - 2 * DAY_MS) * 1000
  for (let from = 0; from < count; from += 500) {
    const rows = Array.from({ length: Math.min(500, count - from) }, (_, i) => {
      const timeUs = Math.floor(newestUs - (from + i) * 1e6)
      const id = versionId(timeUs, random.bytes(NONCE_BYTES))
      return { ...plainVersion(current), id, timeUs, createdUs: timeUs, mutable: mutable(from + i) }
    })
    await version.insertMany(rows)
  }
}

async function noncurrentOf({ core }: SimNode, { bucket, key }: VersionRecord): Promise<VersionRecord[]> {
  const { objects } = core!.model
  const current = await objects.get(bucket, key, undefined, { body: false })
  return (await objects.noncurrent.list(bucket, key, current, { limit: 10_000 })).versions
}

/** Wraps functions so that `during` is called before the `nth` call of them all, which then waits for it, as all later ones do. */
function hookedBefore(nth: number, during: () => Promise<unknown>) {
  let count = 0
  let change: Promise<unknown> | undefined
  return <A extends unknown[], T>(act: (...args: A) => Promise<T>) =>
    async (...args: A): Promise<T> => {
      if (++count === nth) change = during()
      await change
      return act(...args)
    }
}

/** Lets `during` happen before a run reads for the `nth` time what it judges. */
function beforeNth(nth: number, { objects, tables }: Model, during: () => Promise<unknown>): void {
  const hooked = hookedBefore(nth, during)
  tables.object.get = hooked(tables.object.get.bind(tables.object))
  objects.get = hooked(objects.get.bind(objects))
}

describe('what is acknowledged while a run is under way counts from then on', () => {
  const KEYS = 300
  const onBucket = (
    versioning: Versioning,
    rule: LifecycleRule,
    work: (made: { cluster: SimCluster; node: SimNode; model: Model; bucket: Bucket }) => Promise<void>,
  ) =>
    onCluster(ONE_NODE, async (cluster) => {
      const [node] = cluster.nodes as [SimNode]
      const { model } = node.core!
      const bucket = await bucketWith(node.core!, versioning, rule)
      await work({ cluster, node, model, bucket })
    })

  const fill = async (node: SimNode, bucket: Bucket) => {
    for (let i = 0; i < KEYS; i++) await put(node, bucket.id, `key${i}`, 'x', bucket.versioning)
  }
  const states = async ({ model, bucket }: { model: Model; bucket: Bucket }) => {
    const counts = { object: 0, marker: 0, tombstone: 0 }
    for (let i = 0; i < KEYS; i++)
      counts[(await model.tables.object.get(bucket.id, Buffer.from(`key${i}`)))!.state]++
    return counts
  }

  test.each(['lifecycle', 'shadow'] as const)(
    'objects stay once the rules do not count any more (%s)',
    (name) =>
      onBucket('off', EXPIRE, async ({ node, model, bucket }) => {
        await fill(node, bucket)
        beforeNth(20, model, () =>
          name === 'lifecycle'
            ? model.buckets.setDocument(bucket, 'lifecycle', undefined)
            : model.buckets.setDocument(bucket, 'shadow', {} as never),
        )
        await model.lifecycle.runNow()
        expect(model.lifecycle.status().expired).toBeGreaterThan(10)
        expect((await states({ model, bucket })).object).toBeGreaterThan(KEYS - 30)
      }),
  )

  test('objects go behind a delete marker once the bucket keeps versions', () =>
    onBucket('off', EXPIRE, async ({ node, model, bucket }) => {
      await fill(node, bucket)
      beforeNth(20, model, () => model.buckets.setDocument(bucket, 'versioning', 'enabled'))
      await model.lifecycle.runNow()
      const { object, marker, tombstone } = await states({ model, bucket })
      expect(object).toBe(0)
      expect(tombstone).toBeLessThan(30)
      expect(marker).toBe(KEYS - tombstone)
    }))

  test('noncurrent versions stay once the rule is gone', () =>
    onBucket('enabled', AFTER_A_DAY, async ({ node, model, bucket }) => {
      const current = await put(node, bucket.id, 'key', 'x', 'enabled')
      await addOldVersions(node, current, KEYS)
      beforeNth(60, model, () => model.buckets.setDocument(bucket, 'lifecycle', undefined))
      await model.lifecycle.runNow()
      expect(model.lifecycle.status().deletedVersions).toBeGreaterThan(5)
      expect((await noncurrentOf(node, current)).length).toBeGreaterThan(KEYS - 60)
    }))

  test('uploads stay once the rule is gone', () =>
    onBucket('off', { ...ALL, abortUploadDays: 1 }, async ({ node, model, bucket }) => {
      const { clock, db } = node.machine.platform!
      const { uploads, tables } = model
      const headers = { headers: {}, metadata: {}, mutable: {}, owner: '' }
      const upload = await uploads.create({ bucket: bucket.id, key: Buffer.from('key'), ...headers })
      const random = new SeededRandom('uploads')
      const timeUs = Math.floor(clock.nowMs() - 3 * DAY_MS) * 1000
      const old = () => ({ ...upload, timeUs, id: versionId(timeUs, random.bytes(NONCE_BYTES)) })
      await tables.upload.insertMany(Array.from({ length: KEYS }, old))
      const get = hookedBefore(20, () => model.buckets.setDocument(bucket, 'lifecycle', undefined))
      uploads.get = get(uploads.get.bind(uploads))
      await model.lifecycle.runNow()
      const left = [...tables.upload.local.range(db, bucket.id, {})].filter(({ deleted }) => !deleted)
      expect(left.length).toBeGreaterThan(KEYS - 30)
      expect(left.length).toBeLessThan(KEYS - 5)
    }))

  test('the bucket is read from a majority before anything goes', () =>
    onCluster({}, async (c) => {
      const [a] = c.nodes as [SimNode]
      const bucket = await bucketWith(a.core!, 'off', EXPIRE)
      await c.clock.sleep(1000)
      const [first] = replicaOrder(a.core!.cluster.layout, bucketPartition(bucket.id))
      const leader = c.nodes.find(({ id }) => id === first)!
      const other = c.nodes.find((node) => node !== leader)!
      await put(other, bucket.id, 'key', 'x')
      const heal = cut(
        c,
        [leader],
        c.nodes.filter((node) => node !== leader),
      )
      await other.core!.model.buckets.setDocument(bucket, 'versioning', 'enabled')
      heal()
      await leader.core!.model.lifecycle.runNow()
      const row = await other.core!.model.tables.object.get(bucket.id, Buffer.from('key'))
      expect(row?.state).toBe('marker')
    }))
})

describe('a key with very many noncurrent versions', () => {
  const onKey = (rule: LifecycleRule, work: (node: SimNode, current: VersionRecord) => Promise<void>) =>
    onCluster(ONE_NODE, async (c) => {
      const [node] = c.nodes as [SimNode]
      const { id } = await bucketWith(node.core!, 'enabled', rule)
      await work(node, await put(node, id, 'key', 'x', 'enabled'))
    })

  test('one run deletes all that are due, and the newest of them stays, which is noncurrent since a moment', () =>
    onKey(AFTER_A_DAY, async (node, current) => {
      await addOldVersions(node, current, 3000)
      const { lifecycle } = node.core!.model
      await lifecycle.runNow()
      expect(lifecycle.status().deletedVersions).toBe(2999)
      expect(await noncurrentOf(node, current)).toHaveLength(1)
    }))

  test('old ones go though there are many newer ones that are locked', () =>
    onKey(AFTER_A_DAY, async (node, current) => {
      await addOldVersions(node, current, 1420, (age) => (age < 1400 ? { legalHold: [1, true] } : {}))
      await node.core!.model.lifecycle.runNow()
      expect(node.core!.model.lifecycle.status().deletedVersions).toBe(20)
    }))

  test('a run that fails in the middle of it goes on, and keeps the newest ones that the rule names', () =>
    onKey({ ...ALL, noncurrent: { days: 1, newerVersions: 5 } }, async (node, current) => {
      await addOldVersions(node, current, 1000)
      const { lifecycle, buckets } = node.core!.model
      const refresh = buckets.refresh.bind(buckets)
      let calls = 0
      buckets.refresh = async (id) => {
        if (++calls === 3) throw new CarportError('QuorumUnavailable', 'for a moment')
        return refresh(id)
      }
      await lifecycle.runNow().catch((error: CarportError) => expect(error.code).toBe('QuorumUnavailable'))
      expect(lifecycle.status().deletedVersions).toBeLessThan(995)
      await lifecycle.runNow()
      expect(lifecycle.status().deletedVersions).toBe(995)
      expect(await noncurrentOf(node, current)).toHaveLength(5)
    }))
})

test('the newest noncurrent versions that a rule keeps are counted by a quorum', () =>
  onCluster(ONE_NODE, async (c) => {
    const [node] = c.nodes as [SimNode]
    const { model } = node.core!
    const { id } = await bucketWith(node.core!, 'enabled', {
      ...ALL,
      noncurrent: { days: 1, newerVersions: 5 },
    })
    const current = await put(node, id, 'key', 'x', 'enabled')
    await addOldVersions(node, current, 10)
    const before = await noncurrentOf(node, current)
    const gone = before.slice(0, 3).map((row) => tombstoneOf(row, row.id))
    beforeNth(1, model, () => model.tables.version.insertMany(gone))
    await model.lifecycle.runNow()
    expect((await noncurrentOf(node, current)).map(({ id }) => id)).toEqual(
      before.slice(3, 8).map(({ id }) => id),
    )
  }))
