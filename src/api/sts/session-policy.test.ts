// biome-ignore-all lint/suspicious/noTemplateCurlyInString: policy variables look like this
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { S3Error } from '../s3/errors.js'
import { SessionPolicy } from './session-policy.js'

const policy = (...statements: object[]) =>
  new SessionPolicy(JSON.stringify({ Version: '2012-10-17', Statement: statements }))
const ask = (subject: SessionPolicy, action: string, ...paths: string[]) =>
  subject.allows({
    action,
    resources: paths.map((path) => `arn:aws:s3:::${path}`),
    values: (key) => (key === 'aws:username' ? ['alice'] : undefined),
  })

describe('a policy of a session', () => {
  it('allows what a statement allows and none denies', () => {
    const subject = policy(
      { Effect: 'Allow', Action: 's3:*', Resource: ['arn:aws:s3:::a', 'arn:aws:s3:::a/*'] },
      { Effect: 'Deny', NotAction: ['s3:Get*', 's3:List*'], Resource: 'arn:aws:s3:::a/locked/*' },
    )
    expect(ask(subject, 's3:GetObject', 'a/locked/x')).toBe(true)
    expect(ask(subject, 's3:PutObject', 'a/locked/x')).toBe(false)
    expect(ask(subject, 's3:PutObject', 'a/x')).toBe(true)
    expect(ask(subject, 's3:PutObject', 'b/x')).toBe(false)
    expect(ask(subject, 's3:ListBucket', 'a')).toBe(true)
  })

  it('knows a bucket by each of its names, and denies by any', () => {
    const subject = policy(
      { Effect: 'Allow', Action: '*', Resource: 'arn:aws:s3:::b/*' },
      { Effect: 'Deny', Action: '*', Resource: 'arn:aws:s3:::c/*' },
    )
    expect(ask(subject, 's3:GetObject', 'a/x', 'b/x')).toBe(true)
    expect(ask(subject, 's3:GetObject', 'b/x', 'c/x')).toBe(false)
    expect(ask(subject, 's3:GetObject')).toBe(false)
    const others = policy({ Effect: 'Allow', Action: '*', NotResource: 'arn:aws:s3:::c/*' })
    expect(ask(others, 's3:GetObject', 'b/x')).toBe(true)
    expect(ask(others, 's3:GetObject', 'b/x', 'c/x')).toBe(false)
  })

  it('replaces variables', () => {
    const subject = policy({
      Effect: 'Allow',
      Action: 's3:GetObject',
      Resource: 'arn:aws:s3:::a/${aws:username}/*',
    })
    expect(ask(subject, 's3:GetObject', 'a/alice/x')).toBe(true)
    expect(ask(subject, 's3:GetObject', 'a/bob/x')).toBe(false)
  })

  it.each([
    ['', 'valid JSON'],
    ['[]', 'a JSON object'],
    ['{"Statement":[]}', 'no statement'],
    ['{"Statement":[{}]}', 'Effect'],
    ['{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}', 'no principals'],
    ['{"Statement":{"Effect":"Allow","Action":"s3:Nothing","Resource":"*"}}', 'unknown action'],
    ['{"Statement":{"Effect":"Allow","Action":"*","Resource":"a/*"}}', 'invalid resource'],
    ['{"Statement":{"Effect":"Allow","Action":"*"}}', 'either Resource or NotResource'],
    [
      '{"Statement":{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}}',
      'either Action or NotAction',
    ],
    [
      '{"Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Null":{"s3:ExistingObjectTag/a":"true"}}}}',
      'tags are not offered',
    ],
    [
      '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::a/${s3:RequestObjectTag/a}"}}',
      'tags are not offered',
    ],
  ])('is refused if it is %s', (text, reason) => {
    expect(() => new SessionPolicy(text)).toThrow(reason)
  })

  it('is parsed or refused as malformed, whatever the text', () => {
    const statement = fc.record(
      {
        Effect: fc.constantFrom('Allow', 'Deny', 1),
        Action: fc.oneof(fc.constant('s3:*'), fc.json(), fc.array(fc.string())),
        Resource: fc.oneof(
          fc.constant('*'),
          fc.string().map((s) => `arn:aws:s3:::${s}`),
          fc.jsonValue(),
        ),
        Condition: fc.oneof(
          fc.jsonValue(),
          fc.dictionary(fc.constantFrom('StringLike', 'x'), fc.jsonValue()),
        ),
      },
      { requiredKeys: [] },
    )
    const document = fc.record({ Version: fc.constant('2012-10-17'), Statement: fc.array(statement) })
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          document.map((d) => JSON.stringify(d)),
        ),
        (text) => {
          try {
            ask(new SessionPolicy(text), 's3:GetObject', 'a/x')
          } catch (error) {
            expect(error).toBeInstanceOf(S3Error)
            expect((error as S3Error).code).toBe('MalformedPolicy')
          }
        },
      ),
    )
  })
})
