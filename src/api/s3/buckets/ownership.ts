import type { Bucket } from '../../../model/buckets/buckets.js'
import type { OwnershipDocument } from '../../../model/buckets/documents.js'
import type { Model } from '../../../model/model.js'
import { parseXml, type XmlElement } from '../../xml/reader.js'
import { xmlElement, xmlText } from '../../xml/writer.js'
import { privateAcl, sameAcl, storedAcl } from '../access/acl/acl.js'
import { bucketOwner, OBJECT_OWNERSHIPS } from '../access/acl/ownership.js'
import { authorize } from '../access/authorize.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { DOCUMENT_BYTES_MAX } from './configuration.js'

/** GetBucketOwnershipControls. */
export async function getBucketOwnershipControls(
  { model }: S3Context,
  request: S3Request,
): Promise<S3Response> {
  const { bucket } = await authorize(model, request, {
    permission: 'owner',
    action: 's3:GetBucketOwnershipControls',
  })
  const document = bucket.document('ownership')
  if (!document) {
    throw new S3Error('OwnershipControlsNotFoundError', undefined, { extra: { BucketName: request.bucket } })
  }
  return xmlResponse(
    'OwnershipControls',
    xmlElement('Rule', xmlText('ObjectOwnership', document.objectOwnership)),
  )
}

/**
 * PutBucketOwnershipControls. Lists can be turned off only while the bucket's own list grants nothing to
 * others.
 */
export async function putBucketOwnershipControls(
  { model }: S3Context,
  request: S3Request,
): Promise<S3Response> {
  const { bucket } = await authorize(model, request, {
    permission: 'owner',
    action: 's3:PutBucketOwnershipControls',
  })
  const body = await request.payload.readAll(DOCUMENT_BYTES_MAX, 'MalformedXML')
  if (body.length === 0) throw new S3Error('MissingRequestBodyError')
  const root = await parseXml(body, 'OwnershipControls')
  await model.buckets.setDocument(bucket, 'ownership', readOwnership(root, model, bucket))
  return { status: 200 }
}

/** @throws S3Error MalformedXML, InvalidBucketAclWithObjectOwnership */
export function readOwnership(root: XmlElement, model: Model, bucket: Bucket): OwnershipDocument {
  const objectOwnership = root.need('Rule').oneOf('ObjectOwnership', OBJECT_OWNERSHIPS)
  if (objectOwnership === undefined) throw new S3Error('MalformedXML')
  const acl = storedAcl(bucket.document('acl'))
  if (
    objectOwnership === 'BucketOwnerEnforced' &&
    acl &&
    acl.grants.length > 0 &&
    !sameAcl(acl, privateAcl(bucketOwner(model, bucket)))
  ) {
    throw new S3Error('InvalidBucketAclWithObjectOwnership')
  }
  return { objectOwnership }
}

/** DeleteBucketOwnershipControls: succeeds if there are none. */
export async function deleteBucketOwnershipControls(
  { model }: S3Context,
  request: S3Request,
): Promise<S3Response> {
  const { bucket } = await authorize(model, request, {
    permission: 'owner',
    action: 's3:PutBucketOwnershipControls',
  })
  if (bucket.document('ownership') !== undefined) {
    await model.buckets.setDocument(bucket, 'ownership', undefined)
  }
  return { status: 204 }
}
