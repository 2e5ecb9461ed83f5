import { S3Error } from '../../errors.js'
import { type AddressRange, inRange, parseAddress, parseRange } from './ip.js'
import { compilePattern, type PatternSyntax, type Variables } from './pattern.js'

/** Whether one value of a request satisfies one value of a policy. */
export type Test = (value: string, variables: Variables) => boolean

interface Operator {
  /** Turned around: true if no value of the policy is satisfied, and if the request has no such key. */
  negated: boolean
  /** @throws S3Error MalformedPolicy */
  compile(value: string, syntax: PatternSyntax): Test
}

const positive = (compile: Operator['compile']): Operator => ({ negated: false, compile })
const negative = (compile: Operator['compile']): Operator => ({ negated: true, compile })

/** The operators by their names in lower case, without set operators and "IfExists". "Null" is apart. */
export const OPERATORS: ReadonlyMap<string, Operator> = new Map([
  ['stringequals', positive(equals)],
  ['stringnotequals', negative(equals)],
  ['stringequalsignorecase', positive(equalsIgnoreCase)],
  ['stringnotequalsignorecase', negative(equalsIgnoreCase)],
  ['stringlike', positive(like)],
  ['stringnotlike', negative(like)],
  ['numericequals', positive(numeric((a, b) => a === b))],
  ['numericnotequals', negative(numeric((a, b) => a === b))],
  ['numericlessthan', positive(numeric((a, b) => a < b))],
  ['numericlessthanequals', positive(numeric((a, b) => a <= b))],
  ['numericgreaterthan', positive(numeric((a, b) => a > b))],
  ['numericgreaterthanequals', positive(numeric((a, b) => a >= b))],
  ['dateequals', positive(date((a, b) => a === b))],
  ['datenotequals', negative(date((a, b) => a === b))],
  ['datelessthan', positive(date((a, b) => a < b))],
  ['datelessthanequals', positive(date((a, b) => a <= b))],
  ['dategreaterthan', positive(date((a, b) => a > b))],
  ['dategreaterthanequals', positive(date((a, b) => a >= b))],
  ['bool', positive(bool)],
  ['binaryequals', positive(binary)],
  ['ipaddress', positive(ip)],
  ['notipaddress', negative(ip)],
  ['arnequals', positive(arn)],
  ['arnnotequals', negative(arn)],
  ['arnlike', positive(arn)],
  ['arnnotlike', negative(arn)],
])

function equals(value: string, syntax: PatternSyntax): Test {
  const pattern = compilePattern(value, { ...syntax, wildcards: false })
  return (actual, variables) => pattern.matches(actual, variables)
}

function equalsIgnoreCase(value: string, syntax: PatternSyntax): Test {
  // A variable's value has its own case: both sides are lowered when they are compared.
  const pattern = compilePattern(value.toLowerCase(), { ...syntax, wildcards: false })
  return (actual, variables) =>
    pattern.matches(actual.toLowerCase(), (name) => variables(name)?.toLowerCase())
}

function like(value: string, syntax: PatternSyntax): Test {
  const pattern = compilePattern(value, { ...syntax, wildcards: true })
  return (actual, variables) => pattern.matches(actual, variables)
}

function numeric(compare: (actual: number, wanted: number) => boolean): Operator['compile'] {
  return (value) => {
    const wanted = parseNumber(value)
    if (wanted === undefined) throw invalidValue(value)
    return (actual) => {
      const number = parseNumber(actual)
      return number !== undefined && compare(number, wanted)
    }
  }
}

function parseNumber(text: string): number | undefined {
  return /^[+-]?\d{1,18}(\.\d{1,18})?$/.test(text.trim()) ? Number(text) : undefined
}

function date(compare: (actual: number, wanted: number) => boolean): Operator['compile'] {
  return (value) => {
    const wanted = parseDate(value)
    if (wanted === undefined) throw invalidValue(value)
    return (actual) => {
      const time = parseDate(actual)
      return time !== undefined && compare(time, wanted)
    }
  }
}

const ISO_DATE = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$/

/** W3C's profile of ISO 8601, or seconds since the epoch; in ms. */
function parseDate(text: string): number | undefined {
  if (/^-?\d{1,12}$/.test(text)) return Number(text) * 1000
  const match = ISO_DATE.exec(text)
  if (!match) return undefined
  // Without a zone it is UTC, not the time zone of the machine.
  const ms = Date.parse(match[1] !== undefined && match[4] === undefined ? `${text}Z` : text)
  return Number.isNaN(ms) ? undefined : ms
}

function bool(value: string): Test {
  const wanted = value.toLowerCase()
  if (wanted !== 'true' && wanted !== 'false') throw invalidValue(value)
  return (actual) => actual.toLowerCase() === wanted
}

function binary(value: string): Test {
  const wanted = Buffer.from(value, 'base64')
  return (actual) => wanted.equals(Buffer.from(actual, 'base64'))
}

function ip(value: string): Test {
  const range: AddressRange | undefined = parseRange(value)
  if (!range) throw invalidValue(value)
  return (actual) => {
    const address = parseAddress(actual)
    return address !== undefined && inRange(range, address.bytes)
  }
}

/** The six parts of an ARN are compared one by one: a wildcard does not go beyond its colons. */
function arn(value: string, syntax: PatternSyntax): Test {
  const patterns = arnParts(value).map((part) => compilePattern(part, { ...syntax, wildcards: true }))
  return (actual, variables) => {
    const parts = arnParts(actual)
    return (
      parts.length === patterns.length &&
      patterns.every((pattern, i) => pattern.matches(parts[i]!, variables))
    )
  }
}

function arnParts(text: string): string[] {
  const parts = text.split(':')
  return parts.length <= 6 ? parts : [...parts.slice(0, 5), parts.slice(5).join(':')]
}

function invalidValue(value: string): S3Error {
  return new S3Error('MalformedPolicy', `Invalid value in condition: ${value.slice(0, 100)}`)
}
