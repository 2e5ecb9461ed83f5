import type { Acl, Grant } from '../../../../model/buckets/documents.js'
import type { Model } from '../../../../model/model.js'
import { invalidArgument, S3Error } from '../../errors.js'
import type { S3Request } from '../../request.js'
import { ACL_PERMISSIONS, CANNED_ACLS, type CannedAcl, cannedAcl, GRANTS_MAX, isGroup } from './acl.js'

/** The headers that grant something, in the order of ACL_PERMISSIONS. */
export const GRANT_HEADERS = ACL_PERMISSIONS.map(
  (permission) => `x-amz-grant-${permission.toLowerCase().replaceAll('_', '-')}`,
)

/** The access that a request's headers ask for: a canned list, single grants, or nothing. */
export type AclHeaders =
  | { kind: 'canned'; name: CannedAcl }
  | { kind: 'grants'; grants: readonly Grant[] }
  | undefined

/**
 * Reads x-amz-acl and x-amz-grant-*.
 * @throws S3Error InvalidArgument, InvalidRequest if both are there, UnresolvableGrantByEmailAddress
 */
export function aclHeaders(request: S3Request): AclHeaders {
  const canned = request.header('x-amz-acl')
  let grants: Grant[] | undefined
  for (let i = 0; i < GRANT_HEADERS.length; i++) {
    const value = request.header(GRANT_HEADERS[i]!)
    if (value === undefined) continue
    grants ??= []
    for (const grantee of grantees(value, GRANT_HEADERS[i]!))
      grants.push({ grantee, permission: ACL_PERMISSIONS[i]! })
  }
  if (canned === undefined) return grants && { kind: 'grants', grants: limited(grants) }
  if (grants) {
    throw new S3Error('InvalidRequest', 'Specifying both Canned ACLs and Header Grants is not allowed')
  }
  const name = CANNED_ACLS.find((known) => known === canned)
  if (name === undefined) throw invalidArgument('', 'x-amz-acl', canned)
  return { kind: 'canned', name }
}

/** @throws S3Error MalformedACLError if there are too many */
export function limited(grants: Grant[]): Grant[] {
  if (grants.length > GRANTS_MAX) {
    throw new S3Error('MalformedACLError', `An access control list has at most ${GRANTS_MAX} grants.`)
  }
  return grants
}

/** Parses `id="…", uri="…"`; the quotes may be missing. */
function* grantees(header: string, name: string): Generator<string> {
  for (const item of header.split(',')) {
    // Trimmed before, since two runs of spaces with nothing sure between them are matched in quadratic time.
    const match = /^(id|uri|emailaddress)\s*=\s*(?:"([^"]*)"|([^"\s]*))$/i.exec(item.trim())
    if (!match) throw invalidArgument('Argument format not recognized', name, header)
    const value = match[2] ?? match[3] ?? ''
    const kind = match[1]!.toLowerCase()
    if (kind === 'emailaddress') throw new S3Error('UnresolvableGrantByEmailAddress')
    if (kind === 'uri' && !isGroup(value)) throw invalidArgument('Invalid group uri', 'uri', value)
    if (kind === 'id' && (value === '' || isGroup(value))) throw invalidArgument('Invalid id', 'id', value)
    yield value
  }
}

/**
 * The list that headers ask for.
 * @param bucketOwner owner of the object's bucket; undefined for a bucket's own list
 */
export function aclOfHeaders(
  headers: NonNullable<AclHeaders>,
  owner: string,
  bucketOwner: string | undefined,
): Acl {
  if (headers.kind === 'grants') return { grants: [...headers.grants] }
  return cannedAcl(headers.name, owner, bucketOwner)
}

/**
 * Checks that the keys in a list exist; a node asks others before it calls one unknown.
 * @throws S3Error InvalidArgument
 */
export async function checkGrantees(model: Model, acl: Acl): Promise<void> {
  const ids = new Set(acl.grants.map((grant) => grant.grantee).filter((grantee) => !isGroup(grantee)))
  for (const id of ids) {
    if (!model.keys.local(id) && !(await model.keys.get(id)))
      throw invalidArgument('Invalid id', 'CanonicalUser/ID', id)
  }
}
