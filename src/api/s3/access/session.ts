import type { AccessKey } from '../../../model/buckets/access-keys.js'
import type { Bucket } from '../../../model/buckets/buckets.js'
import { S3Error } from '../errors.js'
import type { S3Request } from '../request.js'
import { conditionValues } from './condition-values.js'
import { impliedBy, type Need, type Question } from './question.js'

/** Whether the request is signed with temporary credentials that have a policy of their own. */
export function isLimited({ auth }: S3Request): boolean {
  return auth.kind === 'key' && auth.session?.policy !== undefined
}

/**
 * Checks an action in a bucket against the session's policy. The permissions of the key behind the session
 * are checked as for any request.
 * @throws S3Error AccessDenied
 */
export function checkSession(question: Question): void {
  const { bucket, caller, key, action, request } = question
  const suffix = key === undefined ? '' : `/${key}`
  const resources = namesOf(bucket, caller).map((name) => `arn:aws:s3:::${name}${suffix}`)
  for (const needed of [action, ...impliedBy(request, action)]) checkAction(question, needed, resources)
}

/**
 * As checkSession, for requests about no bucket, or about one that does not exist yet.
 * @throws S3Error AccessDenied
 */
export function checkSessionOutside(
  request: S3Request,
  caller: AccessKey | undefined,
  action: string,
  bucketName = '*',
): void {
  if (!isLimited(request)) return
  const need: Need = { action }
  checkAction({ request, caller, need, action, key: undefined }, action, [`arn:aws:s3:::${bucketName}`])
}

function checkAction(
  question: Parameters<typeof conditionValues>[0],
  action: string,
  resources: readonly string[],
): void {
  const { auth } = question.request
  const limits = auth.kind === 'key' ? auth.session?.limits() : undefined
  if (!limits?.allows({ action, resources, values: conditionValues({ ...question, action }, {}) })) {
    throw new S3Error('AccessDenied', 'The policy of the session does not allow this.')
  }
}

/** Every name by which the caller may know the bucket. */
function namesOf({ aliases, localAliases }: Bucket, caller: AccessKey | undefined): string[] {
  const own = localAliases.filter(({ keyId }) => keyId === caller?.id).map(({ alias }) => alias)
  return [...aliases, ...own]
}
