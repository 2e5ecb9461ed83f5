import { randomBytes } from 'node:crypto'
import {
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { blockOwner } from '../src/model/content/refs.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'versions'
let node: TestNode
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('versioning'))
  await s3.send(new CreateBucketCommand({ Bucket }))
  await setVersioning(Bucket, 'Enabled')
})

afterAll(() => node?.dispose())

const setVersioning = (bucket: string, Status: 'Enabled' | 'Suspended') =>
  s3.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status } }))
async function newBucket(name: string, status?: 'Enabled' | 'Suspended'): Promise<string> {
  await s3.send(new CreateBucketCommand({ Bucket: name }))
  if (status) await setVersioning(name, status)
  return name
}
const put = async (Key: string, Body: string | Buffer, bucket = Bucket) =>
  (await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body }))).VersionId
const get = (Key: string, VersionId?: string, bucket = Bucket) =>
  s3.send(new GetObjectCommand({ Bucket: bucket, Key, VersionId }))
const text = async (Key: string, VersionId?: string, bucket = Bucket) =>
  (await get(Key, VersionId, bucket)).Body!.transformToString()
const remove = (Key: string, VersionId?: string, bucket = Bucket) =>
  s3.send(new DeleteObjectCommand({ Bucket: bucket, Key, VersionId }))

/** Versions and delete markers of a key, newest first: "id" or "id (marker)", the latest with "*". */
async function versionsOf(Key: string, bucket = Bucket): Promise<string[]> {
  const listed = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket, Prefix: Key }))
  const all = [
    ...(listed.Versions ?? []).map((v) => ({ ...v, marker: '' })),
    ...(listed.DeleteMarkers ?? []).map((v) => ({ ...v, marker: ' (marker)' })),
  ]
  return all
    .filter((v) => v.Key === Key)
    .sort((a, b) => Number(b.IsLatest) - Number(a.IsLatest) || +b.LastModified! - +a.LastModified!)
    .map((v) => `${v.VersionId}${v.marker}${v.IsLatest ? '*' : ''}`)
}

test('every write makes a version, which can be read, copied and deleted by its id', async () => {
  const ids = [await put('a', 'one'), await put('a', 'two'), await put('a', 'three')] as string[]
  expect(new Set(ids).size).toBe(3)
  expect(await versionsOf('a')).toEqual([`${ids[2]}*`, ids[1], ids[0]])
  expect(await text('a')).toBe('three')
  expect(await text('a', ids[0])).toBe('one')
  const copied = await s3.send(
    new CopyObjectCommand({ Bucket, Key: 'a/copy', CopySource: `${Bucket}/a?versionId=${ids[1]}` }),
  )
  expect(copied.CopySourceVersionId).toBe(ids[1])
  expect(await text('a/copy')).toBe('two')
  const upload = { Bucket, Key: 'a/part' }
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand(upload))
  const part = await s3.send(
    new UploadPartCopyCommand({
      ...{ ...upload, UploadId, PartNumber: 1 },
      CopySource: `${Bucket}/a?versionId=${ids[0]}`,
    }),
  )
  expect(part.CopySourceVersionId).toBe(ids[0])
  expect(part.CopyPartResult?.ETag).toBe((await get('a', ids[0])).ETag)
  await remove('a', ids[1])
  expect(await versionsOf('a')).toEqual([`${ids[2]}*`, ids[0]])
  await expect(get('a', ids[1])).rejects.toMatchObject({ name: 'NoSuchVersion' })
})

test('when the current version is deleted, the one before is current again, with its content', async () => {
  const bodies = [randomBytes(10), randomBytes(3_000_000), randomBytes(100_000)]
  const ids: string[] = []
  for (const body of bodies) ids.push((await put('b', body))!)
  for (let i = bodies.length - 1; i >= 0; i--) {
    const current = await get('b')
    expect(current.VersionId).toBe(ids[i])
    expect(Buffer.from(await current.Body!.transformToByteArray()).equals(bodies[i]!)).toBe(true)
    await remove('b', ids[i])
  }
  await expect(get('b')).rejects.toMatchObject({ name: 'NoSuchKey' })
  expect(await versionsOf('b')).toEqual([])
})

test('a delete marker hides the key, and taking it away shows it again', async () => {
  const id = await put('c', 'x')
  const marker = await remove('c')
  expect(marker).toMatchObject({ DeleteMarker: true })
  await expect(get('c')).rejects.toMatchObject({ name: 'NoSuchKey' })
  await expect(get('c', marker.VersionId)).rejects.toMatchObject({ name: 'MethodNotAllowed' })
  expect(await versionsOf('c')).toEqual([`${marker.VersionId} (marker)*`, id])
  const listed = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'c' }))
  expect(listed.KeyCount).toBe(0)
  const again = await remove('c', marker.VersionId)
  expect(again).toMatchObject({ DeleteMarker: true, VersionId: marker.VersionId })
  expect(await text('c')).toBe('x')
})

test('DeleteObjects deletes versions, makes markers, and tells of both', async () => {
  const ids = [await put('d', '1'), await put('d', '2'), await put('e', '1')] as string[]
  const { Deleted, Errors } = await s3.send(
    new DeleteObjectsCommand({
      Bucket,
      Delete: {
        Objects: [
          { Key: 'd', VersionId: ids[0] },
          { Key: 'e' },
          { Key: 'd', VersionId: 'nonsense' },
          { Key: 'never' },
        ],
      },
    }),
  )
  expect(Errors).toMatchObject([{ Key: 'd', VersionId: 'nonsense' }])
  expect(Deleted).toContainEqual({ Key: 'd', VersionId: ids[0] })
  const marker = Deleted!.find((d) => d.Key === 'e')!
  expect(marker.DeleteMarker).toBe(true)
  expect(await versionsOf('e')).toEqual([`${marker.DeleteMarkerVersionId} (marker)*`, ids[2]])
  expect(await versionsOf('d')).toEqual([`${ids[1]}*`])
  const gone = await s3.send(
    new DeleteObjectsCommand({
      Bucket,
      Delete: { Objects: [{ Key: 'e', VersionId: marker.DeleteMarkerVersionId! }] },
    }),
  )
  expect(gone.Deleted).toEqual([
    {
      Key: 'e',
      VersionId: marker.DeleteMarkerVersionId,
      DeleteMarker: true,
      DeleteMarkerVersionId: marker.DeleteMarkerVersionId,
    },
  ])
  expect(await text('e')).toBe('1')
})

test('conditional reads look at the version that is named', async () => {
  const [one, two] = [await put('f', 'one'), await put('f', 'two')]
  const etag = (await get('f', one)).ETag!
  await expect(
    s3.send(new GetObjectCommand({ Bucket, Key: 'f', VersionId: two, IfMatch: etag })),
  ).rejects.toMatchObject({ name: 'PreconditionFailed' })
  const same = await s3.send(new GetObjectCommand({ Bucket, Key: 'f', VersionId: one, IfMatch: etag }))
  expect(same.VersionId).toBe(one)
  await expect(
    s3.send(new HeadObjectCommand({ Bucket, Key: 'f', VersionId: one, IfNoneMatch: etag })),
  ).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } })
  const unmodified: unknown = await s3
    .send(new GetObjectCommand({ Bucket, Key: 'f', IfNoneMatch: '*', ChecksumMode: 'ENABLED' }))
    .catch((error: unknown) => error)
  const { $response } = unmodified as { $response: { headers: Record<string, string> } }
  expect($response.headers.etag).toBeDefined()
  expect(Object.keys($response.headers).filter((name) => name.includes('checksum'))).toEqual([])
})

test('what was there before versioning is the null version', async () => {
  const bucket = await newBucket('versions-null')
  expect(await put('k', 'old', bucket)).toBeUndefined()
  await setVersioning(bucket, 'Enabled')
  expect(await versionsOf('k', bucket)).toEqual(['null*'])
  const id = await put('k', 'new', bucket)
  expect(await versionsOf('k', bucket)).toEqual([`${id}*`, 'null'])
  expect(await text('k', 'null', bucket)).toBe('old')
  await remove('k', id, bucket)
  expect(await text('k', undefined, bucket)).toBe('old')
  expect(await versionsOf('k', bucket)).toEqual(['null*'])
  await remove('k', 'null', bucket)
  expect(await versionsOf('k', bucket)).toEqual([])
})

test('while versioning is suspended, there is one null version or marker, and others stay', async () => {
  const bucket = await newBucket('versions-suspended', 'Enabled')
  const id = await put('k', 'kept', bucket)
  await setVersioning(bucket, 'Suspended')
  expect(await put('k', 'null 1', bucket)).toBeUndefined()
  await put('k', 'null 2', bucket)
  expect(await versionsOf('k', bucket)).toEqual(['null*', id])
  expect((await get('k', undefined, bucket)).VersionId).toBe('null')
  const marker = await remove('k', undefined, bucket)
  expect(marker).toMatchObject({ DeleteMarker: true, VersionId: 'null' })
  expect(await versionsOf('k', bucket)).toEqual(['null (marker)*', id])
  await setVersioning(bucket, 'Enabled')
  const next = await put('k', 'next', bucket)
  expect(await versionsOf('k', bucket)).toEqual([`${next}*`, 'null (marker)', id])
  await setVersioning(bucket, 'Suspended')
  await put('k', 'null 3', bucket)
  expect(await versionsOf('k', bucket)).toEqual(['null*', next, id])
})

test('a null version that is current again keeps its blocks, until it is replaced', async () => {
  const bucket = await newBucket('versions-null-blocks')
  const body = randomBytes(300_000)
  await put('k', body, bucket)
  await setVersioning(bucket, 'Enabled')
  await remove('k', await put('k', 'above', bucket), bucket)
  const { model, blockRefs, blocks } = node.core
  const { id } = (await model.buckets.byName(bucket, undefined))!
  const version = (await model.objects.get(id, Buffer.from('k')))!
  const references = async () => {
    while (blocks.refs.stats().queued > 0) await new Promise((resolve) => setImmediate(resolve))
    const live: boolean[] = []
    for await (const { ref } of model.blobs.blocksOf(id, version.id, version.content)) {
      const row = await blockRefs.get(ref.hash, blockOwner(version.id))
      live.push(row !== undefined && !row.deleted)
    }
    return live
  }
  expect(await references()).toEqual([true])
  const got = await get('k', undefined, bucket)
  expect(Buffer.from(await got.Body!.transformToByteArray()).equals(body)).toBe(true)
  await setVersioning(bucket, 'Suspended')
  await put('k', 'replaced', bucket)
  expect(await versionsOf('k', bucket)).toEqual(['null*'])
  expect(await references()).toEqual([false])
})

test('MFA delete is refused', async () => {
  const bucket = await newBucket('versions-mfa')
  await expect(
    s3.send(
      new PutBucketVersioningCommand({
        Bucket: bucket,
        VersioningConfiguration: { Status: 'Enabled', MFADelete: 'Enabled' },
        MFA: 'serial 123456',
      }),
    ),
  ).rejects.toMatchObject({ name: 'NotImplemented' })
})

/** The expected state of a key in a versioned bucket: its versions and markers, newest first. */
class ExpectedKey {
  versions: { id: string; body: string | undefined }[] = []

  written(id: string, body: string | undefined): void {
    if (id === 'null') this.versions = this.versions.filter((v) => v.id !== 'null')
    this.versions.unshift({ id, body })
  }

  deleted(id: string): void {
    this.versions = this.versions.filter((v) => v.id !== id)
  }
}

test('any history of writes, markers, deletions of versions and suspensions is shown as it was', async () => {
  type Step = { do: 'put' } | { do: 'mark' } | { do: 'switch' } | { do: 'remove'; which: number }
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 4, arbitrary: fc.constant({ do: 'put' as const }) },
    { weight: 2, arbitrary: fc.constant({ do: 'mark' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'switch' as const }) },
    { weight: 4, arbitrary: fc.nat(20).map((which) => ({ do: 'remove' as const, which })) },
  )
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
      const bucket = await newBucket(`history-${run++}`, 'Enabled')
      const expected = new ExpectedKey()
      let status: 'Enabled' | 'Suspended' = 'Enabled'
      for (const [i, next] of steps.entries()) {
        if (next.do === 'switch') {
          status = status === 'Enabled' ? 'Suspended' : 'Enabled'
          await setVersioning(bucket, status)
        } else if (next.do === 'put') {
          expected.written((await put('k', `body ${i}`, bucket)) ?? 'null', `body ${i}`)
        } else if (next.do === 'mark') {
          expected.written((await remove('k', undefined, bucket)).VersionId!, undefined)
        } else if (expected.versions.length > 0) {
          const { id } = expected.versions[next.which % expected.versions.length]!
          await remove('k', id, bucket)
          expected.deleted(id)
        }
        const [latest] = expected.versions
        if (latest?.body === undefined) {
          await expect(get('k', undefined, bucket)).rejects.toMatchObject({ name: 'NoSuchKey' })
        } else expect(await text('k', undefined, bucket)).toBe(latest.body)
      }
      const listed = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket }))
      expect((listed.Versions ?? []).map((v) => v.VersionId)).toEqual(
        expected.versions.filter((v) => v.body !== undefined).map((v) => v.id),
      )
      expect((listed.DeleteMarkers ?? []).map((v) => v.VersionId)).toEqual(
        expected.versions.filter((v) => v.body === undefined).map((v) => v.id),
      )
      for (const { id, body } of expected.versions) {
        if (body !== undefined) expect(await text('k', id, bucket)).toBe(body)
      }
    }),
    { numRuns: 25 },
  )
}, 120_000)
