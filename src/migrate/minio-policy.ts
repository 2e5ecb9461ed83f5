/** What a MinIO user may do in a bucket as a whole, by the policies that it has. */
import { compilePattern } from '../api/s3/access/policy/pattern.js'

export interface PolicyDocument {
  Statement?: PolicyStatement[]
}
export interface PolicyStatement {
  Effect?: string
  Action?: string | string[]
  NotAction?: string | string[]
  Resource?: string | string[]
  NotResource?: string | string[]
  Condition?: Record<string, unknown>
}

export interface BucketRights {
  read: boolean
  write: boolean
  owner: boolean
}

const ARN = 'arn:aws:s3:::'
/** A key that stands for all: no pattern means just this one. */
const ANY_KEY = '\u{10ffff}any key\u{10ffff}'
/** What each permission needs, in the bucket itself or in each of its objects. */
const NEEDED: Record<keyof BucketRights, readonly (readonly [action: string, ofObjects: boolean])[]> = {
  read: [
    ['s3:GetObject', true],
    ['s3:ListBucket', false],
  ],
  write: [
    ['s3:PutObject', true],
    ['s3:DeleteObject', true],
  ],
  owner: [
    ['s3:PutBucketPolicy', false],
    ['s3:DeleteBucket', false],
    ['s3:GetObject', true],
    ['s3:PutObject', true],
  ],
}

/**
 * The permissions that hold for all of a bucket. Nothing that a policy allows for some objects, or on a condition, is among
 * them, and nothing that a statement may deny.
 */
export function rightsIn(policies: readonly PolicyDocument[], bucket: string): BucketRights {
  const statements = policies.flatMap(({ Statement = [] }) => Statement)
  const has = (name: keyof BucketRights) =>
    NEEDED[name].every(([action, ofObjects]) => {
      const resource = `${ARN}${bucket}${ofObjects ? `/${ANY_KEY}` : ''}`
      return (
        statements.some((statement) => isAllow(statement) && fits(statement, action, resource)) &&
        !statements.some((statement) => statement.Effect === 'Deny' && mayDeny(statement, action, bucket))
      )
    })
  return { read: has('read'), write: has('write'), owner: has('owner') }
}

/** Whether a user may create buckets of any name. */
export function createsBuckets(policies: readonly PolicyDocument[]): boolean {
  const statements = policies.flatMap(({ Statement = [] }) => Statement)
  const anyBucket = `${ARN}${ANY_KEY}`
  return (
    statements.some((statement) => isAllow(statement) && fits(statement, 's3:CreateBucket', anyBucket)) &&
    !statements.some(
      ({ Effect, Action }) => Effect === 'Deny' && matchesAny(listOf(Action ?? '*'), 's3:CreateBucket'),
    )
  )
}

const isAllow = ({ Effect, Condition }: PolicyStatement) =>
  Effect === 'Allow' && Object.keys(Condition ?? {}).length === 0

function fits(
  { Action, NotAction, Resource, NotResource }: PolicyStatement,
  action: string,
  resource: string,
): boolean {
  if (Action === undefined || NotAction !== undefined || NotResource !== undefined) return false
  return matchesAny(listOf(Action), action) && matchesAny(listOf(Resource ?? []), resource)
}

/** Whether a statement may be about something in a bucket, to be on the safe side. */
function mayDeny(
  { Action, NotAction, Resource, NotResource }: PolicyStatement,
  action: string,
  bucket: string,
): boolean {
  const isOther = Action !== undefined && !matchesAny(listOf(Action), action)
  if (isOther && NotAction === undefined) return false
  if (NotResource !== undefined || Resource === undefined) return true
  return listOf(Resource).some((pattern) => {
    const name = pattern.startsWith(ARN) ? pattern.slice(ARN.length) : pattern
    return matchesAny([name.split('/')[0]!], bucket)
  })
}

export const listOf = (value: string | string[]) => (Array.isArray(value) ? value : [value])

/** Whether a pattern with * and ?, as policies have them, matches a text. */
export function globMatches(pattern: string, text: string): boolean {
  return compilePattern(pattern, { wildcards: true, variables: false }).matches(text, () => undefined)
}

const matchesAny = (patterns: readonly string[], text: string) =>
  patterns.some((pattern) => globMatches(pattern, text))
