import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** The parts of an answer to something that is no HTTP request. */
export interface BrokenRequestAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

/** The reason why node:http could not read a request. */
export type BrokenRequest = 'header-overflow' | 'timeout' | 'malformed'

/**
 * Answers bytes that node:http could not parse, on the raw connection, and closes it: for the server's
 * `clientError`. A connection that was reset, is in the middle of an answer, or broke in the body of a
 * request that was answered already, is just closed: a client would take a second answer for that of its next
 * request.
 */
export function answerBrokenRequest(
  error: Error & { code?: string },
  socket: Duplex,
  answer: (reason: BrokenRequest) => BrokenRequestAnswer,
): void {
  const { _httpMessage: current, parser } = socket as {
    _httpMessage?: ServerResponse | null
    parser?: { incoming?: IncomingMessage | null } | null
  }
  const answered = current ? current.headersSent : parser?.incoming?.complete === false
  if (error.code === 'ECONNRESET' || !socket.writable || answered) {
    socket.destroy()
    return
  }
  const reason =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? 'header-overflow'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? 'timeout'
        : 'malformed'
  const { status, contentType, body } = answer(reason)
  socket.end(
    `HTTP/1.1 ${status} Bad Request\r\nContent-Type: ${contentType}\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}
