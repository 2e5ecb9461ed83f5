import { AnswerError, CarportError } from '../../util/errors.js'
import { S3Error, toS3Error } from '../s3/errors.js'
import { bodyError } from '../s3/payload/payload.js'

/** The codes that only K2V answers with, and their statuses; others are those of S3. As Garage has them. */
const K2V_ERROR_CODES = {
  CausalityToken: 400,
  Conflict: 409,
  InvalidBase64: 400,
  InvalidRequest: 400,
  InvalidUtf8String: 400,
  NoSuchKey: 404,
  NotAcceptable: 406,
  PayloadTooLarge: 413,
} as const satisfies Record<string, number>

/** When to come back while the cluster is upgraded, in seconds. */
const UPGRADE_RETRY_S = '60'

export type K2vErrorCode = keyof typeof K2V_ERROR_CODES

/** An answer of the K2V API that is an error. The message reaches the client. */
export class K2vError extends AnswerError {
  override readonly name = 'K2vError'
  readonly status: number

  constructor(
    readonly code: K2vErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options)
    this.status = K2V_ERROR_CODES[code]
  }
}

/** A request that asks for something that there is not. */
export function invalidRequest(message: string, cause?: unknown): K2vError {
  return new K2vError('InvalidRequest', message, { cause })
}

/** An error as it is answered. */
export interface AnsweredError {
  readonly status: number
  readonly code: string
  readonly message: string
  readonly headers: Readonly<Record<string, string>>
  readonly cause: unknown
}

/** The answer to anything that a handler throws. */
export function toAnsweredError(thrown: unknown): AnsweredError {
  const error = fromDomain(thrown)
  if (error instanceof K2vError) {
    return {
      status: error.status,
      code: error.code,
      message: error.message,
      headers: {},
      cause: error.cause ?? error,
    }
  }
  const { status, code, message, headers, cause } = toS3Error(error)
  return { status, code, message, headers: headers ?? {}, cause: cause ?? error }
}

function fromDomain(error: unknown): unknown {
  const thrown = bodyError(error, 'EntityTooLarge')
  if (thrown instanceof S3Error && thrown.code === 'EntityTooLarge') {
    return new K2vError('PayloadTooLarge', 'the body is too long', { cause: thrown })
  }
  if (!(thrown instanceof CarportError)) return thrown
  if (thrown.code === 'InvalidArgument') return invalidRequest(thrown.message, thrown)
  // For as long as an upgrade takes.
  if (thrown.code === 'NotSupported') {
    const headers = { 'Retry-After': UPGRADE_RETRY_S }
    return new S3Error('ServiceUnavailable', thrown.message, { cause: thrown, headers })
  }
  if (thrown.code === 'Conflict') return new K2vError('Conflict', thrown.message, { cause: thrown })
  return thrown
}

/** The body of an error's answer. */
export function errorBody(error: { code: string; message: string }, region: string, path: string): string {
  const { code, message } = error
  return `${JSON.stringify({ code, message, region, path }, undefined, 2)}\n`
}
