import { endSession } from '../session'
import { type TextName, t } from '../texts/texts'

/** An answer that is an error, or none. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  constructor(
    /** 0 if no answer came. */
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

export function unreachable(): ApiError {
  return new ApiError(0, 'Unreachable', t('error.unreachable'))
}

/** What the admin API says of a token that it takes no longer; other refusals are about what a token may do. */
const TOKEN_ENDED = /^(invalid authorization token|the authorization token has expired)$/

/** Ends the session if an answer to one of its requests says that its credentials are good no longer. */
export function noticeEnd({ code, message }: ApiError): void {
  if (code === 'ExpiredToken' || code === 'InvalidToken') endSession(t('session.expired'))
  else if (code === 'InvalidAccessKeyId') endSession(t('session.key-gone'))
  else if (TOKEN_ENDED.test(message)) endSession(t('session.token-gone'))
}

/** What to do about errors that people meet often; for all others, the status tells. */
const ADVICE: Readonly<Record<string, TextName>> = {
  AccessDenied: 'error.denied',
  BucketAlreadyExists: 'error.name-taken',
  BucketNotEmpty: 'error.not-empty',
  EntityTooLarge: 'error.too-large',
  ExpiredToken: 'error.expired',
  InsufficientStorage: 'error.full',
  InvalidAccessKeyId: 'error.key',
  InvalidBucketState: 'error.state',
  NoSuchBucket: 'error.no-bucket',
  NoSuchKey: 'error.no-object',
  NoSuchUpload: 'error.no-upload',
  QuotaExceeded: 'error.quota',
  RequestTimeTooSkewed: 'error.clock',
  ServiceUnavailable: 'error.busy',
  SignatureDoesNotMatch: 'error.key',
  SlowDown: 'error.busy',
}

/** What happened, and what to do about it. */
export function explain(error: unknown): string {
  if (error instanceof SyntaxError) return t('error.json', { message: error.message })
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error)
  const { status, code } = error
  // A sentence ends as one, whoever wrote it.
  const message = /[.!?]$/.test(error.message) ? error.message : `${error.message}.`
  const advice = ADVICE[code]
  if (advice) return t(advice, { message })
  if (status >= 500) return t('error.server', { message })
  return status >= 400 && status !== 401 ? t('error.refused', { message }) : message
}
