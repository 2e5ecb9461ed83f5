import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  type Event,
  GetBucketNotificationConfigurationCommand,
  PutBucketNotificationConfigurationCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type QueueConfiguration,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { postForm, signedForm } from './support/post-form.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const ARN = 'arn:carport:sqs::hook:webhook'

interface Got {
  eventName: string
  s3: { bucket: { name: string }; object: { key: string; size?: number; eTag?: string; versionId?: string } }
}

let hook: Server
let node: TestNode
let key: AccessKey
let s3: S3Client
let got: Got[]
/** Called for each event that comes. */
let onEvent: () => void
let status: number
let buckets = 0

beforeAll(async () => {
  hook = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk
    })
    request.on('end', () => {
      response.writeHead(status).end()
      if (status === 200) got.push(...(JSON.parse(body) as { Records: Got[] }).Records)
      onEvent()
    })
  })
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/`
  const target = {
    name: 'hook',
    type: 'webhook' as const,
    url,
    user: null,
    secret: null,
    subject: '',
    list: '',
  }
  node = await startTestNode({ secrets: { notifications: [target] } })
  key = await node.createKey('events')
  s3 = node.client(key)
})

beforeEach(() => {
  got = []
  status = 200
  onEvent = () => {}
})

afterAll(async () => {
  await node?.dispose()
  hook?.closeAllConnections()
  hook?.close()
})

async function createBucket(configuration: Partial<QueueConfiguration>, versioned = false): Promise<string> {
  const Bucket = `events-${++buckets}`
  await s3.send(new CreateBucketCommand({ Bucket }))
  if (versioned) {
    const VersioningConfiguration = { Status: 'Enabled' as const }
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }))
  }
  await setRules(Bucket, configuration)
  return Bucket
}

const setRules = (Bucket: string, ...configurations: Partial<QueueConfiguration>[]) =>
  s3.send(
    new PutBucketNotificationConfigurationCommand({
      Bucket,
      NotificationConfiguration: {
        QueueConfigurations: configurations.map((configuration, i) => ({
          Id: `q${i}`,
          QueueArn: ARN,
          Events: ['s3:ObjectCreated:*', 's3:ObjectRemoved:*'],
          ...configuration,
        })),
      },
    }),
  )

/** Resolves when so many events have come. */
function events(count: number): Promise<string[]> {
  return new Promise((resolve) => {
    onEvent = () => {
      if (got.length >= count) resolve(got.map(({ eventName, s3 }) => `${eventName} ${s3.object.key}`))
    }
    onEvent()
  })
}

test('a configuration comes back as it was put; one without rules turns events off', async () => {
  const Filter = {
    Key: {
      FilterRules: [
        { Name: 'prefix' as const, Value: 'a/' },
        { Name: 'suffix' as const, Value: '' },
      ],
    },
  }
  const Bucket = await createBucket({ Filter })
  const get = () => s3.send(new GetBucketNotificationConfigurationCommand({ Bucket }))
  expect((await get()).QueueConfigurations).toEqual([
    { Id: 'q0', QueueArn: ARN, Events: ['s3:ObjectCreated:*', 's3:ObjectRemoved:*'], Filter },
  ])
  await setRules(Bucket)
  expect((await get()).QueueConfigurations).toBeUndefined()
})

test('objects that are made', async () => {
  const Bucket = await createBucket({ Filter: { Key: { FilterRules: [{ Name: 'prefix', Value: 'in/' }] } } })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'out/a', Body: 'x' }))
  const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'in/a b', Body: 'hello' }))
  await s3.send(new CopyObjectCommand({ Bucket, Key: 'in/copy', CopySource: `${Bucket}/out/a` }))
  await postForm(`${node.endpoint}/${Bucket}`, signedForm(key, Bucket, { key: 'in/form' }), {
    content: 'x',
    name: 'f',
  })
  const Key = 'in/parts'
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const part = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: 'x' }))
  const Parts = [{ PartNumber: 1, ETag: part.ETag }]
  await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
  expect((await events(4)).sort()).toEqual([
    'ObjectCreated:CompleteMultipartUpload in/parts',
    'ObjectCreated:Copy in/copy',
    'ObjectCreated:Post in/form',
    'ObjectCreated:Put in/a+b',
  ])
  const put = got.find(({ eventName }) => eventName === 'ObjectCreated:Put')!
  expect(put.s3.bucket.name).toBe(Bucket)
  expect(put.s3.object).toMatchObject({ size: 5, eTag: ETag!.replaceAll('"', '') })
  expect(put.s3.object.versionId).toBeUndefined()
})

test('objects and versions that go', async () => {
  const Bucket = await createBucket({ Events: ['s3:ObjectRemoved:*'] }, true)
  const Key = 'a'
  const versions: string[] = []
  for (const Body of ['1', '2', '3']) {
    versions.push((await s3.send(new PutObjectCommand({ Bucket, Key, Body }))).VersionId!)
  }
  const marker = await s3.send(new DeleteObjectCommand({ Bucket, Key }))
  expect(await events(1)).toEqual(['ObjectRemoved:DeleteMarkerCreated a'])
  expect(got[0]!.s3.object.versionId).toBe(marker.VersionId)
  // The three are a noncurrent version, the current marker, and the version behind it.
  for (const VersionId of [versions[0]!, marker.VersionId!, versions[2]!]) {
    got = []
    await s3.send(new DeleteObjectCommand({ Bucket, Key, VersionId }))
    expect(await events(1)).toEqual(['ObjectRemoved:Delete a'])
    expect(got[0]!.s3.object.versionId).toBe(VersionId)
  }
  const off = await createBucket({})
  got = []
  await s3.send(new PutObjectCommand({ Bucket: off, Key, Body: 'x' }))
  await s3.send(new DeleteObjectCommand({ Bucket: off, Key }))
  await s3.send(new DeleteObjectCommand({ Bucket: off, Key: 'never there' }))
  await s3.send(new PutObjectCommand({ Bucket: off, Key: 'last', Body: 'x' }))
  expect((await events(3)).sort()).toEqual([
    'ObjectCreated:Put a',
    'ObjectCreated:Put last',
    'ObjectRemoved:Delete a',
  ])
})

test('a target that is down gets its events later', async () => {
  const Bucket = await createBucket({})
  status = 503
  let tries = 0
  const refused = new Promise<void>((resolve) => {
    onEvent = () => {
      if (++tries === 1) resolve()
    }
  })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'x' }))
  await refused
  status = 200
  expect(await events(1)).toEqual(['ObjectCreated:Put a'])
})

test.each<[string, Partial<QueueConfiguration>, string]>([
  ['an unknown target', { QueueArn: 'arn:carport:sqs::other:webhook' }, 'InvalidArgument'],
  ['a target of another kind', { QueueArn: 'arn:carport:sqs::hook:nats' }, 'InvalidArgument'],
  ['no ARN of ours', { QueueArn: 'arn:aws:sqs:us-east-1:123:q' }, 'InvalidArgument'],
  ['an event that is not sent', { Events: ['s3:ReducedRedundancyLostObject'] }, 'InvalidArgument'],
  ['no event', { Events: [] as Event[] }, 'MalformedXML'],
  [
    'two prefixes',
    {
      Filter: {
        Key: {
          FilterRules: [
            { Name: 'prefix', Value: 'a' },
            { Name: 'prefix', Value: 'b' },
          ],
        },
      },
    },
    'InvalidArgument',
  ],
])('a configuration with %s is refused', async (_, configuration, name) => {
  const Bucket = await createBucket({ QueueArn: 'arn:minio:sqs::hook:webhook' })
  await expect(setRules(Bucket, configuration)).rejects.toMatchObject({ name })
})

test('Lambda functions are refused', async () => {
  const Bucket = await createBucket({})
  const LambdaFunctionConfigurations = [
    { LambdaFunctionArn: 'arn:aws:lambda:x:1:function:f', Events: ['s3:ObjectCreated:*' as const] },
  ]
  await expect(
    s3.send(
      new PutBucketNotificationConfigurationCommand({
        Bucket,
        NotificationConfiguration: { LambdaFunctionConfigurations },
      }),
    ),
  ).rejects.toMatchObject({ name: 'NotImplemented' })
})
