import { describe, expect, test } from 'vitest'
import { Policy } from '../api/s3/access/policy/policy.js'
import { type PolicyDocument, rightsIn } from './minio-policy.js'
import { mergedPolicy, statementsIn, withPrincipals } from './minio-statements.js'

const ARN = 'arn:aws:s3:::'
const user = (...Statement: object[]): PolicyDocument[] => [{ Statement } as PolicyDocument]
const allow = (Action: string | string[], Resource: string | string[], more = {}) => ({
  ...{ Effect: 'Allow', Action, Resource, ...more },
})
const deny = (Action: string | string[], Resource: string | string[], more = {}) => ({
  ...{ Effect: 'Deny', Action, Resource, ...more },
})

/** What the key of a user may do in the bucket "b", by its permissions and by the policy that the bucket gets. */
function moved(...groups: PolicyDocument[][]) {
  const all = groups.map((group) => rightsIn(group, 'b'))
  const rights = {
    read: all.every(({ read }) => read),
    write: all.every(({ write }) => write),
    owner: all.every(({ owner }) => owner),
  }
  const { statements, isWhole } = statementsIn(groups, 'b', 'ann', rights)
  const list = withPrincipals(statements.map((statement) => ({ accessKeyId: 'ann', statement })))
  const policy = list.length === 0 ? undefined : new Policy(mergedPolicy(undefined, list)!, 'b')
  const may = (action: string, key?: string, values: Record<string, string[]> = {}) => {
    const asked = { principal: 'ann', action, key, values: (name: string) => values[name] }
    const verdict = policy?.evaluate(asked) ?? 'none'
    const byPermission =
      (rights.read && /^s3:(Get|List)/.test(action)) ||
      (rights.write && /^s3:(Put|Delete)Object/.test(action)) ||
      (rights.owner && /Bucket|Lifecycle/.test(action))
    return verdict !== 'deny' && (verdict === 'allow' || byPermission)
  }
  return { may, isWhole, count: list.length, rights }
}

describe('rights to a part of a bucket', () => {
  test('below a prefix, with its listing, are statements of the policy of the bucket', () => {
    const { may, isWhole } = moved(
      user(
        allow(['s3:GetObject', 's3:PutObject', 's3:DeleteObject'], `${ARN}b/team/*`),
        allow('s3:ListBucket', `${ARN}b`, { Condition: { StringLike: { 's3:prefix': ['team/*'] } } }),
      ),
    )
    expect(isWhole).toBe(true)
    expect([may('s3:GetObject', 'team/x'), may('s3:GetObject', 'other/x')]).toEqual([true, false])
    expect([may('s3:PutObject', 'team/x'), may('s3:PutObject', 'x')]).toEqual([true, false])
    // MinIO asks for no other action when a version is named.
    expect([may('s3:DeleteObjectVersion', 'team/x'), may('s3:GetObjectVersion', 'team/x')]).toEqual([
      true,
      true,
    ])
    const listing = (prefix: string) => may('s3:ListBucket', undefined, { 's3:prefix': [prefix] })
    expect([listing('team/a'), listing(''), may('s3:ListBucket')]).toEqual([true, false, false])
  })

  test('never become more than MinIO has: no lists that make objects public, nothing of other buckets', () => {
    const { may, isWhole } = moved(user(allow('s3:*', [`${ARN}b/p/*`, `${ARN}c`, `${ARN}c/*`])))
    expect(isWhole).toBe(true)
    expect([may('s3:PutObject', 'p/x'), may('s3:PutObjectAcl', 'p/x')]).toEqual([true, false])
    expect([may('s3:PutBucketPolicy'), may('s3:ListBucket'), may('s3:GetObject', 'q')]).toEqual([
      false,
      false,
      false,
    ])
    expect(moved(user(allow('s3:*', [`${ARN}c`, `${ARN}c/*`])))).toMatchObject({ isWhole: true, count: 0 })
    expect(moved(user(allow(['admin:*', 'kms:*', 's3:ListenNotification'], `${ARN}*`)))).toMatchObject({
      count: 0,
    })
  })

  test('of all objects are the listing of the bucket as well, as MinIO has it', () => {
    const { may } = moved(user(allow(['s3:GetObject', 's3:ListBucket'], `${ARN}b/*`)))
    expect([may('s3:GetObject', 'x'), may('s3:ListBucket'), may('s3:ListBucketVersions')]).toEqual([
      true,
      true,
      true,
    ])
    const all = moved(user(allow('s3:*', `${ARN}b/*`)))
    expect([all.may('s3:ListBucket'), all.may('s3:DeleteBucket')]).toEqual([true, false])
  })

  test('that are denied stay denied, beside what the permissions of the key allow', () => {
    const { may, isWhole, rights } = moved(
      user(
        allow('s3:*', [`${ARN}b`, `${ARN}b/*`]),
        deny(['s3:DeleteObject', 's3:GetObjectTagging'], `${ARN}b/kept/*`),
      ),
    )
    expect([isWhole, rights.read, rights.write]).toEqual([true, true, false])
    expect([may('s3:DeleteObject', 'kept/x'), may('s3:DeleteObjectVersion', 'kept/x')]).toEqual([
      false,
      false,
    ])
    expect([may('s3:GetObjectTagging', 'kept/x'), may('s3:GetObjectTagging', 'x')]).toEqual([false, true])
    expect([may('s3:DeleteObject', 'x'), may('s3:PutObject', 'kept/x')]).toEqual([true, true])
  })

  test.each([
    [
      'all but some actions',
      allow([], `${ARN}b/*`, { Action: undefined, NotAction: 's3:Delete*' }),
      ['s3:PutObject'],
    ],
    ['a user variable', allow('s3:PutObject', `${ARN}b/\${aws:username}/*`), ['s3:PutObject']],
    ['wildcards in the name of the bucket', allow('s3:PutObject', `${ARN}*/ann/*`), ['s3:PutObject']],
    [
      'an address',
      allow('s3:PutObject', `${ARN}b/ann/*`, { Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } } }),
      [],
    ],
  ])('by %s are carried', (_, statement, actions) => {
    const { may, isWhole } = moved(user(statement))
    expect(isWhole).toBe(true)
    for (const action of actions) expect([action, may(action, 'ann/x')]).toEqual([action, true])
    expect([may('s3:DeleteObject', 'ann/x'), may('s3:PutObjectAcl', 'ann/x')]).toEqual([false, false])
    if (actions.length === 0)
      expect(may('s3:PutObject', 'ann/x', { 'aws:sourceip': ['10.1.2.3'] })).toBe(true)
  })

  test.each([
    ['other resources', allow('s3:GetObject', [], { Resource: undefined, NotResource: `${ARN}b/secret/*` })],
    ['other variables', allow('s3:GetObject', `${ARN}b/\${jwt:sub}/*`)],
    [
      'unknown conditions',
      allow('s3:GetObject', `${ARN}b/x/*`, { Condition: { StringEquals: { 'jwt:groups': 'a' } } }),
    ],
    ['names that may or may not be of the bucket', allow('s3:GetObject', `${ARN}*.jpg`)],
  ])('by %s are told, and not carried', (_, statement) => {
    const { may, isWhole } = moved(user(statement))
    expect([isWhole, may('s3:GetObject', 'x/a.jpg')]).toEqual([false, false])
  })

  test('are not carried where a denial cannot be, or where two policies must agree', () => {
    const part = allow('s3:GetObject', `${ARN}b/x/*`)
    const odd = deny('s3:GetObject', `${ARN}b/x/*`, { Condition: { StringEquals: { 'jwt:groups': 'a' } } })
    expect(moved(user(part, odd))).toMatchObject({ isWhole: false, count: 0 })
    expect(moved(user(part), user(allow('s3:GetObject', `${ARN}b/x/y/*`)))).toMatchObject({
      isWhole: false,
      count: 0,
    })
    // One that allows everything is no limit.
    const { may, isWhole } = moved(user(allow('s3:*', `${ARN}*`)), user(part))
    expect([isWhole, may('s3:GetObject', 'x/1'), may('s3:GetObject', 'y')]).toEqual([true, true, false])
    // Of two that must agree, each denies.
    const both = moved(
      user(allow('s3:*', `${ARN}*`), deny('s3:*', `${ARN}b/no/*`)),
      user(allow('s3:*', `${ARN}*`)),
    )
    expect([both.may('s3:GetObject', 'no/x'), both.may('s3:GetObject', 'x')]).toEqual([false, true])
  })

  test('that permissions cover need no statement', () => {
    expect(moved(user(allow('s3:*', `${ARN}*`)))).toMatchObject({ count: 0, isWhole: true })
    const reads = user(allow(['s3:GetObject', 's3:ListBucket'], [`${ARN}b`, `${ARN}b/*`]))
    expect(moved(reads)).toMatchObject({ count: 0, isWhole: true, rights: { read: true } })
  })
})

test('a policy gets statements once for all of their keys, and never grows beyond what a bucket takes', () => {
  const statement = { Effect: 'Allow', Action: ['s3:GetObject'], Resource: [`${ARN}b/x/*`] }
  const list = withPrincipals(['ann', 'bob'].map((accessKeyId) => ({ accessKeyId, statement })))
  expect(list).toEqual([{ Sid: 'CarportMigrate1', Principal: { AWS: ['ann', 'bob'] }, ...statement }])
  const own = JSON.stringify({ Version: '2012-10-17', Statement: { Sid: 'own', Effect: 'Deny' } })
  expect(JSON.parse(mergedPolicy(own, list)!)).toMatchObject({ Statement: [{ Sid: 'own' }, ...list] })
  expect(mergedPolicy(JSON.stringify({ Version: '2008-10-17', Statement: [] }), list)).toBeUndefined()
  expect(mergedPolicy('no json', list)).toBeUndefined()
  const many = Array.from({ length: 300 }, (_, i) => ({ ...statement, Sid: `${i}` }))
  expect(mergedPolicy(undefined, many)).toBeUndefined()
})
