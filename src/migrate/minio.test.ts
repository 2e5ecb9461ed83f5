import { zipSync } from 'fflate'
import { describe, expect, test } from 'vitest'
import { MINIO_EXPORT, zipOf } from '../../test/support/zip.js'
import { S3Client, StoreError } from '../api/client/s3-client.js'
import type { StreamCall } from '../api/client/stream-call.js'
import { realClock, systemRandom } from '../platform/clock-and-random.js'
import { fromMinio } from './minio.js'
import { createsBuckets, type PolicyDocument, rightsIn } from './minio-policy.js'
import { Report } from './report.js'
import { unzip } from './zip.js'

const BUCKETS = ['photos', 'docs'].map((name) => `<Bucket><Name>${name}</Name></Bucket>`).join('')

/** A client of a store that answers as MinIO does. */
function minio(archive: Buffer, status = 200): S3Client {
  const call: StreamCall = async ({ target }) => {
    const answer = (body: Buffer | string, code = 200) => ({
      ...{ status: code, headers: {} },
      body: (async function* () {
        yield Buffer.from(body as string)
      })(),
    })
    if (target.startsWith('/minio/admin/v3/export-iam')) return answer(archive, status)
    if (target.startsWith('/minio/admin/v3/get-bucket-quota'))
      return answer(
        JSON.stringify({ quota: 0, size: target.endsWith('photos') ? 5000 : 0, quotatype: 'hard' }),
      )
    return answer(`<ListAllMyBucketsResult><Buckets>${BUCKETS}</Buckets></ListAllMyBucketsResult>`)
  }
  const credentials = { accessKeyId: 'root', secret: 'root-secret' }
  return new S3Client(
    { endpoint: 'http://minio', region: 'us-east-1', credentials },
    { call, clock: realClock, random: systemRandom },
  )
}

describe('users of MinIO', () => {
  test('become keys with what they may do in whole buckets, and no more', async () => {
    const report = new Report()
    const { keys, routes } = await fromMinio(minio(zipOf(MINIO_EXPORT)), report)
    expect(keys.map(({ accessKeyId, secretAccessKey }) => [accessKeyId, secretAccessKey])).toEqual([
      ['root', 'root-secret'],
      ['alice', 'alice-secret-key'],
      ['bob', 'bob-secret-key'],
      ['ALICEAPP00000000', 'alice-app-secret'],
    ])
    const rights = routes.map(({ label, facts }) => [
      label,
      facts!.keys.map(({ accessKeyId, permissions: { read, write, owner } }) =>
        [accessKeyId, read && 'read', write && 'write', owner && 'owner'].filter(Boolean).join(' '),
      ),
    ])
    expect(rights).toEqual([
      ['photos', ['root read write owner', 'alice read write owner', 'ALICEAPP00000000 read']],
      ['docs', ['root read write owner', 'alice read', 'ALICEAPP00000000 read']],
    ])
    expect(routes.map(({ facts }) => facts!.quotas.maxSize)).toEqual([5000, null])
    const told = report.notCarried.lines().join('\n')
    expect(told).toMatch(/user carol: it is disabled/)
    expect(told).not.toMatch(/bob/)
    const policies = routes.map(({ facts }) => facts!.statements)
    expect(policies).toEqual([
      expect.arrayContaining([expect.objectContaining({ Effect: 'Deny', Principal: { AWS: ['bob'] } })]),
      [
        {
          ...{ Sid: 'CarportMigrate1', Effect: 'Allow', Principal: { AWS: ['bob'] } },
          ...{ Action: ['s3:GetObject', 's3:GetObjectVersion'], Resource: ['arn:aws:s3:::docs/public/*'] },
        },
      ],
    ])
  })

  test('are not read where the key is no administrator', async () => {
    await expect(fromMinio(minio(Buffer.from(''), 403), new Report())).rejects.toThrow(/administrator/)
    await expect(fromMinio(minio(Buffer.from('no archive')), new Report())).rejects.toThrow(StoreError)
  })
})

test('a damaged archive is an error, whatever is cut or changed', () => {
  const archive = zipOf(MINIO_EXPORT)
  expect(unzip(archive, 1 << 20).size).toBe(Object.keys(MINIO_EXPORT).length)
  for (let at = 0; at < archive.length; at += 7) {
    for (const damaged of [archive.subarray(0, at), Buffer.from(archive).fill(255, at, at + 4)]) {
      try {
        unzip(damaged, 1 << 20)
      } catch (error) {
        expect(error).toBeInstanceOf(StoreError)
      }
    }
  }
})

test('an archive that unpacks to more than it may, or than it says, is not taken', () => {
  const text = 'x'.repeat(100_000)
  const archive = Buffer.from(zipSync({ a: Buffer.from(text), b: Buffer.from(text) }))
  expect(archive.length).toBeLessThan(2000)
  expect([...unzip(archive, 200_000)].map(([name, { length }]) => [name, length])).toEqual([
    ['a', text.length],
    ['b', text.length],
  ])
  expect(() => unzip(archive, 199_999)).toThrow(/longer than such exports/)
  // The size that the directory tells is a lie.
  const entry = archive.indexOf('PK\x01\x02')
  for (const [size, reason] of [
    [0xffff_fff0, /longer than such exports/],
    [150_000, /damaged/],
  ] as const) {
    const lying = Buffer.from(archive)
    lying.writeUInt32LE(size, entry + 24)
    expect(() => unzip(lying, 1 << 20)).toThrow(reason)
  }
  const short = Buffer.from(archive)
  short.writeUInt32LE(10, entry + 24)
  expect(unzip(short, 1 << 20).get('a')!.length).toBe(10)
})

describe('policies', () => {
  const policy = (...Statement: object[]): PolicyDocument[] => [{ Statement } as PolicyDocument]
  const all = { Effect: 'Allow', Action: 's3:*', Resource: ['arn:aws:s3:::*'] }
  const deny = (Action: string, Resource: string) => ({
    Effect: 'Deny',
    Action: [Action],
    Resource: [Resource],
  })

  test.each([
    ['everything', policy(all), 'read write owner'],
    ['nothing', policy(), ''],
    ['one of two actions', policy({ ...all, Action: ['s3:GetObject', 's3:PutObject'] }), ''],
    ['another bucket', policy({ ...all, Resource: ['arn:aws:s3:::bb', 'arn:aws:s3:::bb/*'] }), ''],
    ['its keys alone', policy({ ...all, Resource: 'arn:aws:s3:::b/*' }), 'write'],
    ['a part of its keys', policy({ ...all, Resource: ['arn:aws:s3:::b', 'arn:aws:s3:::b/x*'] }), ''],
    ['a condition', policy({ ...all, Condition: { StringEquals: { 's3:prefix': 'a' } } }), ''],
    ['all but some actions', policy({ Effect: 'Allow', NotAction: 's3:DeleteBucket', Resource: '*' }), ''],
    ['a denial of a part', policy(all, deny('s3:DeleteObject', 'arn:aws:s3:::b/kept/*')), 'read owner'],
    ['a denial elsewhere', policy(all, deny('s3:*', 'arn:aws:s3:::other/*')), 'read write owner'],
    ['a denial of all others', policy(all, { Effect: 'Deny', NotAction: 's3:GetObject', Resource: '*' }), ''],
  ])('that allow %s', (_, policies, expected) => {
    const { read, write, owner } = rightsIn(policies, 'b')
    expect([read && 'read', write && 'write', owner && 'owner'].filter(Boolean).join(' ')).toBe(expected)
  })

  test('tell who makes buckets', () => {
    expect(createsBuckets(policy(all))).toBe(true)
    expect(createsBuckets(policy({ ...all, Resource: 'arn:aws:s3:::b*' }))).toBe(false)
    expect(createsBuckets(policy(all, deny('s3:CreateBucket', 'arn:aws:s3:::x')))).toBe(false)
  })
})
