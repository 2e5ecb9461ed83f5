/** Runs S3 clients from npm in the ways that their manuals describe. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import {
  CreateBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  type S3Client,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { Client, CopyDestinationOptions, CopySourceOptions } from 'minio'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const MIB = 1024 * 1024

let node: TestNode
let s3: S3Client
let minio: Client
const dir = mkdtempSync(join(tmpdir(), 'carport-clients-'))

beforeAll(async () => {
  node = await startTestNode()
  const key = await node.createKey('clients')
  s3 = node.client(key)
  minio = new Client({
    endPoint: '127.0.0.1',
    port: node.s3!.port,
    useSSL: false,
    accessKey: key.id,
    secretKey: key.secret,
  })
})

afterAll(async () => {
  await node?.dispose()
  rmSync(dir, { recursive: true, force: true })
})

describe("MinIO's client", () => {
  const bucket = 'minio-client'
  const names = (prefix: string, recursive: boolean): Promise<string[]> =>
    minio
      .listObjectsV2(bucket, prefix, recursive)
      .map((item: { name?: string; prefix?: string }) => item.name ?? item.prefix)
      .toArray()

  test('makes a bucket and finds it', async () => {
    expect(await minio.bucketExists(bucket)).toBe(false)
    await minio.makeBucket(bucket)
    expect(await minio.bucketExists(bucket)).toBe(true)
    expect((await minio.listBuckets()).map(({ name }) => name)).toContain(bucket)
  })

  test('puts and gets buffers, with their type and metadata', async () => {
    const body = randomBytes(100_000)
    await minio.putObject(bucket, 'dir/buffer', body, body.length, {
      'Content-Type': 'image/png',
      'X-Amz-Meta-Camera': 'old one',
    })
    expect((await buffer(await minio.getObject(bucket, 'dir/buffer'))).equals(body)).toBe(true)
    const part = await buffer(await minio.getPartialObject(bucket, 'dir/buffer', 1000, 50))
    expect(part.equals(body.subarray(1000, 1050))).toBe(true)
    expect(await minio.statObject(bucket, 'dir/buffer')).toMatchObject({
      size: body.length,
      metaData: { 'content-type': 'image/png', camera: 'old one' },
    })
  })

  test('uploads streams of unknown length and large files in parts', async () => {
    const body = randomBytes(65 * MIB)
    await minio.putObject(bucket, 'stream', Readable.from([body.subarray(0, MIB), body.subarray(MIB)]))
    expect((await minio.statObject(bucket, 'stream')).size).toBe(body.length)
    writeFileSync(join(dir, 'up'), body)
    await minio.fPutObject(bucket, 'file', join(dir, 'up'))
    await minio.fGetObject(bucket, 'file', join(dir, 'down'))
    expect(readFileSync(join(dir, 'down')).equals(body)).toBe(true)
    expect((await minio.statObject(bucket, 'file')).etag).toMatch(/-\d+$/)
  })

  test('lists flat and by folders', async () => {
    expect(await names('', true)).toEqual(['dir/buffer', 'file', 'stream'])
    expect((await names('', false)).sort()).toEqual(['dir/', 'file', 'stream'])
  })

  test('copies, and composes an object of others', async () => {
    await minio.copyObject(bucket, 'copy', `/${bucket}/dir/buffer`)
    expect((await minio.statObject(bucket, 'copy')).size).toBe(100_000)
    await minio.composeObject(new CopyDestinationOptions({ Bucket: bucket, Object: 'composed' }), [
      new CopySourceOptions({ Bucket: bucket, Object: 'file' }),
      new CopySourceOptions({ Bucket: bucket, Object: 'copy' }),
    ])
    expect((await minio.statObject(bucket, 'composed')).size).toBe(65 * MIB + 100_000)
  })

  test('presigned URLs for GET and PUT, and a form with a policy', async () => {
    const put = await minio.presignedPutObject(bucket, 'presigned', 60)
    expect((await fetch(put, { method: 'PUT', body: 'by URL' })).status).toBe(200)
    const get = await minio.presignedGetObject(bucket, 'presigned', 60, {
      'response-content-type': 'text/x-test',
    })
    const got = await fetch(get)
    expect([await got.text(), got.headers.get('content-type')]).toEqual(['by URL', 'text/x-test'])

    const policy = minio.newPostPolicy()
    policy.setBucket(bucket)
    policy.setKey('form')
    policy.setExpires(new Date(Date.now() + 60_000))
    policy.setContentLengthRange(1, 100)
    const { postURL, formData } = await minio.presignedPostPolicy(policy)
    const form = new FormData()
    for (const [name, value] of Object.entries(formData)) form.set(name, String(value))
    form.set('file', new Blob(['by form']))
    expect((await fetch(postURL, { method: 'POST', body: form })).status).toBe(204)
    expect(String(await buffer(await minio.getObject(bucket, 'form')))).toBe('by form')
    form.set('file', new Blob(['x'.repeat(101)]))
    const refused = await fetch(postURL, { method: 'POST', body: form })
    expect([refused.status, await refused.text()]).toEqual([
      400,
      expect.stringContaining('<Code>EntityTooLarge</Code>'),
    ])
  })

  test('tags of objects, versions of a bucket', async () => {
    await minio.setObjectTagging(bucket, 'copy', { a: 'one', b: 'two' })
    expect(await minio.getObjectTagging(bucket, 'copy')).toEqual([
      { Key: 'a', Value: 'one' },
      { Key: 'b', Value: 'two' },
    ])
    await minio.makeBucket('minio-versions')
    await minio.setBucketVersioning('minio-versions', { Status: 'Enabled' })
    const { versionId } = await minio.putObject('minio-versions', 'v', 'first')
    await minio.putObject('minio-versions', 'v', 'second')
    expect(String(await buffer(await minio.getObject('minio-versions', 'v')))).toBe('second')
    const first = await minio.getObject('minio-versions', 'v', { versionId: versionId! })
    expect(String(await buffer(first))).toBe('first')
  })

  test('what is not there has the error of its kind', async () => {
    await expect(minio.getObject(bucket, 'nothing')).rejects.toMatchObject({ code: 'NoSuchKey' })
    await expect(minio.statObject(bucket, 'nothing')).rejects.toMatchObject({ code: 'NotFound' })
    await expect(minio.removeBucket(bucket)).rejects.toMatchObject({ code: 'BucketNotEmpty' })
  })

  test('removes objects one by one and many at once, and then the bucket', async () => {
    await minio.removeObject(bucket, 'copy')
    await minio.removeObjects(bucket, await names('', true))
    expect(await names('', true)).toEqual([])
    await minio.removeBucket(bucket)
    expect(await minio.bucketExists(bucket)).toBe(false)
  })
})

describe('the AWS SDK for JavaScript', () => {
  const Bucket = 'aws-sdk'

  test('stores with its default checksum and verifies it on the way back', async () => {
    await s3.send(new CreateBucketCommand({ Bucket }))
    const put = await s3.send(new PutObjectCommand({ Bucket, Key: 'checked', Body: 'content' }))
    expect(put.ChecksumCRC32).toMatch(/^[\w+/]{6}==$/)
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'checked', ChecksumMode: 'ENABLED' }))
    expect(got.ChecksumCRC32).toBe(put.ChecksumCRC32)
    expect(await got.Body!.transformToString()).toBe('content')
  })

  test('streams a body of which only the length is known', async () => {
    const body = randomBytes(20 * MIB)
    await s3.send(
      new PutObjectCommand({
        Bucket,
        Key: 'stream',
        Body: Readable.from([body]),
        ContentLength: body.length,
      }),
    )
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'stream' }))
    expect(head.ETag).toBe(`"${createHash('md5').update(body).digest('hex')}"`)
  })

  test('presigned URLs, for what they say and no longer', async () => {
    const put = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'presigned' }), { expiresIn: 60 })
    expect((await fetch(put, { method: 'PUT', body: 'by URL' })).status).toBe(200)
    const get = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'presigned' }), { expiresIn: 60 })
    expect(await (await fetch(get)).text()).toBe('by URL')
    expect((await fetch(get.replace('/presigned?', '/checked?'))).status).toBe(403)
    const expired = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'presigned' }), {
      expiresIn: 60,
      signingDate: new Date(Date.now() - 61_000),
    })
    const refused = await fetch(expired)
    expect([refused.status, await refused.text()]).toEqual([403, expect.stringContaining('has expired')])
  })

  test('pages through a listing, and deletes what it lists', async () => {
    const keys: string[] = []
    for await (const page of paginateListObjectsV2({ client: s3, pageSize: 2 }, { Bucket })) {
      for (const { Key } of page.Contents ?? []) keys.push(Key!)
    }
    expect(keys).toEqual(['checked', 'presigned', 'stream'])
    const { Deleted, Errors } = await s3.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }),
    )
    expect([Deleted?.length, Errors]).toEqual([3, undefined])
  })
})
