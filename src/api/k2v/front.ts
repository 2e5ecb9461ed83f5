/**
 * The K2V API: verify the signature, find the operation, authorize, then the handler, which reads the body.
 *
 * Differences to Garage, and quirks of clients
 * - A token with another base64, or padding, is accepted. A token of a time to come is refused.
 * - DeleteItem without a token is refused, as the specification says.
 * - Answers that would get too long end earlier, with `more` and `nextStart`.
 * - k2v-client puts "=" behind names of the query without a value: `?search=` is `?search`.
 */
import type { Bucket } from '../../model/buckets/buckets.js'
import type { Model } from '../../model/model.js'
import type { Answer, AnswerHeaders, ErrorAnswer } from '../http/answer.js'
import type { BrokenRequest, BrokenRequestAnswer } from '../http/client-error.js'
import { HttpFront, type HttpFrontOptions, type Protocol } from '../http/front.js'
import { corsHooks } from '../s3/buckets/cors-hooks.js'
import { type Auth, type SecretLookup, SignatureVerifier } from '../s3/signature/verifier.js'
import { authorize } from './access.js'
import { deleteBatch, insertBatch, readBatch, readIndex } from './batches.js'
import type { Handler } from './context.js'
import { errorBody, toAnsweredError } from './errors.js'
import { deleteItem, insertItem, readItem } from './items.js'
import { pollItem, pollRange } from './polls.js'
import { K2vRequest } from './request.js'
import { K2V_OPERATIONS, type K2vOperation, routeOf } from './router.js'

export interface K2vFrontOptions extends HttpFrontOptions {
  readonly model: Model
  /** The configured region; us-east-1 is accepted beside it. */
  readonly region: string
  readonly secretOf: SecretLookup
  /** Throws while this node takes no writes: before their bodies are read. */
  readonly checkWritable?: () => void
}

const HANDLERS: Record<K2vOperation, Handler> = {
  ReadItem: readItem,
  InsertItem: insertItem,
  DeleteItem: deleteItem,
  ReadIndex: readIndex,
  InsertBatch: insertBatch,
  ReadBatch: readBatch,
  DeleteBatch: deleteBatch,
  PollItem: pollItem,
  PollRange: pollRange,
}

/** The K2V API on the HTTP front; attach it to a server. */
export function createK2vFront(options: K2vFrontOptions): HttpFront<K2vRequest> {
  return new HttpFront(new K2vProtocol(options), options)
}

class K2vProtocol implements Protocol<K2vRequest> {
  readonly Request = K2vRequest
  readonly requestIdHeader = 'x-amz-request-id'
  readonly #verifier: SignatureVerifier
  readonly #cors: ReturnType<typeof corsHooks>

  constructor(private readonly options: K2vFrontOptions) {
    const { region, secretOf, model } = options
    this.#verifier = new SignatureVerifier({ service: 'k2v', region, secretOf })
    this.#cors = corsHooks(model)
  }

  serve(request: K2vRequest): Answer | Promise<Answer> {
    const route = routeOf(request)
    request.route = route
    if (request.method === 'OPTIONS') return this.#cors.preflight(request)
    const auth = this.#verifier.verify(request, request.timeMs)
    return auth instanceof Promise
      ? auth.then((late) => this.#dispatch(request, late))
      : this.#dispatch(request, auth)
  }

  #dispatch(request: K2vRequest, auth: Auth): Answer | Promise<Answer> {
    request.auth = auth
    const bucket = authorize(this.options.model, request, request.route!)
    return bucket instanceof Promise
      ? bucket.then((late) => this.#handle(request, late))
      : this.#handle(request, bucket)
  }

  #handle(request: K2vRequest, bucket: Bucket): Answer | Promise<Answer> {
    const operation = request.route!.operation!
    const { model, checkWritable, clock } = this.options
    model.k2v.checkKnown()
    if (K2V_OPERATIONS[operation] === 'write') checkWritable?.()
    const { k2v: store, k2vPolls: polls, buckets } = model
    return HANDLERS[operation]({ store, polls, bucket, buckets, clock }, request)
  }

  originHeaders(request: K2vRequest): AnswerHeaders | undefined | Promise<AnswerHeaders | undefined> {
    return this.#cors.decorate(request)
  }

  errorAnswer(thrown: unknown, request: K2vRequest): ErrorAnswer {
    const error = toAnsweredError(thrown)
    return {
      status: error.status,
      code: error.code,
      cause: error.cause,
      headers: { ...error.headers, 'Content-Type': 'application/json' },
      body: errorBody(error, this.options.region, request.rawPath),
    }
  }

  brokenRequest(reason: BrokenRequest): BrokenRequestAnswer {
    const error = { code: 'InvalidRequest', message: `the request cannot be read: ${reason}` }
    return { status: 400, contentType: 'application/json', body: errorBody(error, this.options.region, '') }
  }
}
