import type { Versioning } from '../../../model/buckets/documents.js'
import { errorCode } from '../../../util/errors.js'
import { parseXml, type XmlElement } from '../../xml/reader.js'
import { escapeXml, xmlText } from '../../xml/writer.js'
import { accessOfNewBucket } from '../access/acl/bucket-acl.js'
import { GRANT_HEADERS } from '../access/acl/headers.js'
import { authorize, requireCaller } from '../access/authorize.js'
import { bucketNow } from '../access/bucket-now.js'
import { LOCATION } from '../access/policy/condition-keys.js'
import { checkSessionOutside, sessionAsksFor } from '../access/session.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import { BUCKET_TAGS_MAX, listedTags, type Tags, tagSetXml } from '../objects/tags.js'
import { toldTimeOffer } from '../objects/told-time.js'
import type { S3Request, S3Response } from '../request.js'
import { DOCUMENT_BYTES_MAX } from './configuration.js'

/**
 * CreateBucket: makes a bucket that is owned by the caller, who must be allowed to create buckets. Its name is a global one,
 * or the caller's alone, as the configuration says.
 */
export async function createBucket(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model, region } = context
  const caller = requireCaller(model, request)
  const name = request.bucket!
  // The body is read only for who may create buckets, also where the session's policy asks for what it says.
  const asksForLocation = sessionAsksFor(request, 's3:CreateBucket', LOCATION)
  if (!asksForLocation) checkSessionOutside(request, caller, 's3:CreateBucket', name)
  const existing = await model.buckets.byName(name, caller)
  if (existing) {
    const owns = caller.permissions.get(existing.hexId)?.owner
    if (!owns) throw new S3Error('BucketAlreadyExists', undefined, { extra: { BucketName: name } })
  } else if (!caller.mayCreateBuckets && !(await model.keys.refresh(caller.id))?.mayCreateBuckets) {
    // Denied is only what a majority says: the right may have been given a moment ago.
    throw new S3Error('AccessDenied', 'This access key may not create buckets.')
  }
  const body = await request.payload.readAll(DOCUMENT_BYTES_MAX, 'MalformedXML')
  const { location, tags } = body.length > 0 ? await readNewBucket(body) : { location: undefined, tags: {} }
  if (asksForLocation) {
    checkSessionOutside(request, caller, 's3:CreateBucket', name, location ? { location } : {})
  }
  if (location && location !== region && location !== 'us-east-1') {
    throw new S3Error('IllegalLocationConstraintException', `This store's region is ${region}.`)
  }
  const lock = asksForLock(request)
  for (const action of actionsOfSettings(request, lock, tags)) {
    checkSessionOutside(request, caller, action, name)
  }
  const access = await accessOfNewBucket(context, request, caller.id)
  if (existing) {
    // Changing anything here would surprise a client that only makes sure that the bucket exists; so would a success with
    // another bucket than it asks for.
    const isTagged = isEmpty(tags) || tagSetXml(tags) === tagSetXml(existing.document('tagging') ?? {})
    if (!access.isAsIn(existing) || (lock && !existing.objectLock) || !isTagged) {
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
  try {
    const options = {
      owner: caller.id,
      ownerKey: caller.id,
      documents: {
        ...(lock && { versioning: 'enabled' as const, 'object-lock': {} }),
        ...(!isEmpty(tags) && { tagging: tags }),
        ...access.documents,
      },
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

/**
 * What the document of a CreateBucket asks for; no location for the default one.
 * @throws S3Error NotImplemented, MalformedXML, InvalidTag
 */
async function readNewBucket(body: Buffer): Promise<{ location: string | undefined; tags: Tags }> {
  const root = await parseXml(body, 'CreateBucketConfiguration')
  if (root.child('Location') ?? root.child('Bucket')) {
    throw new S3Error('NotImplemented', 'Directory buckets are not offered.')
  }
  const location = root.only('LocationConstraint', 'Tags').text('LocationConstraint')
  const list = root.child('Tags')
  return { location, tags: list ? listedTags(list, BUCKET_TAGS_MAX) : {} }
}

/** The actions that a CreateBucket needs beside its own for what it sets on the bucket, as AWS has them. */
function actionsOfSettings(request: S3Request, lock: boolean, tags: Tags): string[] {
  const isGranting =
    (request.header('x-amz-acl') ?? 'private') !== 'private' ||
    GRANT_HEADERS.some((name) => request.header(name) !== undefined)
  return [
    ...(isGranting ? ['s3:PutBucketAcl'] : []),
    ...(request.header('x-amz-object-ownership') !== undefined ? ['s3:PutBucketOwnershipControls'] : []),
    ...(lock ? ['s3:PutBucketObjectLockConfiguration', 's3:PutBucketVersioning'] : []),
    ...(isEmpty(tags) ? [] : ['s3:TagResource']),
  ]
}

/** Whether a CreateBucket asks for object lock. @throws S3Error InvalidArgument */
function asksForLock(request: S3Request): boolean {
  const name = 'x-amz-bucket-object-lock-enabled'
  const value = request.header(name)?.toLowerCase() ?? 'false'
  if (value !== 'true' && value !== 'false') throw invalidArgument(`Invalid ${name} header.`, name, value)
  return value === 'true'
}

function isEmpty(tags: Tags): boolean {
  return Object.keys(tags).length === 0
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
  const body = await request.payload.readAll(DOCUMENT_BYTES_MAX, 'MalformedXML')
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
