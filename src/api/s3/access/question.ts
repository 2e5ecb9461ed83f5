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

/** What an operation needs of the caller: Garage's permission and AWS's action. */
export interface Need {
  /** Undefined: what the key may do in the bucket does not settle it (lists of objects). */
  permission?: keyof Permissions
  action: string
  /** The object it is about, if it is another than the request's (a copy's source, a key of DeleteObjects). */
  key?: string
  /** The version of `key`; without `key`, the request's versionId counts. */
  versionId?: string
  /** The tags that the request sets, where they are not in x-amz-tagging. Asked only if the policy depends on them. */
  requestTags?: () => Promise<Record<string, string>> | Record<string, string>
}

/** A bucket that the caller may do what it asked for in. */
export interface Granted {
  bucket: Bucket
  caller: AccessKey | undefined
  /**
   * The version that the decision was made on, where it was about one (its list, its tags): it is to be used instead
   * of reading the object again, which may be another one by then. Its body is there for GetObject.
   */
  version?: VersionRecord
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
  if (has('x-amz-tagging')) actions.push('s3:PutObjectTagging')
  return [...actions, ...impliedLocks(request, action)]
}

/** Those of the actions of impliedBy that set a lock. */
export function impliedLocks(request: S3Request, action: string): string[] {
  if (action !== 's3:PutObject') return []
  const actions: string[] = []
  if (request.header('x-amz-object-lock-mode') !== undefined) actions.push('s3:PutObjectRetention')
  if (request.header('x-amz-object-lock-legal-hold') !== undefined) actions.push('s3:PutObjectLegalHold')
  return actions
}
