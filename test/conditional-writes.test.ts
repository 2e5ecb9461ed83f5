import { once } from 'node:events'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  type DeleteObjectCommandInput,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { RawClient } from '../testing/s3-front.js'
import { signedHead } from './support/signed-head.js'
import { startTestNode, type TestNode } from './support/test-node.js'

let node: TestNode
let owner: AccessKey
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  owner = await node.createKey('conditional')
  s3 = node.client(owner)
  await s3.send(new CreateBucketCommand({ Bucket: 'plain' }))
  await s3.send(new CreateBucketCommand({ Bucket: 'versioned' }))
  const VersioningConfiguration = { Status: 'Enabled' } as const
  await s3.send(new PutBucketVersioningCommand({ Bucket: 'versioned', VersioningConfiguration }))
})

afterAll(() => node?.dispose())

type Put = Partial<PutObjectCommandInput>
const put = (Bucket: string, Key: string, Body: string, more: Put = {}) =>
  s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
const remove = (Bucket: string, Key: string, more: Partial<DeleteObjectCommandInput> = {}) =>
  s3.send(new DeleteObjectCommand({ Bucket, Key, ...more }))
const text = async (Bucket: string, Key: string) =>
  (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToString()

const FAILED = { name: 'PreconditionFailed', $metadata: { httpStatusCode: 412 } }
const ABSENT = { name: 'NoSuchKey', $metadata: { httpStatusCode: 404 } }

test.each(['plain', 'versioned'])(
  'a create takes place once, and again after a deletion: %s',
  async (bucket) => {
    await put(bucket, 'create', 'first', { IfNoneMatch: '*' })
    await expect(put(bucket, 'create', 'second', { IfNoneMatch: '*' })).rejects.toMatchObject(FAILED)
    expect(await text(bucket, 'create')).toBe('first')
    await remove(bucket, 'create')
    await put(bucket, 'create', 'third', { IfNoneMatch: '*' })
    expect(await text(bucket, 'create')).toBe('third')
    // Objects that do not fit in their row are no exception.
    const long = 'x'.repeat(300_000)
    await expect(put(bucket, 'create', long, { IfNoneMatch: '*' })).rejects.toMatchObject(FAILED)
    await put(bucket, 'create-long', long, { IfNoneMatch: '*' })
    expect(await text(bucket, 'create-long')).toBe(long)
  },
)

test.each(['plain', 'versioned'])('a replacement wants the object that was read: %s', async (bucket) => {
  await expect(put(bucket, 'swap', '0', { IfMatch: '"abc"' })).rejects.toMatchObject(ABSENT)
  await expect(put(bucket, 'swap', '0', { IfMatch: '*' })).rejects.toMatchObject(ABSENT)
  let { ETag } = await put(bucket, 'swap', 'a')
  for (const content of ['b', 'c', 'd']) {
    const before = ETag
    ;({ ETag } = await put(bucket, 'swap', content, { IfMatch: before }))
    await expect(put(bucket, 'swap', 'late', { IfMatch: before })).rejects.toMatchObject(FAILED)
    expect(await text(bucket, 'swap')).toBe(content)
  }
  // Without quotes, as a list, and the other way round.
  ;({ ETag } = await put(bucket, 'swap', 'e', { IfMatch: ETag!.slice(1, -1) }))
  ;({ ETag } = await put(bucket, 'swap', 'f', { IfMatch: `"x", ${ETag}` }))
  await put(bucket, 'swap', 'g', { IfNoneMatch: '"another"' })
  await expect(put(bucket, 'swap', 'h', { IfMatch: ETag })).rejects.toMatchObject(FAILED)
  // Plain writes go on as ever, behind those on a condition.
  await put(bucket, 'swap', 'plain')
  expect(await text(bucket, 'swap')).toBe('plain')
  await remove(bucket, 'swap')
  await expect(put(bucket, 'swap', 'i', { IfMatch: '*' })).rejects.toMatchObject(ABSENT)
})

test('every version that a condition let through is kept, and no other', async () => {
  const ids: (string | undefined)[] = []
  let etag: string | undefined
  for (let i = 0; i < 12; i++) {
    const written = await put('versioned', 'history', `${i}`, etag ? { IfMatch: etag } : { IfNoneMatch: '*' })
    ids.unshift(written.VersionId)
    await expect(put('versioned', 'history', 'no', { IfNoneMatch: '*' })).rejects.toMatchObject(FAILED)
    etag = written.ETag
  }
  const { Versions } = await s3.send(
    new ListObjectVersionsCommand({ Bucket: 'versioned', Prefix: 'history' }),
  )
  expect(Versions!.map(({ VersionId }) => VersionId)).toEqual(ids)
  expect(Versions!.map(({ IsLatest }) => IsLatest)).toEqual([true, ...ids.slice(1).map(() => false)])
  // The current one goes, and the one before it is there again, to be replaced on a condition as well.
  await remove('versioned', 'history', { VersionId: ids[0]! })
  expect(await text('versioned', 'history')).toBe('10')
  const { ETag } = await s3.send(new HeadObjectCommand({ Bucket: 'versioned', Key: 'history' }))
  await put('versioned', 'history', 'again', { IfMatch: ETag! })
  const after = await s3.send(new ListObjectVersionsCommand({ Bucket: 'versioned', Prefix: 'history' }))
  expect(after.Versions!.slice(1).map(({ VersionId }) => VersionId)).toEqual(ids.slice(1))
})

test.each(['plain', 'versioned'])('a deletion wants the object that is meant: %s', async (bucket) => {
  const { ETag } = await put(bucket, 'gone', 'abc')
  const { LastModified } = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: 'gone' }))
  const wrong: Partial<DeleteObjectCommandInput>[] = [
    { IfMatch: '"x"' },
    { IfMatchSize: 4 },
    { IfMatchLastModifiedTime: new Date(0) },
    { IfMatch: ETag, IfMatchSize: 2 },
  ]
  for (const conditions of wrong) {
    await expect(remove(bucket, 'gone', conditions)).rejects.toMatchObject(FAILED)
  }
  expect(await text(bucket, 'gone')).toBe('abc')
  await remove(bucket, 'gone', { IfMatch: ETag, IfMatchSize: 3, IfMatchLastModifiedTime: LastModified })
  await expect(text(bucket, 'gone')).rejects.toMatchObject({ name: 'NoSuchKey' })
  // Where nothing ever was, nothing is to be deleted, and no marker is left.
  await remove(bucket, 'never', { IfMatch: '"x"' })
  const listed = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket, Prefix: 'never' }))
  expect(listed.DeleteMarkers).toBeUndefined()
})

test('a version is deleted on its own conditions', async () => {
  const { VersionId, ETag } = await put('versioned', 'one', 'old')
  await put('versioned', 'one', 'new')
  await expect(remove('versioned', 'one', { VersionId, IfMatch: '"x"' })).rejects.toMatchObject(FAILED)
  await remove('versioned', 'one', { VersionId, IfMatch: ETag })
  await remove('versioned', 'one', { VersionId, IfMatch: '"x"' })
  expect(await text('versioned', 'one')).toBe('new')
})

test('each entry of a deletion of many has its own conditions', async () => {
  const [a, b] = await Promise.all(['a', 'b'].map((key) => put('plain', `many/${key}`, key)))
  const Objects = [
    { Key: 'many/a', ETag: b!.ETag },
    { Key: 'many/b', ETag: b!.ETag, Size: 1 },
    { Key: 'many/c', ETag: a!.ETag },
  ]
  const { Deleted, Errors } = await s3.send(
    new DeleteObjectsCommand({ Bucket: 'plain', Delete: { Objects } }),
  )
  expect(Errors!.map(({ Key, Code }) => [Key, Code])).toEqual([['many/a', 'PreconditionFailed']])
  expect(Deleted!.map(({ Key }) => Key).sort()).toEqual(['many/b', 'many/c'])
})

test('a multipart upload is judged at its completion, and its parts stay usable if it is refused', async () => {
  const place = { Bucket: 'plain', Key: 'parts' }
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand(place))
  const part = await s3.send(new UploadPartCommand({ ...place, UploadId, PartNumber: 1, Body: 'part' }))
  const MultipartUpload = { Parts: [{ PartNumber: 1, ETag: part.ETag }] }
  const complete = (more: { IfMatch?: string; IfNoneMatch?: string }) =>
    s3.send(new CompleteMultipartUploadCommand({ ...place, UploadId, MultipartUpload, ...more }))
  await expect(complete({ IfMatch: '"x"' })).rejects.toMatchObject(ABSENT)
  const { ETag } = await put('plain', 'parts', 'somebody was here')
  await expect(complete({ IfNoneMatch: '*' })).rejects.toMatchObject(FAILED)
  await complete({ IfMatch: ETag! })
  expect(await text('plain', 'parts')).toBe('part')
  const uploads = await s3.send(new ListMultipartUploadsCommand({ Bucket: 'plain' }))
  expect(uploads.Uploads).toBeUndefined()
})

test('an upload is aborted if it is the one that is meant', async () => {
  const place = { Bucket: 'plain', Key: 'abort' }
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand(place))
  const abort = (IfMatchInitiatedTime: Date) =>
    s3.send(new AbortMultipartUploadCommand({ ...place, UploadId, IfMatchInitiatedTime }))
  await expect(abort(new Date(0))).rejects.toMatchObject(FAILED)
  const { Uploads } = await s3.send(new ListMultipartUploadsCommand({ Bucket: 'plain' }))
  await abort(Uploads!.find((upload) => upload.UploadId === UploadId)!.Initiated!)
})

test('the target of a copy has conditions as any other object', async () => {
  await put('plain', 'source', 'copied')
  const copy = (Key: string, more: object) =>
    s3.send(new CopyObjectCommand({ Bucket: 'plain', Key, CopySource: 'plain/source', ...more }))
  await copy('target', { IfNoneMatch: '*' })
  await expect(copy('target', { IfNoneMatch: '*' })).rejects.toMatchObject(FAILED)
  expect(await text('plain', 'target')).toBe('copied')
})

test('of many creates at the same time one wins, and no increment is lost', async () => {
  const creates = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) => put('plain', 'race', `${i}`, { IfNoneMatch: '*' })),
  )
  expect(creates.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  await put('plain', 'counter', '0')
  const increment = async () => {
    for (;;) {
      const { Body, ETag } = await s3.send(new GetObjectCommand({ Bucket: 'plain', Key: 'counter' }))
      const next = String(Number(await Body!.transformToString()) + 1)
      try {
        await put('plain', 'counter', next, { IfMatch: ETag! })
        return
      } catch (error) {
        expect(error).toMatchObject(FAILED)
      }
    }
  }
  await Promise.all(Array.from({ length: 12 }, increment))
  expect(await text('plain', 'counter')).toBe('12')
})

test('a long body is not asked for where the condition does not hold', async () => {
  await put('plain', 'taken', 'first')
  const stranger = await node.core.model.keys.create('stranger')
  const answerTo = async (target: string, headers: Record<string, string>, until: string, key = owner) => {
    const client = new RawClient(node.s3!.port)
    await once(client.socket, 'connect')
    try {
      const signer = { key, port: node.s3!.port, nowMs: Date.now() }
      const length = { 'content-length': String(10 << 20) }
      return await client.send(signedHead(signer, 'PUT', target, { ...length, ...headers })).untilText(until)
    } finally {
      client.socket.destroy()
    }
  }
  const create = { 'if-none-match': '*' }
  const expects = { ...create, expect: '100-continue' }
  // Neither sends a byte of its body.
  expect(await answerTo('/plain/taken', expects, '</Error>')).toMatch(/^HTTP\/1\.1 412 /)
  expect(await answerTo('/plain/taken', create, '</Error>')).toMatch(/^HTTP\/1\.1 412 /)
  expect(await answerTo('/plain/free', { 'if-match': '"x"', expect: '100-continue' }, '</Error>')).toMatch(
    /^HTTP\/1\.1 404 /,
  )
  expect(await answerTo('/plain/free', expects, '\r\n\r\n')).toMatch(/^HTTP\/1\.1 100 /)
  // Who may not write does not learn whether the key is there.
  expect(await answerTo('/plain/taken', expects, '</Error>', stranger)).toMatch(/^HTTP\/1\.1 403 /)
})
