import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { S3Error } from '../errors.js'
import { checkPostPolicy, parsePostPolicy } from './post-policy.js'

const NOW = Date.UTC(2026, 0, 1)
const base64 = (document: unknown) => Buffer.from(JSON.stringify(document)).toString('base64')
const policyOf = (conditions: unknown[], expiration = '2026-01-02T00:00:00Z') =>
  parsePostPolicy(base64({ expiration, conditions }))

function check(conditions: unknown[], fields: Record<string, string>, keyTemplate = fields.key ?? 'k') {
  const all = new Map(Object.entries({ key: 'k', ...fields }))
  const policy = policyOf([{ bucket: 'b' }, ['starts-with', '$key', ''], ...conditions])
  return checkPostPolicy(policy, { fields: all, keyTemplate, bucket: 'b' }, NOW)
}

function nested(depth: number): string {
  const text = `{"expiration":${'['.repeat(depth)}${']'.repeat(depth)},"conditions":[]}`
  return Buffer.from(text).toString('base64')
}

describe('a policy document', () => {
  test.each([
    ['no JSON', Buffer.from('{').toString('base64')],
    ['no object', base64([])],
    ['no expiration', base64({ conditions: [] })],
    ['expiration under another name', base64({ EXPIRATION: '2026-01-02T00:00:00Z', conditions: [] })],
    ['no conditions', base64({ expiration: '2026-01-02T00:00:00Z' })],
    ['a date that is none', base64({ expiration: '2026-13-02T00:00:00Z', conditions: [] })],
    ['a number for a date', base64({ expiration: 5, conditions: [] })],
    ['a date nested too deep to be shown', nested(20_000)],
    ['a date that has no text', base64({ expiration: { toString: 1 }, conditions: [] })],
  ])('with %s is invalid', (_, text) => {
    expect(() => parsePostPolicy(text)).toThrowError(
      expect.objectContaining({ code: 'InvalidPolicyDocument' }),
    )
  })
  test.each([
    ['2026-01-02T00:00:00Z', '2026-01-02T00:00:00.000Z'],
    ['2026-01-02T00:00:00.1234Z', '2026-01-02T00:00:00.123Z'],
    ['2026-01-02T02:00:00+02:00', '2026-01-02T00:00:00.000Z'],
    ['2026-01-01T20:30:00-0330', '2026-01-02T00:00:00.000Z'],
    ['2026-01-02T05:00:00,5+05', '2026-01-02T00:00:00.500Z'],
  ])('may give its time in any form of ISO 8601 with a zone: %s', (expiration, meant) => {
    expect(new Date(policyOf([], expiration).expirationMs).toISOString()).toBe(meant)
  })

  test.each(['2026-01-02T00:00:00', '2026-01-02', '2026-01-02T00:00:00+25:00', '2026-01-02T00:00:00 +02:00'])(
    'without a zone, or with one that is none, is invalid: %s',
    (expiration) => {
      expect(() => policyOf([], expiration)).toThrowError(
        expect.objectContaining({ code: 'InvalidPolicyDocument' }),
      )
    },
  )

  test.each([
    [{}],
    [{ a: '1', b: '2' }],
    [{ a: 1 }],
    [['eq', '$a']],
    [['eq', 'a', 'b']],
    [['ends-with', '$a', 'b']],
    [['content-length-range', 0]],
    [['content-length-range', -1, 0]],
    [['content-length-range', 2, 1]],
    [['content-length-range', 'x', 1]],
    [[]],
    ['x'],
    [null],
  ])('with the condition %j is invalid', (condition) => {
    expect(() => policyOf([condition])).toThrowError(
      expect.objectContaining({ code: 'InvalidPolicyDocument' }),
    )
  })
  test('of any JSON is read or refused, never worse', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (conditions, expiration) => {
        try {
          parsePostPolicy(base64({ conditions, expiration }))
        } catch (error) {
          expect(error).toBeInstanceOf(S3Error)
        }
      }),
    )
  })
})

describe('a form', () => {
  const denied = expect.objectContaining({ code: 'AccessDenied' })
  test('must meet every condition', () => {
    const conditions = [{ acl: 'private' }, ['starts-with', '$x-amz-meta-a', 'v']]
    expect(() => check(conditions, { acl: 'private', 'x-amz-meta-a': 'value' })).not.toThrow()
    expect(() => check(conditions, { acl: 'public-read', 'x-amz-meta-a': 'value' })).toThrowError(denied)
    expect(() => check(conditions, { acl: 'private' })).toThrowError(denied)
  })
  test('may have no field that no condition covers, except those that guard it', () => {
    expect(() => check([], { 'x-amz-meta-a': '1' })).toThrowError(denied)
    expect(() =>
      check([], { 'x-ignore-a': '1', policy: 'p', 'x-amz-signature': 's', 'x-amz-checksum-crc32': 'c' }),
    ).not.toThrow()
  })
  test('must go to the bucket that the policy names', () => {
    const form = {
      fields: new Map([
        ['key', 'k'],
        ['bucket', 'b'],
      ]),
      keyTemplate: 'k',
      bucket: 'other',
    }
    const policy = policyOf([{ bucket: 'b' }, { key: 'k' }])
    expect(() => checkPostPolicy(policy, form, NOW)).toThrowError(denied)
    expect(() => checkPostPolicy(policyOf([{ key: 'k' }]), form, NOW)).toThrowError(denied)
  })
  test('compares names without case and values with it', () => {
    const policy = policyOf([{ bUcKeT: 'b' }, ['StArTs-WiTh', '$KeY', 'k']])
    const form = { fields: new Map([['key', 'k1']]), keyTemplate: 'k1', bucket: 'b' }
    expect(() => checkPostPolicy(policy, form, NOW)).not.toThrow()
    form.fields.set('key', 'K1')
    form.keyTemplate = 'K1'
    expect(() => checkPostPolicy(policy, form, NOW)).toThrowError(denied)
  })
  test('may name its key by the template or by what it becomes', () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the variable of AWS's forms
    const template = 'u/${filename}'
    const form = { fields: new Map([['key', 'u/a.txt']]), keyTemplate: template, bucket: 'b' }
    for (const key of [template, 'u/a.txt']) {
      expect(() => checkPostPolicy(policyOf([{ bucket: 'b' }, { key }]), form, NOW)).not.toThrow()
    }
  })
  test('must have each of several content types fit', () => {
    const images = ['starts-with', '$Content-Type', 'image/']
    expect(() => check([images], { 'content-type': 'image/png, image/jpeg' })).not.toThrow()
    expect(() => check([images], { 'content-type': 'image/png,text/html' })).toThrowError(denied)
  })
  test('is refused from the moment that the policy expires', () => {
    const form = { fields: new Map<string, string>(), keyTemplate: 'k', bucket: 'b' }
    const policy = policyOf([{ bucket: 'b' }], '2026-01-01T00:00:00.000Z')
    expect(() => checkPostPolicy(policy, form, NOW)).toThrowError(denied)
    expect(() => checkPostPolicy(policy, form, NOW - 1)).not.toThrow()
  })
  test('gets the narrowest range of lengths', () => {
    expect(
      check(
        [
          ['content-length-range', 1, 10],
          ['content-length-range', '2', '20'],
        ],
        {},
      ),
    ).toEqual({
      min: 2,
      max: 10,
    })
  })
})
