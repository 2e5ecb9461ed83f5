import type { ServerResponse } from 'node:http'
import type { AnswerBody } from './answer.js'
import type { BodyReader } from './body-reader.js'
import type { IdleWatch } from './idle-watch.js'
import { ReadingClient } from './reading-client.js'

/** The rest of a request's body up to this size is read and thrown away to keep the connection. */
const REST_KEPT_MAX = 1024 * 1024
/**
 * A longer rest is read up to this size, so that a client that first sends all and then reads gets the answer: to close
 * a connection with unread bytes resets it, and the client loses what it has not read yet. Parts of uploads are smaller.
 */
const REST_LINGER_MAX = 64 * 1024 * 1024
/**
 * After that nothing more is read, and the connection stays open for so long, for a client that reads while it sends.
 */
const LINGER_MS = 5_000
/**
 * A body from this size on may not fit the socket's buffers: the client must read it within the idle time.
 */
const WATCHED_BODY_MIN = 16 * 1024

/** The state of a request on which the sending of its answer depends. */
export interface RequestState {
  readonly isHead: boolean
  /** Bytes that the request's body announces; undefined for chunked transfer; 0 for none. */
  readonly bodyLength: number | undefined
  readonly reader: BodyReader
  /** Whether the client still waits for `100 Continue`. */
  readonly awaitsContinue: boolean
}

/**
 * Sends an answer and deals with the part of the request that the client has not sent yet. Headers are a flat
 * list of names and values. A body that is shorter or longer than its Content-Length, or that fails, destroys
 * the connection, so that the client notices.
 * @returns the bytes of body sent, when all are handed to the socket or the client is gone
 */
export function respond(
  response: ServerResponse,
  request: RequestState,
  watch: IdleWatch,
  status: number,
  headers: (string | number | readonly string[])[],
  body: AnswerBody | undefined,
  onError: (error: unknown) => void,
): number | Promise<number> {
  const rest = restOf(response, request)
  if (rest === 'close' || rest === 'linger') headers.push('Connection', 'close')
  const bodyless = request.isHead || status === 204 || status === 304
  const streams = isStream(body)
  let data: string | Buffer | undefined
  if (!streams) {
    data = bodyless ? undefined : body
    if (!request.isHead && status !== 204 && status !== 304 && !hasLength(headers)) {
      headers.push('Content-Length', body === undefined ? 0 : Buffer.byteLength(body))
    }
  }
  if (response.destroyed) {
    if (streams) void closeBody(body)
    return 0
  }
  writeHead(response, status, headers)
  if (streams && !bodyless) return stream(response, request, watch, headers, body, rest, onError)
  if (streams) void closeBody(body)
  const length = data === undefined ? 0 : typeof data === 'string' ? Buffer.byteLength(data) : data.length
  if (rest === 'linger') {
    if (length > 0) response.write(data)
    else response.flushHeaders()
    finishLinger(response, request, watch)
    return length
  }
  response.end(data)
  if (length >= WATCHED_BODY_MIN) watchEnd(response, watch)
  if (rest === 'drain') drain(response, request)
  return length
}

/** Whether a body comes piece by piece. */
export function isStream(body: AnswerBody | undefined): body is AsyncIterable<Buffer> {
  return typeof body === 'object' && !Buffer.isBuffer(body)
}

type Rest = 'none' | 'drain' | 'linger' | 'close'

function restOf(response: ServerResponse, { bodyLength, reader, awaitsContinue }: RequestState): Rest {
  if (bodyLength === 0 || reader.ended) return 'none'
  if (response.req.complete && !reader.started) return 'none' // node:http throws it away by itself
  if (awaitsContinue || reader.failed) return 'close'
  if (bodyLength === undefined || bodyLength - reader.receivedBytes > REST_KEPT_MAX) return 'linger'
  return response.shouldKeepAlive ? 'drain' : 'linger'
}

function drain(response: ServerResponse, request: RequestState): void {
  const { socket } = response
  void request.reader.discard(REST_KEPT_MAX).then((whole) => {
    if (!whole) socket?.destroy()
  })
}

/**
 * Everything is sent except the formal end of the answer, upon which node:http would close the connection at
 * once.
 */
function finishLinger(response: ServerResponse, request: RequestState, watch: IdleWatch): void {
  void request.reader.discard(REST_LINGER_MAX).then((whole) => {
    if (whole || response.destroyed) {
      response.end()
      return
    }
    const timer = watch.clock.after(LINGER_MS, () => response.end())
    response.on('close', () => timer.cancel())
  })
}

function hasLength(headers: readonly unknown[]): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    if (name.length === 14 && name.toLowerCase() === 'content-length') return true
  }
  return false
}

function lengthOf(headers: readonly unknown[]): number | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if ((headers[i] as string).toLowerCase() === 'content-length') return Number(headers[i + 1])
  }
  return undefined
}

function writeHead(
  response: ServerResponse,
  status: number,
  headers: (string | number | readonly string[])[],
): void {
  try {
    response.writeHead(status, headers as string[])
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_INVALID_CHAR') throw error
    const clean = headers.map((value, i) =>
      i % 2 === 1 && typeof value === 'string' ? sendable(value) : value,
    )
    response.writeHead(status, clean as string[])
  }
}

/**
 * A header's value as it can go out. Text beyond latin1 becomes its UTF-8 bytes; other values are bytes already, as stored
 * metadata is. Control characters cannot go out at all.
 */
function sendable(value: string): string {
  const bytes = /[^\x00-\xff]/.test(value) ? Buffer.from(value, 'utf8').toString('latin1') : value
  return bytes.replace(/[\x00-\x08\x0a-\x1f\x7f]/g, ' ')
}

function watchEnd(response: ServerResponse, watch: IdleWatch): void {
  const client = new ReadingClient(response, watch)
  client.begin()
  response.on('close', () => client.end())
}

/** Lets go of a body that nobody reads. Does not reject. */
export async function closeBody(body: AsyncIterable<Buffer>): Promise<void> {
  try {
    await body[Symbol.asyncIterator]().return?.()
  } catch {
    // Nobody reads it.
  }
}

async function stream(
  response: ServerResponse,
  request: RequestState,
  watch: IdleWatch,
  headers: readonly unknown[],
  body: AsyncIterable<Buffer>,
  rest: Rest,
  onError: (error: unknown) => void,
): Promise<number> {
  const expected = lengthOf(headers)
  let sent = 0
  let wake: (() => void) | undefined
  const client = new ReadingClient(response, watch)
  const onWake = () => wake?.()
  response.on('close', onWake)
  try {
    for await (const chunk of body) {
      if (response.destroyed) return sent
      if (expected !== undefined && sent + chunk.length > expected) {
        throw new Error(`the body is longer than its ${expected} bytes`)
      }
      sent += chunk.length
      // The producer reuses a chunk's memory when the next one is asked for, so it must be written by then.
      await new Promise<void>((resolve) => {
        wake = resolve
        response.write(chunk, onWake)
        client.begin()
      })
      wake = undefined
      client.end()
      if (response.destroyed) return sent
    }
    if (expected !== undefined && sent !== expected) {
      throw new Error(`the body ended after ${sent} of ${expected} bytes`)
    }
    if (rest === 'linger') finishLinger(response, request, watch)
    else {
      response.end()
      watchEnd(response, watch)
      if (rest === 'drain') drain(response, request)
    }
  } catch (error) {
    if (!response.destroyed) {
      onError(error)
      response.destroy()
    }
  } finally {
    client.end()
    response.off('close', onWake)
  }
  return sent
}
