import type { AccessKey } from '../../../model/buckets/access-keys.js'
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import { S3Error, type S3ErrorCode } from '../errors.js'
import type { S3Request } from '../request.js'
import { decide } from './decision.js'
import type { Granted, Need, Question } from './question.js'
import { checkSession, isLimited } from './session.js'

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
 * Finds the bucket and checks that the caller may do what the operation needs: by the permissions of its key,
 * by the bucket's policy, or by access control lists. A bucket without a policy costs a key with permissions
 * nothing more.
 * @param bucketName another bucket than the request's: that of a copy's source
 * @throws S3Error NoSuchBucket, AccessDenied; NoSuchKey, NoSuchVersion
 */
export function authorize(
  model: Model,
  request: S3Request,
  need: Need,
  bucketName?: string,
): Granted | Promise<Granted> {
  return confirmDenial(model, () => judge(model, request, need, bucketName))
}

/**
 * What `decide` answers; if it denies, what it answers once this node knows all that was acknowledged: it may not have
 * heard yet of the right that was given or of the bucket that was made a moment ago.
 * @throws what `decide` throws; QuorumUnavailable if too few nodes can be asked: denied is only what is sure
 */
export function confirmDenial<T>(model: Model, decide: () => T | Promise<T>): T | Promise<T> {
  const { freshness } = model
  const { changes } = freshness
  const again = async (error: unknown) => {
    if (!(error instanceof S3Error && DENIALS.has(error.code))) throw error
    await freshness.catchUp()
    if (freshness.changes === changes) throw error
    return decide()
  }
  try {
    const answer = decide()
    return answer instanceof Promise ? answer.catch(again) : answer
  } catch (error) {
    return again(error)
  }
}

const DENIALS: ReadonlySet<S3ErrorCode> = new Set(['AccessDenied', 'NoSuchBucket'])

function judge(
  model: Model,
  request: S3Request,
  need: Need,
  bucketName: string | undefined,
): Granted | Promise<Granted> {
  const caller = callerOf(model, request)
  const expected =
    bucketName === undefined ? 'x-amz-expected-bucket-owner' : 'x-amz-source-expected-bucket-owner'
  const bucket = bucketNamed(model, bucketName ?? request.bucket!, caller)
  if (bucket instanceof Promise) {
    return bucket.then((found) => grant(model, request, found, caller, need, expected))
  }
  return grant(model, request, bucket, caller, need, expected)
}

/**
 * Finds the request's bucket: for requests about many keys, each of which is authorized by itself once the body that
 * names them is read.
 * @param check throws where the caller can be allowed nothing of what such a body may ask for
 * @throws S3Error NoSuchBucket; AccessDenied if the bucket does not belong to the expected owner
 */
export async function findBucket(
  model: Model,
  request: S3Request,
  check?: (bucket: Bucket, caller: AccessKey | undefined) => void,
): Promise<Granted> {
  return confirmDenial(model, async () => {
    const caller = callerOf(model, request)
    const bucket = await bucketNamed(model, request.bucket!, caller)
    checkExpectedOwner(model, request, bucket, 'x-amz-expected-bucket-owner')
    check?.(bucket, caller)
    return { bucket, caller }
  })
}

function bucketNamed(model: Model, name: string, caller: AccessKey | undefined): Bucket | Promise<Bucket> {
  const found = model.buckets.find(name, caller)
  return found instanceof Promise ? found.then((bucket) => existing(name, bucket)) : existing(name, found)
}

function existing(name: string, bucket: Bucket | undefined): Bucket {
  if (!bucket) throw new S3Error('NoSuchBucket', undefined, { extra: { BucketName: name } })
  return bucket
}

function grant(
  model: Model,
  request: S3Request,
  bucket: Bucket,
  caller: AccessKey | undefined,
  need: Need,
  expectedHeader: string,
): Granted | Promise<Granted> {
  checkExpectedOwner(model, request, bucket, expectedHeader)
  const key = need.key ?? request.key
  const question = { model, request, bucket, caller, need, action: need.action, key }
  const checked = isLimited(request) ? checkSession(question) : undefined
  return checked ? checked.then(() => settle(question)) : settle(question)
}

function settle(question: Question): Granted | Promise<Granted> {
  const { bucket, caller, need } = question
  const permissions = caller?.permissions.get(bucket.hexId)
  const settled = need.permission !== undefined && permissions?.[need.permission] === true
  if (settled && bucket.document('policy') === undefined) return { bucket, caller }
  return decide(question)
}

function checkExpectedOwner(model: Model, request: S3Request, bucket: Bucket, header: string): void {
  const expected = request.header(header)
  if (expected === undefined || expected === bucket.owner) return
  if (!model.keys.local(expected)?.permissions.get(bucket.hexId)?.owner) throw new S3Error('AccessDenied')
}
