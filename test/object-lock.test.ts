import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketPolicyCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  GetObjectLegalHoldCommand,
  GetObjectLockConfigurationCommand,
  GetObjectRetentionCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  type ObjectLockMode,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  PutObjectLegalHoldCommand,
  PutObjectLockConfigurationCommand,
  PutObjectRetentionCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { Sessions } from '../src/api/sts/sessions.js'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import type { Bucket as BucketInfo } from '../src/model/buckets/buckets.js'
import { lockGuard } from '../src/model/versions/lock.js'
import { realClock, systemRandom } from '../src/platform/clock-and-random.js'
import { CarportError } from '../src/util/errors.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const Bucket = 'locks'
const DAY = 86_400_000
let node: TestNode
let owner: AccessKey
let s3: S3Client
/** A client that may read and write, but does not own the bucket. */
let writer: S3Client

beforeAll(async () => {
  node = await startTestNode()
  const { keys, buckets } = node.core.model
  owner = await node.createKey('owner')
  s3 = node.client(owner)
  await s3.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: true }))
  const key = await keys.create('writer')
  const bucket = (await buckets.byName(Bucket, undefined))!
  await keys.setPermissions(key.id, bucket.id, { read: true, write: true, owner: false })
  writer = node.client(keys.local(key.id)!)
})

afterAll(() => node?.dispose())

const later = (days: number) => new Date(Math.floor((Date.now() + days * DAY) / 1000) * 1000)
const put = async (Key: string, more: Partial<PutObjectCommandInput> = {}): Promise<string> =>
  (await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x', ...more }))).VersionId!
const retain = (Key: string, Mode: ObjectLockMode, days: number, more: object = {}, client = s3) =>
  client.send(
    new PutObjectRetentionCommand({
      Bucket,
      Key,
      Retention: { Mode, RetainUntilDate: later(days) },
      ...more,
    }),
  )
const hold = (Key: string, Status: 'ON' | 'OFF') =>
  s3.send(new PutObjectLegalHoldCommand({ Bucket, Key, LegalHold: { Status } }))
const remove = (Key: string, VersionId: string, bypass = false, client = s3) =>
  client.send(
    new DeleteObjectCommand({ Bucket, Key, VersionId, ...(bypass && { BypassGovernanceRetention: true }) }),
  )
const read = (Key: string, VersionId: string) => s3.send(new GetObjectCommand({ Bucket, Key, VersionId }))
const denied = { name: 'AccessDenied', $metadata: { httpStatusCode: 403 } }

describe('configuration', () => {
  const configure = (bucket: string, configuration: object) =>
    s3.send(
      new PutObjectLockConfigurationCommand({
        Bucket: bucket,
        ObjectLockConfiguration: { ObjectLockEnabled: 'Enabled', ...configuration },
      }),
    )
  const rule = (DefaultRetention: object) => ({ Rule: { DefaultRetention } })

  test('says what is, and gives new versions their retention, from their completion on', async () => {
    const bucket = 'lock-default'
    await s3.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: true }))
    const get = () => s3.send(new GetObjectLockConfigurationCommand({ Bucket: bucket }))
    expect((await get()).ObjectLockConfiguration).toEqual({ ObjectLockEnabled: 'Enabled' })
    const defaults = rule({ Mode: 'GOVERNANCE', Days: 3 })
    await configure(bucket, defaults)
    expect((await get()).ObjectLockConfiguration).toEqual({ ObjectLockEnabled: 'Enabled', ...defaults })
    const object = { Bucket: bucket, Key: 'k' }
    const shown = async () => (await s3.send(new HeadObjectCommand(object))).ObjectLockRetainUntilDate!
    const expectDays = async (days: number) =>
      expect(Math.abs((await shown()).getTime() - (Date.now() + days * DAY))).toBeLessThan(60_000)
    await s3.send(new PutObjectCommand({ ...object, Body: 'x' }))
    await expectDays(3)
    await s3.send(
      new PutObjectCommand({
        ...{ ...object, Body: 'x', ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: later(1) },
      }),
    )
    await expectDays(1)
    await s3.send(new CopyObjectCommand({ ...object, Key: 'copy', CopySource: `${bucket}/k` }))
    const copy = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: 'copy' }))
    expect(Math.abs(copy.ObjectLockRetainUntilDate!.getTime() - (Date.now() + 3 * DAY))).toBeLessThan(60_000)
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand(object))
    const { ETag } = await s3.send(new UploadPartCommand({ ...object, UploadId, PartNumber: 1, Body: 'x' }))
    await configure(bucket, rule({ Mode: 'GOVERNANCE', Years: 1 }))
    await s3.send(
      new CompleteMultipartUploadCommand({
        ...{ ...object, UploadId },
        MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] },
      }),
    )
    const year = new Date()
    year.setUTCFullYear(year.getUTCFullYear() + 1)
    expect(Math.abs((await shown()).getTime() - year.getTime())).toBeLessThan(60_000)
  })

  test('needs versioning, which cannot be suspended afterwards', async () => {
    const bucket = 'lock-later'
    await s3.send(new CreateBucketCommand({ Bucket: bucket }))
    await expect(s3.send(new GetObjectLockConfigurationCommand({ Bucket: bucket }))).rejects.toMatchObject({
      name: 'ObjectLockConfigurationNotFoundError',
    })
    await expect(configure(bucket, {})).rejects.toMatchObject({ name: 'InvalidBucketState' })
    const versioning = (Status: 'Enabled' | 'Suspended') =>
      s3.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status } }))
    await versioning('Enabled')
    await configure(bucket, {})
    await expect(versioning('Suspended')).rejects.toMatchObject({ name: 'InvalidBucketState' })
  })

  test('that makes no sense is refused', async () => {
    for (const [defaults, name] of [
      [{ Mode: 'GOVERNANCE', Days: 0 }, 'InvalidRetentionPeriod'],
      [{ Mode: 'GOVERNANCE', Years: -1 }, 'InvalidRetentionPeriod'],
      [{ Mode: 'GOVERNANCE', Days: 36_501 }, 'InvalidRetentionPeriod'],
      [{ Mode: 'GOVERNANCE', Days: 1, Years: 1 }, 'MalformedXML'],
      [{ Mode: 'GOVERNANCE' }, 'MalformedXML'],
      [{ Mode: 'governance', Days: 1 }, 'MalformedXML'],
      [{ Days: 1 }, 'MalformedXML'],
    ] as const) {
      await expect(configure(Bucket, rule(defaults))).rejects.toMatchObject({ name })
    }
    await expect(configure(Bucket, { ObjectLockEnabled: 'Disabled' })).rejects.toMatchObject({
      name: 'MalformedXML',
    })
  })

  test('locks of versions need a bucket with object lock', async () => {
    const bucket = { Bucket: 'lockless' }
    await s3.send(new CreateBucketCommand(bucket))
    await s3.send(new PutObjectCommand({ ...bucket, Key: 'k', Body: 'x' }))
    const Retention = { Mode: 'GOVERNANCE' as const, RetainUntilDate: later(1) }
    for (const command of [
      new PutObjectRetentionCommand({ ...bucket, Key: 'k', Retention }),
      new GetObjectRetentionCommand({ ...bucket, Key: 'k' }),
      new PutObjectLegalHoldCommand({ ...bucket, Key: 'k', LegalHold: { Status: 'ON' } }),
      new GetObjectLegalHoldCommand({ ...bucket, Key: 'k' }),
      new PutObjectCommand({ ...bucket, Key: 'k', Body: 'y', ObjectLockLegalHoldStatus: 'ON' }),
    ]) {
      await expect(s3.send(command as GetObjectRetentionCommand)).rejects.toMatchObject({
        name: 'InvalidRequest',
      })
    }
  })
})

describe('locks of a version', () => {
  test('retention in governance mode keeps it from all but the owner who says so', async () => {
    const id = await put('governance')
    await retain('governance', 'GOVERNANCE', 1)
    await expect(remove('governance', id)).rejects.toMatchObject(denied)
    await expect(remove('governance', id, true, writer)).rejects.toMatchObject(denied)
    expect((await read('governance', id)).ContentLength).toBe(1)
    await remove('governance', id, true)
    await expect(read('governance', id)).rejects.toMatchObject({ name: 'NoSuchVersion' })
  })

  test('retention in compliance mode keeps it from everybody', async () => {
    const id = await put('compliance', {
      ObjectLockMode: 'COMPLIANCE',
      ObjectLockRetainUntilDate: later(1),
    })
    await expect(remove('compliance', id, true)).rejects.toMatchObject(denied)
    await expect(
      retain('compliance', 'GOVERNANCE', 2, { BypassGovernanceRetention: true }),
    ).rejects.toMatchObject(denied)
    await expect(
      s3.send(
        new PutObjectRetentionCommand({
          ...{ Bucket, Key: 'compliance', Retention: {}, BypassGovernanceRetention: true },
        }),
      ),
    ).rejects.toMatchObject(denied)
    await retain('compliance', 'COMPLIANCE', 2, {}, writer)
    expect((await read('compliance', id)).ObjectLockMode).toBe('COMPLIANCE')
  })

  test('a legal hold keeps it until it is taken off, whatever the retention', async () => {
    const id = await put('hold', { ObjectLockLegalHoldStatus: 'ON' })
    await expect(remove('hold', id, true)).rejects.toMatchObject(denied)
    expect((await read('hold', id)).ObjectLockLegalHoldStatus).toBe('ON')
    await hold('hold', 'OFF')
    const off = await s3.send(new GetObjectLegalHoldCommand({ Bucket, Key: 'hold' }))
    expect(off.LegalHold?.Status).toBe('OFF')
    await remove('hold', id)
  })

  test('do not keep a key from being hidden, nor a marker from being deleted', async () => {
    const id = await put('hidden')
    await retain('hidden', 'GOVERNANCE', 1)
    const marker = await s3.send(new DeleteObjectCommand({ Bucket, Key: 'hidden' }))
    expect(marker.DeleteMarker).toBe(true)
    await expect(retain('hidden', 'GOVERNANCE', 2, { VersionId: marker.VersionId })).rejects.toMatchObject({
      name: 'MethodNotAllowed',
    })
    await remove('hidden', marker.VersionId!)
    expect((await read('hidden', id)).VersionId).toBe(id)
  })

  test('of one version do not lock another, also when many are deleted at once', async () => {
    const [a, b] = [await put('many'), await put('many')]
    await retain('many', 'GOVERNANCE', 1, { VersionId: a })
    const Objects = [a, b].map((VersionId) => ({ Key: 'many', VersionId }))
    const first = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
    expect(first.Errors).toMatchObject([{ Key: 'many', VersionId: a, Code: 'AccessDenied' }])
    expect(first.Deleted).toMatchObject([{ VersionId: b }])
    const second = await s3.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects }, BypassGovernanceRetention: true }),
    )
    expect(second.Errors).toBeUndefined()
    const left = await s3.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'many' }))
    expect(left.Versions).toBeUndefined()
  })

  test('governance is prolonged by anyone who may set it, weakened only by bypassing', async () => {
    const id = await put('weaken')
    await retain('weaken', 'GOVERNANCE', 2)
    await retain('weaken', 'GOVERNANCE', 3, {}, writer)
    await expect(retain('weaken', 'GOVERNANCE', 1)).rejects.toMatchObject(denied)
    await expect(
      retain('weaken', 'GOVERNANCE', 1, { BypassGovernanceRetention: true }, writer),
    ).rejects.toMatchObject(denied)
    await retain('weaken', 'GOVERNANCE', 1, { BypassGovernanceRetention: true })
    const got = await s3.send(new GetObjectRetentionCommand({ Bucket, Key: 'weaken', VersionId: id }))
    expect(got.Retention?.Mode).toBe('GOVERNANCE')
    expect(got.Retention!.RetainUntilDate!.getTime()).toBeLessThan(later(2).getTime())
  })

  test('that make no sense are refused', async () => {
    await put('nonsense')
    await expect(retain('nonsense', 'GOVERNANCE', -1)).rejects.toMatchObject({ name: 'InvalidArgument' })
    await expect(retain('nonsense', 'nonsense' as 'GOVERNANCE', 1)).rejects.toMatchObject({
      name: 'MalformedXML',
    })
    await expect(hold('nonsense', 'on' as 'ON')).rejects.toMatchObject({ name: 'MalformedXML' })
    for (const more of [
      { ObjectLockMode: 'GOVERNANCE' },
      { ObjectLockRetainUntilDate: later(1) },
      { ObjectLockMode: 'x', ObjectLockRetainUntilDate: later(1) },
      { ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: later(-1) },
      { ObjectLockLegalHoldStatus: 'x' },
    ] as Partial<PutObjectCommandInput>[]) {
      await expect(put('nonsense', more)).rejects.toMatchObject({ name: 'InvalidArgument' })
    }
    for (const command of [
      new GetObjectRetentionCommand({ Bucket, Key: 'nonsense' }),
      new GetObjectLegalHoldCommand({ Bucket, Key: 'nonsense' }),
    ]) {
      await expect(s3.send(command as GetObjectRetentionCommand)).rejects.toMatchObject({
        name: 'NoSuchObjectLockConfiguration',
      })
    }
  })
})

describe('policies about locks', () => {
  const Resource = [`arn:aws:s3:::${Bucket}`, `arn:aws:s3:::${Bucket}/*`]
  const setPolicy = (...statements: object[]) => {
    const Statement = statements.map((statement) => ({ Principal: '*', Resource, ...statement }))
    const Policy = JSON.stringify({ Version: '2012-10-17', Statement })
    return s3.send(new PutBucketPolicyCommand({ Bucket, Policy }))
  }
  const deny = (Action: string, Condition: object) => setPolicy({ Effect: 'Deny', Action, Condition })
  /** A client of temporary credentials with a policy of their own. */
  const session = (...statements: object[]) => {
    const sessions = new Sessions(Buffer.from('ab'.repeat(32), 'hex'), systemRandom)
    const Statement = statements.map((statement) => ({ Resource, ...statement }))
    const policy = JSON.stringify({ Version: '2012-10-17', Statement })
    const grant = { parentKeyId: owner.id, provider: 'home', subject: 'alice', name: 'session', policy }
    return node.client(owner, {
      credentials: sessions.issue({ ...grant, expiresMs: Date.now() + 600_000 }),
    })
  }
  /** Sends a retention together with headers, which belong to other operations. */
  const retainWith = (headers: Record<string, string>, Mode: ObjectLockMode, days: number, client = s3) => {
    const command = new PutObjectRetentionCommand({
      ...{ Bucket, Key: 'policy', Retention: { Mode, RetainUntilDate: later(days) } },
    })
    command.middlewareStack.add(
      (next) => (args) => {
        Object.assign((args.request as { headers: object }).headers, headers)
        return next(args)
      },
      { step: 'build' },
    )
    return client.send(command)
  }

  beforeAll(() => put('policy'))
  afterEach(() => s3.send(new DeleteBucketPolicyCommand({ Bucket })))

  test('deny a retention by what its document says', async () => {
    const days = { NumericGreaterThan: { 's3:object-lock-remaining-retention-days': 10 } }
    await deny('s3:PutObjectRetention', days)
    await expect(retain('policy', 'GOVERNANCE', 100)).rejects.toMatchObject(denied)
    await retain('policy', 'GOVERNANCE', 2)
    await deny('s3:PutObjectRetention', { StringEquals: { 's3:object-lock-mode': 'COMPLIANCE' } })
    await expect(retain('policy', 'COMPLIANCE', 3)).rejects.toMatchObject(denied)
    await retain('policy', 'GOVERNANCE', 3)
    await deny('s3:PutObjectRetention', {
      DateGreaterThan: { 's3:object-lock-retain-until-date': later(50).toISOString() },
    })
    await expect(retain('policy', 'GOVERNANCE', 100)).rejects.toMatchObject(denied)
    await retain('policy', 'GOVERNANCE', 4)
  })

  test('deny a legal hold by what its document says', async () => {
    await deny('s3:PutObjectLegalHold', { StringEquals: { 's3:object-lock-legal-hold': 'OFF' } })
    await hold('policy', 'ON')
    await expect(hold('policy', 'OFF')).rejects.toMatchObject(denied)
    await s3.send(new DeleteBucketPolicyCommand({ Bucket }))
    await hold('policy', 'OFF')
  })

  test('deny to bypass governance for a retention of a few days', async () => {
    await retain('policy', 'GOVERNANCE', 6)
    const bypass = { BypassGovernanceRetention: true }
    await deny('s3:BypassGovernanceRetention', {
      NumericLessThan: { 's3:object-lock-remaining-retention-days': 4 },
    })
    await expect(retain('policy', 'GOVERNANCE', 3, bypass)).rejects.toMatchObject(denied)
    await retain('policy', 'GOVERNANCE', 5.5, bypass)
  })

  test('do not go by headers that the operation does not have', async () => {
    const guest = node.client(await node.createKey('guest'))
    const Condition = { StringEquals: { 's3:object-lock-mode': 'GOVERNANCE' } }
    await setPolicy({ Effect: 'Allow', Action: 's3:PutObjectRetention', Condition })
    const decoy = { 'x-amz-object-lock-mode': 'GOVERNANCE' }
    await expect(retainWith(decoy, 'COMPLIANCE', 7, guest)).rejects.toMatchObject(denied)
    await retainWith({}, 'GOVERNANCE', 7, guest)
  })

  test('have no document read for callers who are allowed nothing', async () => {
    const stranger = node.client(await node.createKey('stranger'))
    await deny('s3:PutObjectRetention', { StringEquals: { 's3:object-lock-mode': 'COMPLIANCE' } })
    const nonsense = 'nonsense' as ObjectLockMode
    await expect(retain('policy', nonsense, 1, {}, stranger)).rejects.toMatchObject(denied)
    await expect(retain('policy', nonsense, 1)).rejects.toMatchObject({ name: 'MalformedXML' })
  })

  test('see the headers of a write, in UTC where they name no zone', async () => {
    const before = process.env.TZ
    process.env.TZ = 'Pacific/Kiritimati' // 14 hours ahead of UTC
    try {
      await deny('s3:PutObjectRetention', {
        NumericGreaterThanEquals: { 's3:object-lock-remaining-retention-days': 10 },
      })
      const until = later(10.2)
      const headers = {
        'x-amz-object-lock-mode': 'GOVERNANCE',
        'x-amz-object-lock-retain-until-date': until.toISOString().slice(0, 19),
      }
      const command = new PutObjectCommand({ Bucket, Key: 'zone', Body: 'x' })
      command.middlewareStack.add(
        (next) => (args) => {
          Object.assign((args.request as { headers: object }).headers, headers)
          return next(args)
        },
        { step: 'build' },
      )
      await expect(s3.send(command)).rejects.toMatchObject(denied)
    } finally {
      if (before === undefined) delete process.env.TZ
      else process.env.TZ = before
    }
  })

  test('of sessions count as well', async () => {
    const client = session(
      { Effect: 'Allow', Action: 's3:*' },
      {
        Effect: 'Deny',
        Action: 's3:PutObjectRetention',
        Condition: { StringEquals: { 's3:object-lock-mode': 'COMPLIANCE' } },
      },
    )
    await expect(retain('policy', 'COMPLIANCE', 8, {}, client)).rejects.toMatchObject(denied)
    const decoy = { 'x-amz-object-lock-mode': 'GOVERNANCE' }
    await expect(retainWith(decoy, 'COMPLIANCE', 8, client)).rejects.toMatchObject(denied)
    await retain('policy', 'GOVERNANCE', 8, {}, client)
  })
})

/**
 * Whatever step of the one the other comes before: never are both a lock and the deletion of the version that it should
 * have kept answered with success, and nothing of a version that stays is lost.
 */
describe('a lock and a deletion at the same time', () => {
  const METHODS = ['get', 'insert'] as const

  /** Runs `outer`; before its nth read or write of an object's rows, runs `inner` to its end. Returns false if it has no nth. */
  async function interleave(
    nth: number,
    outer: () => Promise<unknown>,
    inner: () => Promise<unknown>,
  ): Promise<boolean> {
    const { object, version } = node.core.model.tables
    let steps = 0
    let isInside = false
    const restore: (() => void)[] = []
    for (const table of [object, version] as unknown as Record<
      'get' | 'insert',
      (...args: unknown[]) => Promise<unknown>
    >[]) {
      for (const method of METHODS) {
        const original = table[method]
        table[method] = async (...args) => {
          if (!isInside && steps++ === nth) {
            isInside = true
            await inner()
            isInside = false
          }
          return original.apply(table, args)
        }
        restore.push(() => {
          table[method] = original
        })
      }
    }
    try {
      await outer()
    } finally {
      for (const undo of restore) undo()
    }
    return steps > nth
  }

  const outcome = (run: () => Promise<unknown>) => {
    let result: 'done' | 'refused' | 'absent' | undefined
    return {
      run: async () => {
        try {
          result = (await run()) ? 'done' : 'absent'
        } catch (error) {
          if (!(error instanceof CarportError && error.code === 'Conflict') && !/locked/.test(String(error)))
            throw error
          result = 'refused'
        }
      },
      get result() {
        return result
      },
    }
  }

  test.each([
    ['current', 'the lock', false],
    ['current', 'the deletion', false],
    ['noncurrent', 'the lock', false],
    ['noncurrent', 'the deletion', false],
    ['made current by a deletion', 'the lock', true],
    ['made current by a deletion', 'the deletion', true],
  ] as const)('of a version that is %s, where %s comes in between', async (place, inner, promoted) => {
    const { model } = node.core
    const bucket = (await model.buckets.byName(Bucket, undefined))!
    const seen = new Set<string>()
    for (let nth = 0; ; nth++) {
      const name = `race/${place}/${inner}/${nth}`
      const id = await put(name)
      if (place !== 'current') {
        const above = await put(name)
        if (promoted) await remove(name, above)
      }
      const key = Buffer.from(name)
      const versionId = Buffer.from(id, 'hex')
      const deletion = outcome(() =>
        model.objects.deleteVersion(
          bucket.id,
          key,
          versionId,
          lockGuard(realClock, { bypass: false, announces: true, refuse: () => new Error('locked') }),
        ),
      )
      const lock = outcome(() =>
        model.objects.updateLock(bucket.id, key, versionId, () => ({ legalHold: true })),
      )
      const [outer, other] = inner === 'the lock' ? [deletion, lock] : [lock, deletion]
      const more = await interleave(nth, outer.run, other.run)
      if (!more) break
      seen.add(`lock ${lock.result}, deletion ${deletion.result}`)
      const left = await model.objects.get(bucket.id, key, versionId)
      if (lock.result === 'done') {
        expect(deletion.result).not.toBe('done')
        expect(left?.mutable.legalHold?.[1]).toBe(true)
      }
      expect(left === undefined).toBe(deletion.result === 'done')
      if (left) expect((await read(name, id)).ContentLength).toBe(1)
    }
    // Each of the two operations wins at some step.
    expect([...seen].some((s) => s.startsWith('lock done'))).toBe(true)
    expect([...seen].some((s) => s.endsWith('deletion done'))).toBe(true)
  })
})

describe('a node that has not heard yet that the bucket has locks', () => {
  /** The bucket as such a node knows it. */
  async function unaware<T>(act: () => Promise<T>): Promise<T> {
    const { buckets } = node.core.model
    const find = buckets.find.bind(buckets)
    const stale = vi.spyOn(buckets, 'find').mockImplementation((name, key) => {
      const bucket = find(name, key)
      const forget = (known: BucketInfo | undefined) => {
        if (!known) return undefined
        const copy = Object.create(known) as BucketInfo
        return Object.defineProperty(copy, 'objectLock', { value: false })
      }
      return bucket instanceof Promise ? bucket.then(forget) : forget(bucket)
    })
    try {
      return await act()
    } finally {
      expect(stale).toHaveBeenCalled()
      stale.mockRestore()
    }
  }

  test.each(['DeleteObject', 'DeleteObjects'])(
    '%s goes by the lock of the version itself',
    async (operation) => {
      const Key = `unaware-${operation}`
      const [held, retained, free] = [await put(Key), await put(Key), await put(Key)]
      const { VersionId: current } = await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'y' }))
      await s3.send(
        new PutObjectLegalHoldCommand({ Bucket, Key, VersionId: held, LegalHold: { Status: 'ON' } }),
      )
      await s3.send(
        new PutObjectLegalHoldCommand({ Bucket, Key, VersionId: current, LegalHold: { Status: 'ON' } }),
      )
      await retain(Key, 'COMPLIANCE', 1, { VersionId: retained })
      const removeIt = async (VersionId: string) => {
        if (operation === 'DeleteObject') return void (await remove(Key, VersionId))
        const { Errors } = await s3.send(
          new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key, VersionId }] } }),
        )
        if (Errors) throw Object.assign(new Error(), { name: Errors[0]!.Code })
      }
      await unaware(async () => {
        for (const version of [held, retained, current!]) {
          await expect(removeIt(version)).rejects.toMatchObject({ name: 'AccessDenied' })
          expect((await read(Key, version)).ContentLength).toBe(1)
        }
        await removeIt(free)
      })
      await expect(read(Key, free)).rejects.toMatchObject({ name: 'NoSuchVersion' })
    },
  )
})
