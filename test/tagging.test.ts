import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketTaggingCommand,
  DeleteObjectTaggingCommand,
  GetBucketTaggingCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  PutBucketTaggingCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  type S3Client,
  type Tag,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'tags'
let node: TestNode
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('tagging'))
  await s3.send(new CreateBucketCommand({ Bucket }))
})

afterAll(() => node?.dispose())

const put = (Key: string, Tagging?: string) =>
  s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x', ...(Tagging !== undefined && { Tagging }) }))
const tagsOf = async (Key: string, VersionId?: string) =>
  (await s3.send(new GetObjectTaggingCommand({ Bucket, Key, VersionId }))).TagSet
const setTags = (Key: string, TagSet: Tag[], VersionId?: string) =>
  s3.send(new PutObjectTaggingCommand({ Bucket, Key, VersionId, Tagging: { TagSet } }))
const numbered = (count: number): Tag[] =>
  Array.from({ length: count }, (_, i) => ({ Key: `key ${i}`, Value: `v${i}` }))

describe('tags of objects', () => {
  test('come with the upload, are counted in heads, replaced and deleted', async () => {
    await put('a', 'one=1&two=z%C3%BCrich%20%2B&three')
    const tags = [
      { Key: 'one', Value: '1' },
      { Key: 'three', Value: '' },
      { Key: 'two', Value: 'zürich +' },
    ]
    expect(await tagsOf('a')).toEqual(tags)
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'a' }))).TagCount).toBe(3)
    await setTags('a', [{ Key: 'other', Value: 'x' }])
    expect(await tagsOf('a')).toEqual([{ Key: 'other', Value: 'x' }])
    await s3.send(new DeleteObjectTaggingCommand({ Bucket, Key: 'a' }))
    expect(await tagsOf('a')).toEqual([])
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'a' }))).TagCount).toBeUndefined()
  })

  test('come with a multipart upload', async () => {
    const upload = { Bucket, Key: 'parts' }
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...upload, Tagging: 'k=v' }))
    const part = await s3.send(new UploadPartCommand({ ...upload, UploadId, PartNumber: 1, Body: 'x' }))
    await s3.send(
      new CompleteMultipartUploadCommand({
        ...upload,
        UploadId,
        MultipartUpload: { Parts: [{ PartNumber: 1, ETag: part.ETag }] },
      }),
    )
    expect(await tagsOf('parts')).toEqual([{ Key: 'k', Value: 'v' }])
  })

  test('go along with a copy unless it replaces them', async () => {
    await put('source', 'k=v')
    const copy = { Bucket, CopySource: `${Bucket}/source` }
    await s3.send(new CopyObjectCommand({ ...copy, Key: 'kept', Tagging: 'ignored=1' }))
    expect(await tagsOf('kept')).toEqual([{ Key: 'k', Value: 'v' }])
    await s3.send(
      new CopyObjectCommand({ ...copy, Key: 'new', Tagging: 'other=1', TaggingDirective: 'REPLACE' }),
    )
    expect(await tagsOf('new')).toEqual([{ Key: 'other', Value: '1' }])
    await s3.send(new CopyObjectCommand({ ...copy, Key: 'none', TaggingDirective: 'REPLACE' }))
    expect(await tagsOf('none')).toEqual([])
  })

  test('belong to a version', async () => {
    const bucket = { Bucket: 'tag-versions' }
    await s3.send(new CreateBucketCommand(bucket))
    await s3.send(
      new PutBucketVersioningCommand({ ...bucket, VersioningConfiguration: { Status: 'Enabled' } }),
    )
    const versions: string[] = []
    for (const Body of ['1', '2']) {
      const { VersionId } = await s3.send(new PutObjectCommand({ ...bucket, Key: 'k', Body }))
      versions.push(VersionId!)
    }
    for (const [i, VersionId] of versions.entries()) {
      const Tagging = { TagSet: [{ Key: 'n', Value: String(i) }] }
      const set = await s3.send(new PutObjectTaggingCommand({ ...bucket, Key: 'k', VersionId, Tagging }))
      expect(set.VersionId).toBe(VersionId)
    }
    for (const [i, VersionId] of versions.entries()) {
      const got = await s3.send(new GetObjectTaggingCommand({ ...bucket, Key: 'k', VersionId }))
      expect(got).toMatchObject({ VersionId, TagSet: [{ Key: 'n', Value: String(i) }] })
    }
    const current = await s3.send(new GetObjectTaggingCommand({ ...bucket, Key: 'k' }))
    expect(current.VersionId).toBe(versions[1])
  })

  test('ten are accepted, with the longest keys and values, eleven are not', async () => {
    await put('limits')
    const longest = { Key: 'ö'.repeat(128), Value: 'v'.repeat(256) }
    await setTags('limits', [...numbered(9), longest])
    expect(await tagsOf('limits')).toHaveLength(10)
    const refused: Tag[][] = [
      numbered(11),
      [{ Key: 'k'.repeat(129), Value: '' }],
      [{ Key: 'k', Value: 'v'.repeat(257) }],
      [{ Key: '', Value: 'v' }],
      [{ Key: 'a;b', Value: 'v' }],
      [{ Key: 'k', Value: '\u0001' }],
      [{ Key: 'aws:system', Value: 'v' }],
      [{ Key: '__proto__', Value: 'v' }],
      [
        { Key: 'twice', Value: '1' },
        { Key: 'twice', Value: '2' },
      ],
    ]
    for (const tags of refused) {
      await expect(setTags('limits', tags)).rejects.toMatchObject({ name: 'InvalidTag' })
    }
    expect(await tagsOf('limits')).toHaveLength(10)
    await expect(put('limits', 'a=1&a=2')).rejects.toMatchObject({ name: 'InvalidTag' })
    await expect(put('limits', 'a=%ff')).rejects.toMatchObject({ name: 'InvalidArgument' })
    expect(await tagsOf('limits')).toHaveLength(10)
  })

  test('of what is not there are an error', async () => {
    await expect(tagsOf('missing')).rejects.toMatchObject({ name: 'NoSuchKey' })
    await expect(setTags('missing', numbered(1))).rejects.toMatchObject({ name: 'NoSuchKey' })
    const id = 'ab'.repeat(16)
    await put('there')
    await expect(tagsOf('there', id)).rejects.toMatchObject({ name: 'NoSuchVersion' })
    await expect(setTags('there', numbered(1), 'nonsense')).rejects.toMatchObject({ name: 'InvalidArgument' })
  })

  test('a document that is none is refused', async () => {
    await put('xml')
    for (const body of [
      '',
      '<Tagging>',
      '<Tagging/>',
      '<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>',
    ]) {
      const command = new PutObjectTaggingCommand({ Bucket, Key: 'xml', Tagging: { TagSet: [] } })
      command.middlewareStack.add(
        (next) => (args) => {
          const request = args.request as { body: string; headers: Record<string, string> }
          request.body = body
          request.headers['content-length'] = String(body.length)
          for (const name in request.headers) {
            if (/checksum|md5/i.test(name)) delete request.headers[name]
          }
          return next(args)
        },
        { step: 'build', priority: 'low' },
      )
      await expect(s3.send(command)).rejects.toMatchObject({ name: 'MalformedXML' })
    }
  })
})

describe('tags of buckets', () => {
  test('are kept, up to fifty, and deleted', async () => {
    const get = () => s3.send(new GetBucketTaggingCommand({ Bucket }))
    await expect(get()).rejects.toMatchObject({ name: 'NoSuchTagSet' })
    await s3.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet: numbered(50) } }))
    expect((await get()).TagSet).toHaveLength(50)
    await expect(
      s3.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet: numbered(51) } })),
    ).rejects.toMatchObject({ name: 'InvalidTag' })
    await s3.send(new DeleteBucketTaggingCommand({ Bucket }))
    await expect(get()).rejects.toMatchObject({ name: 'NoSuchTagSet' })
  })
})
