/**
 * Public media as PeerTube keeps them: the calls that it makes of the AWS SDK for JavaScript (it is on no registry itself),
 * and the browsers of its visitors, which fetch videos and playlists from the store.
 */
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketCorsCommand,
  PutObjectAclCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { expect, test } from 'vitest'
import { fromNpm, installed } from './kit/programs.js'
import { application, type Home } from './kit/store.js'

interface Upload {
  done(): Promise<{ Location?: string }>
}
type UploadClass = new (options: object) => Upload

const library = await installed(async () => {
  const modules = await fromNpm('peertube', ['@aws-sdk/lib-storage@3', '@aws-sdk/client-s3@3'])
  const { Upload } = createRequire(join(modules, 'index.js'))('@aws-sdk/lib-storage') as {
    Upload: UploadClass
  }
  return Upload
})

application('public media', library, ({ tools: Upload, nodes, store }) => {
  const url = ({ endpoint, bucket }: Home, key: string) => `${endpoint}/${bucket}/${key}`

  /** Stores a stream of unknown length, as PeerTube does with videos. */
  const upload = (home: Home, Key: string, body: Buffer, more: object = {}) =>
    new Upload({
      client: home.s3,
      partSize: 5 * 1024 * 1024,
      queueSize: 4,
      params: {
        Bucket: home.bucket,
        Key,
        Body: Readable.from([body]),
        CacheControl: 'max-age=31536000',
        ...more,
      },
    }).done()

  test('public videos are played from the store, by ranges, from another origin', async () => {
    const home = await store().home('videos')
    const owner = await store().keyFor(home.bucket, { read: true, write: true, owner: true })
    const cors = [{ AllowedMethods: ['GET', 'HEAD'], AllowedOrigins: ['*'], AllowedHeaders: ['*'] }]
    await owner.s3.send(
      new PutBucketCorsCommand({ Bucket: home.bucket, CORSConfiguration: { CORSRules: cors } }),
    )
    const video = randomBytes(22 * 1024 * 1024)
    await upload(home, 'hls/video.mp4', video, { ACL: 'public-read', ContentType: 'video/mp4' })
    const asked = await fetch(url(home, 'hls/video.mp4'), {
      headers: { origin: 'https://tube.example.org', range: 'bytes=10000000-10999999' },
    })
    expect(asked.status).toBe(206)
    expect(asked.headers.get('access-control-allow-origin')).toBe('*')
    expect(asked.headers.get('content-type')).toBe('video/mp4')
    expect(asked.headers.get('cache-control')).toBe('max-age=31536000')
    expect(Buffer.from(await asked.arrayBuffer()).equals(video.subarray(10_000_000, 11_000_000))).toBe(true)
    const preflight = await fetch(url(home, 'hls/video.mp4'), {
      method: 'OPTIONS',
      headers: { origin: 'https://tube.example.org', 'access-control-request-method': 'GET' },
    })
    expect(preflight.status).toBe(200)
    // Nobody lists the bucket, or sees what was not made public.
    expect((await fetch(`${home.endpoint}/${home.bucket}`)).status).toBe(403)
    await home.s3.send(new PutObjectCommand({ Bucket: home.bucket, Key: 'original', Body: 'raw' }))
    expect((await fetch(url(home, 'original'))).status).toBe(403)
  })

  test('a video is made private, seen by a presigned address, and made public again', async () => {
    const home = await store().home('videos')
    const object = { Bucket: home.bucket, Key: 'hls/private.m3u8' }
    await home.s3.send(new PutObjectCommand({ ...object, Body: '#EXTM3U', ACL: 'public-read' }))
    expect((await fetch(url(home, object.Key))).status).toBe(200)
    await home.s3.send(new PutObjectAclCommand({ ...object, ACL: 'private' }))
    expect((await fetch(url(home, object.Key))).status).toBe(403)
    const presigned = await getSignedUrl(
      home.s3,
      new GetObjectCommand({ ...object, ResponseContentDisposition: 'attachment; filename=video.m3u8' }),
      { expiresIn: 60 },
    )
    const downloaded = await fetch(presigned)
    expect(downloaded.headers.get('content-disposition')).toBe('attachment; filename=video.m3u8')
    expect(await downloaded.text()).toBe('#EXTM3U')
    await home.s3.send(new PutObjectAclCommand({ ...object, ACL: 'public-read' }))
    expect((await fetch(url(home, object.Key))).status).toBe(200)
  })

  test('a deleted video leaves nothing behind', async () => {
    const home = await store().home('videos')
    for (let i = 0; i < 30; i++) {
      await home.s3.send(new PutObjectCommand({ Bucket: home.bucket, Key: `hls/7/part-${i}.ts`, Body: 'x' }))
    }
    const list = await home.s3.send(new ListObjectsV2Command({ Bucket: home.bucket, Prefix: 'hls/7/' }))
    const Objects = list.Contents!.map(({ Key }) => ({ Key }))
    await home.s3.send(new DeleteObjectsCommand({ Bucket: home.bucket, Delete: { Objects } }))
    expect((await home.s3.send(new ListObjectsV2Command({ Bucket: home.bucket }))).KeyCount).toBe(0)
  })

  test('a full quota refuses the upload, and no parts of it are left', async () => {
    const home = await store().home('videos')
    await store().setQuota(home, 8 * 1024 * 1024)
    await expect(upload(home, 'big', randomBytes(25 * 1024 * 1024))).rejects.toMatchObject({
      name: 'QuotaExceeded',
    })
    await store().setQuota(home, null)
    await upload(home, 'big', randomBytes(25 * 1024 * 1024))
    const head = await home.s3.send(new HeadObjectCommand({ Bucket: home.bucket, Key: 'big' }))
    expect(head.ContentLength).toBe(25 * 1024 * 1024)
  })

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const home = await store().home('videos')
    await store().loseNode()
    const video = randomBytes(12 * 1024 * 1024)
    await upload(home, 'video.mp4', video, { ACL: 'public-read' })
    const got = Buffer.from(await (await fetch(url(home, 'video.mp4'))).arrayBuffer())
    expect(got.equals(video)).toBe(true)
    await store().restoreNode()
  })
})
