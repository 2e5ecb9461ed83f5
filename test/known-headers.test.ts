/** Headers that nothing here knows may ask for anything: they are refused in all forms of requests, and never ignored. */
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { postForm, signedForm } from './support/post-form.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'headers'
const Key = 'key'
let node: TestNode
let key: AccessKey
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  key = await node.createKey('headers')
  s3 = node.client(key)
  await s3.send(new CreateBucketCommand({ Bucket }))
})

afterAll(() => node?.dispose())

/** A client that adds to each request before it is signed. */
function clientWith(headers: Record<string, string>, query: Record<string, string> = {}): S3Client {
  const client = node.client(key)
  client.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { headers: Record<string, string>; query: Record<string, string> }
      Object.assign(request.headers, headers)
      Object.assign(request.query, query)
      return next(args)
    },
    { step: 'build' },
  )
  return client
}

async function isAbsent(): Promise<boolean> {
  const shown = await s3.send(new HeadObjectCommand({ Bucket, Key })).catch((error: Error) => error)
  return shown instanceof Error && shown.name === 'NotFound'
}

describe.each([
  'x-amz-checksum-blake3',
  'x-amz-write-offset-bytes',
  'x-amz-object-lock-event-hold',
  'x-amz-some-future-wish',
])('%s', (name) => {
  const REFUSED = { name: 'NotImplemented' }

  test('as a header is refused by writes, reads and deletions', async () => {
    const client = clientWith({ [name]: '1' })
    const object = { Bucket, Key }
    await expect(client.send(new PutObjectCommand({ ...object, Body: 'x' }))).rejects.toMatchObject(REFUSED)
    await expect(client.send(new DeleteObjectCommand(object))).rejects.toMatchObject(REFUSED)
    await expect(client.send(new ListObjectsV2Command({ Bucket }))).rejects.toMatchObject(REFUSED)
    expect(await isAbsent()).toBe(true)
  })

  test('as a parameter of a presigned URL, and as a field of a form', async () => {
    const client = clientWith({}, { [name]: '1' })
    const url = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key }))
    expect(url).toContain(name)
    expect((await fetch(url, { method: 'PUT', body: 'x' })).status).toBe(501)
    const form = signedForm(key, Bucket, { key: Key, [name]: '1' })
    const answer = await postForm(`${node.endpoint}/${Bucket}`, form, { content: 'x', name: 'x' })
    expect(answer.status).toBe(501)
    expect(await isAbsent()).toBe(true)
  })
})

test('what clients send without a meaning passes', async () => {
  const client = clientWith(
    {
      'x-amz-user-agent': 'aws-sdk-js/3',
      'x-amz-sdk-request': 'attempt=1',
      'x-amz-te': 'append-md5',
      'x-amz-request-payer': 'requester',
      'x-amz-mfa': '1 2',
      'x-amzn-trace-id': 'Root=1',
      'x-amz-meta-x-amz-anything': '1',
    },
    { 'x-amz-user-agent': 'aws-sdk-js/3' },
  )
  await client.send(new PutObjectCommand({ Bucket, Key: 'harmless', Body: 'x' }))
  expect((await client.send(new ListObjectsV2Command({ Bucket }))).KeyCount).toBe(1)
})
