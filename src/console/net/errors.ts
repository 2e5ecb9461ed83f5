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
