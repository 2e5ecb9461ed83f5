/**
 * The policy document of a POST form ("Creating a POST policy" in the API reference): the uploads that the
 * holder of a key allows to anybody who has the form. Names of fields and comparisons ignore case.
 */
import { S3Error } from '../errors.js'

type Condition =
  | { kind: 'eq' | 'starts-with'; field: string; value: string; text: string }
  | { kind: 'content-length-range'; min: number; max: number }

export interface PostPolicy {
  expirationMs: number
  conditions: readonly Condition[]
}

/** A form as the policy sees it. */
export interface PolicyForm {
  /** Values by lower-case names, without the file. `${filename}` in `key` is replaced. */
  fields: ReadonlyMap<string, string>
  /** The key before ${filename} was replaced. */
  keyTemplate: string
  /** The bucket in the request, even if a field of the form names another. */
  bucket: string
}

/**
 * Fields that no condition needs to cover: those that carry the signature, and those that only guard
 * integrity.
 */
const UNCOVERED =
  /^(?:policy|file|x-amz-signature|signature|awsaccesskeyid|x-ignore-.*|x-amz-checksum-.*|x-amz-sdk-checksum-algorithm)$/
const POLICY_BYTES_MAX = 64 * 1024
/** The largest number of types in a Content-Type that is a list. */
const CONTENT_TYPES_MAX = 100

const invalid = (what: string) => new S3Error('InvalidPolicyDocument', `Invalid Policy: ${what}`)
const refused = (what: string) => new S3Error('AccessDenied', `Invalid according to Policy: ${what}`)

/** Reads a policy from its base64 form. @throws S3Error InvalidPolicyDocument */
export function parsePostPolicy(base64: string): PostPolicy {
  if (base64.length > POLICY_BYTES_MAX) throw invalid('it is too long.')
  let document: unknown
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(base64, 'base64'))
    document = JSON.parse(text)
  } catch {
    throw invalid('Invalid JSON.')
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document))
    throw invalid('Invalid JSON.')
  const { expiration, conditions, ...rest } = document as Record<string, unknown>
  const unexpected = Object.keys(rest)[0]
  if (unexpected !== undefined) throw invalid(`Unexpected: '${unexpected}'.`)
  if (expiration === undefined) throw invalid('Policy missing expiration.')
  if (!Array.isArray(conditions)) throw invalid('Policy missing conditions.')
  return { expirationMs: expirationOf(expiration), conditions: conditions.map(parseCondition) }
}

function expirationOf(value: unknown): number {
  const ms = typeof value === 'string' ? expirationMs(value) : Number.NaN
  if (Number.isNaN(ms)) {
    // Only strings are shown: other values may have no text, or be nested too deep to be written.
    const shown = typeof value === 'string' ? `: '${value.slice(0, 100)}'` : ''
    throw invalid(`Invalid 'expiration' value${shown}`)
  }
  return ms
}

const EXPIRATION =
  /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(?:Z|([+-])([01]\d|2[0-3])(?::?([0-5]\d))?)$/

/** A time of ISO 8601 with its zone, as Z or as an offset in numbers, in ms since the epoch; NaN for another text. */
function expirationMs(text: string): number {
  const match = EXPIRATION.exec(text)
  if (!match) return Number.NaN
  const [, local, fraction = '', sign, hours = '0', minutes = '0'] = match
  const offsetMs = (Number(hours) * 60 + Number(minutes)) * 60_000 * (sign === '-' ? -1 : 1)
  return Date.parse(`${local}Z`) + Math.floor(Number(`0.${fraction || '0'}`) * 1000) - offsetMs
}

function parseCondition(condition: unknown): Condition {
  if (Array.isArray(condition)) return parseComparison(condition)
  if (typeof condition !== 'object' || condition === null) {
    throw invalid('Invalid Simple-Condition: Simple-Conditions must be objects.')
  }
  const entries = Object.entries(condition)
  if (entries.length !== 1) {
    throw invalid('Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.')
  }
  const [name, value] = entries[0]!
  if (typeof value !== 'string') {
    throw invalid('Invalid Simple-Condition: value must be a string.')
  }
  const field = name.toLowerCase()
  return { kind: 'eq', field, value, text: `["eq", "$${field}", "${value}"]` }
}

function parseComparison(condition: unknown[]): Condition {
  const [operator, first, second] = condition
  if (typeof operator !== 'string') throw invalid('Invalid Condition: the comparison must be a string.')
  const kind = operator.toLowerCase()
  if (condition.length !== 3) throw invalid(`Invalid Condition: wrong number of arguments to ${kind}.`)
  if (kind === 'content-length-range') {
    const [min, max] = [lengthOf(first), lengthOf(second)]
    if (min > max) throw invalid('Invalid content-length-range: minimum larger than maximum.')
    return { kind, min, max }
  }
  if (kind !== 'eq' && kind !== 'starts-with')
    throw invalid(`Invalid Condition: unknown operation '${kind}'.`)
  if (typeof first !== 'string' || !first.startsWith('$') || typeof second !== 'string') {
    throw invalid(`Invalid Condition: ${kind} takes a field, as "$key", and a string.`)
  }
  const field = first.slice(1).toLowerCase()
  return { kind, field, value: second, text: `["${kind}", "$${field}", "${second}"]` }
}

function lengthOf(value: unknown): number {
  const length = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
  if (typeof length !== 'number' || !Number.isSafeInteger(length) || length < 0) {
    throw invalid('Invalid content-length-range: the limits must be whole numbers, not negative.')
  }
  return length
}

/**
 * Checks a form against its policy.
 * @returns the range that the file's length must be in, in bytes
 * @throws S3Error AccessDenied naming the condition that failed, or a field that no condition covers
 */
export function checkPostPolicy(
  policy: PostPolicy,
  form: PolicyForm,
  nowMs: number,
): { min: number; max: number } {
  if (policy.expirationMs <= nowMs) throw refused('Policy expired.')
  let [min, max] = [0, Number.POSITIVE_INFINITY]
  const covered = new Set<string>()
  for (const condition of policy.conditions) {
    if (condition.kind === 'content-length-range') {
      min = Math.max(min, condition.min)
      max = Math.min(max, condition.max)
      continue
    }
    const { field } = condition
    covered.add(field)
    if (!valuesOf(form, field).some((value) => holds(condition, value))) {
      throw refused(`Policy Condition failed: ${condition.text}`)
    }
  }
  for (const name of ['bucket', ...form.fields.keys()]) {
    if (!covered.has(name) && !UNCOVERED.test(name)) throw refused(`Extra input fields: ${name}`)
  }
  return { min, max }
}

/** The values of a field; one of them must match. A missing field counts as an empty one. */
function valuesOf(form: PolicyForm, field: string): string[] {
  if (field === 'bucket') return [form.bucket]
  const value = form.fields.get(field) ?? ''
  return field === 'key' ? [value, form.keyTemplate] : [value]
}

function holds(condition: Exclude<Condition, { kind: 'content-length-range' }>, value: string): boolean {
  if (condition.kind === 'eq') return value === condition.value
  if (condition.field === 'content-type' && value.includes(',')) {
    // The holder of the key wrote the conditions, but anybody with the form wrote the value.
    const items = value.split(',', CONTENT_TYPES_MAX + 1)
    return items.length <= CONTENT_TYPES_MAX && items.every((item) => item.trim().startsWith(condition.value))
  }
  return value.startsWith(condition.value)
}
