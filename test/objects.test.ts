import { randomBytes } from 'node:crypto'
import {
  CopyObjectCommand,
  type CopyObjectCommandInput,
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

let node: TestNode
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('objects'))
  await s3.send(new CreateBucketCommand({ Bucket: 'objects' }))
})

afterAll(() => node?.dispose())

// The sizes are: empty, inline, just above inline, a few blocks, and more blocks than one row holds.
test.each([0, 1, 65_536, 65_537, 3_000_000, 70_000_000])(
  'an object of %i bytes comes back as it was',
  async (size) => {
    const body = randomBytes(size)
    await s3.send(new PutObjectCommand({ Bucket: 'objects', Key: `size/${size}`, Body: body }))
    const got = await s3.send(new GetObjectCommand({ Bucket: 'objects', Key: `size/${size}` }))
    expect(got.ContentLength).toBe(size)
    expect(Buffer.from(await got.Body!.transformToByteArray()).equals(body)).toBe(true)
  },
)

test('a range across blocks', async () => {
  const body = randomBytes(2_500_000)
  await s3.send(new PutObjectCommand({ Bucket: 'objects', Key: 'range', Body: body }))
  const got = await s3.send(
    new GetObjectCommand({ Bucket: 'objects', Key: 'range', Range: 'bytes=1000000-2200000' }),
  )
  expect(got.ContentRange).toBe('bytes 1000000-2200000/2500000')
  expect(
    Buffer.from(await got.Body!.transformToByteArray()).equals(body.subarray(1_000_000, 2_200_001)),
  ).toBe(true)
})

test('a range of what the client has a part of, or the whole of what it became', async () => {
  const object = { Bucket: 'objects', Key: 'if-range' }
  await s3.send(new PutObjectCommand({ ...object, Body: '0123456789' }))
  const { ETag, LastModified } = await s3.send(new HeadObjectCommand(object))
  const read = async (validator: string, range = 'bytes=7-') => {
    const command = new GetObjectCommand({ ...object, Range: range })
    command.middlewareStack.add(
      (next) => (args) => {
        ;(args.request as { headers: Record<string, string> }).headers['if-range'] = validator
        return next(args)
      },
      { step: 'build' },
    )
    const got = await s3.send(command)
    return [got.$metadata.httpStatusCode, await got.Body!.transformToString(), got.ContentRange]
  }
  const part = [206, '789', 'bytes 7-9/10']
  expect(await read(ETag!)).toEqual(part)
  expect(await read(ETag!.replaceAll('"', ''))).toEqual(part)
  expect(await read(LastModified!.toUTCString())).toEqual(part)
  const whole = [200, '0123456789', undefined]
  for (const validator of ['"other"', `W/${ETag}`, new Date(0).toUTCString(), 'neither', '']) {
    expect([validator, ...(await read(validator))]).toEqual([validator, ...whole])
  }
  // Nor is a range that the new object lacks an error then.
  expect(await read('"other"', 'bytes=10-')).toEqual(whole)
})

describe('a copy', () => {
  const source = { Bucket: 'objects', Key: 'copied', CopySource: 'objects/copied' }
  const redirectOf = async (Key: string) => {
    const head = await s3.send(new HeadObjectCommand({ Bucket: 'objects', Key }))
    return [head.WebsiteRedirectLocation, head.CacheControl, head.Metadata?.a]
  }

  beforeEach(async () => {
    const kept = { CacheControl: 'no-cache', Metadata: { a: 'b' } }
    await s3.send(new PutObjectCommand({ ...source, Body: 'x', WebsiteRedirectLocation: '/old', ...kept }))
  })

  test('has the website redirect that it asks for, and none of its source', async () => {
    const copy = (Key: string, more: Partial<CopyObjectCommandInput>) =>
      s3.send(new CopyObjectCommand({ ...source, Key, ...more }))
    await copy('copy', { WebsiteRedirectLocation: '/new' })
    expect(await redirectOf('copy')).toEqual(['/new', 'no-cache', 'b'])
    await copy('copy', {})
    expect(await redirectOf('copy')).toEqual([undefined, 'no-cache', 'b'])
    await copy('copy', { WebsiteRedirectLocation: '/new', MetadataDirective: 'REPLACE' })
    expect(await redirectOf('copy')).toEqual(['/new', undefined, undefined])
    await expect(copy('copy', { WebsiteRedirectLocation: 'new' })).rejects.toMatchObject({
      name: 'InvalidArgument',
    })
    expect(await redirectOf('copy')).toEqual(['/new', undefined, undefined])
  })

  test('onto itself may change the website redirect or the storage class alone', async () => {
    await expect(s3.send(new CopyObjectCommand(source))).rejects.toMatchObject({ name: 'InvalidRequest' })
    await s3.send(new CopyObjectCommand({ ...source, WebsiteRedirectLocation: '/new' }))
    expect(await redirectOf('copied')).toEqual(['/new', 'no-cache', 'b'])
    await s3.send(new CopyObjectCommand({ ...source, StorageClass: 'GLACIER' }))
    expect(await redirectOf('copied')).toEqual([undefined, 'no-cache', 'b'])
    const got = await s3.send(new GetObjectCommand({ Bucket: 'objects', Key: 'copied' }))
    expect([got.StorageClass, await got.Body!.transformToString()]).toEqual(['GLACIER', 'x'])
  })
})

test('keys are kept as they are and listed by their bytes', async () => {
  const keys = ['/', '//', '/a/../b', '.', '..', 'a b', 'ä', 'é', '%41', '+', 'z/', '\u{1f600}']
  for (const Key of keys) {
    await s3.send(new PutObjectCommand({ Bucket: 'objects', Key: `keys${Key}`, Body: Key }))
  }
  const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket: 'objects', Prefix: 'keys' }))
  const expected = keys.map((k) => `keys${k}`).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  expect(Contents?.map((c) => c.Key)).toEqual(expected)
})

test('a deleted object is gone', async () => {
  await s3.send(new PutObjectCommand({ Bucket: 'objects', Key: 'gone', Body: 'x' }))
  await s3.send(new DeleteObjectCommand({ Bucket: 'objects', Key: 'gone' }))
  await expect(s3.send(new GetObjectCommand({ Bucket: 'objects', Key: 'gone' }))).rejects.toMatchObject({
    name: 'NoSuchKey',
  })
})
