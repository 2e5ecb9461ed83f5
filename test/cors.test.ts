import {
  CreateBucketCommand,
  DeleteBucketCorsCommand,
  GetBucketCorsCommand,
  GetObjectCommand,
  PutBucketCorsCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'cors'
const CORSRules = [
  {
    ID: 'app',
    AllowedOrigins: ['https://app.example.org'],
    AllowedMethods: ['GET', 'PUT'],
    AllowedHeaders: ['content-type', 'x-amz-*'],
    ExposeHeaders: ['ETag'],
    MaxAgeSeconds: 600,
  },
  { AllowedOrigins: ['*'], AllowedMethods: ['HEAD'] },
]

let node: TestNode
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('cors'))
  await s3.send(new CreateBucketCommand({ Bucket }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'content' }))
  await s3.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules } }))
})

afterAll(() => node?.dispose())

function preflight(headers: Record<string, string>, path = `/${Bucket}/a`) {
  return fetch(node.endpoint + path, { method: 'OPTIONS', headers })
}

test('the rules come back as they were put', async () => {
  const got = await s3.send(new GetBucketCorsCommand({ Bucket }))
  expect(got.CORSRules).toEqual(CORSRules)
})

test('a preflight that a rule allows tells the browser so', async () => {
  const answer = await preflight({
    Origin: 'https://app.example.org',
    'Access-Control-Request-Method': 'PUT',
    'Access-Control-Request-Headers': 'Content-Type, X-Amz-Meta-A',
  })
  expect(answer.status).toBe(200)
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    'access-control-allow-origin': 'https://app.example.org',
    'access-control-allow-methods': 'GET, PUT',
    'access-control-allow-headers': 'content-type, x-amz-meta-a',
    'access-control-expose-headers': 'ETag',
    'access-control-max-age': '600',
  })
  expect(answer.headers.get('vary')).toContain('Origin')
})

test.each([
  ['another origin', { Origin: 'https://evil.example.org', 'Access-Control-Request-Method': 'PUT' }, 403],
  ['another method', { Origin: 'https://app.example.org', 'Access-Control-Request-Method': 'DELETE' }, 403],
  [
    'another header',
    {
      Origin: 'https://app.example.org',
      'Access-Control-Request-Method': 'GET',
      'Access-Control-Request-Headers': 'authorization',
    },
    403,
  ],
  ['no origin', { 'Access-Control-Request-Method': 'GET' }, 400],
  ['no method', { Origin: 'https://app.example.org' }, 400],
])('a preflight with %s is refused', async (_, headers, status) => {
  const answer = await preflight(headers)
  expect(answer.status).toBe(status)
  expect(answer.headers.get('access-control-allow-origin')).toBeNull()
  expect(await answer.text()).toContain('<Error>')
})

test('answers to other origins carry what the rules allow, errors too', async () => {
  const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'a' }))
  const allowed = await fetch(url, { headers: { Origin: 'https://app.example.org' } })
  expect(await allowed.text()).toBe('content')
  expect(allowed.headers.get('access-control-allow-origin')).toBe('https://app.example.org')
  const other = await fetch(url, { headers: { Origin: 'https://evil.example.org' } })
  expect(other.status).toBe(200)
  expect(other.headers.get('access-control-allow-origin')).toBeNull()
  expect(other.headers.get('vary')).toContain('Origin')
  const denied = await fetch(`${node.endpoint}/${Bucket}/a`, {
    headers: { Origin: 'https://app.example.org' },
  })
  expect(denied.status).toBe(403)
  expect(denied.headers.get('access-control-allow-origin')).toBe('https://app.example.org')
  const head = await fetch(`${node.endpoint}/${Bucket}/a`, {
    method: 'HEAD',
    headers: { Origin: 'https://x' },
  })
  expect(head.headers.get('access-control-allow-origin')).toBe('*')
})

test('a bucket known to one key alone answers preflights by its rules', async () => {
  const key = await node.createKey('local')
  const bucket = node.core.model.buckets.localByName(Bucket, undefined)!
  await node.core.model.buckets.addLocalAlias(bucket, key.id, 'my-cors')
  const headers = { Origin: 'https://app.example.org', 'Access-Control-Request-Method': 'GET' }
  expect((await preflight(headers, '/my-cors/a')).status).toBe(200)
  expect((await preflight(headers, '/nobodys-cors/a')).status).toBe(403)
})

test('without rules nothing is allowed', async () => {
  await s3.send(new DeleteBucketCorsCommand({ Bucket }))
  await expect(s3.send(new GetBucketCorsCommand({ Bucket }))).rejects.toMatchObject({
    name: 'NoSuchCORSConfiguration',
  })
  const headers = { Origin: 'https://app.example.org', 'Access-Control-Request-Method': 'GET' }
  expect((await preflight(headers)).status).toBe(403)
})
