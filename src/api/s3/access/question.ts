import type { AccessKey, Permissions } from '../../../model/buckets/access-keys.js'
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import type { VersionRecord } from '../../../model/versions/record.js'
import type { S3Request } from '../request.js'
import { GRANT_HEADERS } from './acl/headers.js'

/** A request to be decided about. */
export interface Question {
  model: Model
  request: S3Request
  bucket: Bucket
  caller: AccessKey | undefined
  need: Need
  action: string
  key: string | undefined
}

/** The requirement of an operation: one of Garage's permissions and AWS's action. */
export interface Need {
  /** Undefined where the key's permissions in the bucket do not settle the question (lists of objects). */
  permission?: keyof Permissions
  action: string
  /** The object's key, if it is not the request's: a copy's source, one of the keys of DeleteObjects. */
  key?: string
  /** The version of `key`. Without `key`, the request's versionId counts. */
  versionId?: string
  /** The action is part of writing the object, which need not be there yet. */
  ofNewObject?: true
  /**
   * The tags that the request sets, if they are not in x-amz-tagging. Called only if the policy depends on
   * them.
   */
  requestTags?: () => Promise<Record<string, string>> | Record<string, string>
  /**
   * The lock that the request's document sets, where no headers do. Called only if a policy depends on it, perhaps several
   * times.
   */
  requestLock?: () => Promise<RequestedLock>
}

/** Retention and legal hold as a request has them, in the words of S3. */
export interface RequestedLock {
  mode?: string | undefined
  /** A date in ISO 8601, as sent. */
  until?: string | undefined
  legalHold?: string | undefined
}

/** The bucket of an authorized request, and the caller. */
export interface Granted {
  bucket: Bucket
  caller: AccessKey | undefined
  /**
   * The version on which the decision depended (its list, its tags). Use it instead of reading the object
   * again, which may have changed by then. It has its body for GetObject.
   */
  version?: VersionRecord
}

/** The header that sets tags; undefined for a copy that takes along those of its source, which ignores the header. */
export function taggingHeader(request: S3Request): string | undefined {
  const takesAlong =
    request.operation === 'CopyObject' && request.header('x-amz-tagging-directive') !== 'REPLACE'
  return takesAlong ? undefined : request.header('x-amz-tagging')
}

/**
 * The actions that a write also needs, since its headers set an ACL, tags or a lock: the same actions that setting
 * these by themselves needs.
 */
export function impliedBy(request: S3Request, action: string): string[] {
  if (action !== 's3:PutObject') return []
  const has = (name: string) => request.header(name) !== undefined
  const actions: string[] = []
  if (has('x-amz-acl') || GRANT_HEADERS.some(has)) actions.push('s3:PutObjectAcl')
  if (taggingHeader(request) !== undefined) actions.push('s3:PutObjectTagging')
  return [...actions, ...impliedLocks(request, action)]
}

/** The actions of impliedBy that set a lock. */
function impliedLocks(request: S3Request, action: string): string[] {
  if (action !== 's3:PutObject') return []
  const actions: string[] = []
  if (request.header('x-amz-object-lock-mode') !== undefined) actions.push('s3:PutObjectRetention')
  if (request.header('x-amz-object-lock-legal-hold') !== undefined) actions.push('s3:PutObjectLegalHold')
  return actions
}
