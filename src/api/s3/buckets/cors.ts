import type { CorsRule } from '../../../model/buckets/documents.js'
import type { XmlElement } from '../../xml/reader.js'
import { xmlElement, xmlText } from '../../xml/writer.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Headers, S3Request, S3Response } from '../request.js'
import { configurationBody, configuredBucket, deleteDocument, needDocument } from './configuration.js'

export const CORS_METHODS = ['GET', 'PUT', 'HEAD', 'POST', 'DELETE'] as const

const RULES_MAX = 100
const ID_LENGTH_MAX = 255
/** Longest Origin that a rule is asked about: a scheme, a host name (253) and a port, with room. */
const ORIGIN_LENGTH_MAX = 1024
/** Most names in Access-Control-Request-Headers that a rule is asked about. */
const REQUESTED_HEADERS_MAX = 100

/**
 * Reads a CORSConfiguration.
 * @throws S3Error MalformedXML, InvalidRequest with AWS's messages
 */
export function parseCors(root: XmlElement): CorsRule[] {
  const rules = root.only('CORSRule').all('CORSRule')
  if (rules.length === 0) throw new S3Error('MalformedXML')
  if (rules.length > RULES_MAX) {
    throw new S3Error(
      'InvalidRequest',
      `The number of CORS rules should not exceed allowed limit of ${RULES_MAX} rules.`,
    )
  }
  return rules.map(parseRule)
}

function parseRule(element: XmlElement): CorsRule {
  element.only('ID', 'AllowedOrigin', 'AllowedMethod', 'AllowedHeader', 'ExposeHeader', 'MaxAgeSeconds')
  const texts = (name: string) => element.all(name).map((child) => child.content.trim())
  const rule: CorsRule = {
    allowedOrigins: texts('AllowedOrigin'),
    allowedMethods: texts('AllowedMethod'),
    allowedHeaders: texts('AllowedHeader'),
    exposeHeaders: texts('ExposeHeader'),
  }
  if (rule.allowedOrigins.length === 0 || rule.allowedMethods.length === 0) throw new S3Error('MalformedXML')
  const id = element.text('ID')
  if (id !== undefined && id !== '') {
    if (id.length > ID_LENGTH_MAX) {
      throw new S3Error('InvalidRequest', `The ID of a CORS rule has at most ${ID_LENGTH_MAX} characters.`)
    }
    rule.id = id
  }
  const maxAge = element.integer('MaxAgeSeconds')
  if (maxAge !== undefined) {
    if (maxAge < 0 || maxAge > 0x7fff_ffff) throw new S3Error('MalformedXML')
    rule.maxAgeSeconds = maxAge
  }
  for (const method of rule.allowedMethods) {
    if (!(CORS_METHODS as readonly string[]).includes(method)) {
      throw new S3Error(
        'InvalidRequest',
        `Found unsupported HTTP method in CORS config. Unsupported method is ${method}`,
      )
    }
  }
  for (const [name, values] of [
    ['AllowedOrigin', rule.allowedOrigins],
    ['AllowedHeader', rule.allowedHeaders],
  ] as const) {
    for (const value of values) {
      checkHeaderText(value)
      if (value.indexOf('*') !== value.lastIndexOf('*')) {
        throw new S3Error('InvalidRequest', `${name} "${value}" can not have more than one wildcard.`)
      }
    }
  }
  for (const value of rule.exposeHeaders) {
    checkHeaderText(value)
    if (value.includes('*')) {
      throw new S3Error(
        'InvalidRequest',
        `ExposeHeader "${value}" contains wildcard. We currently do not support wildcard for ExposeHeader.`,
      )
    }
  }
  return rule
}

/** Refuses characters that headers cannot carry: the text is sent in headers. */
function checkHeaderText(value: string): void {
  if (value === '' || /[^\x20-\x7e]/.test(value)) throw new S3Error('MalformedXML')
}

/** The content of a CORSConfiguration. */
export function corsXml(rules: readonly CorsRule[]): string {
  return rules
    .map((rule) =>
      xmlElement(
        'CORSRule',
        xmlText('ID', rule.id) +
          rule.allowedOrigins.map((origin) => xmlText('AllowedOrigin', origin)).join('') +
          rule.allowedMethods.map((method) => xmlText('AllowedMethod', method)).join('') +
          rule.allowedHeaders.map((header) => xmlText('AllowedHeader', header)).join('') +
          rule.exposeHeaders.map((header) => xmlText('ExposeHeader', header)).join('') +
          xmlText('MaxAgeSeconds', rule.maxAgeSeconds),
      ),
    )
    .join('')
}

/** Whether `text` matches `pattern`, in which one `*` may stand for any text, even none. */
export function matchesWildcard(pattern: string, text: string): boolean {
  const star = pattern.indexOf('*')
  if (star < 0) return pattern === text
  return (
    text.length >= pattern.length - 1 &&
    text.startsWith(pattern.slice(0, star)) &&
    text.endsWith(pattern.slice(star + 1))
  )
}

/** The request that a script of another origin wants to make. */
export interface CorsQuestion {
  origin: string
  method: string
  /** Names of the headers that it wants to send, in lower case. */
  headers: readonly string[]
}

/** The header names of a rule in lower case: those without a wildcard, and the others. */
interface HeaderNames {
  exact: ReadonlySet<string>
  patterns: readonly string[]
}

/** Made once for each stored rule: anybody may send a preflight, and it may ask for many headers. */
const namesOfRules = new WeakMap<CorsRule, HeaderNames>()

function headerNames(rule: CorsRule): HeaderNames {
  let names = namesOfRules.get(rule)
  if (!names) {
    const allowed = [...new Set(rule.allowedHeaders.map((name) => name.toLowerCase()))]
    names = {
      exact: new Set(allowed.filter((name) => !name.includes('*'))),
      patterns: allowed.filter((name) => name.includes('*')),
    }
    namesOfRules.set(rule, names)
  }
  return names
}

/**
 * The first rule that allows the whole request, and its origin pattern that matches. No rule allows an origin
 * of more than ORIGIN_LENGTH_MAX characters or more than REQUESTED_HEADERS_MAX headers.
 */
export function matchCors(
  rules: readonly CorsRule[],
  question: CorsQuestion,
): { rule: CorsRule; pattern: string } | undefined {
  const { origin, method, headers } = question
  if (origin.length > ORIGIN_LENGTH_MAX || headers.length > REQUESTED_HEADERS_MAX) return undefined
  for (const rule of rules) {
    if (!rule.allowedMethods.includes(method)) continue
    const pattern = rule.allowedOrigins.find((allowed) => matchesWildcard(allowed, origin))
    if (pattern === undefined) continue
    if (headers.length === 0) return { rule, pattern }
    const { exact, patterns } = headerNames(rule)
    const allowsHeader = (header: string) =>
      exact.has(header) || patterns.some((allowed) => matchesWildcard(allowed, header))
    if (headers.every(allowsHeader)) return { rule, pattern }
  }
  return undefined
}

/** The names in Access-Control-Request-Headers, lower case, each once. */
export function requestedHeaders(header: string | undefined): string[] {
  if (header === undefined) return []
  const names = header.split(',').map((name) => name.trim().toLowerCase())
  return [...new Set(names)].filter((name) => name !== '')
}

/**
 * Headers that tell the browser what the rule allows. The origin is echoed, unless the rule allows every
 * origin.
 */
export function corsHeaders(
  { rule, pattern }: { rule: CorsRule; pattern: string },
  question: CorsQuestion,
): S3Headers {
  const headers: S3Headers = {
    'Access-Control-Allow-Origin': pattern === '*' ? '*' : question.origin,
    'Access-Control-Allow-Methods': rule.allowedMethods.join(', '),
    Vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method',
  }
  if (pattern !== '*') headers['Access-Control-Allow-Credentials'] = 'true'
  if (question.headers.length > 0) headers['Access-Control-Allow-Headers'] = question.headers.join(', ')
  if (rule.exposeHeaders.length > 0) {
    headers['Access-Control-Expose-Headers'] = rule.exposeHeaders.join(', ')
  }
  if (rule.maxAgeSeconds !== undefined) headers['Access-Control-Max-Age'] = String(rule.maxAgeSeconds)
  return headers
}

/** PutBucketCors. */
export async function putBucketCors(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:PutBucketCORS')
  const rules = parseCors(await configurationBody(request, 'CORSConfiguration'))
  await context.model.buckets.setDocument(bucket, 'cors', rules)
  return { status: 200 }
}

/** GetBucketCors. */
export async function getBucketCors(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetBucketCORS')
  const rules = needDocument(bucket, 'cors', 'NoSuchCORSConfiguration', request)
  return xmlResponse('CORSConfiguration', corsXml(rules))
}

/** DeleteBucketCors. */
export function deleteBucketCors(context: S3Context, request: S3Request): Promise<S3Response> {
  return deleteDocument(context, request, 's3:PutBucketCORS', 'cors')
}
