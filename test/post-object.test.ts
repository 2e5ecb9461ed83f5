import { createHmac, randomBytes } from 'node:crypto'
import {
  CreateBucketCommand,
  DeletePublicAccessBlockCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketAclCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { postForm, signedForm } from './support/post-form.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'forms'
let node: TestNode
let key: AccessKey
let s3: S3Client
let url: string

beforeAll(async () => {
  node = await startTestNode()
  key = await node.createKey('forms')
  s3 = node.client(key)
  await s3.send(new CreateBucketCommand({ Bucket }))
  url = `${node.endpoint}/${Bucket}`
})

afterAll(() => node?.dispose())

const text = async (Key: string) =>
  (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToString()
const file = { content: 'content', name: 'a.txt' }

/** Posts a form that must fail, and checks that nothing is stored. */
async function refused(
  fields: Record<string, string>,
  upload: { content: Buffer | string; name: string } | undefined,
) {
  const before = await s3.send(new ListObjectsV2Command({ Bucket }))
  const answer = await postForm(url, fields, upload)
  const after = await s3.send(new ListObjectsV2Command({ Bucket }))
  expect(after.KeyCount).toBe(before.KeyCount)
  const code = /<Code>(\w+)<\/Code>/.exec(await answer.text())?.[1]
  return [answer.status, code]
}

test('a signed form stores its file with headers and metadata', async () => {
  const fields = signedForm(key, Bucket, {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the variable of AWS's forms
    key: 'up/${filename}',
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'x-amz-meta-name': 'ä',
  })
  const answer = await postForm(url, fields, file)
  expect(answer.status).toBe(204)
  expect(answer.headers.get('location')).toBe(`${url}/up/a.txt`)
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'up/a.txt' }))
  expect(head).toMatchObject({
    ContentType: 'text/plain; charset=utf-8',
    CacheControl: 'no-store',
    ContentLength: 7,
    ETag: answer.headers.get('etag'),
  })
  expect(await text('up/a.txt')).toBe('content')
})

test('tags and access control of a form become those of the object', async () => {
  const tagging =
    '<Tagging><TagSet><Tag><Key>a b</Key><Value>1+2</Value></Tag><Tag><Key>c</Key><Value/></Tag></TagSet></Tagging>'
  const fields = signedForm(key, Bucket, { key: 'tagged', tagging, acl: 'bucket-owner-full-control' })
  const answer = await postForm(url, fields, file)
  expect(await answer.text()).toBe('')
  const { TagSet } = await s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'tagged' }))
  expect(TagSet).toEqual([
    { Key: 'a b', Value: '1+2' },
    { Key: 'c', Value: '' },
  ])
  const bad = signedForm(key, Bucket, { key: 'no', tagging: '<Tagging>' })
  expect(await refused(bad, file)).toEqual([400, 'MalformedXML'])
})

test('anonymous forms are accepted where a bucket allows anybody to write', async () => {
  const open = 'open-forms'
  await s3.send(
    new CreateBucketCommand({ Bucket: open, ACL: 'public-read-write', ObjectOwnership: 'ObjectWriter' }),
  )
  await s3.send(new DeletePublicAccessBlockCommand({ Bucket: open }))
  await s3.send(new PutBucketAclCommand({ Bucket: open, ACL: 'public-read-write' }))
  const answer = await postForm(`${node.endpoint}/${open}`, { key: 'a', success_action_status: '201' }, file)
  expect(answer.status).toBe(201)
})

test.each([0, 65_536, 65_537, 5_000_000])('a file of %i bytes comes back as it was', async (size) => {
  const content = randomBytes(size)
  const answer = await postForm(url, signedForm(key, Bucket, { key: `size/${size}` }), { content, name: 'f' })
  expect(answer.status).toBe(204)
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: `size/${size}` }))
  expect(Buffer.from(await got.Body!.transformToByteArray()).equals(content)).toBe(true)
})

test('the older signature of forms is accepted', async () => {
  const document = {
    expiration: new Date(Date.now() + 60_000).toISOString(),
    conditions: [{ bucket: Bucket }, ['starts-with', '$key', 'old']],
  }
  const policy = Buffer.from(JSON.stringify(document)).toString('base64')
  const signature = createHmac('sha1', key.secret).update(policy).digest('base64')
  const fields = { key: 'old', AWSAccessKeyId: key.id, policy, signature }
  expect((await postForm(url, fields, file)).status).toBe(204)
  expect(await text('old')).toBe('content')
  expect(await refused({ ...fields, key: 'old2', signature: `x${signature}` }, file)).toEqual([
    403,
    'SignatureDoesNotMatch',
  ])
})

test('the answer is what the form asks for', async () => {
  const created = await postForm(
    url,
    signedForm(key, Bucket, { key: 'a&b', success_action_status: '201' }),
    file,
  )
  expect(created.status).toBe(201)
  expect(await created.text()).toContain('<Key>a&amp;b</Key>')
  const redirect = 'https://example.org/done?x=1'
  const sent = await postForm(
    url,
    signedForm(key, Bucket, { key: 'a&b', success_action_redirect: redirect }),
    file,
  )
  expect(sent.status).toBe(303)
  const etag = encodeURIComponent(sent.headers.get('etag')!)
  expect(sent.headers.get('location')).toBe(`${redirect}&bucket=${Bucket}&key=a%26b&etag=${etag}`)
  const smile = signedForm(key, Bucket, { key: 'a', success_action_redirect: 'https://example.org/😀' })
  const smiled = await postForm(url, smile, file)
  expect(smiled.headers.get('location')).toContain('https://example.org/%F0%9F%98%80?bucket=')
})

test('checksums are verified and kept, and naming an algorithm alone has it computed', async () => {
  const fields = signedForm(key, Bucket, { key: 'sum' })
  const sha256 = '7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M='
  expect((await postForm(url, { ...fields, 'x-amz-checksum-sha256': sha256 }, file)).status).toBe(204)
  const stored = await s3.send(new HeadObjectCommand({ Bucket, Key: 'sum', ChecksumMode: 'ENABLED' }))
  expect(stored.ChecksumSHA256).toBe(sha256)
  expect(
    await refused({ ...signedForm(key, Bucket, { key: 'bad' }), 'x-amz-checksum-sha256': 'x' }, file),
  ).toEqual([400, 'BadDigest'])
  const named = { ...signedForm(key, Bucket, { key: 'named' }), 'x-amz-checksum-algorithm': 'CRC32C' }
  expect((await postForm(url, named, file)).status).toBe(204)
  expect(
    (await s3.send(new HeadObjectCommand({ Bucket, Key: 'named', ChecksumMode: 'ENABLED' }))).ChecksumCRC32C,
  ).toBeDefined()
})

test('what is wrong with a form is refused with the code that AWS has', async () => {
  const range = (min: number, max: number) => ({ conditions: [['content-length-range', min, max]] })
  const good = (Key = 'no', options = {}) => signedForm(key, Bucket, { key: Key }, options)
  const without = (name: string) => {
    const { [name]: _, ...rest } = good()
    return rest
  }
  expect(await refused(without('key'), file)).toEqual([400, 'InvalidArgument'])
  expect(await refused(without('x-amz-signature'), file)).toEqual([400, 'InvalidArgument'])
  expect(await refused(without('policy'), file)).toEqual([400, 'InvalidArgument'])
  expect(await refused(good(), undefined)).toEqual([400, 'InvalidArgument'])
  expect(await refused({ ...good(), extra: '1' }, file)).toEqual([403, 'AccessDenied'])
  expect(await refused({ ...good(), key: 'other' }, file)).toEqual([403, 'AccessDenied'])
  expect(await refused(good('no', { expiresMs: -1 }), file)).toEqual([403, 'AccessDenied'])
  expect(await refused(good('no', { secret: 'wrong' }), file)).toEqual([403, 'SignatureDoesNotMatch'])
  expect(await refused(good('no', range(0, 6)), file)).toEqual([400, 'EntityTooLarge'])
  expect(await refused(good('no', range(8, 9)), file)).toEqual([400, 'EntityTooSmall'])
  expect(await refused(good('k'.repeat(1025)), file)).toEqual([400, 'KeyTooLongError'])
  expect(await refused({ key: 'no' }, file)).toEqual([403, 'AccessDenied'])
  expect(
    await refused(signedForm(key, Bucket, { key: 'no', 'x-amz-meta-a': 'a'.repeat(2050) }), file),
  ).toEqual([400, 'MetadataTooLarge'])
  expect(await refused({ ...good(), 'x-ignore-a': 'a'.repeat(70_000) }, file)).toEqual([
    400,
    'MaxPostPreDataLengthExceededError',
  ])
})

test('quotas count for forms', async () => {
  const { buckets } = node.core.model
  const name = 'full-forms'
  await s3.send(new CreateBucketCommand({ Bucket: name }))
  await buckets.setDocument(buckets.localByName(name, undefined)!, 'quotas', { maxSize: 10_000 })
  const post = (size: number) =>
    postForm(`${node.endpoint}/${name}`, signedForm(key, name, { key: `${size}` }), {
      content: randomBytes(size),
      name: 'f',
    })
  expect((await post(5_000)).status).toBe(204)
  const refusal = await post(6_000)
  expect(refusal.status).toBe(403)
  expect(await refusal.text()).toContain('QuotaExceeded')
})

test('a form that breaks off stores nothing', async () => {
  const fields = signedForm(key, Bucket, { key: 'cut' })
  const boundary = 'b'
  const head = Object.entries({ ...fields, file: 'content' })
    .map(([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}`)
    .join('\r\n')
  const answer = await fetch(url, {
    method: 'POST',
    body: head,
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
  })
  expect(answer.status).toBe(400)
  expect(await answer.text()).toContain('MalformedPOSTRequest')
  await expect(text('cut')).rejects.toMatchObject({ name: 'NoSuchKey' })
})
