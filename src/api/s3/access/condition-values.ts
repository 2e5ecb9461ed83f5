import { isoDate, parseIsoDate } from '../../http/date.js'
import { percentDecode } from '../../http/uri.js'
import { S3Error } from '../errors.js'
import type { S3Operation } from '../operations.js'
import { PAYLOAD_HASH_OF } from '../signature/verifier.js'
import { ANONYMOUS_USER_ID, EXISTING_TAG, LOCATION, REQUEST_LOCK } from './policy/condition-keys.js'
import type { ConditionValues } from './policy/conditions.js'
import type { Question, RequestedLock } from './question.js'

/** What a condition may look at beside the head of the request. */
export interface ConditionFacts {
  /** The tags that the object has. */
  existing?: Readonly<Record<string, string>>
  /** The tags that the request sets. */
  requested?: Readonly<Record<string, string>>
  /** The lock in the request's document, of which no header speaks. */
  lock?: RequestedLock
  /** The region in the document of CreateBucket. */
  location?: string
}

/** The parts of a question that conditions look at. */
type Asked = Pick<Question, 'request' | 'caller' | 'need' | 'action' | 'key'>

const SET_TAG = 's3:requestobjecttag/'

const WRITES = /^s3:(?:Put|Delete|CreateBucket$)/

/** Condition keys that have the value of the header of the same name, in requests that write. */
const HEADER_KEYS: ReadonlySet<string> = new Set([
  'x-amz-acl',
  'x-amz-grant-full-control',
  'x-amz-grant-read',
  'x-amz-grant-read-acp',
  'x-amz-grant-write',
  'x-amz-grant-write-acp',
  'x-amz-metadata-directive',
  'x-amz-object-ownership',
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-aws-kms-key-id',
  'x-amz-server-side-encryption-customer-algorithm',
  'x-amz-storage-class',
  'x-amz-website-redirect-location',
  'if-match',
  'if-none-match',
])

/** Whether an object comes to be by an operation that needs s3:PutObject; an upload in parts makes it when it is completed. */
const CREATES_OBJECT: Partial<Record<S3Operation, 'true' | 'false'>> = {
  PutObject: 'true',
  PostObject: 'true',
  CopyObject: 'true',
  CompleteMultipartUpload: 'true',
  CreateMultipartUpload: 'false',
  UploadPart: 'false',
  UploadPartCopy: 'false',
}

/** Longest value of a request that a condition or a policy variable looks at, in characters: browsers' longest Referer. */
export const CONDITION_VALUE_MAX = 4096

/**
 * The values that the conditions of a policy see. A value longer than CONDITION_VALUE_MAX refuses the request
 * when a policy asks for it: cut off, it could pass a condition that the whole value fails.
 * @throws S3Error RequestHeaderSectionTooLarge, InvalidTag (by the function that is returned)
 */
export function conditionValues(question: Asked, facts: ConditionFacts): ConditionValues {
  return (key) => {
    const values = conditionValue(question, facts, key)
    if (typeof values !== 'string') return values
    if (values.length > CONDITION_VALUE_MAX) {
      throw new S3Error(
        'RequestHeaderSectionTooLarge',
        `A policy asks for ${key}, of which it sees ${CONDITION_VALUE_MAX} characters at most.`,
      )
    }
    return [values]
  }
}

function conditionValue(
  { request, caller, need, action, key: objectKey }: Asked,
  facts: ConditionFacts,
  name: string,
): string | readonly string[] | undefined {
  if (name.startsWith(EXISTING_TAG)) return tagValue(facts.existing, name.slice(EXISTING_TAG.length))
  if (name.startsWith(SET_TAG)) return requestedTag(facts.requested, name.slice(SET_TAG.length))
  if (name === 's3:requestobjecttagkeys') return facts.requested && Object.keys(facts.requested)
  switch (name) {
    case 'aws:currenttime':
      return isoDate(request.timeMs)
    case 'aws:epochtime':
      return String(Math.floor(request.timeMs / 1000))
    case 'aws:principaltype':
      return caller ? 'User' : 'Anonymous'
    case 'aws:principalarn':
      return caller && `arn:aws:iam:::user/${caller.id}`
    case 'aws:referer':
      return request.header('referer')
    case 'aws:securetransport':
      return String(request.secure)
    case 'aws:sourceip':
      return request.remoteAddress
    case 'aws:useragent':
      return request.header('user-agent')
    case 'aws:userid':
      return caller ? caller.id : ANONYMOUS_USER_ID
    case 'aws:username':
      return caller?.name
    case 's3:authtype':
      if (request.auth.kind !== 'key') return undefined
      if (request.auth.presigned) return 'REST-QUERY-STRING'
      return isForm(request) ? 'POST' : 'REST-HEADER'
    case 's3:signatureversion':
      return caller && (request.auth.kind === 'key' && request.auth.isV2 ? 'AWS' : 'AWS4-HMAC-SHA256')
    case 's3:signatureage':
      return signatureAge(request)
    case 's3:x-amz-content-sha256':
      return payloadHash(request)
    case LOCATION:
      return facts.location
    case 's3:tlsversion':
      return request.tlsVersion
    case 's3:objectcreationoperation':
      return CREATES_OBJECT[request.operation]
    case 's3:versionid':
      return need.versionId ?? (need.key === undefined ? request.query.get('versionId') : undefined)
    case 's3:delimiter':
    case 's3:max-keys':
      return action.startsWith('s3:ListBucket') ? request.query.get(name.slice(3)) : undefined
    case 's3:prefix':
      // The question whether a caller may learn that a key is missing is put as a listing of that key.
      if (!action.startsWith('s3:ListBucket')) return undefined
      return objectKey ?? request.query.get('prefix')
  }
  if (need.requestLock && action === need.action && name.startsWith(REQUEST_LOCK)) {
    return lockValue(facts.lock ?? {}, name, request.timeMs)
  }
  if (!WRITES.test(action)) return undefined
  if (name === 's3:x-amz-copy-source') return copySource(request.header('x-amz-copy-source'))
  if (name.startsWith(REQUEST_LOCK)) return lockValue(headerLock(request), name, request.timeMs)
  return HEADER_KEYS.has(name.slice(3)) ? request.header(name.slice(3)) : undefined
}

/** Whether the request is an upload by a form: a PutObject otherwise has the method PUT. */
function isForm({ method, operation }: Question['request']): boolean {
  return method === 'POST' && operation === 'PutObject'
}

/**
 * What the signature says of the body. Signature V4 covers a body or says that it does not, which URLs do without the header; a
 * header beside what was signed counts for nothing. V2 and forms say nothing of it.
 */
function payloadHash(request: Question['request']): string | undefined {
  const { auth } = request
  if (isForm(request)) return undefined
  if (auth.kind === 'key' && !auth.isV2) return auth.payloadSha256 ?? PAYLOAD_HASH_OF[auth.payloadKind]
  const header = request.headers['x-amz-content-sha256']
  return typeof header === 'string' ? header : undefined
}

function headerLock(request: Question['request']): RequestedLock {
  return {
    mode: request.header('x-amz-object-lock-mode'),
    until: request.header('x-amz-object-lock-retain-until-date'),
    legalHold: request.header('x-amz-object-lock-legal-hold'),
  }
}

function lockValue(
  { mode, until, legalHold }: RequestedLock,
  name: string,
  nowMs: number,
): string | undefined {
  switch (name) {
    case 's3:object-lock-mode':
      return mode
    case 's3:object-lock-legal-hold':
      return legalHold
    case 's3:object-lock-retain-until-date':
      return until
  }
  const untilMs = parseIsoDate(until ?? '')
  return untilMs === undefined ? undefined : String(Math.floor((untilMs - nowMs) / 86_400_000))
}

/** Condition keys are in lower case, tags are not: the first tag that fits counts. */
function tagValue(tags: Readonly<Record<string, string>> | undefined, lowerName: string): string | undefined {
  for (const name in tags) if (name.toLowerCase() === lowerName) return tags[name]
  return undefined
}

/**
 * Two tags whose names differ in case alone have one condition key, and a condition that sees one of them passes the other.
 * @throws S3Error InvalidTag if the request sets two that fit
 */
function requestedTag(
  tags: Readonly<Record<string, string>> | undefined,
  lowerName: string,
): string | undefined {
  const fitting = Object.keys(tags ?? {}).filter((name) => name.toLowerCase() === lowerName)
  if (fitting.length > 1) {
    throw new S3Error(
      'InvalidTag',
      'A policy asks for a tag which the request sets twice, in different case.',
      {
        extra: { TagKey: fitting[1] },
      },
    )
  }
  return tagValue(tags, lowerName)
}

/** "bucket/key" as conditions are written: without a leading slash and without a version. */
function copySource(header: string | undefined): string | undefined {
  if (header === undefined) return undefined
  const question = header.indexOf('?versionId=')
  const path = percentDecode(question < 0 ? header : header.slice(0, question)) ?? header
  return path.startsWith('/') ? path.slice(1) : path
}

/** The age of a presigned URL's signature, in ms. */
function signatureAge({ auth, query, timeMs }: Question['request']): string | undefined {
  if (auth.kind !== 'key' || !auth.presigned) return undefined
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(query.get('X-Amz-Date') ?? '')
  if (!match) return undefined
  const [, y, mo, d, h, mi, s] = match.map(Number)
  return String(timeMs - Date.UTC(y!, mo! - 1, d!, h!, mi!, s!))
}
