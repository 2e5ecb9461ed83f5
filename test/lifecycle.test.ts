import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketLifecycleCommand,
  DeleteObjectCommand,
  GetBucketLifecycleConfigurationCommand,
  HeadObjectCommand,
  type LifecycleRule,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { versionId } from '../src/model/content/refs.js'
import { expireCurrent } from '../src/model/lifecycle/expiry.js'
import { ORPHAN_AGE_MS } from '../src/model/upkeep/orphans.js'
import { deletedPart } from '../src/model/uploads/tables.js'
import { plainVersion } from '../src/model/versions/record.js'
import { startTestNode, type TestNode } from './support/test-node.js'

/** The length of a day for the rules, in ms. */
const DAY_MS = 1000

let node: TestNode
let s3: S3Client
let buckets = 0

beforeAll(async () => {
  node = await startTestNode({ lifecycleDaySeconds: DAY_MS / 1000 })
  s3 = node.client(await node.createKey('lifecycle'))
})

afterAll(() => node?.dispose())

async function createBucket(options: { versioned?: boolean } = {}): Promise<string> {
  const Bucket = `lifecycle-${++buckets}`
  await s3.send(new CreateBucketCommand({ Bucket }))
  if (options.versioned) await setVersioning(Bucket, 'Enabled')
  return Bucket
}

const setVersioning = (Bucket: string, Status: 'Enabled' | 'Suspended') =>
  s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status } }))
const bucketOf = (name: string) => node.core.model.buckets.localByName(name, undefined)!
const put = (Bucket: string, Key: string, Body = 'x') => s3.send(new PutObjectCommand({ Bucket, Key, Body }))
const keys = async (Bucket: string) =>
  ((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents ?? []).map((c) => c.Key)
const versions = async (Bucket: string) => {
  const listed = await s3.send(new ListObjectVersionsCommand({ Bucket }))
  return { objects: listed.Versions ?? [], markers: listed.DeleteMarkers ?? [] }
}
const setRules = (Bucket: string, ...rules: Partial<LifecycleRule>[]) =>
  s3.send(
    new PutBucketLifecycleConfigurationCommand({
      Bucket,
      LifecycleConfiguration: {
        Rules: rules.map((rule, i) => ({ ID: `r${i}`, Status: 'Enabled', Filter: {}, ...rule })),
      },
    }),
  )

/** Applies all rules once `days` days are over from now on. */
async function afterDays(days: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, days * DAY_MS + 5))
  await node.core.model.lifecycle.runNow()
}

test('rules come back as they were put, and deletion ends them', async () => {
  const Bucket = await createBucket()
  const Rules: LifecycleRule[] = [
    { ID: 'a', Status: 'Enabled', Prefix: 'old/', Expiration: { Days: 30 } },
    {
      ID: 'b',
      Status: 'Disabled',
      Filter: { And: { Prefix: 'p', Tags: [{ Key: 'k', Value: 'v' }], ObjectSizeGreaterThan: 5 } },
      NoncurrentVersionExpiration: { NoncurrentDays: 1, NewerNoncurrentVersions: 2 },
    },
    { ID: 'c', Status: 'Enabled', Filter: {}, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } },
  ]
  const get = () => s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))
  await expect(get()).rejects.toMatchObject({ name: 'NoSuchLifecycleConfiguration' })
  await s3.send(new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration: { Rules } }))
  expect((await get()).Rules).toEqual(Rules)
  await s3.send(new DeleteBucketLifecycleCommand({ Bucket }))
  await expect(get()).rejects.toMatchObject({ name: 'NoSuchLifecycleConfiguration' })
})

test('answers tell when a rule ends an object', async () => {
  const Bucket = await createBucket()
  await setRules(Bucket, { ID: 'a rule', Filter: { Prefix: 'tmp/' }, Expiration: { Days: 1 } })
  const written = await put(Bucket, 'tmp/a')
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'tmp/a' }))
  const [, date, rule] = /^expiry-date="([^"]+)", rule-id="([^"]+)"$/.exec(head.Expiration!)!
  // The header counts days of 24 hours, whatever the rules count in here, and names a midnight.
  expect(new Date(date!).getTime() % (24 * 3600_000)).toBe(0)
  expect(rule).toBe('a%20rule')
  expect(written.Expiration).toBe(head.Expiration)
  await put(Bucket, 'other')
  expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'other' }))).Expiration).toBeUndefined()
})

test('objects expire by prefix and size, others stay', async () => {
  const Bucket = await createBucket()
  await setRules(
    Bucket,
    { Filter: { Prefix: 'tmp/' }, Expiration: { Days: 1 } },
    { Filter: { ObjectSizeGreaterThan: 10 }, Expiration: { Days: 1 } },
    { Filter: { Prefix: 'later/' }, Expiration: { Days: 99 } },
    { Filter: { Prefix: 'past/' }, Expiration: { Date: new Date('2020-01-01T00:00:00Z') } },
  )
  for (const key of ['tmp/a', 'past/a', 'later/a', 'keep']) await put(Bucket, key)
  await put(Bucket, 'large', 'x'.repeat(70_000))
  await afterDays(0)
  expect(await keys(Bucket)).toEqual(['keep', 'large', 'later/a', 'tmp/a'])
  await afterDays(1)
  expect(await keys(Bucket)).toEqual(['keep', 'later/a'])
})

test('more keys than one step looks at', async () => {
  const Bucket = await createBucket()
  await setRules(Bucket, { Filter: { Prefix: 'b' }, Expiration: { Days: 1 } })
  const names = Array.from({ length: 300 }, (_, i) => `${'ab'[i % 2]}${String(i).padStart(4, '0')}`)
  await Promise.all(names.map((name) => put(Bucket, name)))
  await afterDays(1)
  expect(await keys(Bucket)).toEqual(names.filter((name) => name.startsWith('a')))
})

test('with versioning, expiry hides the object behind a delete marker, once', async () => {
  const Bucket = await createBucket({ versioned: true })
  await setRules(Bucket, { Expiration: { Days: 1 } })
  await put(Bucket, 'a')
  await afterDays(1)
  await node.core.model.lifecycle.runNow()
  const { objects, markers } = await versions(Bucket)
  expect(objects).toHaveLength(1)
  expect(markers).toHaveLength(1)
  expect(markers[0]!.IsLatest).toBe(true)
  // Last-Modified is the time when the object expired.
  expect(markers[0]!.LastModified!.getTime()).toBeGreaterThanOrEqual(objects[0]!.LastModified!.getTime())
})

test('with versioning suspended, the null version gives way to a null marker', async () => {
  const Bucket = await createBucket({ versioned: true })
  await put(Bucket, 'a')
  await setVersioning(Bucket, 'Suspended')
  await put(Bucket, 'a')
  await setRules(Bucket, { Expiration: { Days: 1 } })
  await afterDays(1)
  const { objects, markers } = await versions(Bucket)
  expect(objects.map((o) => o.VersionId)).not.toContain('null')
  expect(objects).toHaveLength(1)
  expect(markers).toMatchObject([{ VersionId: 'null', IsLatest: true }])
})

test('noncurrent versions go after their days; the newest few may stay', async () => {
  const Bucket = await createBucket({ versioned: true })
  const ids: string[] = []
  for (let i = 0; i < 5; i++) ids.unshift((await put(Bucket, 'a', `${i}`)).VersionId!)
  await put(Bucket, 'b')
  await setRules(Bucket, {
    NoncurrentVersionExpiration: { NoncurrentDays: 1, NewerNoncurrentVersions: 2 },
  })
  await afterDays(1)
  expect((await versions(Bucket)).objects.map((o) => o.VersionId).slice(0, 3)).toEqual(ids.slice(0, 3))
  expect((await versions(Bucket)).objects).toHaveLength(4)
  await setRules(Bucket, { NoncurrentVersionExpiration: { NoncurrentDays: 1 } })
  await afterDays(0)
  expect((await versions(Bucket)).objects.map((o) => o.Key)).toEqual(['a', 'b'])
})

test('a null version between others is judged by its own age', async () => {
  const Bucket = await createBucket()
  await put(Bucket, 'a', 'null version')
  await setVersioning(Bucket, 'Enabled')
  await put(Bucket, 'a', 'newer')
  await afterDays(1)
  const newest = await put(Bucket, 'a', 'newest')
  // The null version has been noncurrent for a day, the one after it for a moment.
  await setRules(Bucket, { NoncurrentVersionExpiration: { NoncurrentDays: 1 } })
  await afterDays(0)
  const left = (await versions(Bucket)).objects
  expect(left).toHaveLength(2)
  expect(left[0]!.VersionId).toBe(newest.VersionId)
  expect(left.map((o) => o.VersionId)).not.toContain('null')
})

test('delete markers that hide nothing are taken away', async () => {
  const Bucket = await createBucket({ versioned: true })
  const { VersionId } = await put(Bucket, 'a')
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'a' }))
  await setRules(Bucket, { Expiration: { ExpiredObjectDeleteMarker: true } })
  await afterDays(0)
  expect((await versions(Bucket)).markers).toHaveLength(1)
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'a', VersionId }))
  await afterDays(0)
  expect(await versions(Bucket)).toEqual({ objects: [], markers: [] })
})

test('locked versions stay until the lock ends', async () => {
  const Bucket = await createBucket({ versioned: true })
  const { objects } = node.core.model
  const { id } = bucketOf(Bucket)
  const held = Buffer.from((await put(Bucket, 'held')).VersionId!, 'hex')
  const kept = Buffer.from((await put(Bucket, 'kept')).VersionId!, 'hex')
  const untilMs = Date.now() + 3 * DAY_MS
  await objects.update(id, Buffer.from('held'), held, () => ({ legalHold: true }))
  await objects.update(id, Buffer.from('kept'), kept, () => ({
    retention: { mode: 'COMPLIANCE', untilMs },
  }))
  for (const key of ['held', 'kept', 'free']) await put(Bucket, key)
  await put(Bucket, 'free')
  await setRules(Bucket, { NoncurrentVersionExpiration: { NoncurrentDays: 1 } })
  await afterDays(1)
  expect((await versions(Bucket)).objects.map((o) => o.Key)).toEqual(['free', 'held', 'held', 'kept', 'kept'])
  await afterDays(2)
  expect((await versions(Bucket)).objects.map((o) => o.Key)).toEqual(['free', 'held', 'held', 'kept'])
})

test('uploads that nobody completes are ended', async () => {
  const Bucket = await createBucket()
  await setRules(Bucket, {
    Filter: { Prefix: 'a' },
    AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 },
  })
  for (const Key of ['a1', 'a2', 'b']) await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const uploads = async () =>
    ((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? []).map((u) => u.Key)
  await afterDays(0)
  expect(await uploads()).toEqual(['a1', 'a2', 'b'])
  await afterDays(1)
  expect(await uploads()).toEqual(['b'])
})

test.each(['off', 'enabled', 'suspended'] as const)(
  'a write that comes after the judgement wins over the expiry (versioning %s)',
  async (versioning) => {
    const Bucket = await createBucket({ versioned: versioning !== 'off' })
    if (versioning === 'suspended') await setVersioning(Bucket, 'Suspended')
    await put(Bucket, 'a', 'judged')
    const { tables, objects } = node.core.model
    const { id } = bucketOf(Bucket)
    const judged = (await tables.object.get(id, Buffer.from('a')))!
    await put(Bucket, 'a', 'written meanwhile')
    const { hlc, random } = node.core.parts
    const deps = { objects: tables.object, versions: tables.version, hlc, random }
    expect(await expireCurrent(deps, judged, versioning)).toBe(false)
    expect((await objects.get(id, Buffer.from('a')))?.body?.toString()).toBe('written meanwhile')
    expect((await versions(Bucket)).markers).toEqual([])
  },
)

test('rows that nothing refers to are deleted once they are old, others are not', async () => {
  const Bucket = await createBucket()
  const { tables, orphans, uploads } = node.core.model
  const { id: bucket } = bucketOf(Bucket)
  const { random } = node.core.parts
  const idAt = (ms: number) => versionId(ms * 1000, random.bytes(8))
  const old = Date.now() - ORPHAN_AGE_MS - 60_000
  const key = Buffer.from('a')
  const list = (owner: Buffer) => ({
    ...{ bucket, owner, key, index: 0, kind: 'blocks' as const },
    deleted: false,
    data: Buffer.alloc(36),
  })
  await put(Bucket, 'a')
  // Insert a row of the same key with an id as if it had been written long ago.
  const row = (await tables.object.get(bucket, key))!
  const owned = idAt(old)
  await tables.object.insert({ ...plainVersion(row), id: owned, timeUs: row.timeUs + 1 })
  const [orphan, young] = [idAt(old), idAt(Date.now())]
  await tables.list.insertMany([list(owned), list(orphan), list(young)])

  const headers = { headers: {}, metadata: {}, mutable: {}, owner: '' }
  const upload = await uploads.create({ bucket, key, ...headers })
  const part = (uploadId: Buffer, id: Buffer) => ({
    ...{ bucket, key, uploadId, id, number: 1, timeUs: old * 1000, size: 0, etag: Buffer.alloc(16, 1) },
    deleted: false,
    content: { kind: 'none' as const },
  })
  await tables.part.insert(part(upload.id, idAt(old)))
  const gone = idAt(old)
  const orphanedPart = part(gone, idAt(old))
  await tables.part.insert(orphanedPart)

  await orphans.runNow()
  const left = [...tables.list.local.range(node.db, bucket, {})].filter((r) => !r.deleted)
  expect(left.map((r) => r.owner.toString('hex')).sort()).toEqual(
    [owned, young].map((o) => o.toString('hex')).sort(),
  )
  const parts = [...tables.part.local.range(node.db, bucket, {})].filter((r) => !r.deleted)
  expect(parts.map((r) => r.uploadId.toString('hex'))).toEqual([upload.id.toString('hex')])
  expect(orphans.counts).toEqual({ lists: 1, parts: 1 })
  // As the end of the upload would have left it on another replica.
  const sortKey = Buffer.from(tables.part.schema.sortKey(orphanedPart))
  expect(tables.part.local.get(node.db, bucket, sortKey)).toEqual(deletedPart(orphanedPart))
})
