import type { Bucket } from '../../../../model/buckets/buckets.js'
import type { Acl, BucketDocuments, ObjectOwnership } from '../../../../model/buckets/documents.js'
import type { S3Context } from '../../context.js'
import { invalidArgument, S3Error } from '../../errors.js'
import type { S3Request } from '../../request.js'
import { isPublicAcl, privateAcl, sameAcl, storedAcl } from './acl.js'
import { aclHeaders, aclOfHeaders, checkGrantees } from './headers.js'
import { bucketOwner, OBJECT_OWNERSHIPS, objectOwnership } from './ownership.js'

/** The bucket's list: the stored one, else full control for its owner. */
export function bucketAcl(context: S3Context, bucket: Bucket): Acl {
  const stored = isEnforced(bucket) ? undefined : storedAcl(bucket.document('acl'))
  return stored ?? privateAcl(bucketOwner(context.model, bucket))
}

/** Whether lists do not count in the bucket, because its owner owns all objects. */
export function isEnforced(bucket: Bucket): boolean {
  return objectOwnership(bucket) === 'BucketOwnerEnforced'
}

/** Stores a bucket's list. A private one is not stored, so that such buckets cost authorization nothing. */
export async function setBucketAcl({ model }: S3Context, bucket: Bucket, acl: Acl): Promise<void> {
  const isUsual = sameAcl(acl, privateAcl(bucketOwner(model, bucket)))
  if (isUsual && bucket.document('acl') === undefined) return
  await model.buckets.setDocument(bucket, 'acl', isUsual ? undefined : acl)
}

/**
 * The list and the ownership setting that a CreateBucket asks for, as the new bucket's documents.
 * @throws S3Error InvalidArgument, InvalidBucketAclWithObjectOwnership
 */
export async function accessOfNewBucket(
  { model }: S3Context,
  request: S3Request,
  owner: string,
): Promise<{ documents: Partial<BucketDocuments>; isAsIn(existing: Bucket): boolean }> {
  const headers = aclHeaders(request)
  const acl = headers ? aclOfHeaders(headers, owner, undefined) : privateAcl(owner)
  if (headers?.kind === 'grants') await checkGrantees(model, acl)
  const ownership = parseOwnership(request.header('x-amz-object-ownership'))
  const isUsual = sameAcl(acl, privateAcl(owner))
  if (ownership === 'BucketOwnerEnforced' && !isUsual) {
    throw new S3Error('InvalidBucketAclWithObjectOwnership')
  }
  return {
    isAsIn(existing) {
      if (ownership && ownership !== objectOwnership(existing)) return false
      const stored = storedAcl(existing.document('acl'))
      return stored ? sameAcl(stored, acl) : isUsual
    },
    documents: {
      ...(!isUsual && { acl }),
      ...(ownership && { ownership: { objectOwnership: ownership } }),
    },
  }
}

/** The value of an x-amz-object-ownership header. @throws S3Error InvalidArgument */
export function parseOwnership(header: string | undefined): ObjectOwnership | undefined {
  if (header === undefined) return undefined
  const ownership = OBJECT_OWNERSHIPS.find((known) => known === header)
  if (!ownership)
    throw invalidArgument('Invalid x-amz-object-ownership header', 'x-amz-object-ownership', header)
  return ownership
}

/** Whether the bucket's list grants something to everybody. */
export function hasPublicAcl(context: S3Context, bucket: Bucket): boolean {
  return isPublicAcl(bucketAcl(context, bucket))
}
