/** Settings that S3 has beyond Garage's admin API, over HTTP: what one API sets, the other tells, and both refuse the same. */
import {
  CreateBucketCommand,
  GetBucketEncryptionCommand,
  GetBucketNotificationConfigurationCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyCommand,
  GetBucketTaggingCommand,
  GetBucketVersioningCommand,
  GetObjectLockConfigurationCommand,
  GetPublicAccessBlockCommand,
  PutBucketTaggingCommand,
  PutBucketVersioningCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const TOKEN = 'the-admin-token'
const TARGET = {
  ...{ name: 'hook', type: 'webhook' as const, url: 'http://127.0.0.1:9/', user: null, secret: null },
  ...{ subject: '', list: '' },
}
const HOOK = 'arn:carport:sqs::hook:webhook'

let node: TestNode
let s3: S3Client
let validate: (name: string, value: unknown) => string | undefined

async function ask(name: string, id: string, body?: object | string, token = TOKEN) {
  const response = await fetch(`http://${node.adminApi!.address}/v2/${name}?id=${id}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}` },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  // biome-ignore lint/suspicious/noExplicitAny: the answer of any endpoint
  return { status: response.status, value: JSON.parse(await response.text()) as any }
}
async function set(id: string, body: object) {
  const { status, value } = await ask('UpdateBucketSettings', id, body)
  expect(status, JSON.stringify(value)).toBe(200)
  expect(validate('UpdateBucketSettingsResponse', value)).toBeUndefined()
  return value
}
async function get(id: string) {
  const { status, value } = await ask('GetBucketSettings', id)
  expect(status).toBe(200)
  expect(validate('GetBucketSettingsResponse', value)).toBeUndefined()
  return value
}
async function refused(id: string, body: object | string, message: RegExp, status = 400) {
  const before = await get(id)
  const answer = await ask('UpdateBucketSettings', id, body)
  expect(answer.status, JSON.stringify(answer.value)).toBe(status)
  expect(answer.value.message).toMatch(message)
  expect(await get(id)).toEqual(before)
}
/** Makes a bucket; resolves with its id. */
async function bucket(name: string): Promise<string> {
  await s3.send(new CreateBucketCommand({ Bucket: name }))
  const url = `http://${node.adminApi!.address}/v2/GetBucketInfo?globalAlias=${name}`
  const answer = await fetch(url, { headers: { authorization: `Bearer ${TOKEN}` } })
  return ((await answer.json()) as { id: string }).id
}

beforeAll(async () => {
  node = await startTestNode({ secrets: { adminToken: TOKEN, notifications: [TARGET] } })
  s3 = node.client(await node.createKey('owner'))
  const document = await fetch(`http://${node.adminApi!.address}/openapi.json`).then((answer) =>
    answer.json(),
  )
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  ajv.addSchema(document as object, 'doc')
  validate = (name, value) => {
    const check = ajv.compile({ $ref: `doc#/components/schemas/${name}` })
    return check(value) ? undefined : ajv.errorsText(check.errors)
  }
})
afterAll(() => node.dispose())

describe('settings of a bucket over the admin API', () => {
  test('are none at first', async () => {
    const id = await bucket('plain')
    expect(await get(id)).toEqual({
      ...{ id, versioning: null, objectLock: null, policy: null, publicAccessBlock: null },
      ...{ ownership: null, encryption: null, notifications: null, tags: null, relaxed: null, shadow: null },
    })
  })

  test('are set in one call, and S3 tells the same', async () => {
    const Bucket = 'all-of-them'
    const id = await bucket(Bucket)
    const policy = {
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Deny',
          Principal: '*',
          Action: 's3:PutObject',
          Resource: `arn:aws:s3:::${Bucket}/locked/*`,
        },
      ],
    }
    const publicAccessBlock = {
      ...{ BlockPublicAcls: true, IgnorePublicAcls: false },
      ...{ BlockPublicPolicy: true, RestrictPublicBuckets: false },
    }
    const wanted = {
      relaxed: true,
      shadow: null,
      versioning: 'Enabled',
      objectLock: {
        ObjectLockEnabled: 'Enabled',
        Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 3 } },
      },
      policy,
      publicAccessBlock,
      ownership: { Rule: { ObjectOwnership: 'BucketOwnerPreferred' } },
      encryption: {
        Rule: { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' }, BucketKeyEnabled: true },
      },
      notifications: {
        QueueConfiguration: [
          {
            ...{ Id: 'new', Queue: HOOK, Event: ['s3:ObjectCreated:*'] },
            Filter: { S3Key: { FilterRule: [{ Name: 'prefix', Value: 'in/' }] } },
          },
        ],
      },
      tags: [
        { Key: 'team', Value: 'storage' },
        { Key: 'ключ', Value: 'x=y' },
      ],
    }
    expect(await set(id, wanted)).toEqual({ id, ...wanted })
    expect(await get(id)).toEqual({ id, ...wanted })
    expect(await s3.send(new GetBucketVersioningCommand({ Bucket }))).toMatchObject({ Status: 'Enabled' })
    const lock = await s3.send(new GetObjectLockConfigurationCommand({ Bucket }))
    expect(lock.ObjectLockConfiguration).toEqual(wanted.objectLock)
    expect(JSON.parse((await s3.send(new GetBucketPolicyCommand({ Bucket }))).Policy!)).toEqual(policy)
    const block = await s3.send(new GetPublicAccessBlockCommand({ Bucket }))
    expect(block.PublicAccessBlockConfiguration).toEqual(publicAccessBlock)
    const owned = await s3.send(new GetBucketOwnershipControlsCommand({ Bucket }))
    expect(owned.OwnershipControls!.Rules).toEqual([wanted.ownership.Rule])
    const encrypted = await s3.send(new GetBucketEncryptionCommand({ Bucket }))
    expect(encrypted.ServerSideEncryptionConfiguration!.Rules).toEqual([wanted.encryption.Rule])
    const events = await s3.send(new GetBucketNotificationConfigurationCommand({ Bucket }))
    expect(events.QueueConfigurations).toMatchObject([{ Id: 'new', QueueArn: HOOK }])
    const { TagSet } = await s3.send(new GetBucketTaggingCommand({ Bucket }))
    expect(TagSet).toEqual(wanted.tags)

    const removed = { policy: null, publicAccessBlock: null, ownership: null }
    const also = { encryption: null, notifications: {}, tags: null }
    const none = { ...removed, ...also, notifications: null }
    expect(await set(id, { ...removed, ...also })).toEqual({ id, ...wanted, ...none })
    expect(await set(id, {})).toEqual({ id, ...wanted, ...none })
  })

  test('are told as S3 set them', async () => {
    const Bucket = 'set-by-s3'
    const id = await bucket(Bucket)
    await s3.send(
      new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Suspended' } }),
    )
    await s3.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet: [{ Key: 'a', Value: '' }] } }))
    expect(await get(id)).toMatchObject({ versioning: 'Suspended', tags: [{ Key: 'a', Value: '' }] })
  })

  test('are refused where S3 refuses them, and nothing of the call is kept', async () => {
    const Bucket = 'careful'
    const id = await bucket(Bucket)
    const lock = { ObjectLockEnabled: 'Enabled' }
    const tags = [{ Key: 'kept', Value: 'no' }]
    await refused(id, { tags, objectLock: lock }, /objectLock: Versioning must be 'Enabled'/)
    await refused(id, { tags, versioning: 'Suspended', objectLock: lock }, /versioning: An Object Lock/)
    const retention = { ...lock, Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 1, Years: 1 } } }
    await refused(id, { tags, versioning: 'Enabled', objectLock: retention }, /objectLock/)
    await refused(id, { tags, policy: { Statement: [] } }, /policy/)
    const open = {
      Version: '2012-10-17',
      Statement: [
        { Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${Bucket}/*` },
      ],
    }
    const publicAccessBlock = { BlockPublicPolicy: true }
    await refused(id, { tags, publicAccessBlock, policy: open }, /policy: Public policies are blocked/)
    const other = JSON.parse(JSON.stringify(open).replace(Bucket, 'another')) as object
    await refused(id, { tags, policy: other }, /policy/)
    const kms = { Rule: { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' } } }
    await refused(id, { tags, encryption: kms }, /encryption/)
    const queue = { Event: ['s3:ObjectCreated:*'], Queue: 'arn:carport:sqs::nobody:webhook' }
    await refused(id, { tags, notifications: { QueueConfiguration: [queue] } }, /notifications/)
    await refused(id, { tags: [{ Key: 'aws:x', Value: 'y' }] }, /tags: System tags/)
    await refused(id, { tags: [{ Key: '__proto__', Value: 'x' }] }, /tags/)
    await refused(id, { tags, versioning: null }, /versioning/)
    await refused(id, { tags, objectLock: null }, /objectLock/)
    await refused(id, { tags, colour: 'red' }, /colour/)
    await refused(id, '[]', /object/)
    await set(id, { versioning: 'Enabled', objectLock: lock })
    await refused(id, { versioning: 'Suspended' }, /versioning: An Object Lock/)
  })

  test('need a token whose scope has them, and a bucket that is there', async () => {
    const id = await bucket('guarded')
    expect((await ask('GetBucketSettings', id, undefined, 'wrong')).status).toBe(403)
    expect((await ask('GetBucketSettings', '0'.repeat(32))).status).toBe(404)
    expect((await ask('UpdateBucketSettings', '0'.repeat(32), {})).status).toBe(404)
    expect((await ask('GetBucketSettings', 'short')).status).toBe(400)
  })
})
