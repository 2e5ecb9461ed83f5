/**
 * The HTTP front that the node's APIs share: request ids, bodies, answers, errors, clients that stall or send
 * no HTTP, admission, the request log, and letting requests end before a stop. Each API is a Protocol, which
 * gives requests their meaning.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ByteBudget } from '../../util/byte-budget.js'
import type { Clock } from '../../util/clock.js'
import { errorCode, messageOf } from '../../util/errors.js'
import type { Log } from '../../util/log.js'
import type { Random } from '../../util/random.js'
import { RepeatedLog } from '../../util/repeated-log.js'
import { type Admission, OverloadedError } from './admission.js'
import type { Answer, AnswerHeaders, ErrorAnswer } from './answer.js'
import { BodyReader } from './body-reader.js'
import { answerBrokenRequest, type BrokenRequest, type BrokenRequestAnswer } from './client-error.js'
import { httpDate } from './date.js'
import { IdleWatch } from './idle-watch.js'
import type { HttpRequest } from './request.js'
import type { BeginRequestSpan, RequestRecord, RequestSpan } from './request-record.js'
import { closeBody, isStream, type RequestState, respond } from './respond.js'
import type { TrustedProxies } from './trusted-proxies.js'

export type { RequestRecord } from './request-record.js'

/** An API on top of the front. */
export interface Protocol<R extends HttpRequest> {
  /** The class of its requests. The constructor must not throw. */
  readonly Request: new (
    ...parts: ConstructorParameters<typeof HttpRequest>
  ) => R
  /** The header of answers that carries the request's id. */
  readonly requestIdHeader: string
  /** Serves a request. Errors that it throws, or rejects with, go to `errorAnswer`. */
  serve(request: R): Answer | Promise<Answer>
  /** The answer to a request that failed. Must not throw. `error` may be a BodyError or an OverloadedError. */
  errorAnswer(error: unknown, request: R): ErrorAnswer
  /** The answer to something that node:http could not read as a request. */
  brokenRequest(reason: BrokenRequest, requestId: string): BrokenRequestAnswer
  /** Headers that let scripts of the request's Origin read the answer; asked for each request that has one. */
  originHeaders?(request: R): AnswerHeaders | undefined | Promise<AnswerHeaders | undefined>
}

/** Paths of a front's port that something else serves. */
export interface Mount {
  /** What these paths begin with. */
  readonly prefix: string
  serve(message: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void
}

export interface HttpFrontOptions {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Called once for each request, when its answer was sent or its connection closed. */
  readonly onRequest?: (record: RequestRecord) => void
  /** Whether `onRequest` is called for requests that failed alone: with a status of 400 or more. */
  readonly onlyFailed?: boolean
  /** Begins the span of a request; undefined for one that is not traced. Not set where nothing is traced. */
  readonly beginSpan?: BeginRequestSpan | undefined
  /** How long to wait for a client that neither sends nor reads; 60 s unless set. */
  readonly idleTimeoutMs?: number
  /** Proxies whose word counts about who the client is. */
  readonly trustedProxies?: TrustedProxies
  /** Without it, every connection and request is admitted. */
  readonly admission?: Admission
  /** Bounds the memory of bodies that are read; without it, only each by itself is bounded. */
  readonly memory?: ByteBudget
  readonly mount?: Mount | undefined
}

/** Options for the node:http server: long uploads must not be cut off, slow headers must. */
export const HTTP_SERVER_OPTIONS = {
  requestTimeout: 0,
  headersTimeout: 60_000,
  keepAliveTimeout: 65_000,
  maxHeaderSize: 16 * 1024,
  noDelay: true,
} as const

/** Requests with longer bodies count as bulk. */
const BULK_BYTES_MIN = 64 * 1024

/** A request with the state of its answer. */
interface Exchange<R> extends RequestState {
  readonly request: R
  readonly response: ServerResponse
  readonly startedMs: number
  readonly admitted: boolean
  readonly span: RequestSpan | undefined
  /** Whether it has given its place to another one (see HttpRequest.park). */
  isParked: boolean
  /** Whether it counts as one with a long body or answer. */
  isBulk: boolean
  errorCode: string | undefined
  /** Whether the connection is of no use after the answer. */
  closes: boolean
  bytesSent: number
  awaitsContinue: boolean
}

export class HttpFront<R extends HttpRequest> {
  #inFlight = 0
  readonly #watch: IdleWatch
  readonly #idPrefix: string
  #idCounter = 0
  #draining = false
  readonly #refusals: RepeatedLog
  #onDrained: (() => void)[] = []

  constructor(
    private readonly protocol: Protocol<R>,
    private readonly options: HttpFrontOptions,
  ) {
    this.#refusals = new RepeatedLog(
      options.clock,
      options.log,
      'more requests failed, most of them like this',
    )
    this.#watch = new IdleWatch(options.clock, options.idleTimeoutMs ?? 60_000)
    this.#idPrefix = options.random.bytes(4).toString('hex').toUpperCase()
  }

  /** Requests being served. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Serves the requests of a server, which should be constructed with HTTP_SERVER_OPTIONS. */
  attach(server: Server): void {
    const serve = (message: IncomingMessage, response: ServerResponse) =>
      this.#route(message, response, false)
    const { admission } = this.options
    if (admission) {
      server.on('connection', (socket) => {
        if (!admission.admitConnection(socket)) socket.destroy()
      })
    }
    server.on('request', serve)
    server.on('checkContinue', (message, response) => this.#route(message, response, true))
    server.on('checkExpectation', serve)
    server.on('clientError', (error, socket) => this.#answerBroken(error, socket))
  }

  /** From now on answers close their connections; resolves when the last request was answered. */
  drain(): Promise<void> {
    this.#draining = true
    this.#refusals.flush()
    if (this.#inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => this.#onDrained.push(resolve))
  }

  #answerBroken(error: Error, socket: Duplex): void {
    answerBrokenRequest(error, socket, (reason) => this.protocol.brokenRequest(reason, this.#newId()))
  }

  #newId(): string {
    this.#idCounter = (this.#idCounter + 1) >>> 0
    return this.#idPrefix + this.#idCounter.toString(16).toUpperCase().padStart(8, '0')
  }

  #route(message: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void {
    const { mount } = this.options
    if (mount && message.url!.startsWith(mount.prefix)) mount.serve(message, response, awaitsContinue)
    else this.serve(message, response, awaitsContinue)
  }

  /** Serves one request. */
  serve(message: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void {
    const { clock, admission, trustedProxies, beginSpan } = this.options
    const reader = new BodyReader(
      message,
      this.#watch,
      awaitsContinue
        ? () => {
            exchange.awaitsContinue = false
            response.writeContinue()
          }
        : undefined,
      this.options.memory,
    )
    const request = new this.protocol.Request(
      message,
      response,
      reader,
      this.#newId(),
      clock.nowMs(),
      trustedProxies,
    )
    const bodyLength = announcedLength(message)
    const isBulk = bodyLength === undefined || bodyLength > BULK_BYTES_MIN
    const exchange: Exchange<R> = {
      request,
      response,
      reader,
      isHead: request.method === 'HEAD',
      bodyLength,
      awaitsContinue,
      startedMs: clock.monotonicMs(),
      admitted: admission?.admitRequest(message.socket, isBulk) ?? true,
      span: beginSpan?.(message.headers.traceparent),
      isParked: false,
      isBulk,
      errorCode: undefined,
      closes: false,
      bytesSent: 0,
    }
    if (exchange.admitted && admission) {
      request.onPark = () => {
        exchange.isParked = true
        admission.endRequest(exchange.isBulk)
        exchange.isBulk = false
      }
    }
    this.#inFlight++
    response.sendDate = false
    response.on('close', () => this.#onClose(exchange))
    if (exchange.span) exchange.span.run(() => this.#answer(exchange))
    else this.#answer(exchange)
  }

  #answer(exchange: Exchange<R>): void {
    const { request } = exchange
    try {
      if (!exchange.admitted) throw new OverloadedError()
      const answer = this.protocol.serve(request)
      if (answer instanceof Promise) {
        answer.then(
          (ready) => this.#send(exchange, ready),
          (error) => this.#fail(exchange, error),
        )
      } else {
        this.#send(exchange, answer)
      }
    } catch (error) {
      this.#fail(exchange, error)
    }
  }

  #fail(exchange: Exchange<R>, thrown: unknown): void {
    const { request, response } = exchange
    const answer = this.protocol.errorAnswer(thrown, request)
    const { code, cause, status } = answer
    exchange.errorCode = code
    if (status >= 500 && status !== 501 && exchange.admitted) {
      const { requestId, operationName: operation } = request
      // A node without a role serves nobody: the client's next attempt takes another connection, by a balancer to another node.
      exchange.closes = errorCode(cause) === 'LayoutNotReady'
      const { log } = this.options
      // It says so once, not with every request.
      if (exchange.closes) log.debug({ requestId, operation, code, error: cause }, 'request failed')
      // Other stores that do not answer, or clients that ask for too much, make as many requests fail as there are; where in
      // the program that was tells nothing.
      else if (status === 502 || status === 503)
        this.#refusals.add({ operation, code }, { requestId, error: messageOf(cause) }, 'request failed')
      else log.error({ requestId, operation, code, error: cause }, 'request failed')
    }
    if (response.headersSent) response.destroy()
    else this.#send(exchange, answer)
  }

  #send(exchange: Exchange<R>, answer: Answer): void {
    const { headers, method } = exchange.request
    if (headers.origin !== undefined && method !== 'OPTIONS' && this.protocol.originHeaders) {
      void this.#sendToOrigin(exchange, answer)
      return
    }
    this.#write(exchange, answer, undefined)
  }

  async #sendToOrigin(exchange: Exchange<R>, answer: Answer): Promise<void> {
    let more: AnswerHeaders | undefined
    try {
      more = await this.protocol.originHeaders?.(exchange.request)
    } catch {
      // The answer is right without these headers: only scripts of other origins cannot read it.
    }
    this.#write(exchange, answer, more)
  }

  /** Does not throw. */
  #write(exchange: Exchange<R>, wanted: Answer, more: AnswerHeaders | undefined): void {
    const { request, response } = exchange
    const { clock, log, admission } = this.options
    const answer = this.#admitted(exchange, wanted)
    const headers: (string | number | readonly string[])[] = [
      this.protocol.requestIdHeader,
      request.requestId,
      'Date',
      httpDate(clock.nowMs()),
      'Server',
      'Carport',
    ]
    append(headers, answer.headers)
    append(headers, more)
    const closes =
      this.#draining || exchange.closes || (!exchange.admitted && admission?.isSurplus(request.socket))
    if (closes) headers.push('Connection', 'close')
    try {
      const sent = respond(response, exchange, this.#watch, answer.status, headers, answer.body, (error) => {
        exchange.errorCode = this.protocol.errorAnswer(error, request).code
        log.error({ requestId: request.requestId, error }, 'answer broken off')
      })
      if (typeof sent === 'number') exchange.bytesSent = sent
      else {
        void sent.then((bytes) => {
          exchange.bytesSent = bytes
        })
      }
    } catch (error) {
      // A handler gave headers that HTTP cannot carry, or the connection broke in between.
      log.error({ requestId: request.requestId, error }, 'answer not sent')
      response.destroy()
    }
  }

  /** The answer, or that there are too many long ones under way. */
  #admitted(exchange: Exchange<R>, answer: Answer): Answer {
    const { admission } = this.options
    const { body } = answer
    const isCounted = exchange.admitted && !exchange.isParked
    if (!admission || exchange.isBulk || !isCounted || !isStream(body)) return answer
    if (admission.admitBulk()) {
      exchange.isBulk = true
      return answer
    }
    void closeBody(body)
    const refusal = this.protocol.errorAnswer(new OverloadedError(), exchange.request)
    exchange.errorCode = refusal.code
    return refusal
  }

  #onClose(exchange: Exchange<R>): void {
    this.#inFlight--
    exchange.reader.close()
    exchange.request.closed()
    const { clock, onRequest, onlyFailed, admission } = this.options
    if (exchange.admitted && !exchange.isParked) admission?.endRequest(exchange.isBulk)
    // A record costs more than all else here, and most requests need none.
    if (onRequest && !(onlyFailed && exchange.response.headersSent && exchange.response.statusCode < 400)) {
      onRequest(recordOf(exchange, clock.monotonicMs()))
    }
    exchange.span?.end(recordOf(exchange, clock.monotonicMs()))
    if (this.#inFlight === 0 && this.#onDrained.length > 0) {
      const waiting = this.#onDrained
      this.#onDrained = []
      for (const resolve of waiting) resolve()
    }
  }
}

function recordOf<R extends HttpRequest>(exchange: Exchange<R>, nowMs: number): RequestRecord {
  const { request, response } = exchange
  return {
    requestId: request.requestId,
    method: request.method,
    operation: request.operationName,
    bucket: request.bucket,
    keyId: request.keyId,
    rawPath: request.rawPath,
    remoteAddress: request.remoteAddress,
    host: request.headers.host ?? (request.headers[':authority'] as string | undefined),
    status: response.headersSent ? response.statusCode : 499,
    errorCode: exchange.errorCode,
    bytesReceived: exchange.reader.receivedBytes,
    bytesSent: exchange.bytesSent,
    durationMs: nowMs - exchange.startedMs,
  }
}

function append(headers: (string | number | readonly string[])[], more: AnswerHeaders | undefined): void {
  if (more === undefined) return
  for (const name in more) {
    const value = more[name]
    if (value !== undefined) headers.push(name, value)
  }
}

/** Bytes of body that the request's head announces; undefined in chunked transfer. */
function announcedLength(message: IncomingMessage): number | undefined {
  const { headers } = message
  if (headers['transfer-encoding'] !== undefined) return undefined
  const length = headers['content-length']
  return length === undefined ? 0 : Number(length)
}
