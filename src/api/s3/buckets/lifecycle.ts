import type { LifecycleFilter, LifecycleRule } from '../../../model/lifecycle/rules.js'
import type { Random } from '../../../util/random.js'
import { isoDate } from '../../http/date.js'
import type { XmlElement } from '../../xml/reader.js'
import { xmlElement, xmlText } from '../../xml/writer.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { configurationBody, configuredBucket, deleteDocument, needDocument } from './configuration.js'
import { isRelaxed } from './relaxed.js'

/** Room for 1000 rules with prefixes and tags of any length. */
const BODY_BYTES_MAX = 4 * 1024 * 1024
/** Random bytes in the id of a rule that comes without one. */
const ID_BYTES = 24
const RULES_MAX = 1000
const ID_LENGTH_MAX = 255
const PREFIX_BYTES_MAX = 1024
const NEWER_VERSIONS_MAX = 100
const DAY_MS = 24 * 3600_000

/**
 * Reads a LifecycleConfiguration. AWS accepts one criterion per Filter, or And; here several are combined as
 * by And, as in other stores.
 * @param newId makes ids for rules that have none
 * @param relaxed takes rules without an action, which do nothing, and without a filter, which apply to all objects
 * @throws S3Error MalformedXML, InvalidArgument, InvalidRequest as AWS answers them; NotImplemented for
 * transitions
 */
export function parseLifecycle(root: XmlElement, newId: () => string, relaxed = false): LifecycleRule[] {
  const rules = root.only('Rule').all('Rule')
  if (rules.length === 0) throw new S3Error('MalformedXML')
  if (rules.length > RULES_MAX) {
    throw invalidArgument(`Lifecycle configuration allows a maximum of ${RULES_MAX} rules`, 'Rule')
  }
  const ids = new Set<string>()
  return rules.map((element) => {
    const rule = parseRule(element, newId, relaxed)
    if (ids.has(rule.id)) {
      throw invalidArgument('Rule ID must be unique. Found same ID for more than one rule', 'ID', rule.id)
    }
    ids.add(rule.id)
    return rule
  })
}

/** An id for a rule that comes without one. */
export function newRuleId(random: Random): string {
  return random.bytes(ID_BYTES).toString('hex')
}

function parseRule(element: XmlElement, newId: () => string, relaxed: boolean): LifecycleRule {
  element.only(
    'ID',
    'Status',
    'Prefix',
    'Filter',
    'Expiration',
    'NoncurrentVersionExpiration',
    'AbortIncompleteMultipartUpload',
    'Transition',
    'NoncurrentVersionTransition',
  )
  const id = element.text('ID')
  if (id !== undefined && id.length > ID_LENGTH_MAX) {
    throw invalidArgument(`ID length should not exceed allowed limit of ${ID_LENGTH_MAX}`, 'ID', id)
  }
  const status = element.oneOf('Status', ['Enabled', 'Disabled'])
  if (status === undefined) throw new S3Error('MalformedXML')
  for (const transition of element.all('Transition')) {
    const date = transition.text('Date')
    if (date !== undefined) midnight(date.trim())
  }
  if (element.all('Transition').length + element.all('NoncurrentVersionTransition').length > 0) {
    throw new S3Error('NotImplemented', 'Transitions are not offered: there is one storage class.')
  }
  const rule: LifecycleRule = {
    id: id === undefined || id === '' ? newId() : id,
    enabled: status === 'Enabled',
    ...parseFilter(element, relaxed),
  }
  const expiration = element.child('Expiration')
  if (expiration) rule.expiration = parseExpiration(expiration)
  const noncurrent = element.child('NoncurrentVersionExpiration')
  if (noncurrent) rule.noncurrent = parseNoncurrent(noncurrent)
  const abort = element.child('AbortIncompleteMultipartUpload')?.only('DaysAfterInitiation')
  if (abort) {
    rule.abortUploadDays = positive(
      abort.integer('DaysAfterInitiation'),
      "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action",
    )
  }
  if (!expiration && !noncurrent && !abort && !relaxed) {
    throw new S3Error('InvalidRequest', 'At least one action needs to be specified in a rule')
  }
  checkCombination(rule)
  return rule
}

function parseFilter(
  element: XmlElement,
  relaxed: boolean,
): Pick<LifecycleRule, 'filter' | 'form' | 'beside'> {
  const prefix = element.text('Prefix')
  const filter = element.child('Filter')
  if (relaxed && prefix === undefined && !filter) return { filter: {}, form: 'filter' }
  if ((prefix === undefined) === (filter === undefined)) throw new S3Error('MalformedXML')
  if (!filter) return { filter: { prefix: checkPrefix(prefix!) }, form: 'prefix' }
  filter.only('Prefix', 'Tag', 'ObjectSizeGreaterThan', 'ObjectSizeLessThan', 'And')
  const beside = parseCriteria(filter)
  const and = filter.child('And')
  if (!and) {
    if (filter.all('Tag').length > 1) throw new S3Error('MalformedXML')
    return { filter: beside, form: 'filter' }
  }
  and.only('Prefix', 'Tag', 'ObjectSizeGreaterThan', 'ObjectSizeLessThan')
  const criteria = parseCriteria(and)
  if (Object.keys(beside).length === 0) return { filter: criteria, form: 'and' }
  return { filter: both(beside, criteria), form: 'both', beside }
}

/** The filter that two filters make together. One of their prefixes must begin with the other. */
function both(a: LifecycleFilter, b: LifecycleFilter): LifecycleFilter {
  const [short, long] = [a.prefix ?? '', b.prefix ?? ''].sort((x, y) => x.length - y.length) as [
    string,
    string,
  ]
  if (!long.startsWith(short)) throw new S3Error('MalformedXML')
  const tags = [...(a.tags ?? []), ...(b.tags ?? [])]
  checkTags(tags)
  const greater = Math.max(a.sizeGreaterThan ?? -1, b.sizeGreaterThan ?? -1)
  const less = Math.min(a.sizeLessThan ?? Number.MAX_VALUE, b.sizeLessThan ?? Number.MAX_VALUE)
  return {
    ...(long !== '' && { prefix: long }),
    ...(tags.length > 0 && { tags }),
    ...(greater >= 0 && { sizeGreaterThan: greater }),
    ...(less < Number.MAX_VALUE && { sizeLessThan: less }),
  }
}

function parseCriteria(element: XmlElement): LifecycleFilter {
  const prefix = element.text('Prefix')
  const tags = element
    .all('Tag')
    .map((tag): [string, string] => [tag.only('Key', 'Value').needText('Key'), tag.needText('Value')])
  checkTags(tags)
  const greater = element.integer('ObjectSizeGreaterThan')
  const less = element.integer('ObjectSizeLessThan')
  if ((greater ?? 0) < 0 || (less ?? 1) < 1) {
    throw invalidArgument('Object sizes of a filter must not be negative', 'ObjectSizeGreaterThan')
  }
  if (greater !== undefined && less !== undefined && greater >= less) {
    throw new S3Error(
      'InvalidRequest',
      "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
    )
  }
  return {
    ...(prefix !== undefined && { prefix: checkPrefix(prefix) }),
    ...(tags.length > 0 && { tags }),
    ...(greater !== undefined && { sizeGreaterThan: greater }),
    ...(less !== undefined && { sizeLessThan: less }),
  }
}

function checkPrefix(prefix: string): string {
  if (Buffer.byteLength(prefix) > PREFIX_BYTES_MAX) {
    throw invalidArgument(`The maximum size of a prefix is ${PREFIX_BYTES_MAX}.`, 'Prefix', prefix)
  }
  return prefix
}

function checkTags(tags: readonly [string, string][]): void {
  for (const [key, value] of tags) {
    if (key === '' || key.length > 128)
      throw new S3Error('InvalidTag', 'The TagKey you have provided is invalid')
    if (value.length > 256) throw new S3Error('InvalidTag', 'The TagValue you have provided is invalid')
  }
  if (new Set(tags.map(([key]) => key)).size < tags.length) {
    throw new S3Error('InvalidRequest', 'Duplicate Tag Keys are not allowed.')
  }
}

function parseExpiration(element: XmlElement): NonNullable<LifecycleRule['expiration']> {
  element.only('Days', 'Date', 'ExpiredObjectDeleteMarker')
  if (element.children.length !== 1) throw new S3Error('MalformedXML')
  const date = element.text('Date')
  if (date !== undefined) return { dateMs: midnight(date.trim()) }
  const marker = element.boolean('ExpiredObjectDeleteMarker')
  if (marker !== undefined) return { expiredDeleteMarker: marker }
  return { days: positive(element.integer('Days'), "'Days' for Expiration action") }
}

function midnight(date: string): number {
  const isDate = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?$/.test(date)
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/.test(date) && date.includes('T')
  const ms = isDate ? Date.parse(hasZone || !date.includes('T') ? date : `${date}Z`) : Number.NaN
  if (Number.isNaN(ms)) throw new S3Error('MalformedXML')
  if (ms % DAY_MS !== 0) throw invalidArgument("'Date' must be at midnight GMT", 'Date', date)
  return ms
}

function parseNoncurrent(element: XmlElement): NonNullable<LifecycleRule['noncurrent']> {
  element.only('NoncurrentDays', 'NewerNoncurrentVersions')
  const days = element.integer('NoncurrentDays')
  const newer = element.integer('NewerNoncurrentVersions')
  if (days === undefined && newer === undefined) throw new S3Error('MalformedXML')
  if (days !== undefined) positive(days, "'NoncurrentDays' for NoncurrentVersionExpiration action")
  if (newer !== undefined && (newer < 1 || newer > NEWER_VERSIONS_MAX)) {
    throw invalidArgument(
      `'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be between 1 and ${NEWER_VERSIONS_MAX}`,
      'NewerNoncurrentVersions',
      String(newer),
    )
  }
  return { ...(days !== undefined && { days }), ...(newer !== undefined && { newerVersions: newer }) }
}

function positive(days: number | undefined, what: string): number {
  if (days === undefined) throw new S3Error('MalformedXML')
  if (days < 1 || days > 0x7fff_ffff) {
    throw invalidArgument(`${what} must be a positive integer`, 'Days', String(days))
  }
  return days
}

/** Refuses filters by tags or size for delete markers and uploads, which have neither. */
function checkCombination({ filter, expiration, abortUploadDays }: LifecycleRule): void {
  const names = [
    ...(filter.tags ? ['Tags'] : []),
    ...(filter.sizeGreaterThan !== undefined || filter.sizeLessThan !== undefined ? ['Object Size'] : []),
  ]
  const what =
    abortUploadDays !== undefined
      ? 'AbortIncompleteMultipartUpload'
      : expiration?.expiredDeleteMarker
        ? 'ExpiredObjectDeleteMarker'
        : undefined
  if (what && names[0]) throw new S3Error('InvalidRequest', `${what} cannot be specified with ${names[0]}.`)
}

/** The content of a LifecycleConfiguration. */
export function lifecycleXml(rules: readonly LifecycleRule[]): string {
  return rules
    .map((rule) =>
      xmlElement(
        'Rule',
        xmlText('ID', rule.id) +
          filterXml(rule) +
          xmlText('Status', rule.enabled ? 'Enabled' : 'Disabled') +
          expirationXml(rule.expiration) +
          (rule.noncurrent
            ? xmlElement(
                'NoncurrentVersionExpiration',
                xmlText('NoncurrentDays', rule.noncurrent.days) +
                  xmlText('NewerNoncurrentVersions', rule.noncurrent.newerVersions),
              )
            : '') +
          (rule.abortUploadDays === undefined
            ? ''
            : xmlElement(
                'AbortIncompleteMultipartUpload',
                xmlText('DaysAfterInitiation', rule.abortUploadDays),
              )),
      ),
    )
    .join('')
}

function filterXml({ form, filter, beside }: LifecycleRule): string {
  switch (form) {
    case 'prefix':
      return xmlText('Prefix', filter.prefix ?? '')
    case 'filter':
      return xmlElement('Filter', criteriaXml(filter))
    case 'and':
      return xmlElement('Filter', xmlElement('And', criteriaXml(filter)))
    case 'both':
      return xmlElement('Filter', criteriaXml(beside ?? {}) + xmlElement('And', criteriaXml(filter)))
  }
}

function criteriaXml(filter: LifecycleFilter): string {
  return (
    xmlText('Prefix', filter.prefix) +
    (filter.tags ?? [])
      .map(([key, value]) => xmlElement('Tag', xmlText('Key', key) + xmlText('Value', value)))
      .join('') +
    xmlText('ObjectSizeGreaterThan', filter.sizeGreaterThan) +
    xmlText('ObjectSizeLessThan', filter.sizeLessThan)
  )
}

function expirationXml(expiration: LifecycleRule['expiration']): string {
  if (!expiration) return ''
  const { days, dateMs, expiredDeleteMarker } = expiration
  return xmlElement(
    'Expiration',
    xmlText('Days', days) +
      xmlText('Date', dateMs === undefined ? undefined : isoDate(dateMs)) +
      xmlText('ExpiredObjectDeleteMarker', expiredDeleteMarker),
  )
}

/** PutBucketLifecycleConfiguration. */
export async function putBucketLifecycle(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:PutLifecycleConfiguration')
  const body = await configurationBody(request, 'LifecycleConfiguration', BODY_BYTES_MAX)
  const rules = parseLifecycle(body, () => newRuleId(context.random), isRelaxed(bucket))
  await context.model.buckets.setDocument(bucket, 'lifecycle', rules)
  return { status: 200 }
}

/** GetBucketLifecycleConfiguration. */
export async function getBucketLifecycle(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetLifecycleConfiguration')
  const rules = needDocument(bucket, 'lifecycle', 'NoSuchLifecycleConfiguration', request)
  return xmlResponse('LifecycleConfiguration', lifecycleXml(rules))
}

/** DeleteBucketLifecycle. */
export function deleteBucketLifecycle(context: S3Context, request: S3Request): Promise<S3Response> {
  return deleteDocument(context, request, 's3:PutLifecycleConfiguration', 'lifecycle')
}
