import { endSession } from '../session'
import { t } from '../texts/texts'

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

/** What happened, and what to do about it. */
export function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error)
  switch (error.code) {
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
      return t('error.key')
    case 'RequestTimeTooSkewed':
      return t('error.clock')
    case 'ExpiredToken':
      return t('error.expired')
    case 'AccessDenied':
      return t('error.denied', { message: error.message })
    case 'SlowDown':
    case 'ServiceUnavailable':
      return t('error.busy', { message: error.message })
    default:
      return error.message
  }
}
