// biome-ignore-all lint/suspicious/noTemplateCurlyInString: policy variables look like this
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { S3Error } from '../../errors.js'
import { POLICY_BYTES_MAX, Policy, type PolicyQuestion } from './policy.js'

const BUCKET = 'photos'

interface Ask extends Partial<Omit<PolicyQuestion, 'values'>> {
  values?: Record<string, string | string[]>
}

function ask(policy: Policy, { values = {}, ...question }: Ask = {}): string {
  return policy.evaluate({
    principal: 'GKalice',
    action: 's3:GetObject',
    key: 'a/b.jpg',
    values: (key) => {
      const value = values[key]
      return typeof value === 'string' ? [value] : value
    },
    ...question,
  })
}

const ALLOW = {
  Effect: 'Allow',
  Principal: '*',
  Action: 's3:GetObject',
  Resource: `arn:aws:s3:::${BUCKET}/*`,
}

function policyOf(statement: object | object[], version = '2012-10-17'): Policy {
  return new Policy(JSON.stringify({ Version: version, Statement: statement }), BUCKET)
}

function allows(change: object, question?: Ask): boolean {
  return ask(policyOf({ ...ALLOW, ...change }), question) === 'allow'
}

function refusal(text: string): string {
  try {
    new Policy(text, BUCKET)
  } catch (error) {
    expect(error).toBeInstanceOf(S3Error)
    expect((error as S3Error).code).toBe('MalformedPolicy')
    return (error as S3Error).message
  }
  throw new Error('was accepted')
}

const refusalOf = (change: object) =>
  refusal(JSON.stringify({ Version: '2012-10-17', Statement: [{ ...ALLOW, ...change }] }))

describe('grammar', () => {
  test.each([
    ['', /must be valid JSON/],
    ['[]', /must be valid JSON/],
    ['{"Statement": [}', /must be valid JSON/],
    ['{}', /Missing required field Statement/],
    ['{"Statement": []}', /Statement is empty/],
    ['{"Version": "2020-01-01", "Statement": []}', /valid version/],
    ['{"Statement": [1]}', /a statement is an object/],
    ['{"Statement": [], "Extra": 1}', /Unknown field Extra/],
    ['{"Id": 3, "Statement": []}', /Id is not a string/],
  ])('%s is refused', (text, message) => {
    expect(refusal(text)).toMatch(message)
  })

  test.each<[string, object, RegExp]>([
    ['an unknown field', { Actions: 's3:*' }, /Unknown field Actions/],
    ['no effect', { Effect: undefined }, /Missing required field Effect/],
    ['another effect', { Effect: 'allow' }, /Invalid effect/],
    ['no principal', { Principal: undefined }, /Missing required field Principal/],
    ['a principal that is a text', { Principal: 'GKalice' }, /Invalid principal/],
    ['a principal with a wildcard', { Principal: { AWS: 'GK*' } }, /Invalid principal/],
    ['an empty principal', { Principal: { AWS: [] } }, /Invalid principal/],
    ['a principal of no known kind', { Principal: { Key: 'GKalice' } }, /Invalid principal/],
    ['both principals', { NotPrincipal: '*' }, /not both/],
    ['allow but for', { Principal: undefined, NotPrincipal: { AWS: 'GKa' } }, /NotPrincipal is not allowed/],
    ['no action', { Action: undefined }, /Missing required field Action/],
    ['an action that does not exist', { Action: 's3:GetObjekt' }, /invalid action/],
    ['an action of another service', { Action: 'ec2:*' }, /invalid action/],
    ['an empty list of actions', { Action: [] }, /invalid action/],
    ['no resource', { Resource: undefined }, /Missing required field Resource/],
    ['another bucket', { Resource: 'arn:aws:s3:::other/*' }, /invalid resource/],
    ['a bucket with a longer name', { Resource: 'arn:aws:s3:::photos2' }, /invalid resource/],
    ['a resource that is no ARN', { Resource: 'photos/*' }, /invalid resource/],
    ['an operator that does not exist', { Condition: { StringIs: { 's3:prefix': 'a' } } }, /Condition type/],
    ['Null with IfExists', { Condition: { NullIfExists: { 's3:prefix': 'true' } } }, /Condition type/],
    ['a key that does not exist', { Condition: { StringEquals: { 's3:prefiks': 'a' } } }, /condition key/],
    [
      'a key without a tag',
      { Condition: { StringEquals: { 's3:ExistingObjectTag/': 'a' } } },
      /condition key/,
    ],
    ['a condition without values', { Condition: { StringEquals: { 's3:prefix': [] } } }, /not well-formed/],
    ['a condition with an object', { Condition: { StringEquals: { 's3:prefix': {} } } }, /not well-formed/],
    ['a number that is none', { Condition: { NumericEquals: { 's3:max-keys': 'x' } } }, /Invalid value/],
    ['a date that is none', { Condition: { DateLessThan: { 'aws:CurrentTime': 'x' } } }, /Invalid value/],
    [
      'a range that is none',
      { Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/33' } } },
      /Invalid value/,
    ],
    ['a truth that is none', { Condition: { Bool: { 'aws:SecureTransport': 'yes' } } }, /Invalid value/],
  ])('%s is refused', (_, change, message) => {
    expect(refusalOf(change)).toMatch(message)
  })

  test('statement ids are unique', () => {
    const statement = [
      { ...ALLOW, Sid: 'one' },
      { ...ALLOW, Sid: 'one' },
    ]
    expect(refusal(JSON.stringify({ Statement: statement }))).toMatch(/unique/)
  })

  test('a policy is not longer than 20 KiB', () => {
    const Sid = 'x'.repeat(POLICY_BYTES_MAX)
    expect(refusal(JSON.stringify({ Statement: { ...ALLOW, Sid } }))).toMatch(/larger than 20480/)
  })

  test('one statement may stand without a list, and white space before the document', () => {
    expect(ask(new Policy(` \n${JSON.stringify({ Statement: ALLOW })}`, BUCKET))).toBe('allow')
  })
})

describe('whatever the text, it is a policy or MalformedPolicy', () => {
  const check = (text: string) => {
    try {
      const policy = new Policy(text, BUCKET)
      void policy.isPublic
      for (const action of ['s3:GetObject', 's3:ListBucket', 's3:PutObject']) {
        expect(['allow', 'deny', 'none']).toContain(ask(policy, { action, values: { 's3:prefix': 'a' } }))
      }
    } catch (error) {
      if (!(error instanceof S3Error) || error.code !== 'MalformedPolicy') throw error
    }
  }

  test('any text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), check))
  })

  test('any JSON', () => {
    fc.assert(fc.property(fc.json({ maxDepth: 8 }), check))
  })

  test('almost a policy', () => {
    const word = fc.constantFrom(
      '*',
      's3:*',
      's3:Get*',
      '',
      'Allow',
      'Deny',
      'arn:aws:s3:::photos/${aws:username}/*',
    )
    const value = fc.oneof(word, fc.array(word), fc.jsonValue({ maxDepth: 2 }), fc.string())
    const operator = fc.oneof(
      fc.constantFrom(
        'StringLike',
        'ForAllValues:StringEquals',
        'NumericLessThanIfExists',
        'IpAddress',
        'Null',
      ),
      fc.string(),
    )
    const conditionKey = fc.oneof(fc.constantFrom('s3:prefix', 'aws:SourceIp', '__proto__'), fc.string())
    const statement = fc.record(
      {
        Sid: value,
        Effect: fc.oneof(fc.constantFrom('Allow', 'Deny'), value),
        Principal: fc.oneof(fc.constant('*'), value, fc.dictionary(fc.constantFrom('AWS', 'Service'), value)),
        NotPrincipal: value,
        Action: fc.oneof(fc.constant('s3:*'), value),
        NotAction: value,
        Resource: fc.oneof(fc.constant('arn:aws:s3:::photos/*'), value),
        NotResource: value,
        Condition: fc.dictionary(operator, fc.oneof(fc.dictionary(conditionKey, value), value)),
      },
      { requiredKeys: [] },
    )
    const document = fc.record({ Version: fc.constant('2012-10-17'), Statement: fc.array(statement) })
    fc.assert(fc.property(document, (policy) => check(JSON.stringify(policy))))
  })

  test('nested deeper than a stack', () => {
    check(`{"Statement": ${'['.repeat(9000)}${']'.repeat(9000)}}`)
  })
})

describe('who, what, where', () => {
  test('nothing is said of what no statement is about', () => {
    expect(ask(policyOf(ALLOW), { action: 's3:PutObject' })).toBe('none')
    expect(ask(policyOf(ALLOW), { key: undefined })).toBe('none')
  })

  test('a deny counts more than any allow, wherever it stands', () => {
    const deny = { ...ALLOW, Effect: 'Deny', Resource: `arn:aws:s3:::${BUCKET}/secret/*` }
    for (const policy of [policyOf([ALLOW, deny]), policyOf([deny, ALLOW])]) {
      expect(ask(policy)).toBe('allow')
      expect(ask(policy, { key: 'secret/a' })).toBe('deny')
    }
  })

  test.each([
    ['*', 'GKalice', true],
    ['*', undefined, true],
    [{ AWS: '*' }, undefined, true],
    [{ AWS: 'GKalice' }, 'GKalice', true],
    [{ AWS: 'GKalice' }, 'GKbob', false],
    [{ AWS: 'GKalice' }, undefined, false],
    [{ AWS: ['arn:aws:iam:::user/GKbob', 'arn:aws:iam::123456789012:user/path/GKalice'] }, 'GKalice', true],
    [{ AWS: 'arn:aws:iam::GKalice:root' }, 'GKalice', true],
    [{ AWS: 'arn:aws:iam::123456789012:root' }, 'GKalice', false],
    [{ CanonicalUser: 'GKalice' }, 'GKalice', true],
    [{ Service: 'logging.s3.amazonaws.com' }, 'GKalice', false],
    [{ Service: 'x', AWS: 'GKalice' }, 'GKalice', true],
  ])('principal %j and %s: %s', (Principal, principal, expected) => {
    expect(allows({ Principal }, { principal })).toBe(expected)
  })

  test('NotPrincipal denies to all others', () => {
    const policy = policyOf({
      ...ALLOW,
      Effect: 'Deny',
      Principal: undefined,
      NotPrincipal: { AWS: 'GKalice' },
    })
    expect(ask(policy)).toBe('none')
    expect(ask(policy, { principal: 'GKbob' })).toBe('deny')
    expect(ask(policy, { principal: undefined })).toBe('deny')
  })

  test.each([
    ['*', 's3:PutObject', true],
    ['s3:*', 's3:PutObject', true],
    ['S3:getobject', 's3:GetObject', true],
    ['s3:GetObject', 's3:GetObjectVersion', false],
    ['s3:GetObject*', 's3:GetObjectVersion', true],
    ['s3:?etObject', 's3:GetObject', true],
    [['s3:DeleteObject', 's3:List*'], 's3:ListBucket', true],
  ])('action %j and %s: %s', (Action, action, expected) => {
    expect(allows({ Action }, { action })).toBe(expected)
  })

  test('NotAction is about all others', () => {
    expect(allows({ Action: undefined, NotAction: 's3:Put*' })).toBe(true)
    expect(allows({ Action: undefined, NotAction: 's3:Put*' }, { action: 's3:PutObject' })).toBe(false)
  })

  test.each([
    ['arn:aws:s3:::photos', undefined, true],
    ['arn:aws:s3:::photos', 'a', false],
    ['arn:aws:s3:::photos/*', undefined, false],
    ['arn:aws:s3:::photos*', undefined, true],
    ['arn:aws:s3:::*', 'a/b', true],
    ['arn:aws:s3:::photos/a/?.jpg', 'a/b.jpg', true],
    ['arn:aws:s3:::photos/a/?.jpg', 'a/bb.jpg', false],
    ['arn:aws:s3:::photos/*/x/*.jpg', 'a/x/y/x/b.jpg', true],
    ['arn:aws:s3:::photos/*/x/*.jpg', 'a/xy/b.jpg', false],
    ['arn:aws:s3:::photos/[a]$', '[a]$', true],
    ['arn:aws:s3:::photos/ä*', 'ä\n\u{1f600}', true],
  ])('resource %s and key %s: %s', (Resource, key, expected) => {
    expect(allows({ Resource }, { key })).toBe(expected)
  })

  test('NotResource is about all others', () => {
    const change = { Resource: undefined, NotResource: 'arn:aws:s3:::photos/secret/*' }
    expect(allows(change)).toBe(true)
    expect(allows(change, { key: 'secret/a' })).toBe(false)
  })

  test('variables stand for the caller, and their wildcards for themselves', () => {
    const Resource = 'arn:aws:s3:::photos/home/${aws:username}/*'
    const values = (name: string) => ({ values: { 'aws:username': name } })
    expect(allows({ Resource }, { key: 'home/alice/x', ...values('alice') })).toBe(true)
    expect(allows({ Resource }, { key: 'home/bob/x', ...values('alice') })).toBe(false)
    expect(allows({ Resource }, { key: 'home/bob/x', ...values('*') })).toBe(false)
    expect(allows({ Resource }, { key: 'home/bob/x' })).toBe(false)
    const withDefault = "arn:aws:s3:::photos/home/${aws:username, 'guest'}/*"
    expect(allows({ Resource: withDefault }, { key: 'home/guest/x' })).toBe(true)
    expect(allows({ Resource: 'arn:aws:s3:::photos/${*}${?}${$}' }, { key: '*?$' })).toBe(true)
    expect(allows({ Resource: 'arn:aws:s3:::photos/${*}' }, { key: 'x' })).toBe(false)
  })

  test('the first version of the language has no variables', () => {
    const Resource = 'arn:aws:s3:::photos/${aws:username}'
    const policy = policyOf({ ...ALLOW, Resource }, '2008-10-17')
    expect(ask(policy, { key: 'alice', values: { 'aws:username': 'alice' } })).toBe('none')
    expect(ask(policy, { key: '${aws:username}' })).toBe('allow')
  })

  test('a pattern of many stars takes no longer than it should', () => {
    const Resource = `arn:aws:s3:::photos/${'*a'.repeat(4000)}b`
    const started = performance.now()
    expect(allows({ Resource }, { key: 'a'.repeat(1000) })).toBe(false)
    expect(performance.now() - started).toBeLessThan(1000)
  })
})

describe('conditions', () => {
  test.each<[string, string, unknown, string | string[] | undefined, boolean]>([
    ['StringEquals', 's3:prefix', 'a', 'a', true],
    ['StringEquals', 's3:prefix', ['x', 'a'], 'a', true],
    ['StringEquals', 's3:prefix', 'a*', 'ab', false],
    ['StringEquals', 's3:prefix', 'a', undefined, false],
    ['StringEquals', 'S3:Prefix', 'a', 'a', true],
    ['StringNotEquals', 's3:prefix', ['x', 'a'], 'a', false],
    ['StringNotEquals', 's3:prefix', ['x', 'a'], 'b', true],
    ['StringNotEquals', 's3:prefix', 'a', undefined, true],
    ['StringEqualsIgnoreCase', 's3:prefix', 'AbC', 'aBc', true],
    ['StringNotEqualsIgnoreCase', 's3:prefix', 'AbC', 'aBc', false],
    ['StringLike', 's3:prefix', 'a*c?', 'abbcd', true],
    ['StringNotLike', 's3:prefix', 'a*', 'ab', false],
    ['StringLikeIfExists', 's3:prefix', 'a*', undefined, true],
    ['StringLikeIfExists', 's3:prefix', 'a*', 'b', false],
    ['NumericLessThanEquals', 's3:max-keys', 10, '10', true],
    ['NumericLessThanEquals', 's3:max-keys', '10', '11', false],
    ['NumericLessThan', 's3:max-keys', 10, '10', false],
    ['NumericGreaterThan', 's3:max-keys', 10, '11', true],
    ['NumericGreaterThanEquals', 's3:max-keys', 10, '9.5', false],
    ['NumericEquals', 's3:max-keys', 10, '10.0', true],
    ['NumericEquals', 's3:max-keys', 10, 'ten', false],
    ['NumericNotEquals', 's3:max-keys', 10, '10', false],
    ['DateLessThan', 'aws:CurrentTime', '2026-01-01T00:00:00Z', '2025-12-31T23:59:59.000Z', true],
    ['DateGreaterThan', 'aws:CurrentTime', '2026-01-01', '2026-01-01T00:00:01Z', true],
    ['DateGreaterThanEquals', 'aws:CurrentTime', '2026-01-01T01:00:00+01:00', '2026-01-01T00:00:00Z', true],
    ['DateLessThanEquals', 'aws:EpochTime', 1767225600, '1767225600', true],
    ['DateEquals', 'aws:CurrentTime', '2026-01-01T00:00:00', '2026-01-01T00:00:00Z', true],
    ['DateNotEquals', 'aws:CurrentTime', '2026-01-01', '2026-01-01T00:00:00Z', false],
    ['Bool', 'aws:SecureTransport', true, 'true', true],
    ['Bool', 'aws:SecureTransport', 'false', 'true', false],
    ['BoolIfExists', 'aws:MultiFactorAuthPresent', 'true', undefined, true],
    ['BinaryEquals', 's3:prefix', 'YWJj', 'YWJj', true],
    ['BinaryEquals', 's3:prefix', 'YWJj', 'YWJk', false],
    ['IpAddress', 'aws:SourceIp', '10.0.0.0/8', '10.255.0.1', true],
    ['IpAddress', 'aws:SourceIp', '10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['IpAddress', 'aws:SourceIp', '10.0.0.0/9', '10.128.0.0', false],
    ['IpAddress', 'aws:SourceIp', '10.1.2.3', '10.1.2.3', true],
    ['IpAddress', 'aws:SourceIp', '0.0.0.0/0', '::1', false],
    ['IpAddress', 'aws:SourceIp', '2001:db8::/33', '2001:db8:7fff::1', true],
    ['IpAddress', 'aws:SourceIp', '2001:db8::/33', '2001:db8:8000::1', false],
    ['IpAddress', 'aws:SourceIp', '::/0', '192.0.2.1', true],
    ['IpAddress', 'aws:SourceIp', '10.0.0.0/8', 'unknown', false],
    ['NotIpAddress', 'aws:SourceIp', ['10.0.0.0/8', 'fe80::/10'], 'fe80::1%eth0', false],
    ['NotIpAddress', 'aws:SourceIp', '10.0.0.0/8', '192.0.2.1', true],
    ['ArnEquals', 'aws:PrincipalArn', 'arn:aws:iam:::user/GK*', 'arn:aws:iam:::user/GKalice', true],
    ['ArnLike', 'aws:PrincipalArn', 'arn:aws:*:user/GKalice', 'arn:aws:iam:::user/GKalice', false],
    ['ArnNotLike', 'aws:PrincipalArn', 'arn:aws:iam:::user/GK*', 'arn:aws:iam:::user/GKalice', false],
    ['Null', 's3:prefix', 'true', undefined, true],
    ['Null', 's3:prefix', true, 'a', false],
    ['Null', 's3:prefix', 'false', 'a', true],
    ['Null', 's3:prefix', 'false', undefined, false],
    ['ForAllValues:StringEquals', 's3:RequestObjectTagKeys', ['a', 'b'], ['a', 'b'], true],
    ['ForAllValues:StringEquals', 's3:RequestObjectTagKeys', ['a', 'b'], ['a', 'c'], false],
    ['ForAllValues:StringEquals', 's3:RequestObjectTagKeys', ['a', 'b'], undefined, true],
    ['ForAnyValue:StringEquals', 's3:RequestObjectTagKeys', ['a', 'b'], ['c', 'b'], true],
    ['ForAnyValue:StringEquals', 's3:RequestObjectTagKeys', ['a', 'b'], ['c'], false],
    ['ForAnyValue:StringEquals', 's3:RequestObjectTagKeys', ['a', 'b'], undefined, false],
    ['ForAnyValue:StringNotEquals', 's3:RequestObjectTagKeys', 'a', ['a', 'c'], true],
    ['ForAllValues:StringNotEquals', 's3:RequestObjectTagKeys', 'a', ['a', 'c'], false],
  ])('%s of %s %j and %j: %s', (operator, key, wanted, actual, expected) => {
    const values = actual === undefined ? {} : { [key.toLowerCase()]: actual }
    expect(allows({ Condition: { [operator]: { [key]: wanted } } }, { values })).toBe(expected)
  })

  test('all operators and keys of a statement must hold', () => {
    const Condition = {
      StringEquals: { 's3:prefix': 'a', 's3:delimiter': '/' },
      Bool: { 'aws:SecureTransport': 'true' },
    }
    const values = { 's3:prefix': 'a', 's3:delimiter': '/', 'aws:securetransport': 'true' }
    expect(allows({ Condition }, { values })).toBe(true)
    expect(allows({ Condition }, { values: { ...values, 's3:delimiter': '|' } })).toBe(false)
    expect(allows({ Condition }, { values: { ...values, 'aws:securetransport': 'false' } })).toBe(false)
  })

  test('variables stand in values too', () => {
    const Condition = { StringLike: { 's3:prefix': 'home/${aws:username}/*' } }
    const values = { 'aws:username': 'alice', 's3:prefix': 'home/alice/x' }
    expect(allows({ Condition }, { values })).toBe(true)
    expect(allows({ Condition }, { values: { ...values, 'aws:username': 'bob' } })).toBe(false)
  })

  test('tags are asked for only where a statement on the action needs them', () => {
    const tagged = { ...ALLOW, Condition: { StringEquals: { 's3:ExistingObjectTag/open': 'yes' } } }
    const policy = policyOf([tagged, { ...ALLOW, Action: 's3:PutObject' }])
    expect(policy.needsExistingTags('s3:GetObject')).toBe(true)
    expect(policy.needsExistingTags('s3:PutObject')).toBe(false)
    expect(policy.needsRequestTags('s3:GetObject')).toBe(false)
    const byVariable = policyOf({ ...ALLOW, Resource: 'arn:aws:s3:::photos/${s3:ExistingObjectTag/owner}/*' })
    expect(byVariable.needsExistingTags('s3:GetObject')).toBe(true)
  })
})

describe('a policy is public', () => {
  const isPublic = (change: object) => policyOf({ ...ALLOW, ...change }).isPublic

  test('if it lets everybody', () => {
    expect(isPublic({})).toBe(true)
    expect(isPublic({ Principal: { AWS: ['GKalice', '*'] } })).toBe(true)
  })

  test('not if it only denies, or lets single keys', () => {
    expect(isPublic({ Effect: 'Deny' })).toBe(false)
    expect(isPublic({ Principal: { AWS: 'GKalice' } })).toBe(false)
  })

  test.each([
    [{ IpAddress: { 'aws:SourceIp': '203.0.113.0/24' } }, false],
    [{ IpAddress: { 'aws:SourceIp': ['203.0.113.0/24', '0.0.0.0/1'] } }, true],
    [{ IpAddress: { 'aws:SourceIp': '2001:db8::/32' } }, false],
    [{ IpAddress: { 'aws:SourceIp': '2000::/3' } }, true],
    [{ NotIpAddress: { 'aws:SourceIp': '203.0.113.0/24' } }, true],
    [{ IpAddressIfExists: { 'aws:SourceIp': '203.0.113.0/24' } }, true],
    [{ StringEquals: { 'aws:userid': 'GKalice' } }, false],
    [{ StringLike: { 'aws:userid': 'GK*' } }, true],
    [{ StringLike: { 'aws:Referer': 'https://example.com/*' } }, true],
    [{ Bool: { 'aws:SecureTransport': 'true' } }, true],
  ])('under the condition %j: %s', (Condition, expected) => {
    expect(isPublic({ Condition })).toBe(expected)
  })
})
