/** Reads the text of a setting as a value, and writes it: XML of S3, or the JSON of the admin API, which has the same names. */
import type { DocumentName } from '../net/bucket-documents'
import { escapeXml, parseXml } from '../net/s3'
import { t } from '../texts/texts'
import { type Fields, isFields, type Value } from './values'

/** Elements that may come more than once, where the value has a list. */
const LISTS = new Set([
  ...['AllowedOrigin', 'AllowedMethod', 'AllowedHeader', 'ExposeHeader', 'CORSRule'],
  ...[
    'Tag',
    'QueueConfiguration',
    'TopicConfiguration',
    'Event',
    'FilterRule',
    'RoutingRule',
    'EncryptionType',
  ],
])
/** Elements that hold nothing but a list, which stands in their place. */
const WRAPPERS: Readonly<Record<string, string>> = { RoutingRules: 'RoutingRule', TagSet: 'Tag' }
const NUMBERS = new Set([
  ...['Days', 'Years', 'DaysAfterInitiation', 'NoncurrentDays', 'NewerNoncurrentVersions', 'MaxAgeSeconds'],
  ...['ObjectSizeGreaterThan', 'ObjectSizeLessThan', 'HttpErrorCodeReturnedEquals', 'HttpRedirectCode'],
])
const FLAGS = new Set([
  ...['ExpiredObjectDeleteMarker', 'BucketKeyEnabled', 'BlockPublicAcls', 'IgnorePublicAcls'],
  ...['BlockPublicPolicy', 'RestrictPublicBuckets'],
])
/** Elements that mean something even when they are empty. */
const OBJECTS = new Set(['Filter', 'And', 'S3Key'])

/** The root of each document, and the element of which it is a list. */
const ROOTS: Readonly<Record<Exclude<DocumentName, 'policy'>, readonly [root: string, item?: string]>> = {
  lifecycle: ['LifecycleConfiguration', 'Rule'],
  cors: ['CORSConfiguration', 'CORSRule'],
  tagging: ['Tagging', 'TagSet'],
  website: ['WebsiteConfiguration'],
  encryption: ['ServerSideEncryptionConfiguration'],
  notification: ['NotificationConfiguration'],
  'object-lock': ['ObjectLockConfiguration'],
  publicAccessBlock: ['PublicAccessBlockConfiguration'],
  ownershipControls: ['OwnershipControls'],
}

export type Form = 'json' | 'xml'

/** @throws Error with a sentence that says why it cannot be read */
export function readDocument(name: DocumentName, form: Form, text: string): Value | undefined {
  if (text.trim() === '') return undefined
  if (form === 'json' || name === 'policy') {
    const value = withoutNull(JSON.parse(text))
    if (typeof value === 'object') return value
    throw new Error(t('form.no-object'))
  }
  const document = parseXml(text)
  const [problem] = document.getElementsByTagName('parsererror')
  if (problem) throw new Error((problem.textContent ?? '').trim())
  const [root, item] = ROOTS[name]
  const { documentElement } = document
  if (documentElement.localName !== root) throw new Error(t('form.other-root', { root }))
  if (name === 'lifecycle') return [...documentElement.children].map(fieldsOf)
  const value = fieldsOf(documentElement)
  return item === undefined ? value : (value[item] ?? [])
}

/** The text of a value; undefined is the empty text, which removes the setting. */
export function writeDocument(name: DocumentName, form: Form, value: Value | undefined): string {
  if (value === undefined) return ''
  if (form === 'json' || name === 'policy') return JSON.stringify(value, undefined, 2)
  const [root, item] = ROOTS[name]
  const content = item === undefined ? fieldsXml(value as Fields, '  ') : elementsXml(item, value, '  ')
  return `<${root}>\n${content}</${root}>\n`
}

/** The admin API says null for what is not there. */
function withoutNull(value: unknown): Value {
  if (Array.isArray(value)) return value.map(withoutNull)
  if (typeof value !== 'object' || value === null) return value as Value
  const entries = Object.entries(value).filter(([, each]) => each !== null)
  return Object.fromEntries(entries.map(([name, each]) => [name, withoutNull(each)]))
}

function fieldsOf(element: Element): Fields {
  const fields: Fields = {}
  for (const child of element.children) {
    const { localName: name } = child
    const value = valueIn(child)
    if (!LISTS.has(name)) fields[name] = value
    else fields[name] = [...((fields[name] as Value[] | undefined) ?? []), value]
  }
  return fields
}

function valueIn(element: Element): Value {
  const { localName: name, children } = element
  if (WRAPPERS[name] !== undefined) return [...children].map(fieldsOf)
  if (children.length > 0 || OBJECTS.has(name)) return fieldsOf(element)
  const text = element.textContent ?? ''
  if (NUMBERS.has(name) && /^\s*\d+\s*$/.test(text)) return Number(text)
  return FLAGS.has(name) ? text.trim() === 'true' : text
}

function fieldsXml(fields: Fields, indent: string): string {
  return Object.entries(fields)
    .map(([name, value]) => elementsXml(name, value, indent))
    .join('')
}

function elementsXml(name: string, value: Value, indent: string): string {
  const inner = WRAPPERS[name]
  if (Array.isArray(value) && inner === undefined)
    return value.map((each) => elementsXml(name, each, indent)).join('')
  if (!isFields(value) && !Array.isArray(value))
    return `${indent}<${name}>${escapeXml(String(value))}</${name}>\n`
  const content = Array.isArray(value)
    ? value.map((each) => elementsXml(inner!, each, `${indent}  `)).join('')
    : fieldsXml(value, `${indent}  `)
  return `${indent}<${name}>\n${content}${indent}</${name}>\n`
}
