import type { Bucket } from '../../../model/buckets/buckets.js'
import type { VersionRecord } from '../../../model/versions/record.js'
import { type Acl, isPublicAcl, privateAcl, sameAcl, storedAcl } from '../access/acl/acl.js'
import { refusePublicAcl } from '../access/acl/for-write.js'
import { aclHeaders, aclOfHeaders, checkGrantees } from '../access/acl/headers.js'
import {
  bucketOwner,
  DOCUMENT,
  OBJECT_OWNERSHIPS,
  type ObjectOwnership,
  objectOwnership,
} from '../access/acl/ownership.js'
import { aclXml, parseAclXml } from '../access/acl/xml.js'
import { authorize } from '../access/authorize.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import { xmlResponse } from '../listings/list-objects.js'
import type { S3Request, S3Response } from '../request.js'
import { versionIdText } from './headers.js'
import { notFound, versionSelector } from './read.js'

const BODY_BYTES_MAX = 64 * 1024

/** The bucket's list: the stored one, else full control for its owner. */
export function bucketAcl(context: S3Context, bucket: Bucket): Acl {
  const stored = isEnforced(bucket) ? undefined : storedAcl(bucket.document(DOCUMENT.acl))
  return stored ?? privateAcl(bucketOwner(context.model, bucket))
}

function isEnforced(bucket: Bucket): boolean {
  return objectOwnership(bucket) === 'BucketOwnerEnforced'
}

/** GetBucketAcl. */
export async function getBucketAcl(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const { bucket } = await authorize(model, request, { permission: 'read', action: 's3:GetBucketAcl' })
  const owner = bucketOwner(model, bucket)
  return xmlResponse('AccessControlPolicy', aclXml(model, owner, bucketAcl(context, bucket)))
}

/** PutBucketAcl. */
export async function putBucketAcl(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const { bucket } = await authorize(model, request, { permission: 'owner', action: 's3:PutBucketAcl' })
  if (isEnforced(bucket)) throw new S3Error('AccessControlListNotSupported')
  const acl = await requestedAcl(context, request, bucketOwner(model, bucket), undefined)
  refusePublicAcl(bucket, acl)
  await setBucketAcl(context, bucket, acl)
  return { status: 200 }
}

/** Private is as none, so that it costs nothing. */
async function setBucketAcl({ model }: S3Context, bucket: Bucket, acl: Acl): Promise<void> {
  const isUsual = sameAcl(acl, privateAcl(bucketOwner(model, bucket)))
  if (isUsual && bucket.document(DOCUMENT.acl) === undefined) return
  await model.buckets.setDocument(bucket, DOCUMENT.acl, isUsual ? undefined : acl)
}

/** GetObjectAcl. */
export async function getObjectAcl(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const selector = versionSelector(request)
  const action = selector === undefined ? 's3:GetObjectAcl' : 's3:GetObjectVersionAcl'
  const { bucket, version: decided } = await authorize(model, request, { action })
  const version =
    decided ?? (await model.objects.get(bucket.id, Buffer.from(request.key!), selector, { body: false }))
  if (version?.state !== 'object') throw notFound(request, selector)
  const owner = objectOwner(context, bucket, version)
  const stored = isEnforced(bucket) ? undefined : storedAcl(version.mutable.acl?.[1])
  return xmlResponse(
    'AccessControlPolicy',
    aclXml(model, owner, stored ?? privateAcl(owner)),
    bucket.versioning === 'off' ? {} : { 'x-amz-version-id': versionIdText(version) },
  )
}

function objectOwner({ model }: S3Context, bucket: Bucket, version: VersionRecord): string {
  return isEnforced(bucket) ? bucketOwner(model, bucket) : version.owner
}

/** PutObjectAcl. */
export async function putObjectAcl(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const selector = versionSelector(request)
  const key = Buffer.from(request.key!)
  const action = selector === undefined ? 's3:PutObjectAcl' : 's3:PutObjectVersionAcl'
  const { bucket, version: decided } = await authorize(model, request, { action })
  if (isEnforced(bucket)) throw new S3Error('AccessControlListNotSupported')
  const version = decided ?? (await model.objects.get(bucket.id, key, selector, { body: false }))
  if (version?.state !== 'object') throw notFound(request, selector)
  const acl = await requestedAcl(context, request, version.owner, bucketOwner(model, bucket))
  refusePublicAcl(bucket, acl)
  // Of exactly the version that the caller may do this to.
  const changed = await model.objects.update(
    bucket.id,
    key,
    version.isNull ? 'null' : version.id,
    (current) => {
      if (!current.id.equals(version.id)) throw notFound(request, selector)
      const guest = storedAcl(current.mutable.acl?.[1])?.guest
      if (!guest && sameAcl(acl, privateAcl(current.owner))) return { acl: null }
      return { acl: { ...acl, ...(guest && { guest }) } }
    },
  )
  if (!changed) throw notFound(request, selector)
  return {
    status: 200,
    ...(bucket.versioning !== 'off' && { headers: { 'x-amz-version-id': versionIdText(changed) } }),
  }
}

/**
 * The list that a PutBucketAcl or PutObjectAcl asks for, in headers or in its body.
 * @param ofBucket owner of an object's bucket; undefined for the list of a bucket
 * @throws S3Error MissingSecurityHeader if it asks for none; see aclHeaders and parseAclXml
 */
async function requestedAcl(
  { model }: S3Context,
  request: S3Request,
  owner: string,
  ofBucket: string | undefined,
): Promise<Acl> {
  const headers = aclHeaders(request)
  const body = await request.payload.readAll(BODY_BYTES_MAX, 'MalformedACLError')
  if (headers && body.length > 0) throw new S3Error('UnexpectedContent')
  if (!headers && body.length === 0) {
    throw new S3Error('MissingSecurityHeader', undefined, { extra: { MissingHeaderName: 'x-amz-acl' } })
  }
  if (headers?.kind === 'canned' && headers.name === 'log-delivery-write' && ofBucket !== undefined) {
    throw invalidArgument('', 'x-amz-acl', headers.name)
  }
  const acl = headers ? aclOfHeaders(headers, owner, ofBucket) : await parseAclXml(body, owner)
  await checkGrantees(model, acl)
  return acl
}

/**
 * The list and the ownership setting that a CreateBucket asks for, as the new bucket's documents.
 * @throws S3Error InvalidArgument, InvalidBucketAclWithObjectOwnership
 */
export async function accessOfNewBucket(
  { model }: S3Context,
  request: S3Request,
  owner: string,
): Promise<{ documents: Record<string, unknown>; isAsIn(existing: Bucket): boolean }> {
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
      const stored = storedAcl(existing.document(DOCUMENT.acl))
      return stored ? sameAcl(stored, acl) : isUsual
    },
    documents: {
      ...(!isUsual && { [DOCUMENT.acl]: acl }),
      ...(ownership && { [DOCUMENT.ownership]: { objectOwnership: ownership } }),
    },
  }
}

function parseOwnership(header: string | undefined): ObjectOwnership | undefined {
  if (header === undefined) return undefined
  const ownership = OBJECT_OWNERSHIPS.find((known) => known === header)
  if (!ownership)
    throw invalidArgument('Invalid x-amz-object-ownership header', 'x-amz-object-ownership', header)
  return ownership
}

/** Whether everybody may do something by the bucket's list. */
export function hasPublicAcl(context: S3Context, bucket: Bucket): boolean {
  return isPublicAcl(bucketAcl(context, bucket))
}
