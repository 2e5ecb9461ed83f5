import { OverloadedError } from '../api/http/admission.js'
import type { ErrorAnswer } from '../api/http/answer.js'
import { BodyError } from '../api/http/body-reader.js'
import { AnswerError, CarportError, type ErrorCode } from '../util/errors.js'

const REASONS: Record<number, string> = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  412: 'Precondition Failed',
  414: 'URI Too Long',
  416: 'Range Not Satisfiable',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}

/** An answer of the web endpoint that is an error. The message reaches the visitor, as text. */
export class WebError extends AnswerError {
  override readonly name = 'WebError'

  constructor(
    readonly status: number,
    message: string,
    options?: { headers?: Readonly<Record<string, string>>; cause?: unknown },
  ) {
    super(message, options)
    this.headers = options?.headers
  }

  readonly headers: Readonly<Record<string, string>> | undefined
}

/** Failures that are over in a moment: the visitor's browser, or the proxy, may come again. */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  'QuorumUnavailable',
  'Timeout',
  'PeerUnreachable',
  'LayoutNotReady',
  'LayoutOutdated',
  'NotCaughtUp',
  'Closed',
])

/** The WebError for anything that serving a page throws. What may reveal internals stays in `cause`. */
export function toWebError(error: unknown): WebError {
  if (error instanceof WebError) return error
  if (error instanceof BodyError) return new WebError(400, 'The request ended too early.')
  if (error instanceof OverloadedError || (error instanceof CarportError && PASSING.has(error.code))) {
    const headers = { 'Retry-After': '1' }
    return new WebError(503, 'The site cannot be read just now. Please try again.', { headers, cause: error })
  }
  return new WebError(500, 'The page could not be read.', { cause: error })
}

/** The plain page of an error. */
export function errorPage(status: number, message: string): string {
  const title = `${status} ${REASONS[status] ?? 'Error'}`
  return (
    `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>${title}</title>\n` +
    `<h1>${title}</h1>\n<p>${escapeHtml(message)}</p>\n</html>\n`
  )
}

/** The answer with the plain page of an error. */
export function plainAnswer(error: WebError): ErrorAnswer {
  const { status, headers, message } = error
  return {
    status,
    code: (REASONS[status] ?? 'Error').replaceAll(' ', ''),
    cause: error.cause ?? error,
    headers: { ...headers, 'Content-Type': 'text/html; charset=utf-8' },
    body: errorPage(status, message),
  }
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
