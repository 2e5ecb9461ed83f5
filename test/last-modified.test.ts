/** Last-Modified that a migration tells: who may tell it, where it shows, and what it decides. */
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  type LifecycleRule,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutBucketWebsiteCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { signedHeaders } from './support/signed-head.js'
import { startTestNode, type TestNode } from './support/test-node.js'
import { visit } from './support/visit.js'

const HEADER = 'x-carport-last-modified'
const OLD = '2001-02-03T04:05:06.789Z'
const OLD_HTTP = 'Sat, 03 Feb 2001 04:05:06 GMT'
const OLDER = '2000-01-01T00:00:00.000Z'
const DAY_MS = 86_400_000

let node: TestNode
let owner: AccessKey
let s3: S3Client
let Bucket: string
let buckets = 0

beforeAll(async () => {
  node = await startTestNode()
  owner = await node.createKey('owner')
  s3 = node.client(owner)
})
afterAll(() => node?.dispose())

async function createBucket(Status?: 'Enabled'): Promise<void> {
  Bucket = `dated-${++buckets}`
  await s3.send(new CreateBucketCommand({ Bucket }))
  if (Status) await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status } }))
}

/** A client of a key, all of whose requests have the header. */
function telling(time: string, key = owner): S3Client {
  const client = node.client(key)
  client.middlewareStack.add(
    (next) => (args) => {
      const { headers } = args.request as { headers: Record<string, string> }
      headers[HEADER] = time
      return next(args)
    },
    { step: 'build' },
  )
  return client
}

const put = (client: S3Client, Key: string, more = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body: 'content', ...more }))
const modified = async (Key: string, more = {}) =>
  (await s3.send(new HeadObjectCommand({ Bucket, Key, ...more }))).LastModified!.toISOString()
const listed = async (command: ListObjectsCommand | ListObjectsV2Command) =>
  ((await s3.send(command as ListObjectsV2Command)).Contents ?? []).map(({ LastModified }) =>
    LastModified!.toISOString(),
  )
const versions = async () => {
  const { Versions = [], DeleteMarkers = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket }))
  const times = (all: { LastModified?: Date }[]) => all.map(({ LastModified }) => LastModified!.toISOString())
  return { objects: times(Versions), markers: times(DeleteMarkers), Versions, DeleteMarkers }
}

describe('a Last-Modified that was told', () => {
  test('shows wherever an object does, to the millisecond where the form has those', async () => {
    await createBucket()
    await put(telling(OLD), 'k')
    await put(telling(OLD_HTTP), 'k of an HTTP date')
    await put(s3, 'now')
    const [short, long] = ['2001-02-03T04:05:06.000Z', OLD]
    expect([await modified('k'), await modified('k of an HTTP date')]).toEqual([short, short])
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))
    expect(got.LastModified!.toISOString()).toBe(short)
    const Prefix = 'k'
    for (const command of [
      new ListObjectsCommand({ Bucket, Prefix }),
      new ListObjectsV2Command({ Bucket, Prefix }),
    ])
      expect(await listed(command)).toEqual([long, short])
    expect((await versions()).objects.slice(0, 2)).toEqual([long, short])
    const attributes = await s3.send(
      new GetObjectAttributesCommand({ Bucket, Key: 'k', ObjectAttributes: ['ETag'] }),
    )
    expect(attributes.LastModified!.toISOString()).toBe(short)
    // Others have the time of their writing, as ever.
    expect(Date.now() - Date.parse(await modified('now'))).toBeLessThan(60_000)
    // The object is changed, but is the same.
    const TagSet = [{ Key: 'a', Value: 'b' }]
    await s3.send(new PutObjectTaggingCommand({ Bucket, Key: 'k', Tagging: { TagSet } }))
    expect(await modified('k')).toBe(short)
    // A copy is a new object, whose owner may tell its time as well.
    const CopySource = `${Bucket}/k`
    const copied = await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource }))
    expect(Date.now() - Number(copied.CopyObjectResult!.LastModified)).toBeLessThan(60_000)
    await telling(OLDER).send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource }))
    expect(await modified('copy')).toBe(OLDER)
  })

  test('is that of uploads in parts, and conditions are judged by it', async () => {
    await createBucket()
    const Key = 'parts'
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
    const part = { Bucket, Key, UploadId, PartNumber: 1 }
    const { ETag } = await s3.send(new UploadPartCommand({ ...part, Body: 'x' }))
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] }
    await telling(OLD).send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload }))
    expect(await modified(Key)).toBe('2001-02-03T04:05:06.000Z')

    const at = new Date(OLD)
    const later = new Date(Number(at) + 1000)
    const get = (more: object) => s3.send(new GetObjectCommand({ Bucket, Key, ...more }))
    await expect(get({ IfModifiedSince: at })).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } })
    await get({ IfModifiedSince: new Date(Number(at) - 2000) })
    await get({ IfUnmodifiedSince: at })
    await expect(get({ IfUnmodifiedSince: new Date(OLDER) })).rejects.toMatchObject({
      name: 'PreconditionFailed',
    })
    const remove = (IfMatchLastModifiedTime: Date) =>
      s3.send(new DeleteObjectCommand({ Bucket, Key, IfMatchLastModifiedTime }))
    await expect(remove(later)).rejects.toMatchObject({ name: 'PreconditionFailed' })
    await remove(at)
    await expect(modified(Key)).rejects.toMatchObject({ name: 'NotFound' })
  })

  test('stays with each version and delete marker, orders none of them, and conditional writes keep it', async () => {
    await createBucket('Enabled')
    await put(telling(OLD), 'k')
    // Later, but told to be older.
    await put(telling(OLDER), 'k')
    await telling(OLD).send(new DeleteObjectCommand({ Bucket, Key: 'k' }))
    const { ETag } = await put(telling(OLDER), 'k', { IfNoneMatch: '*' })
    await put(telling(OLD), 'k', { IfMatch: ETag })
    const all = await versions()
    expect([all.objects, all.markers]).toEqual([[OLD, OLDER, OLDER, OLD], [OLD]])
    expect(all.Versions.map(({ IsLatest }) => IsLatest)).toEqual([true, false, false, false])
    // The one before becomes current again, with its own time.
    const [current, before] = all.Versions
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k', VersionId: current!.VersionId }))
    expect(await listed(new ListObjectsV2Command({ Bucket }))).toEqual([OLDER])
    const { LastModified, VersionId } = await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }))
    expect([VersionId, LastModified!.toISOString()]).toEqual([before!.VersionId, OLDER])
    // In a bucket without versions nothing is left that could have a time.
    await createBucket()
    await telling(OLD).send(new DeleteObjectCommand({ Bucket, Key: 'k' }))
    expect(await versions()).toMatchObject({ objects: [], markers: [] })
  })

  test('is that of a page of a site', async () => {
    await createBucket()
    const WebsiteConfiguration = { IndexDocument: { Suffix: 'index.html' } }
    await s3.send(new PutBucketWebsiteCommand({ Bucket, WebsiteConfiguration }))
    await put(telling(OLD), 'index.html')
    const page = (headers = {}) => visit(node.web!.port, `${Bucket}.web.localhost`, '/', { headers })
    expect((await page()).headers['last-modified']).toBe(OLD_HTTP)
    expect((await page({ 'if-modified-since': OLD_HTTP })).status).toBe(304)
  })
})

describe('lifecycle rules', () => {
  const setRules = (...rules: Partial<LifecycleRule>[]) =>
    s3.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket,
        LifecycleConfiguration: {
          Rules: rules.map((rule, i) => ({ ID: `r${i}`, Status: 'Enabled', Filter: {}, ...rule })),
        },
      }),
    )
  const daysAgo = (days: number) => new Date(Date.now() - days * DAY_MS).toISOString()

  test('count from it: an object ends on the day on which it would have ended where it comes from', async () => {
    await createBucket()
    await setRules({ Expiration: { Days: 30 } })
    await put(telling(daysAgo(40)), 'due')
    await put(telling(daysAgo(20)), 'not yet')
    await put(s3, 'new')
    const { Expiration } = await s3.send(new HeadObjectCommand({ Bucket, Key: 'not yet' }))
    const ends = Date.parse(/expiry-date="([^"]+)"/.exec(Expiration!)![1]!)
    expect(ends - Date.now()).toBeGreaterThan(9 * DAY_MS)
    expect(ends - Date.now()).toBeLessThan(11 * DAY_MS)
    await node.core.model.lifecycle.runNow()
    const left = (await s3.send(new ListObjectsV2Command({ Bucket }))).Contents!.map(({ Key }) => Key)
    expect(left).toEqual(['new', 'not yet'])
  })

  test('count noncurrent versions from it, but none from before it was there', async () => {
    await createBucket('Enabled')
    await put(telling(daysAgo(50)), 'moved')
    await put(telling(daysAgo(40)), 'moved')
    // What was written here is replaced by a migration.
    await put(s3, 'ours')
    await put(telling(daysAgo(40)), 'ours')
    await setRules({ NoncurrentVersionExpiration: { NoncurrentDays: 30 } })
    await node.core.model.lifecycle.runNow()
    expect((await versions()).Versions.map(({ Key }) => Key)).toEqual(['moved', 'ours', 'ours'])
  })
})

describe('the header', () => {
  const denied = { name: 'AccessDenied' }

  test('is taken from keys that own the bucket alone, and HeadBucket tells who may', async () => {
    await createBucket()
    const writer = await node.createKey('writer')
    const id = node.core.model.buckets.localByName(Bucket, undefined)!.id
    await node.core.model.keys.setPermissions(writer.id, id, { read: true, write: true, owner: false })
    const byWriter = telling(OLD, writer)
    await expect(put(byWriter, 'k')).rejects.toMatchObject({
      ...denied,
      message: `Only access keys that own the bucket may set ${HEADER}.`,
    })
    await put(node.client(writer), 'k')
    await expect(byWriter.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))).rejects.toMatchObject(denied)
    // Neither a policy nor anybody's permission to write makes an owner.
    const Statement = { Effect: 'Allow', Principal: '*', Action: '*', Resource: `arn:aws:s3:::${Bucket}/*` }
    const Policy = JSON.stringify({ Version: '2012-10-17', Statement })
    await s3.send(new PutBucketPolicyCommand({ Bucket, Policy }))
    await expect(put(byWriter, 'k')).rejects.toMatchObject(denied)
    const anonymous = await fetch(`${node.endpoint}/${Bucket}/k`, {
      method: 'PUT',
      body: 'x',
      headers: { [HEADER]: OLD },
    })
    expect(anonymous.status).toBe(403)
    expect(Date.parse(await modified('k'))).toBeGreaterThan(Date.now() - DAY_MS)

    const offer = async (client: S3Client) => {
      let told: string | undefined
      client.middlewareStack.add(
        (next) => async (args) => {
          const result = await next(args)
          told = (result.response as { headers: Record<string, string> }).headers[HEADER]
          return result
        },
        { step: 'deserialize' },
      )
      await client.send(new HeadBucketCommand({ Bucket }))
      return told
    }
    expect(await offer(telling(OLD))).toBe('accepted')
    expect([await offer(byWriter), await offer(node.client(owner))]).toEqual([undefined, undefined])
  })

  test.each([
    ['yesterday', 'must be an HTTP date or a time of ISO 8601'],
    ['2001-02-03', 'must be an HTTP date or a time of ISO 8601'],
    ['2001-02-30T00:00:00', 'must be an HTTP date or a time of ISO 8601'],
    ['1234567890', 'must be an HTTP date or a time of ISO 8601'],
    ['1969-12-31T23:59:59Z', 'lies before 1970'],
    ['2999-01-01T00:00:00Z', 'lies in the future'],
    [new Date(Date.now() + 3600_000).toUTCString(), 'lies in the future'],
  ])('%s is refused, and nothing is written', async (time, reason) => {
    await createBucket('Enabled')
    const client = telling(time)
    const refused = { name: 'InvalidArgument', message: expect.stringContaining(reason) as string }
    await expect(put(client, 'k')).rejects.toMatchObject(refused)
    await expect(client.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))).rejects.toMatchObject(refused)
    expect(await versions()).toMatchObject({ objects: [], markers: [] })
  })

  test('of a moment that is not over yet by the clock here counts as now', async () => {
    await createBucket()
    await put(telling(new Date(Date.now() + 20_000).toISOString()), 'k')
    expect(Date.parse(await modified('k'))).toBeLessThanOrEqual(Date.now())
  })

  test('belongs to the end of an upload in parts, not to its beginning', async () => {
    await createBucket()
    const begun = telling(OLD).send(new CreateMultipartUploadCommand({ Bucket, Key: 'k' }))
    await expect(begun).rejects.toMatchObject({ name: 'InvalidArgument' })
  })

  test('must be signed: who got a link to an upload cannot add it', async () => {
    await createBucket()
    const url = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'k' }))
    const send = (headers: Record<string, string>) => fetch(url, { method: 'PUT', body: 'x', headers })
    const refused = await send({ [HEADER]: OLD })
    expect([refused.status, await refused.text()]).toEqual([
      403,
      expect.stringContaining(`<HeadersNotSigned>${HEADER}</HeadersNotSigned>`),
    ])
    expect((await send({})).status).toBe(200)
    const signer = { key: owner, port: Number(new URL(node.endpoint).port), nowMs: Date.now() }
    const headers = { ...signedHeaders(signer, 'PUT', `/${Bucket}/k`), [HEADER]: OLD }
    const byV2 = { authorization: `AWS ${owner.id}:any`, date: new Date().toUTCString(), [HEADER]: OLD }
    for (const unsigned of [headers, byV2]) {
      const answer = await fetch(`${node.endpoint}/${Bucket}/k`, {
        method: 'PUT',
        body: 'x',
        headers: unsigned,
      })
      expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining('not signed')])
    }
  })
})
