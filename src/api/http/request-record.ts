/** One line of the request log. */
export interface RequestRecord {
  readonly requestId: string
  readonly method: string
  /** Undefined when the request failed before its operation was known. */
  readonly operation: string | undefined
  readonly bucket: string | undefined
  readonly keyId: string | undefined
  readonly rawPath: string
  readonly remoteAddress: string
  /** As the client sent it; undefined if it did not. */
  readonly host: string | undefined
  /** 499 when the client went away before the answer began. */
  readonly status: number
  /** The protocol's error code of the answer. */
  readonly errorCode: string | undefined
  readonly bytesReceived: number
  readonly bytesSent: number
  readonly durationMs: number
}

/** Makes spans of requests (src/node/tracing); the front knows nothing else of tracing. */
export type BeginRequestSpan = (traceparent: string | string[] | undefined) => RequestSpan | undefined

/** The span of one request. */
export interface RequestSpan {
  /** Runs `serve` so that what it starts becomes part of the request's span. */
  run(serve: () => void): void
  /** Ends the span, with what the request was. */
  end(record: RequestRecord): void
}
