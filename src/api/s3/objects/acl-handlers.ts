import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Acl } from '../../../model/buckets/documents.js'
import type { VersionRecord } from '../../../model/versions/record.js'
import { privateAcl, sameAcl, storedAcl } from '../access/acl/acl.js'
import { bucketAcl, isEnforced, setBucketAcl } from '../access/acl/bucket-acl.js'
import { refusePublicAcl } from '../access/acl/for-write.js'
import { aclHeaders, aclOfHeaders, checkGrantees } from '../access/acl/headers.js'
import { bucketOwner } from '../access/acl/ownership.js'
import { aclXml, parseAclXml } from '../access/acl/xml.js'
import { authorize } from '../access/authorize.js'
import { xmlResponse } from '../answers.js'
import { DOCUMENT_BYTES_MAX } from '../buckets/configuration.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { bringIn } from '../shadow/keep.js'
import { versionIdText, versionSelector } from '../version-id.js'
import { notFound } from './find.js'

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

/** GetObjectAcl. */
export async function getObjectAcl(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const selector = versionSelector(request)
  const action = selector === undefined ? 's3:GetObjectAcl' : 's3:GetObjectVersionAcl'
  const { bucket, version: decided } = await authorize(model, request, { action })
  if (!decided && selector === undefined) await bringIn(context, bucket, Buffer.from(request.key!))
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
  if (!decided && selector === undefined) await bringIn(context, bucket, Buffer.from(request.key!))
  if (isEnforced(bucket)) throw new S3Error('AccessControlListNotSupported')
  const version = decided ?? (await model.objects.get(bucket.id, key, selector, { body: false }))
  if (version?.state !== 'object') throw notFound(request, selector)
  const acl = await requestedAcl(context, request, version.owner, bucketOwner(model, bucket))
  refusePublicAcl(bucket, acl)
  // Changes only the version for which the caller was authorized.
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
 * @param ofBucket owner of the object's bucket; undefined for a bucket's own list
 * @throws S3Error MissingSecurityHeader if it asks for none; see aclHeaders and parseAclXml
 */
async function requestedAcl(
  { model }: S3Context,
  request: S3Request,
  owner: string,
  ofBucket: string | undefined,
): Promise<Acl> {
  const headers = aclHeaders(request)
  const body = await request.payload.readAll(DOCUMENT_BYTES_MAX, 'MalformedACLError')
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
