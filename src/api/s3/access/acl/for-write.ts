import type { Acl } from '../../../../model/buckets/documents.js'
import type { Model } from '../../../../model/model.js'
import type { Mutable } from '../../../../model/versions/record.js'
import { S3Error } from '../../errors.js'
import type { S3Request } from '../../request.js'
import type { Granted } from '../question.js'
import { isPrivateAcl, isPublicAcl, privateAcl } from './acl.js'
import { aclHeaders, aclOfHeaders, checkGrantees } from './headers.js'
import { bucketOwner, isMember, objectOwnership, publicAccessBlock } from './ownership.js'

/** The owner of a new object, and its access control list unless that is the usual one. */
export interface ObjectAccess {
  /** Key id; '' if the writer is anonymous. */
  owner: string
  /** Spread this into the new version's `mutable` first: the fields are in the order of their names. */
  acl: Pick<Mutable, 'acl'>
}

const NO_ACL: Pick<Mutable, 'acl'> = {}

/**
 * The owner and list that PutObject, CopyObject, CreateMultipartUpload and PostObject store. A private object
 * of a key with permissions in the bucket gets no list: the key's permissions alone say what it may do.
 * @throws S3Error AccessControlListNotSupported, InvalidArgument, InvalidRequest, AccessDenied
 * (BlockPublicAcls)
 */
export function aclForWrite(
  model: Model,
  request: S3Request,
  { bucket, caller }: Granted,
): ObjectAccess | Promise<ObjectAccess> {
  const headers = aclHeaders(request)
  const ownership = objectOwnership(bucket)
  const writer = caller?.id ?? ''
  const usual = headers === undefined && (!caller || caller.permissions.has(bucket.hexId))
  if (usual && ownership !== 'BucketOwnerEnforced') return { owner: writer, acl: NO_ACL }
  const fullControl = headers?.kind === 'canned' && headers.name === 'bucket-owner-full-control'
  if (ownership === 'BucketOwnerEnforced') {
    if (headers && !fullControl) throw new S3Error('AccessControlListNotSupported')
    return { owner: bucketOwner(model, bucket), acl: NO_ACL }
  }
  if (headers === undefined) return access(model, writer, privateAcl(writer), bucket)
  if (headers.kind === 'canned' && headers.name === 'log-delivery-write') {
    throw new S3Error('InvalidArgument', undefined, {
      extra: { ArgumentName: 'x-amz-acl', ArgumentValue: headers.name },
    })
  }
  const ofBucket = bucketOwner(model, bucket)
  const owner = ownership === 'BucketOwnerPreferred' && fullControl ? ofBucket : writer
  const acl = aclOfHeaders(headers, owner, ofBucket)
  refusePublicAcl(bucket, acl)
  if (headers.kind === 'canned') return access(model, owner, acl, bucket)
  return checkGrantees(model, acl).then(() => access(model, owner, acl, bucket))
}

function access(model: Model, owner: string, acl: Acl, bucket: Granted['bucket']): ObjectAccess {
  if (owner === '') return { owner, acl: acl.grants.length === 0 ? NO_ACL : { acl: [0, acl] } }
  if (!isMember(model, bucket, owner)) return { owner, acl: { acl: [0, { ...acl, guest: true }] } }
  return { owner, acl: isPrivateAcl(acl, owner) ? NO_ACL : { acl: [0, acl] } }
}

/** @throws S3Error AccessDenied for a public list, if the bucket's public access block refuses these */
export function refusePublicAcl(bucket: Granted['bucket'], acl: Acl): void {
  if (isPublicAcl(acl) && publicAccessBlock(bucket).blockPublicAcls) {
    throw new S3Error(
      'AccessDenied',
      'Public access control lists are blocked by the bucket’s public access block.',
    )
  }
}
