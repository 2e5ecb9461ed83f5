import type { EventRule } from '../events/rules.js'
import type { LifecycleRule } from '../lifecycle/rules.js'
import type { ObjectLockDocument } from '../versions/lock.js'

/**
 * The configuration documents of a bucket, by the names under which they are stored. A later version of the program may
 * have stored more in them than this one knows.
 */
export interface BucketDocuments {
  acl: Acl
  cors: CorsRule[]
  encryption: EncryptionDocument
  lifecycle: LifecycleRule[]
  notification: EventRule[]
  'object-lock': ObjectLockDocument
  ownership: OwnershipDocument
  policy: PolicyDocument
  'public-access-block': PublicAccessBlock
  quotas: Quotas
  relaxed: RelaxedDocument
  shadow: ShadowDocument
  tagging: Record<string, string>
  /** Absent while versioning was never set. */
  versioning: Exclude<Versioning, 'off'>
  website: WebsiteDocument
}

export type DocumentName = keyof BucketDocuments

/** There while the bucket takes what other stores take beyond S3's rules. It has no fields yet. */
export type RelaxedDocument = Record<string, never>

/** The store through to which a bucket reads for what it does not have yet. */
export interface ShadowDocument {
  /** The address of its S3 API. */
  endpoint: string
  region: string
  bucket: string
  /** What the keys of the source begin with, before those of this bucket. */
  prefix?: string
  accessKeyId: string
  secretAccessKey: string
}

/** Whether overwritten and deleted versions are kept: PutBucketVersioning. 'off' means that it was never set. */
export type Versioning = 'off' | 'enabled' | 'suspended'

/** The most that a bucket may hold; an absent limit is none. */
export interface Quotas {
  /** In bytes. */
  maxSize?: number
  maxObjects?: number
}

export type AclPermission = 'READ' | 'WRITE' | 'READ_ACP' | 'WRITE_ACP' | 'FULL_CONTROL'

export interface Grant {
  /** An access key's id, or the URI of a group. */
  grantee: string
  permission: AclPermission
}

/** An access control list. It does not name the owner, who is that of the bucket or object. */
export interface Acl {
  grants: Grant[]
  /** Set for objects whose owner has no permissions in the bucket: as another account's, they are the owner's own. */
  guest?: true
}

/** Who owns the objects of a bucket, and whether its access control lists count. */
export type ObjectOwnership = 'BucketOwnerEnforced' | 'BucketOwnerPreferred' | 'ObjectWriter'

export interface OwnershipDocument {
  objectOwnership: ObjectOwnership
}

export interface PolicyDocument {
  /** The policy as it was put. */
  text: string
  /** The name that the bucket had in that request; the policy's resources have it too. */
  bucket: string
}

/** AWS's four settings against access by everybody. */
export interface PublicAccessBlock {
  blockPublicAcls: boolean
  ignorePublicAcls: boolean
  blockPublicPolicy: boolean
  restrictPublicBuckets: boolean
}

/** The encryption of new objects whose request asks for none. */
export interface EncryptionDocument {
  algorithm?: 'AES256'
  bucketKey?: boolean
  /** Whether requests with SSE-C are refused. */
  blocksCustomerKeys?: boolean
}

/** A CORS rule; it has at least one origin and one method. */
export interface CorsRule {
  id?: string
  /** Origins, each with at most one `*`, which stands for any text. */
  allowedOrigins: string[]
  allowedMethods: string[]
  /** Header names as given, each with at most one `*`; compared without case. */
  allowedHeaders: string[]
  exposeHeaders: string[]
  maxAgeSeconds?: number
}

/** A web site's configuration: while a bucket has one, it is served as a web site. */
export interface WebsiteDocument {
  /** Has no meaning beside redirectAllRequestsTo. */
  indexDocument: string
  errorDocument?: string
  redirectAllRequestsTo?: { hostName: string; protocol?: 'http' | 'https' }
  /** 'degraded': pages are read from any one replica, also while no quorum can be reached; else as all reads are. */
  consistencyMode?: 'degraded'
  /** The first rule that fits counts. */
  routingRules?: RoutingRule[]
}

/** Codes of rules that send another page, with that status, instead of redirecting to it. AWS does not have them. */
export const REWRITES = [200, 404]

/** A rule of a web site; without a condition it fits every request. Names as in the S3 API. */
export interface RoutingRule {
  condition?: { keyPrefixEquals?: string; httpErrorCodeReturnedEquals?: number }
  redirect: {
    protocol?: 'http' | 'https'
    hostName?: string
    replaceKeyPrefixWith?: string
    replaceKeyWith?: string
    /** 302 unless told; see REWRITES. */
    httpRedirectCode?: number
  }
}
