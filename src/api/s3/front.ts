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
import type { AnswerHeaders, ErrorAnswer } from '../http/answer.js'
import type { BrokenRequest, BrokenRequestAnswer } from '../http/client-error.js'
import { HttpFront, type HttpFrontOptions, type Protocol } from '../http/front.js'
import { percentDecode } from '../http/uri.js'
import { errorXml, S3Error, toS3Error } from './errors.js'
import { type Handlers, S3Request, type S3Response } from './request.js'
import { detectOperation, NO_TARGET, TargetParser } from './router.js'
import { screen, screenHeaders } from './screen.js'
import { type Auth, type SecretLookup, SignatureVerifier } from './signature/verifier.js'

/** The bucket's CORS rules, as the front needs them. Both may look the bucket up. */
export interface CorsHooks {
  /** Answers an OPTIONS request. @throws S3Error AccessForbidden when no rule allows it */
  preflight(request: S3Request): Promise<S3Response> | S3Response
  /** Headers for the answer to a request with an Origin; undefined when no rule matches. */
  decorate(request: S3Request): Promise<AnswerHeaders | undefined> | AnswerHeaders | undefined
}

/** A service of its own at the endpoint's root, which authenticates its requests by itself. */
export interface TokenService {
  matches(request: S3Request): boolean
  serve(request: S3Request): Promise<S3Response>
}

export interface S3FrontOptions extends HttpFrontOptions {
  /** The configured region; us-east-1 is accepted beside it. */
  readonly region: string
  /** Domains under which virtual-host style names buckets. */
  readonly rootDomains: readonly string[]
  readonly secretOf: SecretLookup
  /** Whether Signature V2 is accepted; unless told, it is. */
  readonly acceptSignatureV2?: boolean
  readonly handlers: Handlers
  /** HostId of error bodies. */
  readonly hostId: string
  readonly cors?: CorsHooks
  /** Issues temporary credentials; without it, requests for them are refused as any POST of that kind. */
  readonly sts?: TokenService
  /**
   * Throws while this node serves nothing, for want of a role in the layout: before anything is looked at, so that a balancer's
   * unsigned request finds it out.
   */
  readonly checkServing?: () => void
  /** Throws while this node takes no writes: before their bodies are read. */
  readonly checkWritable?: () => void
}

/** The S3 API on the HTTP front; attach it to a server. */
export function createS3Front(options: S3FrontOptions): HttpFront<S3Request> {
  return new HttpFront(new S3Protocol(options), options)
}

class S3Protocol implements Protocol<S3Request> {
  readonly Request = S3Request
  readonly requestIdHeader = 'x-amz-request-id'
  readonly #verifier: SignatureVerifier
  readonly #targets: TargetParser

  constructor(private readonly options: S3FrontOptions) {
    const targets = new TargetParser(options.rootDomains)
    this.#targets = targets
    this.#verifier = new SignatureVerifier({
      service: 's3',
      region: options.region,
      secretOf: options.secretOf,
      bucketOfHost: (host) => targets.bucketOfHost(host),
      acceptV2: options.acceptSignatureV2 ?? true,
    })
  }

  serve(request: S3Request): S3Response | Promise<S3Response> {
    this.options.checkServing?.()
    screenHeaders(request)
    if (request.method === 'OPTIONS') return this.#preflight(request)
    const { sts } = this.options
    if (sts?.matches(request) && this.#targets.bucketOfHost(request.headers.host) === undefined) {
      return sts.serve(request)
    }
    const auth = this.#verifier.verify(request, request.timeMs)
    return auth instanceof Promise
      ? auth.then((late) => this.#dispatch(request, late))
      : this.#dispatch(request, auth)
  }

  /** Detects, screens, looks the handler up and runs it. */
  #dispatch(request: S3Request, auth: Auth): S3Response | Promise<S3Response> {
    request.auth = auth
    if (request.method !== 'GET' && request.method !== 'HEAD') this.options.checkWritable?.()
    this.#parseTarget(request)
    const operation = detectOperation(request)
    request.operation = operation
    screen(request)
    const handler = this.options.handlers[operation]
    if (handler === 'NotImplemented') {
      throw new S3Error('NotImplemented', `${operation} is not implemented.`)
    }
    return handler(request)
  }

  #preflight(request: S3Request): S3Response | Promise<S3Response> {
    this.#parseTarget(request)
    const { cors } = this.options
    if (!cors) throw new S3Error('AccessForbidden', 'CORSResponse: CORS is not enabled for this bucket.')
    return cors.preflight(request)
  }

  #parseTarget(request: S3Request): void {
    if (request.target !== NO_TARGET) return
    request.target = this.#targets.parse(request.rawPath, request.headers.host)
  }

  originHeaders(request: S3Request): AnswerHeaders | undefined | Promise<AnswerHeaders | undefined> {
    const { cors } = this.options
    if (!cors) return undefined
    this.#parseTarget(request)
    return cors.decorate(request)
  }

  errorAnswer(thrown: unknown, request: S3Request): ErrorAnswer {
    const error = toS3Error(thrown)
    const { code, status } = error
    const answer = { status, code, cause: error.cause ?? error }
    if (request.method === 'HEAD' || status === 304) return { ...answer, headers: { ...error.headers } }
    const resource = percentDecode(request.rawPath) ?? request.rawPath
    return {
      ...answer,
      headers: { ...error.headers, 'Content-Type': 'application/xml' },
      body: errorXml(error, resource, request.requestId, this.options.hostId),
    }
  }

  brokenRequest(reason: BrokenRequest, requestId: string): BrokenRequestAnswer {
    const error = new S3Error(BROKEN_REQUEST[reason])
    return {
      status: error.status,
      contentType: 'application/xml',
      body: errorXml(error, '', requestId, this.options.hostId),
    }
  }
}

const BROKEN_REQUEST = {
  'header-overflow': 'RequestHeaderSectionTooLarge',
  timeout: 'RequestTimeout',
  malformed: 'BadRequest',
} as const satisfies Record<BrokenRequest, string>
