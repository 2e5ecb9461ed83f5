/**
 * Authorizes requests that the permissions of the caller's key alone do not settle: bucket policies, access
 * control lists, anonymous callers. As in AWS, an explicit deny of the policy comes first, then anything that
 * allows.
 */

import type { AccessKey, Permissions } from '../../../model/buckets/access-keys.js'
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { AclPermission, Grant } from '../../../model/buckets/documents.js'
import type { VersionSelector } from '../../../model/versions/objects.js'
import type { VersionRecord } from '../../../model/versions/record.js'
import { S3Error } from '../errors.js'
import { versionIdText } from '../version-id.js'
import { aclAllows, storedAcl } from './acl/acl.js'
import { isMember, objectOwnership, publicAccessBlock } from './acl/ownership.js'
import { type ConditionFacts, conditionValues } from './condition-values.js'
import { Policy } from './policy/policy.js'
import { type Granted, impliedBy, type Question, taggingHeader } from './question.js'

/** Actions that the bucket's list can allow, with the permission that they need. */
const BUCKET_ACL: Readonly<Record<string, AclPermission>> = {
  's3:ListBucket': 'READ',
  's3:ListBucketVersions': 'READ',
  's3:ListBucketMultipartUploads': 'READ',
  's3:PutObject': 'WRITE',
  's3:DeleteObject': 'WRITE',
  's3:AbortMultipartUpload': 'WRITE',
  's3:ListMultipartUploadParts': 'WRITE',
  's3:GetBucketAcl': 'READ_ACP',
  's3:PutBucketAcl': 'WRITE_ACP',
}

/** Actions that the object's list can allow, with the permission that they need. */
const OBJECT_ACL: Readonly<Record<string, AclPermission>> = {
  's3:GetObject': 'READ',
  's3:GetObjectVersion': 'READ',
  's3:GetObjectAttributes': 'READ',
  's3:GetObjectVersionAttributes': 'READ',
  's3:GetObjectTorrent': 'READ',
  's3:GetObjectAcl': 'READ_ACP',
  's3:GetObjectVersionAcl': 'READ_ACP',
  's3:PutObjectAcl': 'WRITE_ACP',
  's3:PutObjectVersionAcl': 'WRITE_ACP',
}

/** Actions decided without looking up the object. */
const NEEDS_NO_OBJECT: ReadonlySet<string> = new Set([
  's3:BypassGovernanceRetention',
  's3:PutObject',
  's3:DeleteObject',
  's3:DeleteObjectVersion',
  's3:AbortMultipartUpload',
  's3:ListMultipartUploadParts',
])

const OWNERS_ALWAYS: ReadonlySet<string> = new Set([
  's3:GetBucketPolicy',
  's3:PutBucketPolicy',
  's3:DeleteBucketPolicy',
])

const NOTHING: ReadonlySet<string> = new Set()
/** Whoever writes by a list owns the object, and so its ACL. */
const OWN_BY_LIST: ReadonlySet<string> = new Set(['s3:PutObjectAcl'])

/** Compiled policies. A bucket that changes becomes another object, so an entry never goes stale. */
const policies = new WeakMap<Bucket, Policy>()

/** The bucket's policy, undefined if it has none. @throws S3Error AccessDenied if this version cannot read it */
export function policyOf(bucket: Bucket): Policy | undefined {
  const document = bucket.document('policy')
  if (document === undefined) return undefined
  let policy = policies.get(bucket)
  if (!policy) {
    try {
      policy = new Policy(document.text, document.bucket)
    } catch (cause) {
      // A newer version of the program stored the policy: this one cannot know what it forbids.
      throw new S3Error('AccessDenied', 'The bucket policy cannot be read.', { cause })
    }
    policies.set(bucket, policy)
  }
  return policy
}

/**
 * Decides by the key's permissions, the policy and the access control lists.
 * @throws S3Error AccessDenied; NoSuchKey, NoSuchVersion where the caller may know
 */
export async function decide(question: Question): Promise<Granted> {
  return new Decision(question).run()
}

/**
 * Whether a caller may delete any key of a bucket, as far as that can be told without the keys: asked before a document
 * that names them is read. @throws S3Error AccessDenied
 */
export function checkMayDelete(bucket: Bucket, caller: AccessKey | undefined): void {
  if (caller?.permissions.get(bucket.hexId)?.write) return
  const policy = policyOf(bucket)
  const actions = ['s3:DeleteObject', 's3:DeleteObjectVersion']
  if (policy && actions.some((action) => policy.mayAllow(action, caller?.id))) return
  if (!listAllows(bucket, caller?.id, 'WRITE')) throw denied()
}

/**
 * Whether the key's permissions, or any statement of the policy, can allow what is asked: before a body is read on which the
 * answer depends. @throws S3Error AccessDenied if this version cannot read the policy
 */
export function mayBeAllowed({ bucket, caller, need, action }: Question): boolean {
  if (need.permission !== undefined && caller?.permissions.get(bucket.hexId)?.[need.permission]) return true
  return policyOf(bucket)?.mayAllow(action, caller?.id) === true
}

/** Whether the bucket's list allows something to others than its owner, whose rights are the key's permissions. */
function listAllows(bucket: Bucket, callerId: string | undefined, permission: AclPermission): boolean {
  const stored = storedAcl(bucket.document('acl'))
  if (!stored || objectOwnership(bucket) === 'BucketOwnerEnforced') return false
  const others = { grants: stored.grants.filter(({ grantee }) => grantee !== bucket.owner) }
  return aclAllows(others, callerId, permission, publicAccessBlock(bucket).ignorePublicAcls)
}

class Decision {
  readonly #permissions: Permissions | undefined
  readonly #facts: ConditionFacts = {}
  readonly #enforced: boolean
  #policy: Policy | undefined
  #version: Promise<VersionRecord | undefined> | undefined

  constructor(private readonly q: Question) {
    this.#permissions = q.caller?.permissions.get(q.bucket.hexId)
    this.#enforced = objectOwnership(q.bucket) === 'BucketOwnerEnforced'
  }

  async run(): Promise<Granted> {
    const { bucket, caller, need, action } = this.q
    const granted: Granted = { bucket, caller }
    if (this.#permissions?.owner && OWNERS_ALWAYS.has(action)) return granted
    this.#policy = policyOf(bucket)
    const verdict = await this.#askPolicy()
    if (verdict === 'deny' || this.#deniesImplied()) throw denied()
    if (need.permission !== undefined && this.#permissions?.[need.permission])
      return this.#withVersion(granted)
    const allowed = verdict === 'allow' && !this.#isRestricted()
    if (this.q.key === undefined || NEEDS_NO_OBJECT.has(action) || need.ofNewObject) {
      if (allowed && this.#allowsImplied(NOTHING)) return granted
      if (this.#bucketListAllows(action) && this.#allowsImplied(OWN_BY_LIST)) return granted
      throw denied()
    }
    // A caller who may list the bucket may learn that an object is missing; to others it looks like one that
    // they may not read.
    if (allowed && this.#mayList()) return this.#withVersion(granted)
    const version = await this.#load()
    if (version?.state !== 'object') throw this.#mayList() ? this.#missing(version) : denied()
    if (allowed || this.#objectListAllows(version)) return this.#withVersion(granted)
    throw denied()
  }

  async #askPolicy(): Promise<'deny' | 'allow' | 'none'> {
    const { request, need, action, key } = this.q
    const policy = this.#policy
    if (!policy) return 'none'
    if (
      key !== undefined &&
      !NEEDS_NO_OBJECT.has(action) &&
      !need.ofNewObject &&
      policy.needsExistingTags(action)
    ) {
      const version = await this.#load()
      this.#facts.existing = version?.mutable.tags?.[1] ?? {}
    }
    if ([action, ...impliedBy(request, action)].some((asked) => policy.needsRequestTags(asked))) {
      // The body is not read for a caller whom no statement can allow the action.
      if (need.requestTags && !mayBeAllowed(this.q)) throw denied()
      this.#facts.requested = (await need.requestTags?.()) ?? this.#headerTags()
    }
    if (need.requestLock && policy.needsRequestLock(action)) {
      if (!mayBeAllowed(this.q)) throw denied()
      this.#facts.lock = await need.requestLock()
    }
    return this.#evaluate(action, key)
  }

  #evaluate(action: string, key: string | undefined, question: Question = this.q): 'deny' | 'allow' | 'none' {
    if (!this.#policy) return 'none'
    return this.#policy.evaluate({
      principal: this.q.caller?.id,
      action,
      key,
      values: conditionValues({ ...question, action }, this.#facts),
    })
  }

  /** Denies a write that also sets an ACL, tags or a lock where the policy denies setting these by themselves. */
  #deniesImplied(): boolean {
    const { request, action, key } = this.q
    if (!this.#policy) return false
    return impliedBy(request, action).some((implied) => this.#evaluate(implied, key) === 'deny')
  }

  /**
   * Whether the policy allows all that a write does beside writing: setting an ACL, tags or a lock.
   * @param otherwise actions that need no such word
   */
  #allowsImplied(otherwise: ReadonlySet<string>): boolean {
    const { request, action, key } = this.q
    return impliedBy(request, action).every(
      (implied) =>
        otherwise.has(implied) || (this.#evaluate(implied, key) === 'allow' && !this.#isRestricted()),
    )
  }

  #headerTags(): Record<string, string> | undefined {
    const header = taggingHeader(this.q.request)
    return header === undefined ? undefined : Object.fromEntries(new URLSearchParams(header))
  }

  /** RestrictPublicBuckets: a public policy helps only keys that belong to the bucket. */
  #isRestricted(): boolean {
    return (
      publicAccessBlock(this.q.bucket).restrictPublicBuckets &&
      this.#permissions === undefined &&
      this.#policy?.isPublic === true
    )
  }

  #bucketListAllows(action: string): boolean {
    const { bucket, caller } = this.q
    const permission = BUCKET_ACL[action]
    return permission !== undefined && listAllows(bucket, caller?.id, permission)
  }

  #mayList(): boolean {
    if (this.#permissions?.read) return true
    const verdict = this.#evaluate('s3:ListBucket', undefined)
    if (verdict === 'deny') return false
    return (verdict === 'allow' && !this.#isRestricted()) || this.#bucketListAllows('s3:ListBucket')
  }

  #objectListAllows(version: VersionRecord): boolean {
    const { model, bucket, caller, action } = this.q
    const permission = OBJECT_ACL[action]
    if (permission === undefined) return false
    const stored = storedAcl(version.mutable.acl?.[1])
    const id = caller?.id
    if (permission !== 'READ' && this.#permissions) {
      const isForeign = !this.#enforced && stored?.guest === true && !isMember(model, bucket, version.owner)
      const { read, write, owner } = this.#permissions
      const own = write && version.owner === id
      if (!isForeign && (owner || own || (permission === 'READ_ACP' && read))) return true
    }
    if (this.#enforced) return false
    if (permission !== 'READ' && stored?.guest && id === version.owner) return true
    if (!stored) return false
    // As with buckets, the grant that canned lists give to the owner must not outlive the key's permissions.
    const isOwn = (grant: Grant) => grant.grantee === version.owner && grant.permission === 'FULL_CONTROL'
    const acl = stored.guest ? stored : { grants: stored.grants.filter((grant) => !isOwn(grant)) }
    return aclAllows(acl, id, permission, publicAccessBlock(bucket).ignorePublicAcls)
  }

  /** The version that the request names, read at most once; with its content if the answer needs it. */
  #load(): Promise<VersionRecord | undefined> {
    this.#version ??= this.#read()
    return this.#version
  }

  async #read(): Promise<VersionRecord | undefined> {
    const { model, bucket, request, action, key } = this.q
    const selector = this.#selector()
    if (selector === 'invalid') return undefined
    const body = (action === 's3:GetObject' || action === 's3:GetObjectVersion') && request.method !== 'HEAD'
    return model.objects.get(bucket.id, Buffer.from(key!), selector, { body })
  }

  #selector(): VersionSelector | 'invalid' {
    const { need, request } = this.q
    const text = need.versionId ?? (need.key === undefined ? request.query.get('versionId') : undefined)
    if (text === undefined || text === 'null') return text
    return /^[0-9a-f]{32}$/.test(text) ? Buffer.from(text, 'hex') : 'invalid'
  }

  /**
   * Hands the version on, so that the handler serves exactly the one decided on: the key may be overwritten
   * in between.
   */
  async #withVersion(granted: Granted): Promise<Granted> {
    const version = await this.#version
    return version ? { ...granted, version } : granted
  }

  #missing(version: VersionRecord | undefined): S3Error {
    const named = this.#selector() !== undefined
    const headers: Record<string, string> = version
      ? { 'x-amz-delete-marker': 'true', 'x-amz-version-id': versionIdText(version) }
      : {}
    if (version && named) return new S3Error('MethodNotAllowed', undefined, { headers })
    return new S3Error(named ? 'NoSuchVersion' : 'NoSuchKey', undefined, {
      extra: { Key: this.q.key },
      headers,
    })
  }
}

function denied(): S3Error {
  return new S3Error('AccessDenied')
}
