/**
 * Rules of buckets as the admin API has them: JSON with the names of S3's XML. They are read by the S3 API's own parsers,
 * so that both APIs accept and refuse the same.
 */
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { CorsRule, RoutingRule } from '../../../model/buckets/documents.js'
import type { LifecycleFilter, LifecycleRule } from '../../../model/lifecycle/rules.js'
import { CarportError } from '../../../util/errors.js'
import type { Random } from '../../../util/random.js'
import { isoDate } from '../../http/date.js'
import { parseCors } from '../../s3/buckets/cors.js'
import { newRuleId, parseLifecycle } from '../../s3/buckets/lifecycle.js'
import { isRelaxed } from '../../s3/buckets/relaxed.js'
import { parseWebsite } from '../../s3/buckets/website.js'
import { S3Error } from '../../s3/errors.js'
import { XmlElement } from '../../xml/element.js'
import { XmlError } from '../../xml/error.js'
import type { CorsRuleJson, LifecycleRuleJson, RoutingRuleJson } from '../types.js'

export type Json =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly Json[]
  | { readonly [name: string]: Json }

const NO_ATTRIBUTES: ReadonlyMap<string, string> = new Map()

/** Rules to be stored; no rules give undefined. @throws CarportError InvalidArgument */
export function parseCorsRules(rules: readonly CorsRuleJson[]): CorsRule[] | undefined {
  if (rules.length === 0) return undefined
  return checked('corsRules', () => parseCors(elementOf('CORSConfiguration', { CORSRule: rules })))
}

/** Rules to be stored; no rules give undefined. @throws CarportError InvalidArgument */
export function parseLifecycleRules(
  rules: readonly LifecycleRuleJson[],
  random: Random,
  bucket: Bucket,
): LifecycleRule[] | undefined {
  if (rules.length === 0) return undefined
  // A rule that says nothing of the objects applies to all, as in Garage; S3 wants an empty Filter for that.
  const whole = rules.map((rule) => {
    const chooses = typeof rule.Prefix === 'string' || rule.Filter
    return chooses ? rule : { ...rule, Filter: {} }
  })
  return checked('lifecycleRules', () =>
    parseLifecycle(
      elementOf('LifecycleConfiguration', { Rule: whole as Json[] }),
      () => newRuleId(random),
      isRelaxed(bucket),
    ),
  )
}

/** Rules to be stored. @throws CarportError InvalidArgument */
export function parseRoutingRules(rules: readonly RoutingRuleJson[]): RoutingRule[] {
  const document = { IndexDocument: { Suffix: 'index.html' }, RoutingRules: { RoutingRule: rules } }
  const parsed = checked('routingRules', () => parseWebsite(elementOf('WebsiteConfiguration', document)))
  return parsed.routingRules ?? []
}

/** The element that S3's XML has for a value: lists become repeated elements, null and undefined none. */
export function elementOf(name: string, value: Json): XmlElement {
  if (typeof value !== 'object' || value === null) {
    return new XmlElement(name, NO_ATTRIBUTES, [], String(value ?? ''))
  }
  const children = Object.entries(value).flatMap(([childName, child]) => {
    const items: readonly Json[] = Array.isArray(child) ? child : [child as Json]
    return items
      .filter((item) => item !== null && item !== undefined)
      .map((item) => elementOf(childName, item))
  })
  return new XmlElement(name, NO_ATTRIBUTES, children, '')
}

/** What S3's parsers make of a value; `what` names it. @throws CarportError InvalidArgument where they refuse it */
export function checked<T>(what: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof S3Error) throw new CarportError('InvalidArgument', `${what}: ${error.message}`)
    if (error instanceof XmlError) {
      throw new CarportError(
        'InvalidArgument',
        `${what}: a rule lacks a field, or has values that S3 does not know`,
      )
    }
    throw error
  }
}

export function corsRulesJson(rules: readonly CorsRule[]): CorsRuleJson[] {
  return rules.map(
    ({ id, maxAgeSeconds, allowedOrigins, allowedMethods, allowedHeaders, exposeHeaders }) => ({
      ...(id !== undefined && { ID: id }),
      ...(maxAgeSeconds !== undefined && { MaxAgeSeconds: maxAgeSeconds }),
      AllowedOrigin: [...allowedOrigins],
      AllowedMethod: [...allowedMethods],
      AllowedHeader: [...allowedHeaders],
      ExposeHeader: [...exposeHeaders],
    }),
  )
}

export function lifecycleRulesJson(rules: readonly LifecycleRule[]): LifecycleRuleJson[] {
  return rules.map((rule) => ({
    ID: rule.id,
    Status: rule.enabled ? 'Enabled' : 'Disabled',
    ...filterJson(rule),
    ...(rule.expiration && { Expiration: expirationJson(rule.expiration) }),
    ...(rule.noncurrent && {
      NoncurrentVersionExpiration: {
        ...(rule.noncurrent.days !== undefined && { NoncurrentDays: rule.noncurrent.days }),
        ...(rule.noncurrent.newerVersions !== undefined && {
          NewerNoncurrentVersions: rule.noncurrent.newerVersions,
        }),
      },
    }),
    ...(rule.abortUploadDays !== undefined && {
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: rule.abortUploadDays },
    }),
  }))
}

function expirationJson({ days, dateMs, expiredDeleteMarker }: NonNullable<LifecycleRule['expiration']>) {
  return {
    ...(days !== undefined && { Days: days }),
    ...(dateMs !== undefined && { Date: isoDate(dateMs) }),
    ...(expiredDeleteMarker !== undefined && { ExpiredObjectDeleteMarker: expiredDeleteMarker }),
  }
}

function filterJson({ form, filter, beside }: LifecycleRule): Pick<LifecycleRuleJson, 'Prefix' | 'Filter'> {
  switch (form) {
    case 'prefix':
      return { Prefix: filter.prefix ?? '' }
    case 'filter':
      return { Filter: criteriaJson(filter) }
    case 'and':
      return { Filter: { And: criteriaJson(filter) } }
    case 'both':
      return { Filter: { ...criteriaJson(beside ?? {}), And: criteriaJson(filter) } }
  }
}

function criteriaJson({ prefix, tags, sizeGreaterThan, sizeLessThan }: LifecycleFilter) {
  return {
    ...(prefix !== undefined && { Prefix: prefix }),
    ...(tags && tags.length > 0 && { Tag: tags.map(([key, value]) => ({ Key: key, Value: value })) }),
    ...(sizeGreaterThan !== undefined && { ObjectSizeGreaterThan: sizeGreaterThan }),
    ...(sizeLessThan !== undefined && { ObjectSizeLessThan: sizeLessThan }),
  }
}

export function routingRulesJson(rules: readonly RoutingRule[]): RoutingRuleJson[] {
  return rules.map(({ condition, redirect }) => ({
    ...(condition && {
      Condition: {
        ...(condition.keyPrefixEquals !== undefined && { KeyPrefixEquals: condition.keyPrefixEquals }),
        ...(condition.httpErrorCodeReturnedEquals !== undefined && {
          HttpErrorCodeReturnedEquals: condition.httpErrorCodeReturnedEquals,
        }),
      },
    }),
    Redirect: {
      ...(redirect.hostName !== undefined && { HostName: redirect.hostName }),
      ...(redirect.httpRedirectCode !== undefined && { HttpRedirectCode: redirect.httpRedirectCode }),
      ...(redirect.protocol !== undefined && { Protocol: redirect.protocol }),
      ...(redirect.replaceKeyPrefixWith !== undefined && {
        ReplaceKeyPrefixWith: redirect.replaceKeyPrefixWith,
      }),
      ...(redirect.replaceKeyWith !== undefined && { ReplaceKeyWith: redirect.replaceKeyWith }),
    },
  }))
}
