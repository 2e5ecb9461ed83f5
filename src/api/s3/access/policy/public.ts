import { ANONYMOUS_USER_ID } from './condition-keys.js'
import type { Condition } from './conditions.js'
import { parseRange, prefixBits } from './ip.js'
import type { Statement } from './parse.js'

/**
 * Keys whose fixed values make a statement about everybody one about few.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html, "The meaning of public"
 */
const RESTRICTING: readonly string[] = [
  'aws:principalaccount',
  'aws:principalarn',
  'aws:principalorgid',
  'aws:principalorgpaths',
  'aws:sourceaccount',
  'aws:sourcearn',
  'aws:sourceorgid',
  'aws:sourceorgpaths',
  'aws:sourceowner',
  'aws:sourcevpc',
  'aws:sourcevpce',
  'aws:userid',
  'aws:username',
  's3:dataaccesspointaccount',
  's3:dataaccesspointarn',
  's3:x-amz-server-side-encryption-aws-kms-key-id',
]

const FIXING = /^(ForAnyValue:)?(StringEquals|StringEqualsIgnoreCase|StringLike|ArnEquals|ArnLike)$/i
/** Wider ranges of addresses are as good as all. */
const V4_BITS_MIN = 8
const V6_BITS_MIN = 32

/** Whether a statement grants something to everybody. */
export function isPublicStatement({ effect, principals, conditions }: Statement): boolean {
  return effect === 'Allow' && principals.everyone && !conditions.some(restricts)
}

function restricts({ key, operator, values }: Condition): boolean {
  if (key === 'aws:sourceip') {
    return /^(ForAnyValue:)?IpAddress$/i.test(operator) && values.every(isNarrow)
  }
  const isFixed = (value: string) => !/[*?]|\$\{/.test(value) && !isAnonymous(key, value)
  return RESTRICTING.includes(key) && FIXING.test(operator) && values.every(isFixed)
}

/** Whether it is the id that everybody has who signs nothing. */
function isAnonymous(key: string, value: string): boolean {
  return key === 'aws:userid' && value.toLowerCase() === ANONYMOUS_USER_ID
}

function isNarrow(value: string): boolean {
  const range = parseRange(value)
  return range !== undefined && prefixBits(range) >= (range.version === 4 ? V4_BITS_MIN : V6_BITS_MIN)
}
