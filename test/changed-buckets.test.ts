/**
 * A request with a long body outlives what its bucket was when it began: versions and locks are turned on meanwhile, or the bucket
 * is deleted. What was acknowledged by then counts for the write.
 */
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import {
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLockConfigurationCommand,
  PutObjectRetentionCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { md5 } from '../src/model/content/hashing.js'
import { signedHeaders } from './support/signed-head.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const DAY_MS = 86_400_000
const LONG = Buffer.alloc(200_000, 'new')
/** What a request shows that asks for a key whose current version is the one written here. */
const Key = 'key'

let node: TestNode
let key: AccessKey
let s3: S3Client
let Bucket: string
let buckets = 0

beforeAll(async () => {
  node = await startTestNode({
    k2vApi: { bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 }, publicEndpoint: null, tls: null },
  })
  key = await node.createKey('writer')
  s3 = node.client(key)
})
beforeEach(async () => {
  Bucket = `changed-${++buckets}`
  await s3.send(new CreateBucketCommand({ Bucket }))
})
afterEach(() => vi.restoreAllMocks())
afterAll(() => node?.dispose())

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

/** Begins a request, and sends its body once the server, which has authorized it, asks for it and `meanwhile` is done. */
async function slow(
  method: string,
  target: string,
  body: string | Buffer,
  meanwhile: () => Promise<unknown>,
  service: 's3' | 'k2v' = 's3',
): Promise<Answer> {
  const { port } = node[service]!
  const signed = signedHeaders({ key, port, nowMs: Date.now(), service }, method, target)
  const more = { expect: '100-continue', 'content-length': Buffer.byteLength(body) }
  const sent = httpRequest({ host: '127.0.0.1', port, method, path: target, headers: { ...signed, ...more } })
  sent.flushHeaders()
  const answered = once(sent, 'response')
  await once(sent, 'continue')
  await meanwhile()
  sent.end(body)
  const [response] = await answered
  let text = ''
  for await (const chunk of response) text += chunk
  return { status: response.statusCode, headers: response.headers, text }
}

/** Lets something happen once, when the content of a write is stored and its row is not. */
function onceStored(meanwhile: () => Promise<unknown>): void {
  const { blobs } = node.core.model
  const write = blobs.write.bind(blobs)
  vi.spyOn(blobs, 'write').mockImplementationOnce(async (...args) => {
    const stored = await write(...args)
    await meanwhile()
    return stored
  })
}

const setVersioning = (Status: 'Enabled' | 'Suspended') =>
  s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status } }))
const put = (name = Key, Body: string | Buffer = 'old') =>
  s3.send(new PutObjectCommand({ Bucket, Key: name, Body }))
const turnLockOn = (rule: object = {}) =>
  s3.send(
    new PutObjectLockConfigurationCommand({
      Bucket,
      ObjectLockConfiguration: { ObjectLockEnabled: 'Enabled', ...rule },
    }),
  )

/** Turns versions and locks on, and locks what the key has. */
async function lockNullVersion(): Promise<void> {
  await setVersioning('Enabled')
  await turnLockOn()
  const RetainUntilDate = new Date(Date.now() + DAY_MS)
  const Retention = { Mode: 'COMPLIANCE', RetainUntilDate } as const
  await s3.send(new PutObjectRetentionCommand({ Bucket, Key, VersionId: 'null', Retention }))
}

const nullVersion = async () =>
  (await s3.send(new GetObjectCommand({ Bucket, Key, VersionId: 'null' }))).Body!.transformToString()

/** An upload of one part. @returns the document that completes it, and its target */
async function upload(Body: Buffer | string = 'new'): Promise<{ target: string; document: string }> {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body }))
  const part = `<Part><PartNumber>1</PartNumber><ETag>${ETag}</ETag></Part>`
  return {
    target: `/${Bucket}/${Key}?uploadId=${UploadId}`,
    document: `<CompleteMultipartUpload>${part}</CompleteMultipartUpload>`,
  }
}

const DELETION = `<Delete><Object><Key>${Key}</Key></Object></Delete>`

describe('versions and locks that are turned on while a body arrives', () => {
  test.each<[string, () => Promise<unknown>]>([
    ['PutObject', () => slow('PUT', `/${Bucket}/${Key}`, LONG, lockNullVersion)],
    [
      'CompleteMultipartUpload',
      async () => {
        const { target, document } = await upload()
        return slow('POST', target, document, lockNullVersion)
      },
    ],
    ['DeleteObjects', () => slow('POST', `/${Bucket}?delete=`, DELETION, lockNullVersion)],
    [
      'CopyObject',
      async () => {
        await put('source', LONG)
        onceStored(lockNullVersion)
        const CopySource = `${Bucket}/source`
        return s3.send(new CopyObjectCommand({ Bucket, Key, CopySource, ServerSideEncryption: 'AES256' }))
      },
    ],
  ])('keep what was there: %s', async (_, write) => {
    await put()
    await write()
    expect(await nullVersion()).toBe('old')
    const remove = s3.send(new DeleteObjectCommand({ Bucket, Key, VersionId: 'null' }))
    await expect(remove).rejects.toMatchObject({ name: 'AccessDenied' })
    const { Versions = [], DeleteMarkers = [] } = await s3.send(
      new ListObjectVersionsCommand({ Bucket, Prefix: Key }),
    )
    expect(Versions.length + DeleteMarkers.length).toBe(2)
  })

  test('give the new version an id, and the retention that is the default by now', async () => {
    const Rule = { DefaultRetention: { Mode: 'COMPLIANCE', Days: 3 } }
    const answer = await slow('PUT', `/${Bucket}/${Key}`, LONG, async () => {
      await setVersioning('Enabled')
      await turnLockOn({ Rule })
    })
    expect(answer.status).toBe(200)
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key }))
    expect(head.VersionId).toBe(answer.headers['x-amz-version-id'])
    expect(head.ObjectLockMode).toBe('COMPLIANCE')
    expect(+head.ObjectLockRetainUntilDate!).toBeGreaterThan(Date.now() + 2 * DAY_MS)
  })

  test('stay on, whatever is set at the same time', async () => {
    await setVersioning('Enabled')
    const { model } = node.core
    const bucket = (await model.buckets.byName(Bucket, undefined))!
    // Two nodes that do not know of each other's change yet write these.
    await model.buckets.setDocument(bucket, 'object-lock', {})
    await model.buckets.setDocument(bucket, 'versioning', 'suspended')
    expect(await s3.send(new GetBucketVersioningCommand({ Bucket }))).toMatchObject({ Status: 'Enabled' })
    const [first, second] = [await put(), await put()]
    expect(second.VersionId).not.toBe(first.VersionId)
  })
})

describe('a bucket that is deleted while a body arrives', () => {
  const deleteBucket = () => s3.send(new DeleteBucketCommand({ Bucket }))

  const noSuchBucket = expect.stringContaining('NoSuchBucket')
  test.each<[string, () => Promise<unknown>]>([
    ['PutObject', () => slow('PUT', `/${Bucket}/${Key}`, LONG, deleteBucket)],
    ['PutObject of a short one', () => slow('PUT', `/${Bucket}/${Key}`, 'short', deleteBucket)],
    [
      'UploadPart',
      async () => {
        const { target } = await upload()
        return slow('PUT', `${target.replace('?', '?partNumber=2&')}`, LONG, deleteBucket)
      },
    ],
    ['DeleteObjects', () => slow('POST', `/${Bucket}?delete=`, DELETION, deleteBucket)],
    ['InsertItem', () => slow('PUT', `/${Bucket}/p?sort_key=s`, 'value', deleteBucket, 'k2v')],
  ])('is told of: %s', async (_, write) => {
    const id = (await node.core.model.buckets.byName(Bucket, undefined))!.id
    expect(await write()).toMatchObject({ text: noSuchBucket })
    expect(await node.core.model.usage.of(id)).toMatchObject({ objects: 0, noncurrent: 0, markers: 0 })
  })

  test('is told of: CopyObject', async () => {
    const source = `copied-${Bucket}`
    await s3.send(new CreateBucketCommand({ Bucket: source }))
    await s3.send(new PutObjectCommand({ Bucket: source, Key, Body: LONG }))
    onceStored(deleteBucket)
    const CopySource = `${source}/${Key}`
    const copied = s3.send(new CopyObjectCommand({ Bucket, Key, CopySource, ServerSideEncryption: 'AES256' }))
    await expect(copied).rejects.toMatchObject({ name: 'NoSuchBucket' })
  })

  test('is cleared of what nodes wrote that had not heard of it', async () => {
    const { buckets, objects, uploads, k2v, orphans, deletedBuckets, tables, usage } = node.core.model
    const bucket = (await buckets.byName(Bucket, undefined))!
    await deleteBucket()
    const other = `other-${Bucket}`
    await s3.send(new CreateBucketCommand({ Bucket: other }))
    await s3.send(new PutObjectCommand({ Bucket: other, Key, Body: 'kept' }))
    const late = { bucket: bucket.id, owner: '', headers: {}, metadata: {}, mutable: {} }
    const write = async (name: string, versioning: 'off' | 'enabled', mutable = {}) => {
      const stored = { size: 1, md5: md5(Buffer.from('x')), body: Buffer.from('x'), blocks: [] }
      const version = { ...late, key: Buffer.from(name), etag: stored.md5, etagParts: 0, mutable }
      await objects.put(version, stored, versioning)
    }
    for (const name of ['a', 'a', 'b']) await write(name, 'enabled')
    await write('c', 'off')
    await write('held', 'enabled', { legalHold: [0, true] })
    await objects.delete(bucket.id, Buffer.from('b'), '', 'enabled')
    await uploads.create({ ...late, key: Buffer.from('u') })
    const item = { partitionKey: Buffer.from('p'), sortKey: Buffer.from('s'), context: undefined }
    await k2v.write(bucket.id, [{ ...item, content: Buffer.from('x') }])

    await orphans.runNow()
    const none = { markers: 0, uploads: 0, noncurrent: 0 }
    expect(await usage.of(bucket.id)).toMatchObject({ ...none, objects: 1, bytes: 1 })
    expect(tables.object.local.get(node.db, bucket.id, Buffer.from('held'))).toMatchObject({
      state: 'object',
    })
    expect(await k2v.isEmpty(bucket.id)).toBe(true)
    expect(deletedBuckets.counts).toEqual({ versions: 5, uploads: 1, items: 1 })
    const kept = await s3.send(new GetObjectCommand({ Bucket: other, Key }))
    expect(await kept.Body!.transformToString()).toBe('kept')
  })

  test('is told of where another one has its name by now', async () => {
    const answer = await slow('PUT', `/${Bucket}/${Key}`, LONG, async () => {
      await deleteBucket()
      await s3.send(new CreateBucketCommand({ Bucket }))
    })
    expect(answer.text).toContain('NoSuchBucket')
    expect((await s3.send(new ListObjectsV2Command({ Bucket }))).KeyCount).toBe(0)
  })
})
