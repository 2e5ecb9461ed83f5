import type { AccessKey } from '../../../model/buckets/access-keys.js'
import type { Bucket } from '../../../model/buckets/buckets.js'
import { S3Error } from '../errors.js'
import type { S3Request } from '../request.js'
import type { SessionLimits } from '../signature/verifier.js'
import { type ConditionFacts, conditionValues } from './condition-values.js'
import { mayBeAllowed } from './decision.js'
import { REQUEST_LOCK } from './policy/condition-keys.js'
import { impliedBy, type Need, type Question } from './question.js'

/** Whether the request is signed with temporary credentials that have a policy of their own. */
export function isLimited({ auth }: S3Request): boolean {
  return auth.kind === 'key' && auth.session?.policy !== undefined
}

/**
 * Checks an action in a bucket against the session's policy; at once, unless that asks for what the request's document says.
 * The permissions of the key behind the session are checked as for any request.
 * @throws S3Error AccessDenied (or rejects with it)
 */
export function checkSession(question: Question): Promise<void> | undefined {
  const { need, action, request } = question
  if (need.requestLock && sessionAsksFor(request, action, REQUEST_LOCK)) {
    return checkWithLock(question, need.requestLock)
  }
  checkActions(question, {})
  return undefined
}

async function checkWithLock(
  question: Question,
  requestLock: NonNullable<Need['requestLock']>,
): Promise<void> {
  // The body is not read for a caller whom nothing can allow the action.
  if (!mayBeAllowed(question)) throw new S3Error('AccessDenied')
  checkActions(question, { lock: await requestLock() })
}

function checkActions(question: Question, facts: ConditionFacts): void {
  const { bucket, caller, key, action, request } = question
  const suffix = key === undefined ? '' : `/${key}`
  const resources = namesOf(bucket, caller).map((name) => `arn:aws:s3:::${name}${suffix}`)
  for (const needed of [action, ...impliedBy(request, action)])
    checkAction(question, needed, resources, facts)
}

/** Whether what the session's policy says of an action depends on the condition keys that begin with `prefix`, in lower case. */
export function sessionAsksFor(request: S3Request, action: string, prefix: string): boolean {
  return limitsOf(request)?.asksFor(action, prefix) === true
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
  facts: ConditionFacts = {},
): void {
  if (!isLimited(request)) return
  const need: Need = { action }
  checkAction(
    { request, caller, need, action, key: undefined },
    action,
    [`arn:aws:s3:::${bucketName}`],
    facts,
  )
}

function checkAction(
  question: Parameters<typeof conditionValues>[0],
  action: string,
  resources: readonly string[],
  facts: ConditionFacts,
): void {
  const values = conditionValues({ ...question, action }, facts)
  if (!limitsOf(question.request)?.allows({ action, resources, values })) {
    throw new S3Error('AccessDenied', 'The policy of the session does not allow this.')
  }
}

function limitsOf({ auth }: S3Request): SessionLimits | undefined {
  return auth.kind === 'key' ? auth.session?.limits() : undefined
}

/** Every name by which the caller may know the bucket. */
function namesOf({ aliases, localAliases }: Bucket, caller: AccessKey | undefined): string[] {
  const own = localAliases.filter(({ keyId }) => keyId === caller?.id).map(({ alias }) => alias)
  return [...aliases, ...own]
}
