/**
 * What a MinIO user may do in parts of a bucket, or on conditions, as statements of a policy of that bucket. A statement is taken over
 * where it means the same here, or less; what would mean more, or is not known to mean the same, is left out, and told.
 */
import { globMatches, listOf, type PolicyDocument, type PolicyStatement } from './minio-policy.js'

/** A statement without its principal. */
export type BucketStatement = Pick<PolicyStatement, 'Effect' | 'Action' | 'Resource' | 'Condition'>

const ARN = 'arn:aws:s3:::'
const USERNAME = /\$\{aws:username\}/g
/** What MinIO has of S3's actions, so that a pattern allows nothing that only this store has, as lists that make objects public. */
const OF_OBJECTS = namesOf(
  'AbortMultipartUpload BypassGovernanceRetention DeleteObject DeleteObjectTagging DeleteObjectVersion DeleteObjectVersionTagging GetObject',
  'GetObjectAttributes GetObjectLegalHold GetObjectRetention GetObjectTagging GetObjectVersion GetObjectVersionAttributes',
  'GetObjectVersionTagging ListMultipartUploadParts PutObject PutObjectLegalHold PutObjectRetention PutObjectTagging',
  'PutObjectVersionTagging',
)
const LISTING = namesOf('GetBucketLocation ListBucket ListBucketMultipartUploads ListBucketVersions')
const OF_BUCKETS = [
  ...LISTING,
  ...namesOf(
    'DeleteBucket DeleteBucketPolicy GetBucketCORS GetBucketNotification GetBucketObjectLockConfiguration GetBucketPolicy',
    'GetBucketPolicyStatus GetBucketTagging GetBucketVersioning GetEncryptionConfiguration GetLifecycleConfiguration PutBucketCORS',
    'PutBucketNotification PutBucketObjectLockConfiguration PutBucketPolicy PutBucketTagging PutBucketVersioning',
    'PutEncryptionConfiguration PutLifecycleConfiguration',
  ),
]
/** MinIO asks for the same action whether a version is named or not. */
const IMPLIED: Readonly<Record<string, string>> = {
  's3:GetObject': 's3:GetObjectVersion',
  's3:GetObjectTagging': 's3:GetObjectVersionTagging',
  's3:DeleteObject': 's3:DeleteObjectVersion',
  's3:ListBucket': 's3:ListBucketVersions',
}
/** What permissions of a key allow, in all of the bucket: statements that allow no more are not needed. */
const COVERED = {
  read: [...LISTING, ...namesOf('GetObject GetObjectTagging GetObjectVersion GetObjectVersionTagging')],
  write: namesOf('AbortMultipartUpload DeleteObject DeleteObjectVersion PutObject PutObjectTagging'),
}

function namesOf(...lists: string[]): string[] {
  return lists.flatMap((list) => list.split(' ').map((name) => `s3:${name}`))
}

const CONDITION_KEYS = new Set([
  'aws:sourceip',
  'aws:securetransport',
  'aws:currenttime',
  'aws:epochtime',
  's3:prefix',
  's3:delimiter',
  's3:max-keys',
])
const CONDITION_OPERATORS =
  /^(String(Not)?(Equals|EqualsIgnoreCase|Like)|(Not)?IpAddress|Bool|(Date|Numeric)(Equals|NotEquals|LessThan|LessThanEquals|GreaterThan|GreaterThanEquals))$/

export interface Statements {
  statements: BucketStatement[]
  /** Whether they say all that the policies say of the bucket. */
  isWhole: boolean
}

/**
 * The statements about a bucket of the policies of a user.
 * @param groups policies that each must allow by itself what is done: a user's own, and those of an access key
 * @param username the value of the policy variable aws:username
 * @param rights the permissions that the user's key gets in the bucket
 */
export function statementsIn(
  groups: readonly (readonly PolicyDocument[])[],
  bucket: string,
  username: string,
  rights: { read: boolean; write: boolean; owner: boolean },
): Statements {
  // Of several groups one counts alone if the others allow everything; a denial counts in each.
  const limited = groups.filter((group) => !allowsAll(group))
  const found = limited.map((group) => translated(group, bucket, username))
  const all = found.flatMap(({ statements }) => statements)
  const denials = all.filter(({ Effect }) => Effect === 'Deny')
  const permits = all.filter((statement) => statement.Effect === 'Allow' && !isCovered(statement, rights))
  const losesDenial = found.some(({ isDenialLost }) => isDenialLost)
  const isWhole = found.every((each) => each.isWhole)
  if (permits.length > 0 && (limited.length > 1 || losesDenial))
    return { statements: denials, isWhole: false }
  // Whoever gets nothing needs no denial.
  const hasRights = rights.read || rights.write || rights.owner || permits.length > 0
  return { statements: hasRights ? [...permits, ...denials] : [], isWhole }
}

function allowsAll(group: readonly PolicyDocument[]): boolean {
  const statements = group.flatMap(({ Statement = [] }) => Statement)
  return (
    statements.every(({ Effect }) => Effect === 'Allow') &&
    statements.some(
      ({ Action = [], Resource = [], Condition = {} }) =>
        Object.keys(Condition).length === 0 &&
        listOf(Action).some((action) => action === 's3:*' || action === '*') &&
        listOf(Resource).some((resource) => resource === '*' || resource === `${ARN}*`),
    )
  )
}

function isCovered(
  { Action }: BucketStatement,
  { read, write, owner }: { read: boolean; write: boolean; owner: boolean },
): boolean {
  if (read && write && owner) return true
  const covered = [...(read ? COVERED.read : []), ...(write ? COVERED.write : [])]
  return listOf(Action ?? []).every((name) => covered.includes(name))
}

interface Translated extends Statements {
  isDenialLost: boolean
}

function translated(policies: readonly PolicyDocument[], bucket: string, username: string): Translated {
  const result: Translated = { statements: [], isWhole: true, isDenialLost: false }
  for (const statement of policies.flatMap(({ Statement = [] }) => Statement)) {
    const made = ofStatement(statement, bucket, username)
    if (made) result.statements.push(...made)
    else {
      result.isWhole = false
      if (statement.Effect !== 'Allow') result.isDenialLost = true
    }
  }
  return result
}

/** What a statement means in a bucket; undefined if that cannot be said in a policy of the bucket. */
function ofStatement(
  statement: PolicyStatement,
  bucket: string,
  username: string,
): BucketStatement[] | undefined {
  const { Effect, Action, NotAction, Resource, NotResource, Condition = {} } = statement
  const denies = Effect !== 'Allow'
  const place = resourcesIn(listOf(Resource ?? []), bucket, username, denies)
  if (place && place.objects.length + place.buckets.length === 0 && NotResource === undefined) return []
  if (Action !== undefined && NotAction === undefined && !matchesOne([...OF_OBJECTS, ...OF_BUCKETS], Action))
    return []
  const conditions = conditionsOf(Condition, username)
  if (
    !place ||
    !conditions ||
    NotResource !== undefined ||
    (Action === undefined) === (NotAction === undefined)
  )
    return undefined
  const allowed = (names: readonly string[]) => {
    const found = names.filter((name) =>
      NotAction === undefined ? matchesOne([name], Action!) : !matchesOne([name], NotAction),
    )
    return [...new Set(found.flatMap((name) => [name, ...(IMPLIED[name] ? [IMPLIED[name]] : [])]))]
  }
  const more = Object.keys(conditions).length > 0 ? { Condition: conditions } : {}
  const made = (actions: readonly string[], resources: readonly string[]): BucketStatement[] =>
    actions.length === 0 || resources.length === 0
      ? []
      : [{ Effect: denies ? 'Deny' : 'Allow', Action: [...actions], Resource: [...resources], ...more }]
  const bucketsToo = place.isAllObjects ? [ARN + bucket] : []
  return [
    ...made(allowed(OF_OBJECTS), place.objects),
    ...made(allowed(OF_BUCKETS), denies ? [...place.buckets, ...bucketsToo] : place.buckets),
    ...(denies ? [] : made(allowed(LISTING), bucketsToo)),
  ]
}

function matchesOne(names: readonly string[], patterns: string | string[]): boolean {
  return listOf(patterns).some((pattern) =>
    names.some((name) => globMatches(pattern.toLowerCase(), name.toLowerCase())),
  )
}

/**
 * The resources of a statement that are in a bucket; undefined if one may be, and cannot be named so.
 * @param denies whether the statement must not say less than MinIO makes of it
 */
function resourcesIn(
  patterns: readonly string[],
  bucket: string,
  username: string,
  denies: boolean,
): { objects: string[]; buckets: string[]; isAllObjects: boolean } | undefined {
  const [objects, buckets]: [string[], string[]] = [[], []]
  let isAllObjects = false
  for (const pattern of patterns) {
    const path = withUsername(pattern === '*' ? pattern : pattern.replace(ARN, ''), username)
    if (path === undefined) return undefined
    const [name = ''] = path.split('/')
    if (!globMatches(name, bucket)) {
      const [start = ''] = path.split(/[*?]/)
      if (start !== path && `${bucket}/`.startsWith(start)) return undefined
      continue
    }
    if (globMatches(path, bucket)) buckets.push(ARN + bucket)
    // MinIO looks at a bucket as at a folder: whoever names all that is in it names the bucket.
    else if (globMatches(path, `${bucket}/`)) isAllObjects = true
    if (path === bucket) continue
    objects.push(ARN + path)
    if (denies && !/[*?]/.test(path)) objects.push(`${ARN}${path}/`)
  }
  return { objects, buckets, isAllObjects }
}

/** A text with the variable aws:username filled in; undefined if it has others, or the name cannot stand in a pattern. */
function withUsername(text: string, username: string): string | undefined {
  if (!text.includes('${')) return text
  const filled = text.replace(USERNAME, () => username)
  return filled.includes('${') || /[*?$]/.test(username) ? undefined : filled
}

function conditionsOf(
  condition: Readonly<Record<string, unknown>>,
  username: string,
): Record<string, Record<string, string[]>> | undefined {
  const made: Record<string, Record<string, string[]>> = {}
  for (const [operator, keys] of Object.entries(condition)) {
    if (!CONDITION_OPERATORS.test(operator) || typeof keys !== 'object' || keys === null) return undefined
    const entries: [string, string[]][] = []
    for (const [key, value] of Object.entries(keys)) {
      const values = (Array.isArray(value) ? value : [value]).map((each: unknown) =>
        ['string', 'number', 'boolean'].includes(typeof each)
          ? withUsername(String(each), username)
          : undefined,
      )
      if (!CONDITION_KEYS.has(key.toLowerCase()) || values.includes(undefined)) return undefined
      entries.push([key, values as string[]])
    }
    made[operator] = Object.fromEntries(entries)
  }
  return made
}

const VERSION = '2012-10-17'
/** AWS's limit of a bucket policy, in bytes. */
const POLICY_BYTES_MAX = 20 * 1024

/** Statements of a policy, each once, with all keys for which it holds as its principals. */
export function withPrincipals(
  statements: readonly { accessKeyId: string; statement: BucketStatement }[],
): object[] {
  const byText = new Map<string, string[]>()
  for (const { accessKeyId, statement } of statements) {
    const text = JSON.stringify(statement)
    const known = byText.get(text)
    if (known) known.push(accessKeyId)
    else byText.set(text, [accessKeyId])
  }
  return [...byText].map(([text, ids], i) => ({
    Sid: `CarportMigrate${i + 1}`,
    Principal: { AWS: ids },
    ...(JSON.parse(text) as BucketStatement),
  }))
}

/**
 * The policy of a bucket with further statements; undefined if there is nothing to add, or they cannot be added.
 * @param own the policy that the source has for the bucket
 */
export function mergedPolicy(own: string | undefined, statements: readonly object[]): string | undefined {
  let document: { Version?: unknown; Statement?: unknown } = { Version: VERSION }
  try {
    if (own !== undefined) document = JSON.parse(own) as typeof document
  } catch {
    return undefined
  }
  const { Version, Statement = [] } = document
  // An older version has no policy variables, and what looks like one means itself there.
  if (Version !== VERSION) return undefined
  const all = [...(Array.isArray(Statement) ? (Statement as object[]) : [Statement]), ...statements]
  const text = JSON.stringify({ ...document, Version, Statement: all })
  return Buffer.byteLength(text) > POLICY_BYTES_MAX ? undefined : text
}
