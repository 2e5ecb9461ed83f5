import { AnswerError, CarportError, type ErrorCode } from '../../../util/errors.js'
import { OverloadedError } from '../../http/admission.js'
import { BodyError } from '../../http/body-reader.js'
import { UnknownThing } from '../handlers/lookup-error.js'
import { forOperator } from '../operator-errors.js'

/** An answer of the admin API that is an error. The message reaches the client. */
export class AdminError extends AnswerError {
  override readonly name = 'AdminError'
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    options?: { cause?: unknown; headers?: Readonly<Record<string, string>> },
  ) {
    super(message, options)
    this.headers = options?.headers
  }
  readonly headers: Readonly<Record<string, string>> | undefined
}

const UNAVAILABLE = [503, 'ServiceUnavailable'] as const
const INTERNAL = [500, 'InternalError'] as const

/** Status and code for each failure below the API; codes are Garage's where it has one. */
const FROM_DOMAIN: Record<ErrorCode, readonly [status: number, code: string]> = {
  InvalidArgument: [400, 'InvalidRequest'],
  NotFound: [404, 'NotFound'],
  Conflict: [409, 'Conflict'],
  QuorumUnavailable: UNAVAILABLE,
  Timeout: UNAVAILABLE,
  PeerUnreachable: UNAVAILABLE,
  LayoutNotReady: UNAVAILABLE,
  ClockSkew: UNAVAILABLE,
  LayoutOutdated: UNAVAILABLE,
  NotCaughtUp: UNAVAILABLE,
  Closed: UNAVAILABLE,
  NotSupported: [501, 'NotImplemented'],
  StorageFull: [507, 'InsufficientStorage'],
  BlockMissing: INTERNAL,
  Corrupted: INTERNAL,
  RemoteError: INTERNAL,
  Internal: INTERNAL,
}

/** What a conflict means to the operations that meet one often, by Garage's codes. */
const CONFLICTS: Readonly<Record<string, string>> = {
  CreateBucket: 'BucketAlreadyExists',
  DeleteBucket: 'BucketNotEmpty',
  ImportKey: 'KeyAlreadyExists',
}

const BODY_ERRORS = {
  Aborted: new AdminError(400, 'InvalidRequest', 'the request ended before its body was complete'),
  Idle: new AdminError(408, 'RequestTimeout', 'the body of the request did not come in time'),
  TooLarge: new AdminError(413, 'EntityTooLarge', 'the body of the request is too large'),
} as const

/** The answer for whatever was thrown. @param node this node's id, for the advice to operators */
export function toAdminError(error: unknown, endpoint: string | undefined, node: string): AdminError {
  if (error instanceof AdminError) return error
  if (error instanceof BodyError) return BODY_ERRORS[error.code]
  if (error instanceof OverloadedError) {
    return new AdminError(503, 'SlowDown', 'this node has too many requests in hand: try again', {
      headers: { 'Retry-After': '1' },
    })
  }
  const { code, message } = forOperator(error, node)
  // Faults of the program come as CarportErrors too, with a message that says nothing of the inside.
  const domain = error instanceof CarportError ? FROM_DOMAIN[code] : INTERNAL
  const [status] = domain
  let [, name] = domain
  if (error instanceof UnknownThing) name = `NoSuch${error.kind}`
  else if (code === 'Conflict' && endpoint !== undefined) name = CONFLICTS[endpoint] ?? name
  return new AdminError(status, name, message, {
    cause: error,
    ...(status === 503 && { headers: { 'Retry-After': '1' } }),
  })
}
