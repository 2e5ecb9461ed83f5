import type { CorsRule } from '../../../model/buckets/documents.js'
import type { XmlElement } from '../../xml/reader.js'
import { xmlElement, xmlText } from '../../xml/writer.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { configurationBody, configuredBucket, deleteDocument, needDocument } from './configuration.js'

export const CORS_METHODS = ['GET', 'PUT', 'HEAD', 'POST', 'DELETE'] as const

const RULES_MAX = 100
const ID_LENGTH_MAX = 255

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
