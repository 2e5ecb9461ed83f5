import { createHash, createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { get as httpGet } from 'node:http'
import { get as httpsGet } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  type CreateBucketCommandInput,
  CreateMultipartUploadCommand,
  DeleteBucketPolicyCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  DeletePublicAccessBlockCommand,
  GetBucketAclCommand,
  GetBucketPolicyCommand,
  GetBucketPolicyStatusCommand,
  GetObjectAclCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutBucketAclCommand,
  PutBucketOwnershipControlsCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  PutPublicAccessBlockCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Sessions } from '../src/api/sts/sessions.js'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { createIdentity } from '../src/net/identity.js'
import { systemRandom } from '../src/platform/clock-and-random.js'
import { postForm, signedForm } from './support/post-form.js'
import { presignedUrl } from './support/signed-head.js'
import { startTestNode, type TestNode } from './support/test-node.js'

let node: TestNode
let ownerKey: AccessKey
let guestKey: AccessKey
let owner: S3Client
let guest: S3Client
/** A client that sends requests without a signature. */
let anonymous: S3Client
let Bucket = ''
let count = 0

beforeAll(async () => {
  node = await startTestNode()
  ownerKey = await node.createKey('owner')
  guestKey = await node.createKey('guest')
  owner = node.client(ownerKey)
  guest = node.client(guestKey)
  anonymous = node.client(guestKey, { signer: { sign: async (request) => request } })
})

afterAll(() => node?.dispose())

beforeEach(async () => {
  Bucket = `bucket-${++count}`
  await owner.send(new CreateBucketCommand({ Bucket }))
  await owner.send(new PutObjectCommand({ Bucket, Key: 'object', Body: 'content' }))
})

const ALL_USERS = 'http://acs.amazonaws.com/groups/global/AllUsers'

async function setPolicy(...statements: object[]): Promise<void> {
  const Statement = statements.map((statement) => ({
    Effect: 'Allow',
    Principal: '*',
    Resource: [`arn:aws:s3:::${Bucket}`, `arn:aws:s3:::${Bucket}/*`],
    ...statement,
  }))
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement })
  await owner.send(new PutBucketPolicyCommand({ Bucket, Policy }))
}

async function read(client: S3Client, Key = 'object', VersionId?: string): Promise<string> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, VersionId }))
  return Body!.transformToString()
}

const write = (client: S3Client, Key: string, options: object = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body: Key, ...options }))
const list = (client: S3Client, options: object = {}) =>
  client.send(new ListObjectsV2Command({ Bucket, ...options }))

/** The status of an anonymous GET. */
function request(url: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    httpGet(url, { headers }, (answer) => {
      answer.resume()
      resolve(answer.statusCode!)
    }).on('error', reject)
  })
}

/** The error code of an answer, or the status of an answer to HEAD, which has no body. */
async function codeOf(answer: Promise<unknown>): Promise<string> {
  try {
    await answer
    return 'none'
  } catch (error) {
    return (error as Error).name
  }
}

describe('without a policy or list', () => {
  test('nobody but the keys with permissions has access', async () => {
    for (const client of [guest, anonymous]) {
      expect(await codeOf(read(client))).toBe('AccessDenied')
      expect(await codeOf(read(client, 'missing'))).toBe('AccessDenied')
      expect(await codeOf(write(client, 'mine'))).toBe('AccessDenied')
      expect(await codeOf(list(client))).toBe('AccessDenied')
      expect(await codeOf(client.send(new GetBucketAclCommand({ Bucket })))).toBe('AccessDenied')
      expect(await codeOf(client.send(new GetBucketPolicyCommand({ Bucket })))).toBe('AccessDenied')
      expect(await codeOf(client.send(new DeleteObjectCommand({ Bucket, Key: 'object' })))).toBe(
        'AccessDenied',
      )
    }
    expect(await read(owner)).toBe('content')
  })

  test('a bucket that is not there is told of to everybody', async () => {
    expect(await codeOf(anonymous.send(new GetObjectCommand({ Bucket: 'no-such-bucket', Key: 'x' })))).toBe(
      'NoSuchBucket',
    )
  })

  test('a key that does not exist is refused, whatever the bucket allows', async () => {
    await setPolicy({ Action: 's3:*' })
    const stranger = node.client({ ...guestKey, id: 'GK000000000000000000000000' })
    expect(await codeOf(read(stranger))).toBe('InvalidAccessKeyId')
    const forger = node.client({ ...guestKey, secret: 'f'.repeat(64) })
    expect(await codeOf(read(forger))).toBe('SignatureDoesNotMatch')
  })

  test('buckets are listed for those who have permissions in them', async () => {
    await setPolicy({ Action: 's3:*' })
    const names = async (client: S3Client) =>
      (await client.send(new ListBucketsCommand({}))).Buckets?.map(({ Name }) => Name) ?? []
    expect(await names(owner)).toContain(Bucket)
    expect(await names(guest)).toEqual([])
    expect(await names(anonymous)).toEqual([])
  })
})

describe('bucket policies', () => {
  test('come back as they were put, until they are deleted', async () => {
    expect(await codeOf(owner.send(new GetBucketPolicyCommand({ Bucket })))).toBe('NoSuchBucketPolicy')
    const Policy = `{ "Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::${Bucket}/*"} }`
    await owner.send(new PutBucketPolicyCommand({ Bucket, Policy }))
    expect((await owner.send(new GetBucketPolicyCommand({ Bucket }))).Policy).toBe(Policy)
    expect(await read(anonymous)).toBe('content')
    await owner.send(new DeleteBucketPolicyCommand({ Bucket }))
    await owner.send(new DeleteBucketPolicyCommand({ Bucket }))
    expect(await codeOf(read(anonymous))).toBe('AccessDenied')
  })

  test('are checked', async () => {
    const put = (Policy: string) => codeOf(owner.send(new PutBucketPolicyCommand({ Bucket, Policy })))
    expect(await put('nothing')).toBe('MalformedPolicy')
    expect(await put(JSON.stringify({ Statement: [], Pad: 'x'.repeat(30_000) }))).toBe('MalformedPolicy')
  })

  test('let single keys do single things', async () => {
    await setPolicy({ Principal: { AWS: guestKey.id }, Action: ['s3:GetObject', 's3:PutObject'] })
    expect(await read(guest)).toBe('content')
    await write(guest, 'mine')
    expect(await codeOf(list(guest))).toBe('AccessDenied')
    expect(await codeOf(guest.send(new DeleteObjectCommand({ Bucket, Key: 'mine' })))).toBe('AccessDenied')
    expect(await codeOf(read(anonymous))).toBe('AccessDenied')
  })

  test('deny even to the owner, but not the policy itself', async () => {
    await setPolicy({ Effect: 'Deny', Action: 's3:*' })
    expect(await codeOf(read(owner))).toBe('AccessDenied')
    expect(await codeOf(write(owner, 'x'))).toBe('AccessDenied')
    expect(await codeOf(list(owner))).toBe('AccessDenied')
    expect(await codeOf(owner.send(new GetBucketPolicyStatusCommand({ Bucket })))).toBe('AccessDenied')
    await owner.send(new GetBucketPolicyCommand({ Bucket }))
    await owner.send(new DeleteBucketPolicyCommand({ Bucket }))
    expect(await read(owner)).toBe('content')
  })

  test('a missing object is told of only to who may list it', async () => {
    await setPolicy({ Action: 's3:GetObject' })
    expect(await codeOf(read(anonymous, 'missing'))).toBe('AccessDenied')
    await setPolicy(
      { Action: 's3:GetObject' },
      { Action: 's3:ListBucket', Condition: { StringLike: { 's3:prefix': 'open/*' } } },
    )
    expect(await codeOf(read(anonymous, 'missing'))).toBe('AccessDenied')
    expect(await codeOf(read(anonymous, 'open/missing'))).toBe('NoSuchKey')
    expect(await codeOf(anonymous.send(new HeadObjectCommand({ Bucket, Key: 'open/missing' })))).toBe(
      'NotFound',
    )
    expect((await list(anonymous, { Prefix: 'open/' })).KeyCount).toBe(0)
    expect(await codeOf(list(anonymous))).toBe('AccessDenied')
  })

  test('versions are other actions than objects', async () => {
    const VersioningConfiguration = { Status: 'Enabled' as const }
    await owner.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }))
    const { VersionId } = await write(owner, 'versioned')
    await setPolicy({ Action: 's3:GetObject' })
    expect(await read(anonymous, 'versioned')).toBe('versioned')
    expect(await codeOf(read(anonymous, 'versioned', VersionId))).toBe('AccessDenied')
    await setPolicy({
      Action: 's3:GetObjectVersion',
      Condition: { StringEquals: { 's3:VersionId': VersionId } },
    })
    expect(await read(anonymous, 'versioned', VersionId)).toBe('versioned')
    expect(await codeOf(read(anonymous, 'versioned'))).toBe('AccessDenied')
  })

  test('see the tags that the object has', async () => {
    const { buckets, objects } = node.core.model
    const { id } = (await buckets.byName(Bucket, undefined))!
    await write(owner, 'closed')
    await objects.update(id, Buffer.from('object'), undefined, () => ({ tags: { class: 'open' } }))
    await setPolicy({
      Action: 's3:GetObject',
      Condition: { StringEquals: { 's3:ExistingObjectTag/Class': 'open' } },
    })
    expect(await read(anonymous)).toBe('content')
    expect(await codeOf(read(anonymous, 'closed'))).toBe('AccessDenied')
    await setPolicy({
      Effect: 'Deny',
      Action: 's3:GetObject',
      Condition: { StringEquals: { 's3:ExistingObjectTag/class': 'open' } },
    })
    expect(await codeOf(read(owner))).toBe('AccessDenied')
    expect(await read(owner, 'closed')).toBe('closed')
  })

  test('see headers, query, address and key', async () => {
    const denied = async (Condition: object, attempt: () => Promise<unknown>) => {
      await setPolicy({ Effect: 'Deny', Action: 's3:*', Condition })
      return (await codeOf(attempt())) === 'AccessDenied'
    }
    const readIt = () => read(owner)
    expect(await denied({ Bool: { 'aws:SecureTransport': 'false' } }, readIt)).toBe(true)
    expect(await denied({ IpAddress: { 'aws:SourceIp': '127.0.0.0/8' } }, readIt)).toBe(true)
    expect(await denied({ IpAddress: { 'aws:SourceIp': '192.0.2.0/24' } }, readIt)).toBe(false)
    expect(await denied({ StringLike: { 'aws:UserAgent': 'aws-sdk-js/*' } }, readIt)).toBe(true)
    expect(await denied({ StringEquals: { 'aws:username': 'owner' } }, readIt)).toBe(true)
    expect(await denied({ StringEquals: { 'aws:userid': guestKey.id } }, readIt)).toBe(false)
    expect(await denied({ DateGreaterThan: { 'aws:CurrentTime': '2020-01-01' } }, readIt)).toBe(true)
    expect(await denied({ StringEquals: { 's3:authType': 'REST-HEADER' } }, readIt)).toBe(true)
    const page = (MaxKeys: number) => () => list(owner, { MaxKeys })
    expect(await denied({ NumericGreaterThan: { 's3:max-keys': 10 } }, page(11))).toBe(true)
    expect(await denied({ NumericGreaterThan: { 's3:max-keys': 10 } }, page(10))).toBe(false)
    const put = (options: object) => () => write(owner, 'put', options)
    const noAcl = { Null: { 's3:x-amz-acl': 'false' } }
    expect(await denied(noAcl, put({ ACL: 'public-read' }))).toBe(true)
    expect(await denied(noAcl, put({}))).toBe(false)
    const copy = () =>
      owner.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `/${Bucket}/object` }))
    expect(await denied({ StringLike: { 's3:x-amz-copy-source': `${Bucket}/obj*` } }, copy)).toBe(true)
    expect(await denied({ StringLike: { 's3:x-amz-copy-source': `${Bucket}/private*` } }, copy)).toBe(false)
  })

  test('no headers of an anonymous request keep a node busy, whatever policy is stored', async () => {
    const like = Array.from({ length: 800 }, (_, i) => `*\u0024{aws:referer}${i % 10}*`)
    await setPolicy({ Action: 's3:GetObject', Condition: { StringLike: { 'aws:UserAgent': like } } })
    const headers = { 'user-agent': 'a'.repeat(4096), referer: 'a'.repeat(2000) }
    const before = process.cpuUsage()
    const answers = Array.from({ length: 3 }, () => request(`${node.endpoint}/${Bucket}/object`, headers))
    expect(await Promise.all(answers)).toEqual([403, 403, 403])
    const { user, system } = process.cpuUsage(before)
    // These three took 30 s before patterns were matched in linear time.
    expect(user + system).toBeLessThan(5_000_000)
    expect(await request(`${node.endpoint}/${Bucket}/object`, { 'user-agent': 'a'.repeat(4097) })).toBe(400)
  })

  test('a write that sets a list is denied where setting lists is', async () => {
    await setPolicy({ Effect: 'Deny', Action: 's3:PutObjectAcl' })
    expect(await codeOf(write(owner, 'x', { ACL: 'public-read' }))).toBe('AccessDenied')
    await write(owner, 'x')
  })

  test('whom a policy lets write sets lists and tags only where it allows that too', async () => {
    const upload = (options: object) =>
      guest.send(new CreateMultipartUploadCommand({ Bucket, Key: 'upload', ...options }))
    const copy = (options: object) =>
      guest.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/object`, ...options }))
    const ways = [(options: object) => write(guest, 'put', options), upload, copy]
    const wishes: [string, object][] = [
      ['s3:PutObjectAcl', { ACL: 'bucket-owner-full-control' }],
      ['s3:PutObjectAcl', { GrantRead: `id=${ownerKey.id}` }],
      ['s3:PutObjectTagging', { Tagging: 'a=b', TaggingDirective: 'REPLACE' }],
    ]
    for (const [action, options] of wishes) {
      await setPolicy({ Action: ['s3:PutObject', 's3:GetObject'] })
      for (const way of ways) {
        expect(await codeOf(way({}))).toBe('none')
        expect(await codeOf(way(options))).toBe('AccessDenied')
      }
      const form = signedForm(guestKey, Bucket, {
        key: 'form',
        ...(action === 's3:PutObjectAcl'
          ? { acl: 'private' }
          : { tagging: '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>' }),
      })
      const post = () => postForm(`${node.endpoint}/${Bucket}`, form, { content: 'x', name: 'x' })
      expect((await post()).status).toBe(403)
      await setPolicy({ Action: ['s3:PutObject', 's3:GetObject', action] })
      for (const way of ways) expect(await codeOf(way(options))).toBe('none')
      expect((await post()).status).toBe(204)
      // The key's own permission to write is for all of it.
      await write(owner, 'own', options)
    }
  })

  test('a copy takes tags along only for whom may read and set them', async () => {
    await write(owner, 'tagged', { Tagging: 'a=b' })
    const copy = (options: object = {}) =>
      guest.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/tagged`, ...options }))
    const base = ['s3:PutObject', 's3:GetObject']
    await setPolicy({ Action: base })
    expect(await codeOf(copy())).toBe('AccessDenied')
    expect(await codeOf(copy({ TaggingDirective: 'REPLACE' }))).toBe('none')
    await setPolicy({ Action: [...base, 's3:PutObjectTagging'] })
    expect(await codeOf(copy())).toBe('AccessDenied')
    await setPolicy({ Action: [...base, 's3:PutObjectTagging', 's3:GetObjectTagging'] })
    expect(await codeOf(copy())).toBe('none')
  })

  test('a copy that takes tags along is judged by these, not by a header that it ignores', async () => {
    await write(owner, 'theirs', { Tagging: 'team=b' })
    await write(owner, 'ours', { Tagging: 'team=a' })
    const copy = (Key: string, options: object = {}) =>
      codeOf(
        owner.send(
          new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/${Key}`, ...options }),
        ),
      )
    const denyOthers = (Action: string) =>
      setPolicy({
        ...{ Effect: 'Deny', Action },
        Condition: { StringNotEquals: { 's3:RequestObjectTag/team': 'a' } },
      })
    await denyOthers('s3:PutObject')
    expect(await copy('theirs', { Tagging: 'team=a' })).toBe('AccessDenied')
    expect(await copy('theirs', { Tagging: 'team=a', TaggingDirective: 'COPY' })).toBe('AccessDenied')
    expect(await copy('theirs', { Tagging: 'team=b', TaggingDirective: 'REPLACE' })).toBe('AccessDenied')
    expect(await copy('theirs', { Tagging: 'team=a', TaggingDirective: 'REPLACE' })).toBe('none')
    await denyOthers('s3:PutObjectTagging')
    expect(await copy('theirs', { Tagging: 'team=a' })).toBe('AccessDenied')
    expect(await copy('ours')).toBe('none')
    expect(await copy('object', { Tagging: 'team=b' })).toBe('none')
    expect(await copy('theirs', { Tagging: 'team=b', TaggingDirective: 'REPLACE' })).toBe('AccessDenied')
  })

  test('a write that sets tags is denied where setting these is', async () => {
    const deny = (operator: string) =>
      setPolicy({
        ...{ Effect: 'Deny', Action: 's3:PutObjectTagging' },
        Condition: { [operator]: { 's3:RequestObjectTag/team': 'a' } },
      })
    await deny('StringEquals')
    expect(await codeOf(write(owner, 'x', { Tagging: 'team=a' }))).toBe('AccessDenied')
    expect(await codeOf(write(owner, 'x', { Tagging: 'team=b' }))).toBe('none')
    await deny('StringNotEquals')
    expect(await codeOf(write(owner, 'x', { Tagging: 'team=a' }))).toBe('none')
    expect(await codeOf(write(owner, 'x', { Tagging: 'team=b' }))).toBe('AccessDenied')
    expect(await codeOf(write(owner, 'x'))).toBe('none')
  })

  test('of two tags whose names differ in case alone, a policy does not see one', async () => {
    await setPolicy({
      ...{ Effect: 'Deny', Action: ['s3:PutObject', 's3:PutObjectTagging'] },
      Condition: { StringNotEquals: { 's3:RequestObjectTag/team': 'a' } },
    })
    for (const Tagging of ['TEAM=a&team=b', 'team=a&TEAM=b', 'Team=a&team=a']) {
      expect(await codeOf(write(owner, 'x', { Tagging }))).toBe('InvalidTag')
    }
    expect(await codeOf(write(owner, 'x', { Tagging: 'Team=a&other=1&OTHER=2' }))).toBe('none')
    const TagSet = ['TEAM=a', 'team=b'].map((tag) => ({ Key: tag.slice(0, 4), Value: tag.slice(5) }))
    const retag = new PutObjectTaggingCommand({ Bucket, Key: 'x', Tagging: { TagSet } })
    expect(await codeOf(owner.send(retag))).toBe('InvalidTag')
  })

  test('attributes of an object need the permission to read it as well', async () => {
    const attributes = () =>
      guest.send(new GetObjectAttributesCommand({ Bucket, Key: 'object', ObjectAttributes: ['ETag'] }))
    for (const [actions, code] of [
      [['s3:GetObject'], 'AccessDenied'],
      [['s3:GetObjectAttributes'], 'AccessDenied'],
      [['s3:GetObject', 's3:GetObjectAttributes'], 'none'],
    ] as const) {
      await setPolicy({ Action: actions })
      expect(await codeOf(attributes())).toBe(code)
    }
  })

  test('a policy for the id of those who sign nothing is public', async () => {
    for (const value of ['anonymous', ['anonymous', guestKey.id]]) {
      const statement = { Action: 's3:GetObject', Condition: { StringEquals: { 'aws:userid': value } } }
      await setPolicy(statement)
      expect(await read(anonymous)).toBe('content')
      const status = await owner.send(new GetBucketPolicyStatusCommand({ Bucket }))
      expect(status.PolicyStatus?.IsPublic).toBe(true)
      const block = { BlockPublicPolicy: true, RestrictPublicBuckets: true }
      await owner.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration: block }))
      expect(await codeOf(read(anonymous))).toBe('AccessDenied')
      expect(await codeOf(setPolicy(statement))).toBe('AccessDenied')
      await owner.send(new DeletePublicAccessBlockCommand({ Bucket }))
    }
    await setPolicy({ Action: 's3:GetObject', Condition: { StringEquals: { 'aws:userid': guestKey.id } } })
    const status = await owner.send(new GetBucketPolicyStatusCommand({ Bucket }))
    expect(status.PolicyStatus?.IsPublic).toBe(false)
  })

  test('whom a policy lets write cannot lock what it writes', async () => {
    await setPolicy({ Action: 's3:PutObject' })
    expect(await codeOf(write(guest, 'locked', { ObjectLockLegalHoldStatus: 'ON' }))).toBe('AccessDenied')
  })

  test('see Signature V2 of forms too', async () => {
    const policy = Buffer.from(
      JSON.stringify({
        expiration: new Date(Date.now() + 60_000).toISOString(),
        conditions: [{ bucket: Bucket }, { key: 'form' }],
      }),
    ).toString('base64')
    const signature = createHmac('sha1', ownerKey.secret).update(policy).digest('base64')
    const fields = { key: 'form', AWSAccessKeyId: ownerKey.id, policy, signature }
    const post = async () =>
      (await postForm(`${node.endpoint}/${Bucket}`, fields, { content: 'x', name: 'x' })).status
    expect(await post()).toBe(204)
    await setPolicy({
      ...{ Effect: 'Deny', Action: 's3:*' },
      Condition: { StringEquals: { 's3:signatureversion': 'AWS' } },
    })
    expect(await post()).toBe(403)
    await write(owner, 'form')
  })

  test('tell forms from other requests by what they are', async () => {
    const date = new Date().toUTCString()
    const signed = `POST\n\n\n${date}\n/${Bucket}/upload?uploads`
    const signature = createHmac('sha1', ownerKey.secret).update(signed).digest('base64')
    const headers = { date, authorization: `AWS ${ownerKey.id}:${signature}` }
    const createUpload = async () =>
      (await fetch(`${node.endpoint}/${Bucket}/upload?uploads`, { method: 'POST', headers })).status
    const form = (fields: Record<string, string>) => signedForm(ownerKey, Bucket, { key: 'form', ...fields })
    const post = async (fields = {}) =>
      (await postForm(`${node.endpoint}/${Bucket}`, form(fields), { content: 'x', name: 'x' })).status
    const deny = (Action: string, operator: string, type: string) =>
      setPolicy({ Effect: 'Deny', Action, Condition: { [operator]: { 's3:authType': type } } })
    await deny('s3:PutObject', 'StringNotEquals', 'REST-HEADER')
    expect([await createUpload(), await post()]).toEqual([200, 403])
    await deny('s3:PutObject', 'StringNotEquals', 'POST')
    expect([await createUpload(), await post()]).toEqual([403, 204])
    await deny('s3:PutObjectAcl', 'StringEquals', 'POST')
    expect([await post(), await post({ acl: 'private' })]).toEqual([204, 403])
  })

  test('see whether the signature covers the body', async () => {
    const secret = { id: ownerKey.id, secret: ownerKey.secret }
    const hash = createHash('sha256').update('x').digest('hex')
    /** The status of a PUT by a presigned URL with these parameters and headers. */
    const put = async (query: string, headers: Record<string, string> = {}) => {
      const url = presignedUrl({ key: secret, port: node.s3!.port, nowMs: Date.now() }, 'PUT', query)
      return (await fetch(url, { method: 'PUT', body: 'x', headers })).status
    }
    const deny = (operator: string, value: string) =>
      setPolicy({
        ...{ Effect: 'Deny', Action: 's3:PutObject' },
        Condition: { [operator]: { 's3:x-amz-content-sha256': value } },
      })
    await deny('StringEquals', 'UNSIGNED-PAYLOAD')
    const path = `/${Bucket}/presigned`
    expect(await put(path)).toBe(403)
    // The parameter is what is signed; the header, which nobody signed, counts for nothing beside it.
    const unsigned = `${path}?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD`
    expect(await put(unsigned, { 'x-amz-content-sha256': hash })).toBe(403)
    expect(await put(`${path}?X-Amz-Content-Sha256=${hash}`)).toBe(200)
    await write(owner, 'signed')
    const post = signedForm(ownerKey, Bucket, { key: 'form' })
    expect((await postForm(`${node.endpoint}/${Bucket}`, post, { content: 'x', name: 'x' })).status).toBe(204)
    await deny('StringNotEquals', 'UNSIGNED-PAYLOAD')
    expect(await put(path)).toBe(200)
    expect(await codeOf(write(owner, 'signed'))).toBe('AccessDenied')
  })

  test('enforce conditional writes where an object comes to be', async () => {
    const Condition = {
      Null: { 's3:if-none-match': 'true' },
      Bool: { 's3:ObjectCreationOperation': 'true' },
    }
    await setPolicy({ Effect: 'Deny', Action: 's3:PutObject', Condition })
    const at = { Bucket, Key: 'upload' }
    const ways: Record<string, (options: object) => Promise<unknown>> = {
      put: (options) => write(owner, 'put', options),
      copy: (options) =>
        owner.send(
          new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/object`, ...options }),
        ),
      upload: async (options) => {
        const { UploadId } = await owner.send(new CreateMultipartUploadCommand(at))
        const part = { ...at, UploadId, PartNumber: 1 }
        await owner.send(new UploadPartCommand({ ...part, Body: 'x' }))
        const { CopyPartResult } = await owner.send(
          new UploadPartCopyCommand({ ...part, CopySource: `${Bucket}/object` }),
        )
        const MultipartUpload = { Parts: [{ PartNumber: 1, ETag: CopyPartResult!.ETag }] }
        const complete = new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload, ...options })
        return owner.send(complete)
      },
    }
    for (const [name, way] of Object.entries(ways)) {
      expect([name, await codeOf(way({}))]).toEqual([name, 'AccessDenied'])
      expect([name, await codeOf(way({ IfNoneMatch: '*' }))]).toEqual([name, 'none'])
    }
    const post = async (fields: Record<string, string>) => {
      const form = signedForm(ownerKey, Bucket, { key: 'form', ...fields })
      return (await postForm(`${node.endpoint}/${Bucket}`, form, { content: 'x', name: 'x' })).status
    }
    expect([await post({}), await post({ 'if-none-match': '*' })]).toEqual([403, 204])
  })

  test('each key of DeleteObjects is decided about by itself', async () => {
    for (const Key of ['a/1', 'b/1']) await write(owner, Key)
    await setPolicy({ Action: 's3:DeleteObject', Resource: `arn:aws:s3:::${Bucket}/a/*` })
    const Objects = [{ Key: 'a/1' }, { Key: 'b/1' }]
    const { Deleted, Errors } = await guest.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
    expect(Deleted?.map(({ Key }) => Key)).toEqual(['a/1'])
    expect(Errors?.map(({ Key, Code }) => [Key, Code])).toEqual([['b/1', 'AccessDenied']])
  })

  test('both sides of a copy must be allowed', async () => {
    const source = Bucket
    await setPolicy({ Action: 's3:GetObject', Resource: `arn:aws:s3:::${Bucket}/object` })
    await write(owner, 'private')
    const target = `${Bucket}-target`
    await guest.send(new CreateBucketCommand({ Bucket: target }))
    const copy = (key: string) =>
      guest.send(new CopyObjectCommand({ Bucket: target, Key: 'copy', CopySource: `${source}/${key}` }))
    await copy('object')
    expect(await codeOf(copy('private'))).toBe('AccessDenied')
    expect(await codeOf(copy('missing'))).toBe('AccessDenied')
  })

  test('tell whether they are public', async () => {
    const isPublic = async () =>
      (await owner.send(new GetBucketPolicyStatusCommand({ Bucket }))).PolicyStatus?.IsPublic
    expect(await isPublic()).toBe(false)
    await setPolicy({ Action: 's3:GetObject' })
    expect(await isPublic()).toBe(true)
    await setPolicy({ Action: 's3:GetObject', Principal: { AWS: guestKey.id } })
    expect(await isPublic()).toBe(false)
  })
})

test('policies see the version of TLS, unless a proxy ends it', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'carport-tls-'))
  const files = { certFile: join(dir, 'cert.pem'), keyFile: join(dir, 'key.pem') }
  const { certificatePem, privateKeyPem } = createIdentity(systemRandom)
  writeFileSync(files.certFile, certificatePem)
  writeFileSync(files.keyFile, privateKeyPem)
  const secure = await startTestNode({
    s3Api: {
      ...{ bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 }, region: 'us-east-1', tls: files },
      ...{ publicEndpoint: null, publicEndpointPathStyle: null, rootDomain: null },
      ...{ acceptSignatureV2: true, acceptStorageClasses: true, bucketNamespace: 'global' },
    },
    trustedProxies: ['127.0.0.1'],
  })
  try {
    const { buckets } = secure.core.model
    const bucket = await buckets.create('secure')
    const Statement = {
      ...{ Effect: 'Allow', Principal: '*', Action: 's3:ListBucket', Resource: 'arn:aws:s3:::secure' },
      Condition: { NumericGreaterThanEquals: { 's3:TlsVersion': '1.3' } },
    }
    const text = JSON.stringify({ Version: '2012-10-17', Statement })
    await buckets.setDocument(bucket, 'policy', { bucket: 'secure', text })
    const list = (version: 'TLSv1.2' | 'TLSv1.3', headers: Record<string, string> = {}) =>
      new Promise<number>((resolve, reject) => {
        const options = { minVersion: version, maxVersion: version, rejectUnauthorized: false, headers }
        httpsGet(`https://${secure.s3!.address}/secure`, options, (answer) => {
          answer.resume()
          resolve(answer.statusCode!)
        }).on('error', reject)
      })
    expect([await list('TLSv1.2'), await list('TLSv1.3')]).toEqual([403, 200])
    expect(await list('TLSv1.3', { 'x-forwarded-proto': 'https' })).toBe(403)
  } finally {
    await secure.dispose()
    rmSync(dir, { recursive: true, force: true })
  }
})

test('policies of sessions see where a bucket is to be, and with which list', async () => {
  const sessions = new Sessions(Buffer.from('ab'.repeat(32), 'hex'), systemRandom)
  const clientOf = (...Statement: object[]) => {
    const policy = JSON.stringify({ Version: '2012-10-17', Statement })
    const grant = { parentKeyId: ownerKey.id, provider: 'home', subject: 'alice', name: 'session', policy }
    const credentials = sessions.issue({ ...grant, expiresMs: Date.now() + 600_000 })
    return node.client(ownerKey, { credentials })
  }
  const create = (client: S3Client, name: string, LocationConstraint?: string, options = {}) => {
    const CreateBucketConfiguration = {
      LocationConstraint,
    } as CreateBucketCommandInput['CreateBucketConfiguration']
    return codeOf(
      client.send(
        new CreateBucketCommand({
          Bucket: `${Bucket}-${name}`,
          ...(LocationConstraint !== undefined && { CreateBucketConfiguration }),
          ...options,
        }),
      ),
    )
  }
  const here = { StringEquals: { 's3:LocationConstraint': 'us-east-1' } }
  const all = { Effect: 'Allow', Action: 's3:*', Resource: '*' }
  const elsewhere = clientOf(all, { ...all, Effect: 'Deny', Condition: here })
  expect(await create(elsewhere, 'a', 'us-east-1')).toBe('AccessDenied')
  expect(await create(elsewhere, 'a')).toBe('none')
  const only = clientOf({ ...all, Condition: here })
  expect(await create(only, 'b')).toBe('AccessDenied')
  expect(await create(only, 'b', 'us-east-1')).toBe('none')
  expect(await create(clientOf({ ...all, Action: 's3:GetObject' }), 'c')).toBe('AccessDenied')
  const unlisted = { ...all, Effect: 'Deny', Condition: { Null: { 's3:x-amz-acl': 'false' } } }
  const without = clientOf(all, unlisted)
  expect(await create(without, 'd', undefined, { ACL: 'public-read' })).toBe('AccessDenied')
  expect(await create(without, 'd')).toBe('none')
})

describe('access control lists', () => {
  const grantsOf = (answer: {
    Grants?: { Grantee?: { ID?: string; URI?: string }; Permission?: string }[]
  }) => answer.Grants?.map(({ Grantee, Permission }) => `${Grantee?.URI ?? Grantee?.ID} ${Permission}`)

  test('without one, only the owner has full control', async () => {
    const fullControl = [`${ownerKey.id} FULL_CONTROL`]
    const bucket = await owner.send(new GetBucketAclCommand({ Bucket }))
    expect(bucket.Owner).toEqual({ ID: ownerKey.id, DisplayName: 'owner' })
    expect(grantsOf(bucket)).toEqual(fullControl)
    const object = await owner.send(new GetObjectAclCommand({ Bucket, Key: 'object' }))
    expect(object.Owner).toEqual({ ID: ownerKey.id, DisplayName: 'owner' })
    expect(object.Grants).toEqual([
      {
        Grantee: { ID: ownerKey.id, DisplayName: 'owner', Type: 'CanonicalUser' },
        Permission: 'FULL_CONTROL',
      },
    ])
  })

  test('objects are as public as their list says, and other objects stay private', async () => {
    await write(owner, 'open', { ACL: 'public-read' })
    expect(await read(anonymous, 'open')).toBe('open')
    expect(await codeOf(read(anonymous))).toBe('AccessDenied')
    expect(await codeOf(list(anonymous))).toBe('AccessDenied')
    expect(await codeOf(write(anonymous, 'open'))).toBe('AccessDenied')
    await owner.send(new PutObjectAclCommand({ Bucket, Key: 'open', ACL: 'authenticated-read' }))
    expect(await codeOf(read(anonymous, 'open'))).toBe('AccessDenied')
    expect(await read(guest, 'open')).toBe('open')
    await owner.send(new PutObjectAclCommand({ Bucket, Key: 'open', ACL: 'private' }))
    expect(await codeOf(read(guest, 'open'))).toBe('AccessDenied')
  })

  test('an object written anew has a new list', async () => {
    await write(owner, 'open', { ACL: 'public-read' })
    await write(owner, 'open')
    expect(await codeOf(read(anonymous, 'open'))).toBe('AccessDenied')
  })

  test('each version has its own', async () => {
    const VersioningConfiguration = { Status: 'Enabled' as const }
    await owner.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }))
    const first = await write(owner, 'versioned')
    const second = await write(owner, 'versioned')
    const Key = 'versioned'
    await owner.send(new PutObjectAclCommand({ Bucket, Key, VersionId: first.VersionId, ACL: 'public-read' }))
    expect(await read(anonymous, Key, first.VersionId)).toBe('versioned')
    expect(await codeOf(read(anonymous, Key, second.VersionId))).toBe('AccessDenied')
    expect(await codeOf(read(anonymous, Key))).toBe('AccessDenied')
  })

  test('a copy has the list that it asks for, not that of its source', async () => {
    const copy = { Bucket, Key: 'copy', CopySource: `${Bucket}/object`, ACL: 'public-read' as const }
    await owner.send(new CopyObjectCommand(copy))
    expect(await read(anonymous, 'copy')).toBe('content')
    await owner.send(
      new CopyObjectCommand({ ...copy, Key: 'copy2', CopySource: `${Bucket}/copy`, ACL: undefined }),
    )
    expect(await codeOf(read(anonymous, 'copy2'))).toBe('AccessDenied')
  })

  test('an upload in parts gives the object the list that it was started with', async () => {
    const Key = 'parts'
    const { UploadId } = await owner.send(
      new CreateMultipartUploadCommand({ Bucket, Key, ACL: 'public-read' }),
    )
    const part = { Bucket, Key, UploadId, PartNumber: 1 }
    const { ETag } = await owner.send(new UploadPartCommand({ ...part, Body: 'part' }))
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] }
    await owner.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload }))
    expect(await read(anonymous, Key)).toBe('part')
  })

  test('a public bucket is listed and written by everybody, but not its objects read', async () => {
    await owner.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read-write' }))
    const answer = await owner.send(new GetBucketAclCommand({ Bucket }))
    expect(grantsOf(answer)).toEqual([
      `${ALL_USERS} READ`,
      `${ALL_USERS} WRITE`,
      `${ownerKey.id} FULL_CONTROL`,
    ])
    expect((await list(anonymous)).KeyCount).toBe(1)
    await write(anonymous, 'from-nobody')
    expect(await codeOf(read(anonymous))).toBe('AccessDenied')
    expect(await codeOf(read(anonymous, 'missing'))).toBe('NoSuchKey')
    await anonymous.send(new DeleteObjectCommand({ Bucket, Key: 'from-nobody' }))
    expect(await codeOf(anonymous.send(new PutBucketAclCommand({ Bucket, ACL: 'private' })))).toBe(
      'AccessDenied',
    )
  })

  test('single keys are granted single permissions', async () => {
    const grant = {
      Grantee: { Type: 'CanonicalUser' as const, ID: guestKey.id },
      Permission: 'READ' as const,
    }
    const AccessControlPolicy = { Owner: { ID: ownerKey.id }, Grants: [grant] }
    await owner.send(new PutBucketAclCommand({ Bucket, AccessControlPolicy }))
    await guest.send(new HeadBucketCommand({ Bucket }))
    expect(await codeOf(guest.send(new GetBucketAclCommand({ Bucket })))).toBe('AccessDenied')
    expect(await codeOf(list(anonymous))).toBe('AccessDenied')
    await owner.send(new PutBucketAclCommand({ Bucket, GrantReadACP: `id="${guestKey.id}"` }))
    expect(grantsOf(await guest.send(new GetBucketAclCommand({ Bucket })))).toEqual([
      `${guestKey.id} READ_ACP`,
    ])
    expect(await codeOf(list(guest))).toBe('AccessDenied')
    await write(owner, 'object', { GrantRead: `id=${guestKey.id}` })
    expect(await read(guest)).toBe('object')
  })

  test('a list that cannot be is refused', async () => {
    const put = (options: object) => codeOf(owner.send(new PutBucketAclCommand({ Bucket, ...options })))
    expect(await put({ ACL: 'public' })).toBe('InvalidArgument')
    expect(await put({ GrantRead: 'id="GKnobody"' })).toBe('InvalidArgument')
    expect(await put({ GrantRead: 'someone' })).toBe('InvalidArgument')
    expect(await put({ GrantRead: 'uri="http://example.com"' })).toBe('InvalidArgument')
    expect(await put({ GrantRead: 'emailAddress="a@example.com"' })).toBe('UnresolvableGrantByEmailAddress')
    expect(await put({ ACL: 'private', GrantRead: `id=${guestKey.id}` })).toBe('InvalidRequest')
    expect(await put({})).toBe('MissingSecurityHeader')
    const AccessControlPolicy = { Owner: { ID: guestKey.id }, Grants: [] }
    expect(await put({ AccessControlPolicy })).toBe('AccessDenied')
  })

  test('what a guest writes belongs to it, and the bucket’s owner reads it all the same', async () => {
    await owner.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read-write' }))
    await write(guest, 'mine')
    expect(await read(guest, 'mine')).toBe('mine')
    expect(await read(owner, 'mine')).toBe('mine')
    const acl = await guest.send(new GetObjectAclCommand({ Bucket, Key: 'mine' }))
    expect(acl.Owner).toEqual({ ID: guestKey.id, DisplayName: 'guest' })
    expect(await codeOf(owner.send(new GetObjectAclCommand({ Bucket, Key: 'mine' })))).toBe('AccessDenied')
    await guest.send(new PutObjectAclCommand({ Bucket, Key: 'mine', ACL: 'bucket-owner-full-control' }))
    await owner.send(new GetObjectAclCommand({ Bucket, Key: 'mine' }))
    expect(await codeOf(read(anonymous, 'mine'))).toBe('AccessDenied')
  })

  test('a key whose permissions are taken away keeps nothing of what it wrote', async () => {
    const { keys, buckets } = node.core.model
    const { id } = (await buckets.byName(Bucket, undefined))!
    await keys.setPermissions(guestKey.id, id, { read: true, write: true, owner: false })
    await write(guest, 'plain')
    await write(guest, 'said-private', { ACL: 'private' })
    await write(guest, 'said-more', { GrantFullControl: `id=${guestKey.id},id=${ownerKey.id}` })
    expect(await read(guest, 'plain')).toBe('plain')
    await keys.setPermissions(guestKey.id, id, { read: false, write: false, owner: false })
    expect(await codeOf(read(guest, 'plain'))).toBe('AccessDenied')
    expect(await codeOf(read(guest, 'said-private'))).toBe('AccessDenied')
    expect(await codeOf(read(guest, 'said-more'))).toBe('AccessDenied')
    expect(await codeOf(guest.send(new GetObjectAclCommand({ Bucket, Key: 'plain' })))).toBe('AccessDenied')
    await owner.send(new PutObjectAclCommand({ Bucket, Key: 'plain', ACL: 'public-read' }))
    expect(await read(anonymous, 'plain')).toBe('plain')
  })

  test('of a new bucket', async () => {
    const name = `${Bucket}-open`
    await owner.send(new CreateBucketCommand({ Bucket: name, ACL: 'public-read' }))
    expect((await anonymous.send(new ListObjectsV2Command({ Bucket: name }))).KeyCount).toBe(0)
  })
})

describe('object ownership', () => {
  const setOwnership = (ObjectOwnership: 'BucketOwnerEnforced' | 'BucketOwnerPreferred' | 'ObjectWriter') =>
    owner.send(
      new PutBucketOwnershipControlsCommand({ Bucket, OwnershipControls: { Rules: [{ ObjectOwnership }] } }),
    )
  const ownerOf = async (Key: string) =>
    (await owner.send(new GetObjectAclCommand({ Bucket, Key }))).Owner?.ID

  test('enforced for the bucket’s owner, lists are neither taken nor in force', async () => {
    await write(owner, 'open', { ACL: 'public-read' })
    await setOwnership('BucketOwnerEnforced')
    expect(await codeOf(read(anonymous, 'open'))).toBe('AccessDenied')
    expect(await codeOf(write(owner, 'x', { ACL: 'public-read' }))).toBe('AccessControlListNotSupported')
    expect(await codeOf(owner.send(new PutBucketAclCommand({ Bucket, ACL: 'private' })))).toBe(
      'AccessControlListNotSupported',
    )
    expect(await codeOf(owner.send(new PutObjectAclCommand({ Bucket, Key: 'open', ACL: 'private' })))).toBe(
      'AccessControlListNotSupported',
    )
    await setPolicy({ Action: 's3:PutObject' })
    await write(guest, 'from-guest')
    expect(await ownerOf('from-guest')).toBe(ownerKey.id)
    expect(await codeOf(read(guest, 'from-guest'))).toBe('AccessDenied')
  })

  test('cannot be enforced on a public bucket', async () => {
    await owner.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read' }))
    expect(await codeOf(setOwnership('BucketOwnerEnforced'))).toBe('InvalidBucketAclWithObjectOwnership')
  })

  test('preferred by the bucket’s owner, objects given to it are its own', async () => {
    await setOwnership('BucketOwnerPreferred')
    await setPolicy({ Action: ['s3:PutObject', 's3:PutObjectAcl', 's3:ListMultipartUploadParts'] })
    await write(guest, 'given', { ACL: 'bucket-owner-full-control' })
    expect(await ownerOf('given')).toBe(ownerKey.id)
    const upload = await guest.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }))
    const parts = await guest.send(new ListPartsCommand({ Bucket, Key: 'parts', UploadId: upload.UploadId }))
    expect(parts.Owner).toEqual({ ID: guestKey.id, DisplayName: 'guest' })
  })
})

describe('the public access block', () => {
  const block = (PublicAccessBlockConfiguration: object) =>
    owner.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration }))

  test('BlockPublicAcls refuses public lists', async () => {
    await block({ BlockPublicAcls: true })
    expect(await codeOf(write(owner, 'x', { ACL: 'public-read' }))).toBe('AccessDenied')
    expect(await codeOf(owner.send(new PutBucketAclCommand({ Bucket, ACL: 'authenticated-read' })))).toBe(
      'AccessDenied',
    )
    expect(
      await codeOf(owner.send(new PutObjectAclCommand({ Bucket, Key: 'object', ACL: 'public-read' }))),
    ).toBe('AccessDenied')
    await write(owner, 'x', { ACL: 'private' })
  })

  test('IgnorePublicAcls makes those that are there count for nothing', async () => {
    await write(owner, 'open', { ACL: 'public-read' })
    await owner.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read' }))
    await block({ IgnorePublicAcls: true })
    expect(await codeOf(read(anonymous, 'open'))).toBe('AccessDenied')
    expect(await codeOf(list(guest))).toBe('AccessDenied')
  })

  test('BlockPublicPolicy refuses public policies', async () => {
    await block({ BlockPublicPolicy: true })
    expect(await codeOf(setPolicy({ Action: 's3:GetObject' }))).toBe('AccessDenied')
    await setPolicy({ Action: 's3:GetObject', Principal: { AWS: guestKey.id } })
  })

  test('RestrictPublicBuckets leaves a public policy to the keys of the bucket', async () => {
    await setPolicy({ Action: 's3:GetObject' })
    await block({ RestrictPublicBuckets: true })
    expect(await codeOf(read(anonymous))).toBe('AccessDenied')
    expect(await codeOf(read(guest))).toBe('AccessDenied')
    expect(await read(owner)).toBe('content')
  })
})

test('the expected owner of a bucket is checked', async () => {
  const get = (ExpectedBucketOwner: string) =>
    codeOf(owner.send(new GetObjectCommand({ Bucket, Key: 'object', ExpectedBucketOwner })))
  expect(await get(ownerKey.id)).toBe('none')
  expect(await get(guestKey.id)).toBe('AccessDenied')
  const copy = (ExpectedSourceBucketOwner: string) =>
    codeOf(
      owner.send(
        new CopyObjectCommand({
          Bucket,
          Key: 'copy',
          CopySource: `${Bucket}/object`,
          ExpectedSourceBucketOwner,
        }),
      ),
    )
  expect(await copy(ownerKey.id)).toBe('none')
  expect(await copy(guestKey.id)).toBe('AccessDenied')
})
