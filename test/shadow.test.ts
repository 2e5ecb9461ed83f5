/** Shadow buckets: what a bucket does not have yet is read through to another store, and kept. */
import { randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const TOKEN = 'the-admin-token'
const MIB = 1 << 20

let old: TestNode
let node: TestNode
let oldKey: AccessKey
let key: AccessKey
let source: S3Client
let s3: S3Client
let Bucket: string
let id: string
let count = 0
const servers: Server[] = []

beforeAll(async () => {
  ;[old, node] = await Promise.all([startTestNode(), startTestNode({ secrets: { adminToken: TOKEN } })])
  oldKey = await old.createKey('old')
  source = old.client(oldKey)
  key = await node.createKey('app')
  s3 = node.client(key)
})
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})
afterAll(() => Promise.all([old?.dispose(), node?.dispose()]))

async function admin(name: string, body?: object) {
  const answer = await fetch(`http://${node.adminApi!.address}/v2/${name}?id=${id}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${TOKEN}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  // biome-ignore lint/suspicious/noExplicitAny: the answer of any endpoint
  return { status: answer.status, value: JSON.parse(await answer.text()) as any }
}

const shadowOf = (more: object = {}) => ({
  ...{ endpoint: old.endpoint, region: 'us-east-1', bucket: Bucket },
  ...{ accessKeyId: oldKey.id, secretAccessKey: oldKey.secret },
  ...more,
})

/** Makes a bucket of the same name at both ends, of which this one reads through to the other. */
async function shadow(more: object = {}): Promise<void> {
  Bucket = `shadow-${++count}`
  for (const client of [source, s3]) await client.send(new CreateBucketCommand({ Bucket }))
  id = node.core.model.buckets.localByName(Bucket, node.core.model.keys.local(key.id))!.hexId
  const set = await admin('UpdateBucketSettings', { shadow: shadowOf(more) })
  expect(set.status, JSON.stringify(set.value)).toBe(200)
}

const old1 = (Key: string, Body: string | Buffer, more = {}) =>
  source.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
const put = (Key: string, Body: string, more = {}) =>
  s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
const remove = (Key: string, more = {}) => s3.send(new DeleteObjectCommand({ Bucket, Key, ...more }))
const text = async (Key: string, more = {}) =>
  (await s3.send(new GetObjectCommand({ Bucket, Key, ...more }))).Body!.transformToString()
const head = (Key: string) => s3.send(new HeadObjectCommand({ Bucket, Key }))
const gone = (Key: string) => expect(text(Key)).rejects.toMatchObject({ name: 'NoSuchKey' })
const own = (Key: string) => node.core.model.objects.get(Buffer.from(id, 'hex'), Buffer.from(Key))
/** Waits until an object is here. */
async function kept(Key: string) {
  for (;;) {
    const version = await own(Key)
    if (version?.state === 'object') return version
    await setImmediate()
  }
}
async function keys(more = {}): Promise<string[]> {
  const page = await s3.send(new ListObjectsV2Command({ Bucket, ...more }))
  return [
    ...(page.Contents ?? []).map(({ Key }) => Key!),
    ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix!),
  ].sort()
}

describe('reads', () => {
  test('answer from the source with all that an object has, and keep what was read whole', async () => {
    await shadow()
    const content = randomBytes(3 * MIB + 17)
    const more = {
      ...{ ContentType: 'image/png', CacheControl: 'max-age=5', Metadata: { name: 'ü', a: 'b' } },
      Tagging: 'x=y',
    }
    await old1('dir/large', content, more)
    await old1('small', 'small')
    await old1('empty', '')
    const there = await source.send(new HeadObjectCommand({ Bucket, Key: 'dir/large' }))
    const before = await head('dir/large')
    expect(before).toMatchObject({
      ...{ ContentLength: content.length, ETag: there.ETag, ContentType: 'image/png' },
      ...{ CacheControl: 'max-age=5', Metadata: there.Metadata, LastModified: there.LastModified },
    })
    expect(await own('dir/large')).toBeUndefined()

    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'dir/large' }))
    expect(Buffer.from(await got.Body!.transformToByteArray()).equals(content)).toBe(true)
    expect([got.ETag, got.TagCount]).toEqual([there.ETag, 1])
    expect([await text('small'), await text('empty')]).toEqual(['small', ''])
    const times = async (client: S3Client) =>
      (await client.send(new ListObjectsV2Command({ Bucket }))).Contents!.map(({ LastModified }) =>
        Math.floor(Number(LastModified) / 1000),
      )
    const old = await times(source)
    for (const Key of ['dir/large', 'small', 'empty']) await kept(Key)
    expect(await times(s3)).toEqual(old)
    await source.send(new DeleteObjectCommand({ Bucket, Key: 'dir/large' }))
    const again = await s3.send(new GetObjectCommand({ Bucket, Key: 'dir/large' }))
    expect(Buffer.from(await again.Body!.transformToByteArray()).equals(content)).toBe(true)
    expect(again).toMatchObject({ ETag: there.ETag, ContentType: 'image/png', Metadata: there.Metadata })
    expect(again.LastModified).toEqual(there.LastModified)
    const { TagSet } = await s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'dir/large' }))
    expect(TagSet).toEqual([{ Key: 'x', Value: 'y' }])
  })

  test('of ranges and on conditions answer from the source, and keep nothing', async () => {
    await shadow()
    await old1('k', '0123456789')
    const { ETag } = await head('k')
    expect(await text('k', { Range: 'bytes=2-4' })).toBe('234')
    expect(await text('k', { Range: 'bytes=-3' })).toBe('789')
    await expect(text('k', { Range: 'bytes=50-' })).rejects.toMatchObject({ name: 'InvalidRange' })
    await expect(text('k', { IfMatch: '"0"' })).rejects.toMatchObject({ name: 'PreconditionFailed' })
    const fresh = s3.send(new GetObjectCommand({ Bucket, Key: 'k', IfNoneMatch: ETag! }))
    await expect(fresh).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } })
    await gone('nothing')
    expect(await own('k')).toBeUndefined()
  })

  test('keep the parts and the ETag of an object that was uploaded in parts', async () => {
    await shadow()
    const at = { Bucket, Key: 'parts' }
    const { UploadId } = await source.send(new CreateMultipartUploadCommand(at))
    const Parts = []
    for (const [i, size] of [5 * MIB, 1000].entries()) {
      const part = { ...at, UploadId, PartNumber: i + 1, Body: randomBytes(size) }
      Parts.push({ PartNumber: i + 1, ETag: (await source.send(new UploadPartCommand(part))).ETag })
    }
    const done = await source.send(
      new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts } }),
    )
    await text('parts')
    await kept('parts')
    const second = await s3.send(new HeadObjectCommand({ ...at, PartNumber: 2 }))
    expect([second.ETag, second.PartsCount, second.ContentLength]).toEqual([done.ETag, 2, 1000])
  })

  test('of a part of the source that has a prefix see its keys without that', async () => {
    await shadow({ prefix: 'mine/' })
    await old1('mine/a', 'a')
    await old1('other/b', 'b')
    expect([await text('a'), await keys()]).toEqual(['a', ['a']])
    await gone('other/b')
  })

  test('bring an object in for operations that need it here', async () => {
    await shadow()
    await old1('tagged', 'tagged', { Tagging: 'old=1' })
    await old1('copied', 'copied')
    const Tagging = { TagSet: [{ Key: 'new', Value: '2' }] }
    await s3.send(new PutObjectTaggingCommand({ Bucket, Key: 'tagged', Tagging }))
    expect((await own('tagged'))?.mutable.tags?.[1]).toEqual({ new: '2' })
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/copied` }))
    expect([await text('copy'), (await own('copied'))?.state]).toEqual(['copied', 'object'])
  })
})

describe('what was written or deleted here', () => {
  test('wins over the source, and a deletion lasts', async () => {
    await shadow()
    for (const Key of ['a', 'b', 'c', 'd', 'dir/x', 'dir/y']) await old1(Key, `old ${Key}`)
    await put('a', 'new a')
    await remove('b')
    await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'c' }] } }))
    await text('d')
    await kept('d')
    await remove('d', { VersionId: 'null' })
    await remove('dir/x')
    expect(await text('a')).toBe('new a')
    for (const Key of ['b', 'c', 'd', 'dir/x']) await gone(Key)
    expect(await keys()).toEqual(['a', 'dir/y'])
    // Not a tombstone, which is collected some day.
    for (const Key of ['b', 'c', 'd', 'dir/x']) expect((await own(Key))?.state).toBe('marker')
    await put('b', 'written again')
    expect(await text('b')).toBe('written again')
    await remove('dir/y')
    expect(await keys({ Delimiter: '/' })).toEqual(['a', 'b'])
  })

  test('is judged together with the source by conditional writes', async () => {
    await shadow()
    await old1('k', 'old')
    await old1('deleted', 'old')
    const { ETag } = await head('k')
    const failed = { name: 'PreconditionFailed' }
    await expect(put('k', 'x', { IfNoneMatch: '*' })).rejects.toMatchObject(failed)
    await expect(put('k', 'x', { IfMatch: '"0"' })).rejects.toMatchObject(failed)
    await expect(put('none', 'x', { IfMatch: ETag })).rejects.toMatchObject({ name: 'NoSuchKey' })
    await expect(remove('k', { IfMatch: '"0"' })).rejects.toMatchObject(failed)
    expect(await text('k', { Range: 'bytes=0-0' })).toBe('o')
    await put('k', 'new', { IfMatch: ETag })
    expect(await text('k')).toBe('new')
    await put('made', 'x', { IfNoneMatch: '*' })
    const old2 = await head('deleted')
    await remove('deleted', { IfMatch: old2.ETag })
    await gone('deleted')
    await put('deleted', 'again', { IfNoneMatch: '*' })
  })

  test('in a bucket with versions leaves its markers as ever', async () => {
    await shadow()
    const VersioningConfiguration = { Status: 'Enabled' as const }
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }))
    await old1('k', 'old')
    const { VersionId } = await put('k', 'new')
    await remove('k', { VersionId })
    await gone('k')
    const { DeleteMarkers = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket }))
    expect(DeleteMarkers).toHaveLength(1)
  })
})

test('listings show both, in pages of any size, with and without a delimiter', async () => {
  await shadow()
  const names = Array.from({ length: 40 }, (_, i) => `${'abcd'[i % 4]}/${String(i).padStart(2, '0')}`)
  for (const [i, Key] of names.entries()) {
    if (i % 3 !== 0) await old1(Key, 'old')
    if (i % 3 !== 1) await put(Key, 'new')
  }
  const hidden = names.filter((_, i) => i % 5 === 0)
  for (const Key of hidden) await remove(Key)
  const expected = names.filter((Key) => !hidden.includes(Key)).sort()
  expect(await keys()).toEqual(expected)
  expect(await keys({ Delimiter: '/' })).toEqual(['a/', 'b/', 'c/', 'd/'])
  expect(await keys({ Prefix: 'b/', Delimiter: '/' })).toEqual(expected.filter((Key) => Key[0] === 'b'))
  for (const MaxKeys of [1, 3, 7]) {
    const seen: string[] = []
    let ContinuationToken: string | undefined
    do {
      const page = await s3.send(new ListObjectsV2Command({ Bucket, MaxKeys, ContinuationToken }))
      seen.push(...(page.Contents ?? []).map(({ Key }) => Key!))
      ContinuationToken = page.NextContinuationToken
    } while (ContinuationToken)
    expect([MaxKeys, seen]).toEqual([MaxKeys, expected])
    const folded: string[] = []
    let Marker: string | undefined
    do {
      const page = await s3.send(new ListObjectsCommand({ Bucket, MaxKeys, Delimiter: '/', Marker }))
      folded.push(...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix!))
      Marker = page.IsTruncated ? page.NextMarker : undefined
    } while (Marker)
    expect([MaxKeys, folded]).toEqual([MaxKeys, ['a/', 'b/', 'c/', 'd/']])
  }
  const page = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'b/01' }))
  const there = await source.send(new ListObjectsV2Command({ Bucket, Prefix: 'b/01' }))
  expect(page.Contents![0]).toMatchObject({ ETag: there.Contents![0]!.ETag, Size: 3 })
})

test('a listing shows each object once while objects are being kept', async () => {
  await shadow()
  const names = Array.from({ length: 30 }, (_, i) => `k${String(i).padStart(2, '0')}`)
  for (const Key of names) await old1(Key, Key)
  const reading = Promise.all(names.map((Key) => text(Key)))
  let isOver = false
  void reading.finally(() => {
    isOver = true
  })
  while (!isOver) expect(await keys()).toEqual(names)
  await reading
  expect(await keys()).toEqual(names)
})

describe('a source that fails', () => {
  /** A server in the place of the source, which answers as told. */
  async function broken(status: number, body = ''): Promise<void> {
    const server = createServer((_, response) => response.writeHead(status).end(body))
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const bucket = node.core.model.buckets.byId(Buffer.from(id, 'hex'))!
    await node.core.model.buckets.setDocument(bucket, 'shadow', shadowOf({ endpoint }))
  }
  const statusOf = (sent: Promise<unknown>) =>
    sent.then(
      () => 200,
      (error: { $metadata: { httpStatusCode: number } }) => error.$metadata.httpStatusCode,
    )

  test.each([
    [503, '', 503],
    [403, '<Error><Code>AccessDenied</Code></Error>', 502],
    [404, '<Error><Code>NoSuchBucket</Code></Error>', 502],
  ])('with %i is told with plain words and never as a missing object', async (status, body, told) => {
    await shadow()
    await put('here', 'here')
    await broken(status, body)
    expect(await statusOf(head('k'))).toBe(told)
    expect(await statusOf(text('k'))).toBe(told)
    expect(await statusOf(keys())).toBe(told)
    expect(await statusOf(put('k', 'x', { IfNoneMatch: '*' }))).toBe(told)
    await expect(text('k')).rejects.toMatchObject({
      message: expect.stringMatching(/store that this bucket shadows/),
    })
    // What is here is served all the same, and may be written.
    expect(await text('here')).toBe('here')
    await put('plain', 'x')
    await remove('plain')
  })

  test('in the middle of an object breaks the answer off, and nothing is kept', async () => {
    await shadow()
    const server = createServer((request, response) => {
      const headers = { etag: `"${'0'.repeat(32)}"`, 'content-length': '1000000' }
      response.writeHead(200, headers)
      if (request.method === 'HEAD') response.end()
      else response.write('part', () => response.destroy())
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const bucket = node.core.model.buckets.byId(Buffer.from(id, 'hex'))!
    await node.core.model.buckets.setDocument(bucket, 'shadow', shadowOf({ endpoint }))
    await expect(text('k')).rejects.toThrow()
    expect(await own('k')).toBeUndefined()
  })

  test('since it is the bucket itself, or one that reads through on its part, is told at once', async () => {
    await shadow()
    await put('here', 'here')
    const itself = { endpoint: node.endpoint, accessKeyId: key.id, secretAccessKey: key.secret }
    const bucket = node.core.model.buckets.byId(Buffer.from(id, 'hex'))!
    await node.core.model.buckets.setDocument(bucket, 'shadow', shadowOf(itself))
    const broken = { $metadata: { httpStatusCode: 502 } }
    await expect(head('nothing')).rejects.toMatchObject(broken)
    await expect(text('nothing')).rejects.toMatchObject({
      ...broken,
      message: expect.stringContaining('refuses the request'),
    })
    await expect(keys()).rejects.toMatchObject({
      ...broken,
      message: expect.stringContaining('InvalidBucketState'),
    })
    expect(await text('here')).toBe('here')
    // A shadow of a shadow is refused when it is set.
    const { status, value } = await admin('UpdateBucketSettings', { shadow: shadowOf(itself) })
    expect([status, value.message]).toEqual([400, expect.stringMatching(/InvalidBucketState/)])
  })

  test('is refused when it is set, and nothing is changed', async () => {
    await shadow()
    const refused = async (more: object) => {
      const { status, value } = await admin('UpdateBucketSettings', { shadow: shadowOf(more) })
      return [status, value.message] as const
    }
    expect(await refused({ bucket: 'nothing-there' })).toEqual([400, expect.stringMatching(/NoSuchBucket/)])
    expect(await refused({ secretAccessKey: 'wrong-secret' })).toEqual([
      400,
      expect.stringMatching(/Signature/),
    ])
    expect(await refused({ endpoint: 'file:///etc/passwd' })).toEqual([400, expect.stringMatching(/address/)])
    expect(await refused({ endpoint: 'http://a:b@x/' })).toEqual([400, expect.stringMatching(/address/)])
    const { value } = await admin('GetBucketSettings')
    expect(value.shadow).toEqual({
      ...{ endpoint: old.endpoint, region: 'us-east-1', bucket: Bucket, accessKeyId: oldKey.id },
    })
  })
})

test('the end of a shadow leaves what was kept, and removes the markers', async () => {
  await shadow()
  for (const Key of ['a', 'b', 'c']) await old1(Key, Key)
  await text('a')
  await kept('a')
  await remove('b')
  await expect(s3.send(new DeleteBucketCommand({ Bucket }))).rejects.toMatchObject({
    name: 'InvalidBucketState',
  })
  expect((await admin('DropBucketMarkers', {})).status).toBe(400)
  expect((await admin('UpdateBucketSettings', { shadow: null })).value.shadow).toBeNull()
  expect(await admin('DropBucketMarkers', {})).toEqual({ status: 200, value: { dropped: 1, next: null } })
  expect(await keys()).toEqual(['a'])
  await gone('c')
  await remove('a')
  await s3.send(new DeleteBucketCommand({ Bucket }))
})
