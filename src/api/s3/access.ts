import type { Bucket } from '../../model/buckets.js'
import type { AccessKey, Permissions } from '../../model/keys.js'
import type { Model } from '../../model/model.js'
import { S3Error } from './errors.js'
import type { S3Request } from './request.js'

/** What an operation needs of the caller: Garage's permission and AWS's action. */
export interface Need {
  permission: keyof Permissions
  action: string
  /** The object it is about, if it is another than the request's (a copy's source, a key of DeleteObjects). */
  key?: string
  versionId?: string
}

/** A bucket that the caller may do what it asked for in. */
export interface Granted {
  bucket: Bucket
  caller: AccessKey | undefined
}

/** The access key that signed a request; undefined if it is anonymous. */
export function callerOf(model: Model, request: S3Request): AccessKey | undefined {
  return request.auth.kind === 'key' ? model.keys.local(request.auth.keyId) : undefined
}

/** @throws S3Error AccessDenied for anonymous requests */
export function requireCaller(model: Model, request: S3Request): AccessKey {
  const caller = callerOf(model, request)
  if (!caller) throw new S3Error('AccessDenied')
  return caller
}

/**
 * Finds the bucket of that name and checks that the caller may do what it needs there.
 * @throws S3Error NoSuchBucket, AccessDenied
 */
export function authorize(
  model: Model,
  request: S3Request,
  need: Need,
  bucketName: string = request.bucket!,
): Granted | Promise<Granted> {
  const caller = callerOf(model, request)
  const known = model.buckets.localByName(bucketName, caller)
  if (known) return grant(known, caller, need)
  return model.buckets.byName(bucketName, caller).then((bucket) => {
    if (!bucket) throw new S3Error('NoSuchBucket', undefined, { extra: { BucketName: bucketName } })
    return grant(bucket, caller, need)
  })
}

function grant(bucket: Bucket, caller: AccessKey | undefined, need: Need): Granted {
  const permissions = caller?.permissions.get(bucket.hexId)
  if (!permissions?.[need.permission]) throw new S3Error('AccessDenied')
  return { bucket, caller }
}
