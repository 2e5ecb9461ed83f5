import type { Versioning } from '../../../model/buckets/documents.js'
import { errorCode } from '../../../util/errors.js'
import { parseXml, type XmlElement } from '../../xml/reader.js'
import { escapeXml, xmlText } from '../../xml/writer.js'
import { accessOfNewBucket } from '../access/acl/bucket-acl.js'
import { authorize, requireCaller } from '../access/authorize.js'
import { bucketNow } from '../access/bucket-now.js'
import { checkSessionOutside } from '../access/session.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import { toldTimeOffer } from '../objects/told-time.js'
import type { S3Request, S3Response } from '../request.js'

const MAX_BODY_BYTES = 64 * 1024

/**
 * CreateBucket: makes a bucket that is owned by the caller, who must be allowed to create buckets. Its name is a global one,
 * or the caller's alone, as the configuration says.
 */
export async function createBucket(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model, region } = context
  const caller = requireCaller(model, request)
  const name = request.bucket!
  checkSessionOutside(request, caller, 's3:CreateBucket', name)
  const existing = await model.buckets.byName(name, caller)
  if (existing) {
    const owns = caller.permissions.get(existing.hexId)?.owner
    if (!owns) throw new S3Error('BucketAlreadyExists', undefined, { extra: { BucketName: name } })
  } else if (!caller.mayCreateBuckets && !(await model.keys.refresh(caller.id))?.mayCreateBuckets) {
    // Denied is only what a majority says: the right may have been given a moment ago.
    throw new S3Error('AccessDenied', 'This access key may not create buckets.')
  }
  const body = await request.payload.readAll(MAX_BODY_BYTES, 'MalformedXML')
  if (body.length > 0) {
    const constraint = (await parseXml(body, 'CreateBucketConfiguration')).text('LocationConstraint')
    if (
      constraint !== undefined &&
      constraint !== '' &&
      constraint !== region &&
      constraint !== 'us-east-1'
    ) {
      throw new S3Error('IllegalLocationConstraintException', `This store's region is ${region}.`)
    }
  }
  const access = await accessOfNewBucket(context, request, caller.id)
  if (existing) {
    // Changing the list here would surprise a client that only makes sure that the bucket exists.
    if (!access.isAsIn(existing)) {
      throw new S3Error('BucketAlreadyExists', undefined, { extra: { BucketName: name } })
    }
    // In us-east-1 AWS answers success, elsewhere that the bucket exists; clients of this store expect
    // success.
    return { status: 200, headers: { location: `/${name}` } }
  }
  try {
    model.buckets.checkName(name)
  } catch {
    throw new S3Error('InvalidBucketName', undefined, { extra: { BucketName: name } })
  }
  const lock = request.header('x-amz-bucket-object-lock-enabled')?.toLowerCase() === 'true'
  try {
    const options = {
      owner: caller.id,
      ownerKey: caller.id,
      documents: { ...(lock && { versioning: 'enabled' as const, 'object-lock': {} }), ...access.documents },
    }
    if (context.bucketNamespace === 'local') await model.buckets.createLocal(name, options)
    else await model.buckets.create(name, options)
  } catch (error) {
    // Somebody else was first, perhaps in this very moment.
    if (errorCode(error) !== 'Conflict') throw error
    throw new S3Error('BucketAlreadyExists', undefined, { extra: { BucketName: name } })
  }
  return { status: 200, headers: { location: `/${name}` } }
}

/** HeadBucket. */
export async function headBucket(context: S3Context, request: S3Request): Promise<S3Response> {
  const { bucket } = await authorize(context.model, request, { permission: 'read', action: 's3:ListBucket' })
  return {
    status: 200,
    headers: {
      'x-amz-bucket-region': context.region,
      'content-type': 'application/xml',
      ...toldTimeOffer(context, request, bucket),
    },
  }
}

/** DeleteBucket: only for buckets without objects, versions and K2V items. */
export async function deleteBucket(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const { bucket } = await authorize(model, request, { permission: 'owner', action: 's3:DeleteBucket' })
  if (bucket.document('shadow'))
    throw new S3Error('InvalidBucketState', 'The bucket reads through to another store: end that first.')
  if (!(await model.versionListing.isEmpty(bucket.id)) || !(await model.k2v.isEmpty(bucket.id)))
    throw new S3Error('BucketNotEmpty', undefined, { extra: { BucketName: request.bucket } })
  await model.uploads.endAll(bucket.id)
  await model.buckets.delete(bucket)
  return { status: 204 }
}

/** GetBucketLocation: empty for us-east-1, as AWS has it. */
export async function getBucketLocation(context: S3Context, request: S3Request): Promise<S3Response> {
  await authorize(context.model, request, { permission: 'read', action: 's3:GetBucketLocation' })
  const { region } = context
  return xmlResponse('LocationConstraint', region === 'us-east-1' ? '' : escapeXml(region))
}

/** GetBucketVersioning: nothing in the answer if versioning was never on. */
export async function getBucketVersioning(context: S3Context, request: S3Request): Promise<S3Response> {
  const { bucket } = await authorize(context.model, request, {
    permission: 'read',
    action: 's3:GetBucketVersioning',
  })
  const status = { off: undefined, enabled: 'Enabled', suspended: 'Suspended' }[bucket.versioning]
  return xmlResponse('VersioningConfiguration', xmlText('Status', status))
}

/** PutBucketVersioning. */
export async function putBucketVersioning(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const { bucket } = await authorize(model, request, {
    permission: 'owner',
    action: 's3:PutBucketVersioning',
  })
  const body = await request.payload.readAll(MAX_BODY_BYTES, 'MalformedXML')
  if (body.length === 0) throw new S3Error('MissingRequestBodyError')
  const root = await parseXml(body, 'VersioningConfiguration')
  const { objectLock } = await bucketNow(model, bucket, request.bucket)
  const versioning = readVersioning(root, objectLock)
  await model.buckets.setDocument(bucket, 'versioning', versioning)
  return { status: 200 }
}

/** @throws S3Error NotImplemented, IllegalVersioningConfigurationException, InvalidBucketState */
export function readVersioning(root: XmlElement, objectLock: boolean): Exclude<Versioning, 'off'> {
  const status = root.text('Status')
  if (root.text('MfaDelete') === 'Enabled') throw new S3Error('NotImplemented', 'MFA delete is not offered.')
  if (status !== 'Enabled' && status !== 'Suspended') {
    throw new S3Error('IllegalVersioningConfigurationException')
  }
  if (status === 'Suspended' && objectLock) {
    throw new S3Error(
      'InvalidBucketState',
      'An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.',
    )
  }
  return status === 'Enabled' ? 'enabled' : 'suspended'
}
