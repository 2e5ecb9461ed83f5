import { AnswerError, CarportError, type ErrorCode } from '../../util/errors.js'
import { OverloadedError } from '../http/admission.js'
import { XmlError } from '../xml/error.js'
import { escapeXml } from '../xml/writer.js'
import { S3_ERROR_CODES, type S3ErrorCode } from './error-codes.js'

export type { S3ErrorCode } from './error-codes.js'

export interface S3ErrorOptions {
  /** Further elements of the XML body, as AWS has them for some codes (`BucketName`, `Key`, `ArgumentName`). */
  extra?: Readonly<Record<string, string | number | undefined>>
  /** Headers of the answer. */
  headers?: Readonly<Record<string, string>>
  /** A status other than the code's usual one. */
  status?: number
  cause?: unknown
}

/** An answer of the S3 API that is an error. The message reaches the client. */
export class S3Error extends AnswerError {
  override readonly name = 'S3Error'
  readonly status: number
  readonly extra: Readonly<Record<string, string | number | undefined>> | undefined
  readonly headers: Readonly<Record<string, string>> | undefined

  constructor(
    readonly code: S3ErrorCode,
    message?: string,
    options?: S3ErrorOptions,
  ) {
    super(message ?? S3_ERROR_CODES[code][1], options)
    this.status = options?.status ?? S3_ERROR_CODES[code][0]
    this.extra = options?.extra
    this.headers = options?.headers
  }
}

/** `InvalidArgument` with the argument's name and value, as AWS answers it. */
export function invalidArgument(message: string, name: string, value?: string): S3Error {
  return new S3Error('InvalidArgument', message, { extra: { ArgumentName: name, ArgumentValue: value } })
}

/** In seconds: nodes find each other again, and compare what they know, within about this time. */
const RETRY_AFTER_S = '1'

/**
 * The S3 error for each failure below the API. The SDKs retry 500 and 503, back off longer on SlowDown, and
 * do not retry 507: a full disk does not mend itself within a retry.
 */
const FROM_DOMAIN: Record<ErrorCode, S3ErrorCode> = {
  QuorumUnavailable: 'ServiceUnavailable',
  Timeout: 'SlowDown',
  PeerUnreachable: 'ServiceUnavailable',
  RemoteError: 'InternalError',
  LayoutNotReady: 'ServiceUnavailable',
  LayoutOutdated: 'ServiceUnavailable',
  NotCaughtUp: 'ServiceUnavailable',
  ClockSkew: 'ServiceUnavailable',
  StorageFull: 'InsufficientStorage',
  BlockMissing: 'InternalError',
  Corrupted: 'InternalError',
  InvalidArgument: 'InvalidArgument',
  NotSupported: 'NotImplemented',
  NotFound: 'NoSuchKey',
  Conflict: 'OperationAborted',
  Closed: 'ServiceUnavailable',
  Internal: 'InternalError',
}

/**
 * The S3Error for anything that a handler throws. Only messages that are meant for clients are passed on:
 * those of S3Errors and of `InvalidArgument`. Others may reveal internals and stay in `cause`.
 */
export function toS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error
  if (error instanceof CarportError) {
    const isForClients = error.code === 'InvalidArgument' || error.code === 'ClockSkew'
    const message = isForClients ? error.message : undefined
    return withRetry(FROM_DOMAIN[error.code] ?? 'InternalError', error, message)
  }
  if (error instanceof XmlError) return xmlError(error, 'MalformedXML')
  if (error instanceof OverloadedError) return withRetry('SlowDown', error)
  return new S3Error('InternalError', undefined, { cause: error })
}

/** Answers that a moment later may be other ones say when to come back. */
function withRetry(code: S3ErrorCode, cause: unknown, message?: string): S3Error {
  const isPassing = S3_ERROR_CODES[code][0] === 503
  return new S3Error(code, message, {
    cause,
    ...(isPassing && { headers: { 'Retry-After': RETRY_AFTER_S } }),
  })
}

/**
 * The S3Error for an XML document that could not be read.
 * @param malformed the code for a document that is not well-formed or not the expected one
 */
export function xmlError(error: XmlError, malformed: 'MalformedXML' | 'MalformedACLError'): S3Error {
  const code = error.code === 'TooLarge' ? 'MaxMessageLengthExceeded' : malformed
  return new S3Error(code, undefined, { cause: error })
}

/** The XML body of an error answer. */
export function errorXml(error: S3Error, resource: string, requestId: string, hostId: string): string {
  let extra = ''
  for (const name in error.extra) {
    const value = error.extra[name]
    if (value !== undefined) extra += `<${name}>${escapeXml(String(value))}</${name}>`
  }
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
    `<Error><Code>${error.code}</Code><Message>${escapeXml(error.message)}</Message>${extra}` +
    `<Resource>${escapeXml(resource)}</Resource><RequestId>${requestId}</RequestId>` +
    `<HostId>${escapeXml(hostId)}</HostId></Error>`
  )
}
