// biome-ignore-all lint/suspicious/noTemplateCurlyInString: policy variables look like this
/**
 * Every matcher that compares texts from outside with patterns that are stored, each with the worst that its limits
 * let in: the steps stay within a small multiple of the lengths of both.
 */
import { expect, test } from 'vitest'
import { textSteps } from '../../testing/text-steps.js'
import type { CorsRule } from '../model/buckets/documents.js'
import { wants } from '../model/events/rules.js'
import { evaluate } from '../model/lifecycle/rules.js'
import { matchCors, requestedHeaders } from './http/cors.js'
import { CONDITION_VALUE_MAX, conditionValues } from './s3/access/condition-values.js'
import { POLICY_BYTES_MAX, Policy } from './s3/access/policy/policy.js'
import type { Question } from './s3/access/question.js'
import { checkPostPolicy, parsePostPolicy } from './s3/forms/post-policy.js'
import { TargetParser } from './s3/router.js'
import { SESSION_POLICY_MAX, SessionPolicy } from './sts/session-policy.js'

const HEADER_BYTES = 16 * 1024
const LONG = 'a'.repeat(CONDITION_VALUE_MAX)

function policySteps(change: object, value: string, key = 'k'): number {
  const statement = { Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::b/*' }
  const text = JSON.stringify({ Version: '2012-10-17', Statement: { ...statement, ...change } })
  const policy = new Policy(text, 'b')
  const question = { principal: undefined, action: 's3:GetObject', key, values: () => [value] }
  return textSteps(() => policy.evaluate(question))
}

const addresses = (count: number) => Array.from({ length: count }, (_, i) => `::${i.toString(16)}/128`)
const likeUserAgent = (...values: string[]) => ({ Condition: { StringLike: { 'aws:UserAgent': values } } })

test.each([
  ['a variable named as often as a policy can name it', likeUserAgent('*${aws:referer}'.repeat(1300))],
  ['a variable once, and nothing behind it', likeUserAgent('*${aws:referer}b*')],
  ['stars', likeUserAgent('*a'.repeat(9000))],
  ['a long piece', likeUserAgent(`*${'a'.repeat(CONDITION_VALUE_MAX / 2)}b*`)],
  ['a long piece with ?', likeUserAgent(`*${'a'.repeat(2000)}?${'a'.repeat(40)}b*`)],
  ['ARNs', { Condition: { ArnLike: { 'aws:UserAgent': 'a:*a:*a:*a:*a:*a'.repeat(500) } } }],
  ['texts without case', { Condition: { StringEqualsIgnoreCase: { 'aws:UserAgent': '${aws:referer}' } } }],
  ['principals', { Principal: { AWS: Array.from({ length: 1500 }, (_, i) => `GK${i}`) } }],
])('a condition with %s takes steps linear in the text', (_, change) => {
  expect(policySteps(change, LONG)).toBeLessThanOrEqual(20 * (LONG.length + POLICY_BYTES_MAX))
})

test('resources of any policy take steps linear in the key', () => {
  const key = 'a'.repeat(1024)
  for (const path of ['*a'.repeat(5000), `*${'a'.repeat(600)}b*`, '*${aws:referer}'.repeat(600)]) {
    expect(policySteps({ Resource: `arn:aws:s3:::b/${path}` }, 'a'.repeat(1024), key)).toBeLessThanOrEqual(
      20 * (key.length + POLICY_BYTES_MAX),
    )
  }
})

test('actions are matched once for each action, in steps linear in them', () => {
  expect(policySteps({ Action: 's3:*e*t*o*b*j*e*c*t*' }, '')).toBeLessThanOrEqual(2000)
})

test('many values of a condition cost no more than each of them', () => {
  const values = Array.from({ length: 1000 }, (_, i) => `*${i}a*b`)
  expect(policySteps(likeUserAgent(...values), LONG)).toBeLessThanOrEqual(values.length * 20)
  const literal = Array.from({ length: 1000 }, (_, i) => `*b${i}*`)
  expect(policySteps(likeUserAgent(...literal), LONG)).toBeLessThanOrEqual(1.1 * literal.length * LONG.length)
})

test.each([
  ['statements', Array.from({ length: 200 }, () => ({}))],
  ['values of a condition', [likeUserAgent(...Array.from({ length: 4000 }, () => '*'))]],
  ['addresses', [{ Condition: { IpAddress: { 'aws:SourceIp': addresses(1500) } } }]],
  ['resources', [{ Resource: Array.from({ length: 700 }, () => 'arn:aws:s3:::b/${a}*') }]],
  ['actions', [{ Action: Array.from({ length: 2200 }, () => 's3:*') }]],
  ['variables', [{ Resource: `arn:aws:s3:::b/${'${a}*?'.repeat(2500)}` }]],
  ['variables that do not end', [{ Resource: `arn:aws:s3:::b/${'${   '.repeat(3500)}` }]],
])('the longest policies are compiled in a short turn: one of the most %s', (_, changes) => {
  const statement = { Effect: 'Allow', Principal: '*', Action: 's3:*', Resource: '*' }
  const text = JSON.stringify({
    Version: '2012-10-17',
    Statement: changes.map((change) => ({ ...statement, ...change })),
  })
  expect(text.length).toBeGreaterThan(POLICY_BYTES_MAX / 2)
  let leastMs = Number.POSITIVE_INFINITY
  for (let i = 0; i < 5; i++) {
    const started = process.cpuUsage()
    expect(new Policy(text, 'b').mayAllow('s3:GetObject', undefined)).toBe(true)
    leastMs = Math.min(leastMs, process.cpuUsage(started).user / 1000)
  }
  // It takes one to ten; of each row of a bucket, a policy is compiled once.
  expect(leastMs).toBeLessThan(40)
})

test('a policy that asks for a longer value refuses the request', () => {
  const header = (name: string) => (name === 'user-agent' ? `${LONG}a` : undefined)
  const values = conditionValues(
    { request: { header }, need: {}, action: 's3:GetObject' } as unknown as Question,
    {},
  )
  expect(values('aws:referer')).toBeUndefined()
  expect(() => values('aws:useragent')).toThrow(
    expect.objectContaining({ code: 'RequestHeaderSectionTooLarge' }),
  )
})

test('policies of sessions: linear', () => {
  const statement = {
    Effect: 'Allow',
    Action: 's3:GetObject',
    Resource: '*',
    ...likeUserAgent('*${aws:referer}'.repeat(100)),
  }
  const text = JSON.stringify({ Version: '2012-10-17', Statement: statement })
  expect(text.length).toBeLessThanOrEqual(SESSION_POLICY_MAX)
  const policy = new SessionPolicy(text)
  const question = { action: 's3:GetObject', resources: ['arn:aws:s3:::b/k'], values: () => [LONG] }
  expect(textSteps(() => policy.allows(question))).toBeLessThanOrEqual(20 * LONG.length)
})

test('CORS: origins, and as many names of headers as a request may bring', () => {
  const rules: CorsRule[] = Array.from({ length: 100 }, (_, i) => ({
    allowedOrigins: [`*a${i}`, `a*b${i}`, '*'],
    allowedMethods: ['PUT'],
    allowedHeaders: Array.from({ length: 20 }, (_, j) => `x-${j}-*-${i}`),
    exposeHeaders: [],
  }))
  const ask = (origin: string, header: string) => () =>
    matchCors(rules, { origin, method: 'PUT', headers: requestedHeaders(header) })
  const many = Array.from({ length: HEADER_BYTES / 5 }, (_, i) => i.toString(36).padStart(4, 'x')).join(',')
  expect(textSteps(ask('a'.repeat(HEADER_BYTES), many))).toBeLessThanOrEqual(5 * HEADER_BYTES)
  const most = many.split(',').slice(0, 100).join(',')
  ask('a'.repeat(1000), most)()
  // 100 names, each held against 2 000 patterns of a configuration of the greatest length.
  expect(textSteps(ask('a'.repeat(1000), most))).toBeLessThanOrEqual(100 * 2000 * 30)
})

test('policies of forms: linear in the form', () => {
  const conditions = [
    ['starts-with', '$content-type', 'a'],
    ['starts-with', '$key', 'a'.repeat(1000)],
    { bucket: 'b' },
    ...Array.from({ length: 1000 }, () => ['starts-with', '$content-type', 'a']),
  ]
  const document = { expiration: '2026-01-02T00:00:00Z', conditions }
  const policy = parsePostPolicy(Buffer.from(JSON.stringify(document)).toString('base64'))
  const fields = new Map([
    ['key', 'a'.repeat(1024)],
    ['content-type', 'a,'.repeat(9000)],
  ])
  const check = () => {
    const form = { fields, keyTemplate: 'a', bucket: 'b' }
    expect(() => checkPostPolicy(policy, form, Date.UTC(2026, 0, 1))).toThrow('content-type')
  }
  expect(textSteps(check)).toBeLessThanOrEqual(4 * 20_000)
  fields.set('content-type', 'a,'.repeat(99).slice(0, -1))
  const steps = textSteps(() =>
    checkPostPolicy(policy, { fields, keyTemplate: 'a', bucket: 'b' }, Date.UTC(2026, 0, 1)),
  )
  expect(steps).toBeLessThanOrEqual(1003 * 99 * 10)
})

test('lifecycle rules: one comparison of the prefix for each rule', () => {
  const prefix = 'a'.repeat(1000)
  const rules = Array.from({ length: 1000 }, (_, i) => ({
    id: String(i),
    enabled: true,
    filter: { prefix: `${prefix}b${i}` },
    form: 'filter' as const,
    expiration: { days: 1 },
  }))
  const version = { key: 'a'.repeat(1024), kind: 'object' as const, size: 1, tags: undefined, createdMs: 0 }
  expect(textSteps(() => evaluate(rules, version, 1))).toBeLessThanOrEqual(1000 * 1030)
})

test('filters of notifications: linear in prefix and suffix', () => {
  const rule = {
    id: 'r',
    arn: '',
    form: 'queue' as const,
    target: 't',
    events: ['s3:ObjectCreated:*'],
    prefix: 'a'.repeat(1024),
    suffix: `b${'a'.repeat(1023)}`,
  }
  const event = { name: 'ObjectCreated:Put' as const, key: Buffer.from('a'.repeat(1024)) }
  expect(textSteps(() => wants(rule, event))).toBeLessThanOrEqual(3000)
})

test('root domains: linear in the Host header', () => {
  const parser = new TargetParser(Array.from({ length: 50 }, (_, i) => `${'a.'.repeat(50)}s${i}`))
  const host = 'a.'.repeat(HEADER_BYTES / 2)
  expect(textSteps(() => parser.bucketOfHost(host))).toBeLessThanOrEqual(5 * HEADER_BYTES)
})
