import type { AccessKey } from '../../../model/buckets/access-keys.js'
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Dated } from '../../../model/versions/record.js'
import { errorCode } from '../../../util/errors.js'
import { parseHttpDate } from '../../http/date.js'
import { callerOf, confirmDenial } from '../access/authorize.js'
import { isLimited } from '../access/session.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import type { S3Request } from '../request.js'

/**
 * The header by which a migration tells the Last-Modified that an object has in the store it comes from: an HTTP date, or a
 * time of ISO 8601 with milliseconds. Taken from keys that own the bucket by PutObject, CopyObject, CompleteMultipartUpload,
 * and by DeleteObject for the marker that it leaves.
 */
const HEADER = 'x-carport-last-modified'
/** How far a time may be ahead, in ms, and counts as now: clocks differ. */
const AHEAD_MS_MAX = 60_000

type ToldTime = Pick<Dated, 'modifiedMs'>
const UNTOLD: ToldTime = {}

/**
 * The Last-Modified that a request tells for the version that it writes, to be spread into that; nothing unless it has one.
 * @throws S3Error AccessDenied for keys that do not own the bucket, and for temporary credentials with a policy of their own;
 * InvalidArgument for what is no time, lies before 1970 or in the future
 */
export function toldTime(
  context: S3Context,
  request: S3Request,
  bucket: Bucket,
): ToldTime | Promise<ToldTime> {
  const text = request.headers[HEADER]
  if (text === undefined) return UNTOLD
  return confirmDenial(context.model, () => {
    if (!maySet(request, bucket, callerOf(context.model, request)))
      throw new S3Error('AccessDenied', `Only access keys that own the bucket may set ${HEADER}.`)
    return parsed(String(text), context.clock.nowMs())
  })
}

function parsed(text: string, nowMs: number): ToldTime {
  const ms = parseHttpDate(text)
  const refuse = (message: string) => invalidArgument(message, HEADER, text.slice(0, 100))
  if (ms === undefined) throw refuse(`${HEADER} must be an HTTP date or a time of ISO 8601 with a zone.`)
  if (ms < 0) throw refuse(`${HEADER} lies before 1970.`)
  if (ms > nowMs + AHEAD_MS_MAX) throw refuse(`${HEADER} lies in the future.`)
  return ms > nowMs ? UNTOLD : { modifiedMs: ms }
}

function maySet(request: S3Request, bucket: Bucket, caller: AccessKey | undefined): boolean {
  return caller?.permissions.get(bucket.hexId)?.owner === true && !isLimited(request)
}

/**
 * Headers of HeadBucket's answer: whether the caller may tell times in the bucket, for those who ask by the same header.
 * Stores that do not know the header answer without it.
 */
export function toldTimeOffer(
  { model }: S3Context,
  request: S3Request,
  bucket: Bucket,
): Record<string, string> {
  if (request.headers[HEADER] === undefined || !maySet(request, bucket, callerOf(model, request))) return {}
  try {
    model.objects.checkDated()
  } catch (error) {
    if (errorCode(error) === 'NotSupported') return {}
    throw error
  }
  return { [HEADER]: 'accepted' }
}

/** CreateMultipartUpload does not keep the time. @throws S3Error InvalidArgument */
export function refuseToldTime(request: S3Request): void {
  const text = request.headers[HEADER]
  if (text === undefined) return
  throw invalidArgument(`${HEADER} belongs to CompleteMultipartUpload.`, HEADER, String(text).slice(0, 100))
}
