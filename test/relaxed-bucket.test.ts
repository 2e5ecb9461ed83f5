/** Buckets that take what Garage takes beyond S3's rules, and names that only the key that made a bucket sees. */
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  GetBucketLifecycleConfigurationCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutBucketEncryptionCommand,
  PutBucketLifecycleConfigurationCommand,
  PutObjectCommand,
  type S3Client,
  type ServerSideEncryption,
  type StorageClass,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { postForm, signedForm } from './support/post-form.js'
import { signedHeaders } from './support/signed-head.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'moved-in'
const STRICT = 'as-s3-has-it'
let node: TestNode
let key: AccessKey
let s3: S3Client

beforeAll(async () => {
  // Without a master key, as a cluster that was set up like Garage.
  node = await startTestNode({ secrets: { sseMasterKeys: [] } })
  key = await node.createKey('app')
  s3 = node.client(key)
  for (const name of [Bucket, STRICT]) await s3.send(new CreateBucketCommand({ Bucket: name }))
  expect(await relaxed('PUT', Bucket, document('Enabled'))).toEqual([200, ''])
})
afterAll(() => node?.dispose())

const document = (status: string) => `<RelaxedConfiguration><Status>${status}</Status></RelaxedConfiguration>`

/** Calls the extension as a client without an SDK does; resolves with the status and the setting or the error's code. */
async function relaxed(method: string, bucket: string, body?: string, as = key): Promise<[number, string]> {
  const target = `/${bucket}?relaxed=`
  const { port } = node.s3!
  const headers = signedHeaders({ key: as, port, nowMs: Date.now() }, method, target)
  const answer = await fetch(`${node.endpoint}${target}`, {
    method,
    headers,
    ...(body !== undefined && { body }),
  })
  return [answer.status, /<(?:Status|Code)>(\w+)</.exec(await answer.text())?.[1] ?? '']
}

/** Sends a request for both buckets; the strict one must refuse it with that code. */
async function onlyRelaxed<T>(code: string, send: (bucket: string) => Promise<T>): Promise<T> {
  await expect(send(STRICT)).rejects.toMatchObject({ name: code })
  return send(Bucket)
}

describe('the setting', () => {
  test('is told, switched off and on by S3, by those alone who own the bucket', async () => {
    const name = 'switched'
    await s3.send(new CreateBucketCommand({ Bucket: name }))
    expect(await relaxed('GET', name)).toEqual([200, 'Disabled'])
    expect(await relaxed('PUT', name, document('Enabled'))).toEqual([200, ''])
    expect(await relaxed('GET', name)).toEqual([200, 'Enabled'])
    expect(await relaxed('PUT', name, document('Disabled'))).toEqual([200, ''])
    expect(await relaxed('GET', name)).toEqual([200, 'Disabled'])
    expect(await relaxed('PUT', name, document('Enabled'))).toEqual([200, ''])
    expect(await relaxed('DELETE', name)).toEqual([204, ''])
    expect(await relaxed('GET', name)).toEqual([200, 'Disabled'])
    expect(await relaxed('PUT', name, document('Maybe'))).toEqual([400, 'MalformedXML'])
    const other = await node.createKey('other')
    expect(await relaxed('PUT', name, document('Enabled'), other)).toEqual([403, 'AccessDenied'])
    expect(await relaxed('GET', name, undefined, other)).toEqual([403, 'AccessDenied'])
  })
})

describe('a relaxed bucket', () => {
  test('takes storage classes of any name, and tells STANDARD', async () => {
    const StorageClass = 'ARCTIC' as StorageClass
    await onlyRelaxed('InvalidStorageClass', (name) =>
      s3.send(new PutObjectCommand({ Bucket: name, Key: 'class', Body: 'x', StorageClass })),
    )
    await s3.send(new PutObjectCommand({ Bucket, Key: 'class/known', Body: 'x', StorageClass: 'GLACIER' }))
    await s3.send(
      new CopyObjectCommand({ Bucket, Key: 'class/copy', CopySource: `${Bucket}/class`, StorageClass }),
    )
    for (const Key of ['class', 'class/known', 'class/copy'])
      expect((await s3.send(new HeadObjectCommand({ Bucket, Key }))).StorageClass).toBeUndefined()
    const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'class' }))
    expect(new Set(Contents!.map((entry) => entry.StorageClass))).toEqual(new Set(['STANDARD']))
  })

  test.each(['AES256', 'aws:kms', 'whatever'])(
    'takes %s without a master key, and no answer tells of an encryption',
    async (name) => {
      const ServerSideEncryption = name as ServerSideEncryption
      const code = { AES256: 'InvalidRequest', 'aws:kms': 'NotImplemented' }[name] ?? 'InvalidArgument'
      const put = await onlyRelaxed(code, (bucket) =>
        s3.send(new PutObjectCommand({ Bucket: bucket, Key: name, Body: 'plain', ServerSideEncryption })),
      )
      expect(put.ServerSideEncryption).toBeUndefined()
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: name }))
      expect([got.ServerSideEncryption, await got.Body!.transformToString()]).toEqual([undefined, 'plain'])
      const CopySource = `${Bucket}/${encodeURIComponent(name)}`
      const copy = await s3.send(
        new CopyObjectCommand({ Bucket, Key: `${name}/copy`, CopySource, ServerSideEncryption }),
      )
      expect(copy.ServerSideEncryption).toBeUndefined()
      const upload = await s3.send(
        new CreateMultipartUploadCommand({ Bucket, Key: `${name}/upload`, ServerSideEncryption }),
      )
      expect([upload.ServerSideEncryption, upload.UploadId]).toEqual([undefined, expect.any(String)])
    },
  )

  test('takes parts of any size', async () => {
    await onlyRelaxed('EntityTooSmall', async (name) => {
      const at = { Bucket: name, Key: 'parts' }
      const { UploadId } = await s3.send(new CreateMultipartUploadCommand(at))
      const Parts: { PartNumber: number; ETag: string }[] = []
      for (const [index, Body] of ['one', 'two', ''].entries()) {
        const part = { PartNumber: index + 1, UploadId, Body }
        Parts.push({ ...part, ETag: (await s3.send(new UploadPartCommand({ ...at, ...part }))).ETag! })
      }
      const MultipartUpload = { Parts: Parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag })) }
      await s3.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload }))
    })
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'parts' }))
    expect([await got.Body!.transformToString(), got.ETag]).toEqual(['onetwo', expect.stringMatching(/-3"$/)])
    const second = await s3.send(new GetObjectCommand({ Bucket, Key: 'parts', PartNumber: 2 }))
    expect(await second.Body!.transformToString()).toBe('two')
  })

  test('takes 12 KiB of metadata, in headers and in forms', async () => {
    const Metadata = Object.fromEntries(['a', 'b', 'c'].map((name) => [name, name.repeat(3000)]))
    await onlyRelaxed('MetadataTooLarge', (name) =>
      s3.send(new PutObjectCommand({ Bucket: name, Key: 'metadata', Body: 'x', Metadata })),
    )
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'metadata' }))).Metadata).toEqual(Metadata)
    const long = { 'x-amz-meta-a': 'a'.repeat(9000) }
    const form = async (name: string, fields: Record<string, string>) => {
      const signed = signedForm(key, name, { key: 'form', ...fields })
      return (await postForm(`${node.endpoint}/${name}`, signed, { content: 'x', name: 'f' })).status
    }
    expect(await form(STRICT, long)).toBe(400)
    expect(await form(Bucket, long)).toBe(204)
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'form' }))).Metadata?.a).toHaveLength(9000)
    expect(await form(Bucket, { 'x-amz-meta-a': 'a'.repeat(13_000) })).toBe(400)
  })

  test('takes lifecycle rules that do nothing, or are of all objects', async () => {
    const Rules = [{ ID: 'idle', Status: 'Enabled' as const }]
    await onlyRelaxed('MalformedXML', (name) =>
      s3.send(
        new PutBucketLifecycleConfigurationCommand({ Bucket: name, LifecycleConfiguration: { Rules } }),
      ),
    )
    const withFilter = { Rules: [{ ...Rules[0]!, Filter: { Prefix: 'a/' } }] }
    await onlyRelaxed('InvalidRequest', (name) =>
      s3.send(
        new PutBucketLifecycleConfigurationCommand({ Bucket: name, LifecycleConfiguration: withFilter }),
      ),
    )
    const told = await s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))
    expect(told.Rules).toEqual(withFilter.Rules)
  })

  test('encrypts what it can: with a master key, any header asks for AES256', async () => {
    const other = await startTestNode()
    try {
      const owner = await other.createKey('owner')
      const client = other.client(owner)
      await client.send(new CreateBucketCommand({ Bucket }))
      const bucket = (await other.core.model.buckets.byName(Bucket, owner))!
      await other.core.model.buckets.setDocument(bucket, 'relaxed', {})
      const put = await client.send(
        new PutObjectCommand({ Bucket, Key: 'k', Body: 'x', ServerSideEncryption: 'aws:kms' }),
      )
      expect(put.ServerSideEncryption).toBe('AES256')
    } finally {
      await other.dispose()
    }
  })

  test('still refuses a default encryption that it could not keep', async () => {
    const rule = { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' as const } }
    const ServerSideEncryptionConfiguration = { Rules: [rule] }
    await expect(
      s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration })),
    ).rejects.toMatchObject({ name: 'InvalidRequest' })
  })
})

test('with bucket_namespace = "local", CreateBucket gives a name that only the calling key sees', async () => {
  const s3Api = {
    ...{ bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 } as const, region: 'us-east-1' },
    ...{ publicEndpoint: null, publicEndpointPathStyle: null, rootDomain: null, tls: null },
    ...{ acceptSignatureV2: true, acceptStorageClasses: true, bucketNamespace: 'local' as const },
  }
  const local = await startTestNode({ s3Api })
  try {
    const [one, two] = [await local.createKey('one'), await local.createKey('two')]
    const [first, second] = [local.client(one), local.client(two)]
    const at = { Bucket: 'data', Key: 'k' }
    for (const [client, Body] of [
      [first, 'of one'],
      [second, 'of two'],
    ] as const) {
      await client.send(new CreateBucketCommand({ Bucket: 'data', ObjectLockEnabledForBucket: true }))
      await client.send(new CreateBucketCommand({ Bucket: 'data' }))
      await client.send(new PutObjectCommand({ ...at, Body }))
    }
    for (const [client, content] of [
      [first, 'of one'],
      [second, 'of two'],
    ] as const) {
      const got = await client.send(new GetObjectCommand(at))
      expect(await got.Body!.transformToString()).toBe(content)
      const { Buckets } = await client.send(new ListBucketsCommand({}))
      expect(Buckets!.map(({ Name }) => Name)).toEqual(['data'])
    }
    const { buckets, keys } = local.core.model
    expect(buckets.localByName('data', undefined)).toBeUndefined()
    expect(buckets.localByName('data', keys.local(one.id))?.localAliases).toEqual([
      { keyId: one.id, alias: 'data' },
    ])
    await first.send(new CreateBucketCommand({ Bucket: 'gone' }))
    await first.send(new DeleteBucketCommand({ Bucket: 'gone' }))
    await first.send(new CreateBucketCommand({ Bucket: 'gone' }))
    expect(await local.core.model.buckets.repairAliases()).toBe(0)
  } finally {
    await local.dispose()
  }
})
