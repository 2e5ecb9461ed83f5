import type { Acl, AclPermission, Grant } from '../../../../model/buckets/documents.js'

/** Permissions of S3's access control lists, in the order of the x-amz-grant-* headers. */
export const ACL_PERMISSIONS: readonly AclPermission[] = [
  'READ',
  'WRITE',
  'READ_ACP',
  'WRITE_ACP',
  'FULL_CONTROL',
]

export const ALL_USERS = 'http://acs.amazonaws.com/groups/global/AllUsers'
export const AUTHENTICATED_USERS = 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers'
export const LOG_DELIVERY = 'http://acs.amazonaws.com/groups/s3/LogDelivery'
const GROUPS: ReadonlySet<string> = new Set([ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY])

/** Most grants that one list may have, as in AWS. */
export const GRANTS_MAX = 100

/** Whether a grantee is the URI of one of AWS's groups. */
export function isGroup(grantee: string): boolean {
  return GROUPS.has(grantee)
}

/** The list of a bucket or object that has none: full control for its owner. */
export function privateAcl(owner: string): Acl {
  return { grants: owner === '' ? [] : [{ grantee: owner, permission: 'FULL_CONTROL' }] }
}

/** A stored list, undefined if there is none. A value that is no list grants nothing. */
export function storedAcl(value: unknown): Acl | undefined {
  if (value === undefined || value === null) return undefined
  const { grants, guest } = value as { grants?: unknown; guest?: unknown }
  return {
    grants: Array.isArray(grants) ? grants.filter(isGrant) : [],
    ...(guest === true && { guest }),
  }
}

function isGrant(value: unknown): value is Grant {
  if (typeof value !== 'object' || value === null) return false
  const { grantee, permission } = value as Partial<Grant>
  return typeof grantee === 'string' && ACL_PERMISSIONS.includes(permission as AclPermission)
}

/** Whether a list grants something to everybody, or to everybody with a key: "public" in AWS's sense. */
export function isPublicAcl(acl: Acl): boolean {
  return acl.grants.some(({ grantee }) => grantee === ALL_USERS || grantee === AUTHENTICATED_USERS)
}

/** Whether a list says no more than that its owner has full control. */
export function isPrivateAcl(acl: Acl, owner: string): boolean {
  return (
    acl.grants.length > 0 &&
    acl.grants.every(({ grantee, permission }) => grantee === owner && permission === 'FULL_CONTROL')
  )
}

/** Whether two lists grant the same, in whatever order. */
export function sameAcl(a: Acl, b: Acl): boolean {
  const texts = (acl: Acl) => acl.grants.map((g) => `${g.grantee} ${g.permission}`).sort()
  return texts(a).join('\n') === texts(b).join('\n')
}

/**
 * Whether a list grants a permission to the holder of a key, or to an anonymous caller (undefined).
 * @param ignorePublic whether grants to groups are ignored (IgnorePublicAcls)
 */
export function aclAllows(
  acl: Acl,
  caller: string | undefined,
  permission: AclPermission,
  ignorePublic: boolean,
): boolean {
  return acl.grants.some((grant) => {
    if (grant.permission !== permission && grant.permission !== 'FULL_CONTROL') return false
    if (grant.grantee === ALL_USERS) return !ignorePublic
    if (grant.grantee === AUTHENTICATED_USERS) return !ignorePublic && caller !== undefined
    return caller !== undefined && grant.grantee === caller
  })
}

/** Names of canned lists; some of them fit only objects, others only buckets. */
export const CANNED_ACLS = [
  'private',
  'public-read',
  'public-read-write',
  'authenticated-read',
  'aws-exec-read',
  'bucket-owner-read',
  'bucket-owner-full-control',
  'log-delivery-write',
] as const
export type CannedAcl = (typeof CANNED_ACLS)[number]

/**
 * The grants of a canned list. aws-exec-read is about one of Amazon's services, so here it equals private.
 * @param bucketOwner owner of the object's bucket; undefined for a bucket's own list
 */
export function cannedAcl(name: CannedAcl, owner: string, bucketOwner: string | undefined): Acl {
  const grants: Grant[] = []
  const toGroup = (grantee: string, permission: AclPermission) => grants.push({ grantee, permission })
  if (name === 'public-read' || name === 'public-read-write') toGroup(ALL_USERS, 'READ')
  if (name === 'public-read-write') toGroup(ALL_USERS, 'WRITE')
  if (name === 'authenticated-read') toGroup(AUTHENTICATED_USERS, 'READ')
  if (name === 'log-delivery-write') {
    toGroup(LOG_DELIVERY, 'WRITE')
    toGroup(LOG_DELIVERY, 'READ_ACP')
  }
  grants.push(...privateAcl(owner).grants)
  if (bucketOwner !== undefined && bucketOwner !== '' && bucketOwner !== owner) {
    if (name === 'bucket-owner-read') grants.push({ grantee: bucketOwner, permission: 'READ' })
    if (name === 'bucket-owner-full-control')
      grants.push({ grantee: bucketOwner, permission: 'FULL_CONTROL' })
  }
  return { grants }
}
