import {
  CreateBucketCommand,
  type CreateBucketCommandInput,
  DeleteBucketReplicationCommand,
  DeleteBucketWebsiteCommand,
  GetBucketAccelerateConfigurationCommand,
  GetBucketAnalyticsConfigurationCommand,
  GetBucketLoggingCommand,
  GetBucketReplicationCommand,
  GetBucketRequestPaymentCommand,
  GetBucketTaggingCommand,
  GetBucketWebsiteCommand,
  HeadBucketCommand,
  ListBucketInventoryConfigurationsCommand,
  ListBucketMetricsConfigurationsCommand,
  ListBucketsCommand,
  PutBucketAccelerateConfigurationCommand,
  PutBucketLoggingCommand,
  PutBucketRequestPaymentCommand,
  PutBucketWebsiteCommand,
  type S3Client,
  type WebsiteConfiguration,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'settings'
let node: TestNode
let s3: S3Client

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('settings'))
  await s3.send(new CreateBucketCommand({ Bucket }))
})

afterAll(() => node?.dispose())

const putWebsite = (WebsiteConfiguration: WebsiteConfiguration) =>
  s3.send(new PutBucketWebsiteCommand({ Bucket, WebsiteConfiguration }))

test('a web site with routing rules comes back as it was put', async () => {
  await expect(s3.send(new GetBucketWebsiteCommand({ Bucket }))).rejects.toMatchObject({
    name: 'NoSuchWebsiteConfiguration',
  })
  const site: WebsiteConfiguration = {
    IndexDocument: { Suffix: 'index.html' },
    ErrorDocument: { Key: 'errors/404.html' },
    RoutingRules: [
      {
        Condition: { KeyPrefixEquals: 'docs/', HttpErrorCodeReturnedEquals: '404' },
        Redirect: {
          HostName: 'example.org',
          Protocol: 'https',
          ReplaceKeyPrefixWith: 'new/',
          HttpRedirectCode: '302',
        },
      },
      { Redirect: { ReplaceKeyWith: 'all.html' } },
    ],
  }
  await putWebsite(site)
  expect(await s3.send(new GetBucketWebsiteCommand({ Bucket }))).toMatchObject(site)
})

test('a redirect of everything comes back, and deletion ends it', async () => {
  await putWebsite({ RedirectAllRequestsTo: { HostName: 'example.org', Protocol: 'https' } })
  const got = await s3.send(new GetBucketWebsiteCommand({ Bucket }))
  expect(got.RedirectAllRequestsTo).toEqual({ HostName: 'example.org', Protocol: 'https' })
  expect(got.IndexDocument).toBeUndefined()
  await s3.send(new DeleteBucketWebsiteCommand({ Bucket }))
  await s3.send(new DeleteBucketWebsiteCommand({ Bucket }))
  await expect(s3.send(new GetBucketWebsiteCommand({ Bucket }))).rejects.toMatchObject({
    name: 'NoSuchWebsiteConfiguration',
  })
})

test('a web site that an administrator set is shown', async () => {
  const { buckets } = node.core.model
  const bucket = buckets.localByName(Bucket, undefined)!
  await buckets.setDocument(bucket, 'website', { indexDocument: 'home.html' })
  const got = await s3.send(new GetBucketWebsiteCommand({ Bucket }))
  expect(got.IndexDocument).toEqual({ Suffix: 'home.html' })
  expect(got.ErrorDocument).toBeUndefined()
})

test.each<[string, WebsiteConfiguration, string]>([
  ['no index', {}, 'InvalidArgument'],
  ['a slash in the index', { IndexDocument: { Suffix: 'a/b' } }, 'InvalidArgument'],
  [
    'a redirect of everything beside an index',
    { IndexDocument: { Suffix: 'a' }, RedirectAllRequestsTo: { HostName: 'x' } },
    'InvalidRequest',
  ],
  [
    'both ways to replace a key',
    {
      IndexDocument: { Suffix: 'a' },
      RoutingRules: [{ Redirect: { ReplaceKeyWith: 'a', ReplaceKeyPrefixWith: 'b' } }],
    },
    'InvalidRequest',
  ],
  [
    'a code that redirects nothing',
    {
      IndexDocument: { Suffix: 'a' },
      RoutingRules: [{ Redirect: { HostName: 'x', HttpRedirectCode: '204' } }],
    },
    'InvalidRequest',
  ],
  [
    'a page of another host to send instead',
    {
      IndexDocument: { Suffix: 'a' },
      RoutingRules: [{ Redirect: { HostName: 'x', HttpRedirectCode: '200' } }],
    },
    'InvalidRequest',
  ],
  ['a host that is none', { RedirectAllRequestsTo: { HostName: 'x/y\r\nA: b' } }, 'InvalidRequest'],
  [
    'too many rules',
    {
      IndexDocument: { Suffix: 'a' },
      RoutingRules: Array.from({ length: 1001 }, () => ({ Redirect: { HostName: 'x' } })),
    },
    'InvalidRequest',
  ],
])('a web site with %s is refused', async (_, configuration, name) => {
  await expect(putWebsite(configuration)).rejects.toMatchObject({ name })
})

test('settings that there is one form of say so', async () => {
  expect((await s3.send(new GetBucketLoggingCommand({ Bucket }))).LoggingEnabled).toBeUndefined()
  expect((await s3.send(new GetBucketRequestPaymentCommand({ Bucket }))).Payer).toBe('BucketOwner')
  expect((await s3.send(new GetBucketAccelerateConfigurationCommand({ Bucket }))).Status).toBeUndefined()
  await expect(s3.send(new GetBucketReplicationCommand({ Bucket }))).rejects.toMatchObject({
    name: 'ReplicationConfigurationNotFoundError',
  })
  await s3.send(new DeleteBucketReplicationCommand({ Bucket }))
  await expect(
    s3.send(new GetBucketAnalyticsConfigurationCommand({ Bucket, Id: 'a' })),
  ).rejects.toMatchObject({ name: 'NoSuchConfiguration' })
  const inventory = await s3.send(new ListBucketInventoryConfigurationsCommand({ Bucket }))
  expect(inventory).toMatchObject({ IsTruncated: false })
  const metrics = await s3.send(new ListBucketMetricsConfigurationsCommand({ Bucket }))
  expect(metrics).toMatchObject({ IsTruncated: false })
})

test('what would change them is refused, what leaves them as they are is not', async () => {
  const payer = (Payer: 'BucketOwner' | 'Requester') =>
    s3.send(new PutBucketRequestPaymentCommand({ Bucket, RequestPaymentConfiguration: { Payer } }))
  await payer('BucketOwner')
  await expect(payer('Requester')).rejects.toMatchObject({ name: 'NotImplemented' })
  await s3.send(new PutBucketLoggingCommand({ Bucket, BucketLoggingStatus: {} }))
  const LoggingEnabled = { TargetBucket: Bucket, TargetPrefix: '' }
  await expect(
    s3.send(new PutBucketLoggingCommand({ Bucket, BucketLoggingStatus: { LoggingEnabled } })),
  ).rejects.toMatchObject({ name: 'NotImplemented' })
  await expect(
    s3.send(
      new PutBucketAccelerateConfigurationCommand({
        Bucket,
        AccelerateConfiguration: { Status: 'Enabled' },
      }),
    ),
  ).rejects.toMatchObject({ name: 'NotImplemented' })
})

test('configurations belong to the owner of the bucket', async () => {
  const stranger = node.client(await node.createKey('stranger'))
  await expect(stranger.send(new GetBucketWebsiteCommand({ Bucket }))).rejects.toMatchObject({
    name: 'AccessDenied',
  })
  await expect(
    stranger.send(
      new PutBucketWebsiteCommand({ Bucket, WebsiteConfiguration: { IndexDocument: { Suffix: 'x' } } }),
    ),
  ).rejects.toMatchObject({ name: 'AccessDenied' })
})

test('a bucket is made with tags, and made again only as it is', async () => {
  const make = (more: Partial<CreateBucketCommandInput> = {}) =>
    s3.send(new CreateBucketCommand({ Bucket: 'made', ...more }))
  const Tags = [
    { Key: 'team', Value: 'a & b' },
    { Key: 'stage', Value: 'test' },
  ]
  await expect(make({ CreateBucketConfiguration: { Tags } })).rejects.toMatchObject({ name: 'InvalidTag' })
  await expect(s3.send(new HeadBucketCommand({ Bucket: 'made' }))).rejects.toMatchObject({ name: 'NotFound' })
  Tags[0]!.Value = 'a'
  await make({ CreateBucketConfiguration: { LocationConstraint: 'us-east-1' as never, Tags } })
  const { TagSet } = await s3.send(new GetBucketTaggingCommand({ Bucket: 'made' }))
  expect(TagSet).toEqual(Tags.toReversed())
  for (const same of [
    {},
    { CreateBucketConfiguration: { Tags: Tags.toReversed() } },
    { ObjectLockEnabledForBucket: false, ObjectOwnership: 'ObjectWriter' as const },
    { ACL: 'private' as const },
  ]) {
    await make(same)
  }
  for (const other of [
    { CreateBucketConfiguration: { Tags: [Tags[0]!] } },
    { ObjectLockEnabledForBucket: true },
    { ObjectOwnership: 'BucketOwnerEnforced' as const },
    { ACL: 'public-read' as const },
  ]) {
    await expect(make(other)).rejects.toMatchObject({ name: 'BucketAlreadyExists' })
  }
  expect((await s3.send(new GetBucketTaggingCommand({ Bucket: 'made' }))).TagSet).toEqual(TagSet)
  const own = { ObjectLockEnabledForBucket: true, ObjectOwnership: 'BucketOwnerEnforced' as const }
  for (let i = 0; i < 2; i++) await make({ Bucket: 'made-own', ...own })
  await make({ Bucket: 'made-own' })
})

test('a new bucket is not made where it is asked for what there is not', async () => {
  const make = (more: Partial<CreateBucketCommandInput>) =>
    s3.send(new CreateBucketCommand({ Bucket: 'unmade', ...more }))
  for (const configuration of [
    { Location: { Type: 'AvailabilityZone' as const, Name: 'z' } },
    { Bucket: { Type: 'Directory' as const } },
  ]) {
    await expect(make({ CreateBucketConfiguration: configuration })).rejects.toMatchObject({
      name: 'NotImplemented',
    })
  }
  const TagSet = Array.from({ length: 51 }, (_, i) => ({ Key: `k${i}`, Value: 'v' }))
  await expect(make({ CreateBucketConfiguration: { Tags: TagSet } })).rejects.toMatchObject({
    name: 'InvalidTag',
  })
  await expect(make({ ObjectLockEnabledForBucket: 'yes' as never })).rejects.toMatchObject({
    name: 'InvalidArgument',
  })
  const unknown = new CreateBucketCommand({ Bucket: 'unmade', CreateBucketConfiguration: {} })
  unknown.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { body: string; headers: Record<string, string> }
      request.body = '<CreateBucketConfiguration><Storage>Cold</Storage></CreateBucketConfiguration>'
      request.headers['content-length'] = String(request.body.length)
      return next(args)
    },
    { step: 'build', priority: 'low' },
  )
  await expect(s3.send(unknown)).rejects.toMatchObject({ name: 'MalformedXML' })
  await expect(s3.send(new HeadBucketCommand({ Bucket: 'unmade' }))).rejects.toMatchObject({
    name: 'NotFound',
  })
})

test('buckets are listed of a region, which is the one of the store', async () => {
  const names = async (BucketRegion?: string) =>
    (await s3.send(new ListBucketsCommand({ BucketRegion }))).Buckets?.map(({ Name }) => Name) ?? []
  const all = await names()
  expect(all).toContain(Bucket)
  expect(await names('us-east-1')).toEqual(all)
  expect(await names('eu-west-1')).toEqual([])
})
