/** The codes of errors that did not come from the server. */
export type K2vClientErrorCode =
  /** A key, a token or an option cannot be sent; nothing was. */
  | 'InvalidArgument'
  /** No answer came: the request may have been carried out, or not. Browsers also say so of an origin without CORS. */
  | 'NetworkError'
  /** The answer is not one of a K2V server: perhaps a proxy's, or one whose token CORS does not expose. */
  | 'InvalidAnswer'

/** The codes that servers answer with; others may come. */
export type K2vServerErrorCode =
  | 'AccessDenied'
  | 'CausalityToken'
  | 'Conflict'
  | 'InternalError'
  | 'InvalidBase64'
  | 'InvalidRequest'
  | 'InvalidUtf8String'
  | 'NoSuchBucket'
  | 'PayloadTooLarge'
  | 'RequestTimeTooSkewed'
  | 'ServiceUnavailable'
  | 'SignatureDoesNotMatch'
  | 'SlowDown'

export interface K2vErrorOptions {
  readonly status?: number
  readonly retryAfterSeconds?: number
  readonly cause?: unknown
}

/** The one error that the client throws, except for an aborted call, which rejects with its signal's reason. */
export class K2vError extends Error {
  override readonly name = 'K2vError'
  /** The HTTP status; undefined if no answer came or no request was sent. */
  readonly status: number | undefined
  /** How long the server asks to wait before the next try, in seconds; undefined if it does not. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    readonly code: K2vClientErrorCode | K2vServerErrorCode | (string & {}),
    message: string,
    { status, retryAfterSeconds, cause }: K2vErrorOptions = {},
  ) {
    super(message, { cause })
    this.status = status
    this.retryAfterSeconds = retryAfterSeconds
  }

  /**
   * Whether the same call may succeed later: no answer came, or the server is overloaded or lacks a quorum. A write that is
   * tried again may have been carried out before; with the same token that leaves one value, unless another client has
   * superseded the first one meanwhile.
   */
  get isTransient(): boolean {
    return this.code === 'NetworkError' || this.status === 429 || (this.status ?? 0) >= 500
  }
}

/** An argument that cannot be sent. */
export function invalidArgument(message: string, cause?: unknown): K2vError {
  return new K2vError('InvalidArgument', message, { cause })
}

/** An answer that is not K2V's. */
export function invalidAnswer(message: string, status?: number, cause?: unknown): K2vError {
  return new K2vError('InvalidAnswer', message, { cause, ...(status !== undefined && { status }) })
}
