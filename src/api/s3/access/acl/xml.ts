import type { Acl, Grant } from '../../../../model/buckets/documents.js'
import type { Model } from '../../../../model/model.js'
import { parseXml, type XmlElement, XmlError } from '../../../xml/reader.js'
import { xmlElement, xmlText } from '../../../xml/writer.js'
import { invalidArgument, S3Error, xmlError } from '../../errors.js'
import { ACL_PERMISSIONS, isGroup } from './acl.js'
import { limited } from './headers.js'

const XSI = 'http://www.w3.org/2001/XMLSchema-instance'

/** The content of an AccessControlPolicy document. Groups come before keys, as in canned lists. */
export function aclXml(model: Model, owner: string, acl: Acl): string {
  const groups = acl.grants.filter(({ grantee }) => isGroup(grantee))
  const keys = acl.grants.filter(({ grantee }) => !isGroup(grantee))
  return (
    xmlElement('Owner', userXml(model, owner)) +
    xmlElement('AccessControlList', [...groups, ...keys].map((grant) => grantXml(model, grant)).join(''))
  )
}

function grantXml(model: Model, { grantee, permission }: Grant): string {
  const [type, inner] = isGroup(grantee)
    ? ['Group', xmlText('URI', grantee)]
    : ['CanonicalUser', userXml(model, grantee)]
  return `<Grant><Grantee xmlns:xsi="${XSI}" xsi:type="${type}">${inner}</Grantee>${xmlText('Permission', permission)}</Grant>`
}

/** The id and name of a key; a deleted key shows its id as its name. */
function userXml(model: Model, keyId: string): string {
  return xmlText('ID', keyId) + xmlText('DisplayName', model.keys.local(keyId)?.name ?? keyId)
}

/**
 * Reads an AccessControlPolicy document.
 * @param owner owner of the bucket or object, which a list cannot change
 * @throws S3Error MalformedACLError, InvalidArgument, UnresolvableGrantByEmailAddress, AccessDenied
 */
export async function parseAclXml(body: Buffer, owner: string): Promise<Acl> {
  try {
    return readAcl(await parseXml(body, 'AccessControlPolicy'), owner)
  } catch (error) {
    throw error instanceof XmlError ? xmlError(error, 'MalformedACLError') : error
  }
}

function readAcl(root: XmlElement, owner: string): Acl {
  const ownerId = root.child('Owner')?.text('ID')?.trim()
  if (ownerId !== undefined && ownerId !== owner) throw new S3Error('AccessDenied')
  const grants = root.need('AccessControlList').all('Grant').map(parseGrant)
  return { grants: limited(grants) }
}

function parseGrant(element: XmlElement): Grant {
  const permission = element.oneOf('Permission', ACL_PERMISSIONS)
  if (permission === undefined) throw new S3Error('MalformedACLError')
  return { grantee: parseGrantee(element.need('Grantee')), permission }
}

function parseGrantee(element: XmlElement): string {
  const type = element.attributes.get('type')
  if (type === 'AmazonCustomerByEmail' || (type === undefined && element.child('EmailAddress'))) {
    throw new S3Error('UnresolvableGrantByEmailAddress')
  }
  if (type === 'Group' || (type === undefined && element.child('URI'))) {
    const uri = element.needText('URI').trim()
    if (!isGroup(uri)) throw invalidArgument('Invalid group uri', 'Group/URI', uri)
    return uri
  }
  if (type !== undefined && type !== 'CanonicalUser') throw new S3Error('MalformedACLError')
  const id = element.needText('ID').trim()
  if (id === '' || isGroup(id)) throw invalidArgument('Invalid id', 'CanonicalUser/ID', id)
  return id
}
