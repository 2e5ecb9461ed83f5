/**
 * The front of the S3 API: authenticate, detect, screen, table, handler, in this order.
 *
 * Known gaps and client quirks
 * - Signature V4A (multi-region access points) is refused with NotImplemented. V2 is accepted: aws-cli v1, boto3 and
 *   s3cmd still make it for presigned URLs. A bucket policy can deny it (s3:signatureversion is "AWS").
 * - The AWS SDK for JavaScript hoists x-amz-* headers into presigned URLs; they count as headers there. Of a body
 *   it did not know it puts the CRC32 of nothing into the URL, which therefore is not held against the body.
 * - minio-go and others put an empty line between trailers and their signature, and some leave out the last
 *   line end of an aws-chunked body; both are accepted. Chunks below 8 KiB are accepted as well.
 * - Some clients sign the path as they send it rather than AWS's encoding of it: both are tried.
 * - x-amz-expires out of range answers 403, which ceph/s3-tests and older clients expect, with AWS's code.
 * - A malformed x-amz-checksum-* value answers BadDigest, as one that does not match.
 * - `Expect` with anything but 100-continue is ignored, as AWS does.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../util/clock.js'
import type { Log } from '../../util/log.js'
import type { Random } from '../../util/random.js'
import { BodyReader } from '../http/body-reader.js'
import { answerBrokenRequest } from '../http/client-error.js'
import { httpDate } from '../http/date.js'
import { IdleWatch } from '../http/idle-watch.js'
import { type RequestState, respond } from '../http/respond.js'
import { percentDecode } from '../http/uri.js'
import { errorXml, S3Error, toS3Error } from './errors.js'
import type { S3Operation } from './operations.js'
import { type Handlers, type S3Headers, S3Request, type S3Response } from './request.js'
import { detectOperation, TargetParser } from './router.js'
import { screen } from './screen.js'
import { type Auth, type SecretLookup, SignatureVerifier } from './signature/verifier.js'

/** One line of the request log. */
export interface RequestRecord {
  readonly requestId: string
  readonly method: string
  /** Undefined when the request failed before it was known. */
  readonly operation: S3Operation | undefined
  readonly bucket: string | undefined
  readonly keyId: string | undefined
  readonly rawPath: string
  readonly remoteAddress: string
  /** 499 when the client went away before the answer began. */
  readonly status: number
  /** The S3 error code of the answer. */
  readonly errorCode: string | undefined
  readonly bytesReceived: number
  readonly bytesSent: number
  readonly durationMs: number
}

/** The bucket's CORS rules, as the front needs them. Both may look the bucket up. */
export interface CorsHooks {
  /** Answers an OPTIONS request. @throws S3Error AccessForbidden when no rule allows it */
  preflight(request: S3Request): Promise<S3Response> | S3Response
  /** Headers for the answer to a request that has an Origin; undefined when no rule fits. */
  decorate(request: S3Request): Promise<S3Headers | undefined> | S3Headers | undefined
}

/** A service of its own at the endpoint's root, which authenticates its requests by itself. */
export interface TokenService {
  matches(request: S3Request): boolean
  serve(request: S3Request): Promise<S3Response>
}

export interface S3FrontOptions {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** The configured region; us-east-1 is accepted beside it. */
  readonly region: string
  /** Domains under which virtual-host style names buckets. */
  readonly rootDomains: readonly string[]
  readonly secretOf: SecretLookup
  readonly handlers: Handlers
  /** HostId of error bodies. */
  readonly hostId: string
  readonly cors?: CorsHooks
  /** Issues temporary credentials; without it, requests for them are refused as any POST of that kind. */
  readonly sts?: TokenService
  readonly onRequest?: (record: RequestRecord) => void
  /** How long a client may neither send nor read while it is waited for; 60 s unless told. */
  readonly idleTimeoutMs?: number
  /** Whether X-Forwarded-For and X-Forwarded-Proto come from a proxy of ours. */
  readonly trustForwarded?: boolean
}

/** What to construct the node:http server with: long uploads must not be cut off, slow headers must. */
export const S3_SERVER_OPTIONS = {
  requestTimeout: 0,
  headersTimeout: 60_000,
  keepAliveTimeout: 65_000,
  maxHeaderSize: 16 * 1024,
  noDelay: true,
} as const

export interface S3Front {
  readonly onRequest: (message: IncomingMessage, response: ServerResponse) => void
  readonly onCheckContinue: (message: IncomingMessage, response: ServerResponse) => void
  readonly onClientError: (error: Error, socket: Duplex) => void
  /** Puts all listeners on a server. */
  attach(server: Server): void
  /** Requests being served. */
  readonly inFlight: number
  /** From now on answers close their connections; resolves when the last request was answered. */
  drain(): Promise<void>
}

export function createS3Front(options: S3FrontOptions): S3Front {
  return new Front(options)
}

/** A request with what the answer needs; the front's own side of an S3Request. */
interface Exchange extends RequestState {
  readonly request: S3Request
  readonly response: ServerResponse
  startedMs: number
  detected: boolean
  targetParsed: boolean
  errorCode: string | undefined
  bytesSent: number
  awaitsContinue: boolean
}

class Front implements S3Front {
  inFlight = 0
  readonly #verifier: SignatureVerifier
  readonly #targets: TargetParser
  readonly #watch: IdleWatch
  readonly #idPrefix: string
  #idCounter = 0
  #draining = false
  #onDrained: (() => void)[] = []

  constructor(private readonly options: S3FrontOptions) {
    const targets = new TargetParser(options.rootDomains)
    this.#targets = targets
    this.#verifier = new SignatureVerifier({
      service: 's3',
      region: options.region,
      secretOf: options.secretOf,
      bucketOfHost: (host) => targets.bucketOfHost(host),
    })
    this.#watch = new IdleWatch(options.clock, options.idleTimeoutMs ?? 60_000)
    this.#idPrefix = options.random.bytes(4).toString('hex').toUpperCase()
  }

  readonly onRequest = (message: IncomingMessage, response: ServerResponse): void => {
    this.#serve(message, response, false)
  }

  readonly onCheckContinue = (message: IncomingMessage, response: ServerResponse): void => {
    this.#serve(message, response, true)
  }

  readonly onClientError = (error: Error, socket: Duplex): void => {
    answerBrokenRequest(error, socket, (reason) => {
      const code =
        reason === 'header-overflow'
          ? 'RequestHeaderSectionTooLarge'
          : reason === 'timeout'
            ? 'RequestTimeout'
            : 'BadRequest'
      const s3 = new S3Error(code)
      return {
        status: s3.status,
        contentType: 'application/xml',
        body: errorXml(s3, '', this.#newId(), this.options.hostId),
      }
    })
  }

  attach(server: Server): void {
    server.on('request', this.onRequest)
    server.on('checkContinue', this.onCheckContinue)
    server.on('checkExpectation', this.onRequest)
    server.on('clientError', this.onClientError)
  }

  drain(): Promise<void> {
    this.#draining = true
    if (this.inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => this.#onDrained.push(resolve))
  }

  #newId(): string {
    this.#idCounter = (this.#idCounter + 1) >>> 0
    return this.#idPrefix + this.#idCounter.toString(16).toUpperCase().padStart(8, '0')
  }

  #serve(message: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void {
    const { clock, sts } = this.options
    const reader = new BodyReader(
      message,
      this.#watch,
      awaitsContinue
        ? () => {
            exchange.awaitsContinue = false
            response.writeContinue()
          }
        : undefined,
    )
    const nowMs = clock.nowMs()
    const request = new S3Request(
      message,
      response,
      reader,
      this.#newId(),
      nowMs,
      this.options.trustForwarded === true,
    )
    const exchange: Exchange = {
      request,
      response,
      reader,
      isHead: request.method === 'HEAD',
      bodyLength: announcedLength(message),
      awaitsContinue,
      startedMs: clock.monotonicMs(),
      detected: false,
      targetParsed: false,
      errorCode: undefined,
      bytesSent: 0,
    }
    this.inFlight++
    response.sendDate = false
    response.on('close', () => this.#onClose(exchange))
    try {
      if (request.method === 'OPTIONS') {
        this.#preflight(exchange)
        return
      }
      if (sts?.matches(request) && this.#targets.bucketOfHost(request.headers.host) === undefined) {
        this.#settle(exchange, sts.serve(request))
        return
      }
      const auth = this.#verifier.verify(request, nowMs)
      if (auth instanceof Promise) {
        auth.then(
          (late) => this.#dispatch(exchange, late),
          (error) => this.#fail(exchange, error),
        )
      } else {
        this.#dispatch(exchange, auth)
      }
    } catch (error) {
      this.#fail(exchange, error)
    }
  }

  /** Detects, screens, looks the handler up and runs it. Does not throw. */
  #dispatch(exchange: Exchange, auth: Auth): void {
    const { request } = exchange
    try {
      request.auth = auth
      this.#parseTarget(exchange)
      const operation = detectOperation(request)
      request.operation = operation
      exchange.detected = true
      screen(request)
      const handler = this.options.handlers[operation]
      if (handler === 'NotImplemented') {
        throw new S3Error('NotImplemented', `${operation} is not implemented.`)
      }
      this.#settle(exchange, handler(request))
    } catch (error) {
      this.#fail(exchange, error)
    }
  }

  #settle(exchange: Exchange, answer: Promise<S3Response> | S3Response): void {
    if (answer instanceof Promise) {
      answer.then(
        (response) => this.#send(exchange, response),
        (error) => this.#fail(exchange, error),
      )
    } else {
      this.#send(exchange, answer)
    }
  }

  #preflight(exchange: Exchange): void {
    this.#parseTarget(exchange)
    const { cors } = this.options
    if (!cors) throw new S3Error('AccessForbidden', 'CORSResponse: CORS is not enabled for this bucket.')
    this.#settle(exchange, cors.preflight(exchange.request))
  }

  #parseTarget(exchange: Exchange): void {
    if (exchange.targetParsed) return
    const { request } = exchange
    request.target = this.#targets.parse(request.rawPath, request.headers.host)
    exchange.targetParsed = true
  }

  #fail(exchange: Exchange, thrown: unknown): void {
    const { request, response } = exchange
    const error = toS3Error(thrown)
    exchange.errorCode = error.code
    if (error.status >= 500 && error.status !== 501) {
      const cause = error.cause ?? error
      this.options.log.error(
        { requestId: request.requestId, operation: request.operation, code: error.code, error: cause },
        'request failed',
      )
    }
    if (response.headersSent) {
      response.destroy()
      return
    }
    const bodyless = exchange.isHead || error.status === 304
    const headers: S3Headers = { ...error.headers }
    if (!bodyless) headers['Content-Type'] = 'application/xml'
    this.#send(exchange, {
      status: error.status,
      headers,
      ...(bodyless
        ? {}
        : {
            body: errorXml(
              error,
              percentDecode(request.rawPath) ?? request.rawPath,
              request.requestId,
              this.options.hostId,
            ),
          }),
    })
  }

  #send(exchange: Exchange, answer: S3Response): void {
    const { cors } = this.options
    if (cors && exchange.request.headers.origin !== undefined && exchange.request.method !== 'OPTIONS') {
      void this.#decorateAndWrite(exchange, answer, cors)
      return
    }
    this.#write(exchange, answer, undefined)
  }

  async #decorateAndWrite(exchange: Exchange, answer: S3Response, cors: CorsHooks): Promise<void> {
    let decoration: S3Headers | undefined
    try {
      this.#parseTarget(exchange)
      decoration = await cors.decorate(exchange.request)
    } catch {
      // The answer is right without: only scripts of other origins cannot read it.
    }
    this.#write(exchange, answer, decoration)
  }

  /** Does not throw. */
  #write(exchange: Exchange, answer: S3Response, decoration: S3Headers | undefined): void {
    const { request, response } = exchange
    const headers: (string | number | readonly string[])[] = [
      'x-amz-request-id',
      request.requestId,
      'Date',
      httpDate(this.options.clock.nowMs()),
      'Server',
      'Carport',
    ]
    append(headers, answer.headers)
    append(headers, decoration)
    if (this.#draining) headers.push('Connection', 'close')
    try {
      const sent = respond(response, exchange, this.#watch, answer.status, headers, answer.body, (error) => {
        exchange.errorCode = toS3Error(error).code
        this.options.log.error({ requestId: request.requestId, error }, 'answer broken off')
      })
      if (typeof sent === 'number') exchange.bytesSent = sent
      else {
        void sent.then((bytes) => {
          exchange.bytesSent = bytes
        })
      }
    } catch (error) {
      // A handler gave headers that HTTP cannot carry, or the connection broke in between.
      this.options.log.error({ requestId: request.requestId, error }, 'answer not sent')
      response.destroy()
    }
  }

  #onClose(exchange: Exchange): void {
    this.inFlight--
    const { request, response } = exchange
    const { onRequest } = this.options
    if (onRequest) {
      onRequest({
        requestId: request.requestId,
        method: request.method,
        operation: exchange.detected ? request.operation : undefined,
        bucket: request.bucket,
        keyId: request.keyId,
        rawPath: request.rawPath,
        remoteAddress: request.remoteAddress,
        status: response.headersSent ? response.statusCode : 499,
        errorCode: exchange.errorCode,
        bytesReceived: exchange.reader.receivedBytes,
        bytesSent: exchange.bytesSent,
        durationMs: this.options.clock.monotonicMs() - exchange.startedMs,
      })
    }
    if (this.inFlight === 0 && this.#onDrained.length > 0) {
      const waiting = this.#onDrained
      this.#onDrained = []
      for (const resolve of waiting) resolve()
    }
  }
}

function append(headers: (string | number | readonly string[])[], more: S3Headers | undefined): void {
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
