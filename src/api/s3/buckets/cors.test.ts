import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CorsRule } from '../../../model/buckets/documents.js'
import { corsHeaders, matchCors, matchesWildcard } from '../../http/cors.js'
import { parseXml } from '../../xml/reader.js'
import { xmlDocument } from '../../xml/writer.js'
import { toS3Error } from '../errors.js'
import { corsXml, parseCors } from './cors.js'

const rule = (changes: Partial<CorsRule>): CorsRule => ({
  allowedOrigins: ['*'],
  allowedMethods: ['GET'],
  allowedHeaders: [],
  exposeHeaders: [],
  ...changes,
})
const read = async (rules: string) =>
  parseCors(await parseXml(Buffer.from(xmlDocument('CORSConfiguration', rules)), 'CORSConfiguration'))
const one = (inner: string) => `<CORSRule>${inner}</CORSRule>`
const least = '<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>'

describe('wildcards', () => {
  test('one star stands for any text between what is before and behind it', () => {
    const text = fc.string().filter((s) => !s.includes('*'))
    fc.assert(
      fc.property(text, text, text, (before, middle, after) => {
        expect(matchesWildcard(`${before}*${after}`, before + middle + after)).toBe(true)
        expect(matchesWildcard(before, before)).toBe(true)
      }),
    )
  })
  test.each([
    ['ab*ba', 'aba', false],
    ['start*end', 'startend', true],
    ['https://*.example.org', 'https://example.org', false],
    ['a', 'A', false],
  ])('%s fits %s: %s', (pattern, text, fits) => {
    expect(matchesWildcard(pattern, text)).toBe(fits)
  })
})

describe('matching', () => {
  test('the first rule that allows origin, method and all headers counts', () => {
    const rules = [
      rule({ allowedOrigins: ['https://a.org'], allowedMethods: ['PUT'] }),
      rule({ allowedOrigins: ['https://*.org'], allowedMethods: ['PUT'], allowedHeaders: ['x-amz-*'] }),
      rule({}),
    ]
    const ask = (origin: string, method: string, ...headers: string[]) =>
      matchCors(rules, { origin, method, headers })
    expect(ask('https://a.org', 'PUT')?.pattern).toBe('https://a.org')
    expect(ask('https://a.org', 'PUT', 'x-amz-acl')?.pattern).toBe('https://*.org')
    expect(ask('https://a.org', 'PUT', 'x-amz-acl', 'content-type')).toBeUndefined()
    expect(ask('null', 'GET')?.pattern).toBe('*')
    expect(ask('null', 'PUT')).toBeUndefined()
  })
  test('the answer echoes the one origin that asked, except where all are allowed', () => {
    const question = { origin: 'https://a.org', method: 'GET', headers: ['x-b'] }
    const some = corsHeaders(
      { rule: rule({ exposeHeaders: ['ETag'], maxAgeSeconds: 5 }), pattern: 'https://*' },
      question,
    )
    expect(some).toMatchObject({
      'Access-Control-Allow-Origin': 'https://a.org',
      'Access-Control-Allow-Credentials': 'true',
      'Access-Control-Allow-Headers': 'x-b',
      'Access-Control-Expose-Headers': 'ETag',
      'Access-Control-Max-Age': '5',
    })
    const all = corsHeaders({ rule: rule({}), pattern: '*' }, question)
    expect(all['Access-Control-Allow-Origin']).toBe('*')
    expect(all['Access-Control-Allow-Credentials']).toBeUndefined()
    expect(all.Vary).toContain('Origin')
  })
})

describe('the configuration', () => {
  test('comes back as it was written', async () => {
    const text = fc.stringMatching(/^[!-)+-~]{1,20}$/)
    const rules = fc.array(
      fc.record(
        {
          id: text,
          allowedOrigins: fc.array(text, { minLength: 1, maxLength: 3 }),
          allowedMethods: fc.subarray(['GET', 'PUT', 'HEAD', 'POST', 'DELETE'], { minLength: 1 }),
          allowedHeaders: fc.array(text, { maxLength: 3 }),
          exposeHeaders: fc.array(text, { maxLength: 3 }),
          maxAgeSeconds: fc.nat(),
        },
        { requiredKeys: ['allowedOrigins', 'allowedMethods', 'allowedHeaders', 'exposeHeaders'] },
      ),
      { minLength: 1, maxLength: 5 },
    )
    await fc.assert(
      fc.asyncProperty(rules, async (given) => {
        expect(await read(corsXml(given))).toEqual(given)
      }),
      { numRuns: 50 },
    )
  })
  test.each([
    ['no rule', '', 'MalformedXML'],
    ['no origin', one('<AllowedMethod>GET</AllowedMethod>'), 'MalformedXML'],
    ['no method', one('<AllowedOrigin>*</AllowedOrigin>'), 'MalformedXML'],
    ['an unknown element', one(`${least}<X/>`), 'MalformedXML'],
    ['an age that is no number', one(`${least}<MaxAgeSeconds>x</MaxAgeSeconds>`), 'MalformedXML'],
    ['an unknown method', one(`${least}<AllowedMethod>OPTIONS</AllowedMethod>`), 'InvalidRequest'],
    ['two stars', one(`${least}<AllowedOrigin>*.*</AllowedOrigin>`), 'InvalidRequest'],
    ['two stars in a header', one(`${least}<AllowedHeader>x-*-*</AllowedHeader>`), 'InvalidRequest'],
    ['a star in what is exposed', one(`${least}<ExposeHeader>*</ExposeHeader>`), 'InvalidRequest'],
    ['a line end', one(`${least}<ExposeHeader>a&#13;&#10;b</ExposeHeader>`), 'MalformedXML'],
    ['a long id', one(`${least}<ID>${'a'.repeat(256)}</ID>`), 'InvalidRequest'],
    ['too many rules', one(least).repeat(101), 'InvalidRequest'],
  ])('with %s is refused', async (_, rules, code) => {
    await expect(read(rules).catch((error) => Promise.reject(toS3Error(error)))).rejects.toMatchObject({
      code,
    })
  })
})
