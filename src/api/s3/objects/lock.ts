import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Precondition } from '../../../model/versions/conditional-writes.js'
import type { DeletionGuard } from '../../../model/versions/deletion.js'
import {
  defaultRetention,
  lockGuard,
  type Retention,
  type RetentionMode,
} from '../../../model/versions/lock.js'
import type { Mutable } from '../../../model/versions/record.js'
import { parseIsoDate } from '../../http/date.js'
import { authorize } from '../access/authorize.js'
import type { RequestedLock } from '../access/question.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import type { S3Request } from '../request.js'

const MODE = 'x-amz-object-lock-mode'
const UNTIL = 'x-amz-object-lock-retain-until-date'
const LEGAL_HOLD = 'x-amz-object-lock-legal-hold'

/** @throws S3Error InvalidRequest unless the bucket has object lock */
export function needObjectLock(bucket: Bucket): void {
  if (!bucket.objectLock) throw new S3Error('InvalidRequest', 'Bucket is missing Object Lock Configuration')
}

/** Whether a text names a retention mode. */
export function isRetentionMode(text: string | undefined): text is RetentionMode {
  return text === 'GOVERNANCE' || text === 'COMPLIANCE'
}

/** @throws S3Error InvalidArgument unless a retention ends in the future */
export function checkFuture(untilMs: number, nowMs: number): void {
  if (untilMs > nowMs) return
  throw invalidArgument(
    'The retain until date must be in the future!',
    UNTIL,
    new Date(untilMs).toISOString(),
  )
}

/**
 * Retention and legal hold of a new version. They count as set when it was made, so any later change wins.
 */
export type NewLock = Pick<Mutable, 'legalHold' | 'retention'>

/**
 * The lock in the request's headers.
 * @throws S3Error InvalidRequest (bucket without object lock), InvalidArgument
 */
export function headerLock(request: S3Request, bucket: Bucket, nowMs: number): NewLock {
  const mode = request.header(MODE)
  const until = request.header(UNTIL)
  const hold = request.header(LEGAL_HOLD)
  if (mode === undefined && until === undefined && hold === undefined) return NO_LOCK
  needObjectLock(bucket)
  if (hold !== undefined && hold !== 'ON' && hold !== 'OFF') {
    throw invalidArgument('Legal Hold must be either of ON or OFF', LEGAL_HOLD, hold)
  }
  const retention = headerRetention(mode, until, nowMs)
  return {
    ...(hold !== undefined && { legalHold: [0, hold === 'ON'] as [number, boolean] }),
    ...(retention && { retention: [0, retention] as [number, Retention] }),
  }
}

const NO_LOCK: NewLock = {}

/** Adds the bucket's default to a version without a retention. */
export function withDefaultRetention(lock: Mutable, bucket: Bucket, nowMs: number): Mutable {
  if (!bucket.objectLock || lock.retention) return lock
  const retention = defaultRetention(bucket.document('object-lock'), nowMs)
  if (!retention) return lock
  const { tags, ...before } = lock // fields are in the order of their names
  return { ...before, retention: [0, retention], ...(tags && { tags }) }
}

function headerRetention(
  mode: string | undefined,
  until: string | undefined,
  nowMs: number,
): Retention | undefined {
  if (mode === undefined && until === undefined) return undefined
  if (mode === undefined || until === undefined) {
    throw invalidArgument(`${UNTIL} and ${MODE} must both be supplied`, mode === undefined ? MODE : UNTIL)
  }
  if (!isRetentionMode(mode)) throw invalidArgument('Unknown wormMode directive.', MODE, mode)
  const untilMs = parseIsoDate(until)
  if (untilMs === undefined) {
    throw invalidArgument('The retain until date must be provided in ISO 8601 format', UNTIL, until)
  }
  checkFuture(untilMs, nowMs)
  return { mode, untilMs }
}

/**
 * Whether the request asks to bypass governance mode and the caller may: its key has the owner permission, or
 * the policy allows s3:BypassGovernanceRetention.
 * @param key the object's key, if it is not the request's
 * @param requestLock the lock that the request's document sets, if it has one
 */
export async function mayBypassGovernance(
  { model }: S3Context,
  request: S3Request,
  key?: string,
  requestLock?: () => Promise<RequestedLock>,
): Promise<boolean> {
  if (request.header('x-amz-bypass-governance-retention')?.toLowerCase() !== 'true') return false
  try {
    await authorize(model, request, {
      permission: 'owner',
      action: 's3:BypassGovernanceRetention',
      ...(key !== undefined && { key }),
      ...(requestLock && { requestLock }),
    })
    return true
  } catch (error) {
    if (error instanceof S3Error && error.status < 500) return false
    throw error
  }
}

/**
 * The check that each deletion of a version must pass. It goes by the version's own lock: this node may not have heard
 * yet that the bucket has any.
 */
export async function deletionGuard(
  context: S3Context,
  request: S3Request,
  bucket: Bucket,
  key?: string,
): Promise<DeletionGuard> {
  const bypass = await mayBypassGovernance(context, request, key)
  return lockGuard(context.clock, { bypass, announces: bucket.objectLock, refuse: protectedByLock })
}

/** A guard that also looks at the conditions of the request: what they speak of does not change in a version. */
export function conditionalGuard(
  guard: DeletionGuard,
  precondition: Precondition | undefined,
): DeletionGuard {
  if (!precondition) return guard
  return {
    announces: guard.announces,
    check(version) {
      precondition(version, version)
      guard.check(version)
    },
  }
}

/** The error for a change that object lock forbids. */
export function protectedByLock(): S3Error {
  return new S3Error('AccessDenied', 'Access Denied because object protected by object lock.')
}
