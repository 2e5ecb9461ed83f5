/** The body of an answer. A stream must come with a Content-Length header, else it is sent in chunked transfer. */
export type AnswerBody = string | Buffer | AsyncIterable<Buffer>

/** Headers of an answer by name; those that are undefined are left out. */
export type AnswerHeaders = Record<string, string | number | readonly string[] | undefined>

/** An answer to a request. Without a body, Content-Length is 0, except for HEAD, 204 and 304. */
export interface Answer {
  status: number
  headers?: AnswerHeaders
  body?: AnswerBody
}

/** The answer to a request that failed. */
export interface ErrorAnswer extends Answer {
  /** The protocol's name of the error, for logs and counters. */
  readonly code: string
  /** The failure behind it, which the client does not see; logged for statuses from 500 on. */
  readonly cause: unknown
}
