/** Header values are latin1 strings: their characters are bytes, as node:http has them. */
export type Headers = Readonly<Record<string, string>>

/** Content on its way. Breaking off the iteration ends the transfer. */
export type Content = AsyncIterable<Buffer>

export interface StreamRequest {
  /** http: or https:, host and port. */
  origin: string
  method: string
  /** The request target as it is sent: percent-encoded path and query. */
  target: string
  headers: Headers
  body?: Buffer | Content
}

export interface StreamAnswer {
  status: number
  headers: Headers
  body: Content
}

/**
 * Sends a request, and resolves when the head of its answer is there. The caller must read or break off the body.
 * @throws Error if there is no answer; with the error of `body` if that fails
 */
export type StreamCall = (request: StreamRequest) => Promise<StreamAnswer>
