import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { BodyReader } from '../http/body-reader.js'
import { Query } from '../http/query.js'
import type { ResponseBody } from '../http/respond.js'
import type { S3Operation } from './operations.js'
import { type BodyBytes, Payload } from './payload/payload.js'
import { type Detectable, splitTarget, type Target } from './router.js'
import { ANONYMOUS, type Auth, type SignedParts } from './signature/verifier.js'

const NO_TARGET: Target = { bucket: undefined, key: undefined }

/** Operations whose x-amz-checksum-* headers are not about the bytes of the request's body. */
const CHECKSUMS_OF_OBJECT: ReadonlySet<S3Operation> = new Set([
  'CompleteMultipartUpload',
  'CreateMultipartUpload',
  'CopyObject',
  'UploadPartCopy',
  'PostObject',
])

/** One request as the handlers see it. What costs something is made when it is first asked for. */
export class S3Request implements Detectable, SignedParts {
  readonly method: string
  /** Path as sent. */
  readonly rawPath: string
  readonly rawQuery: string
  /** As node:http has them: names in lower case, characters are bytes. */
  readonly headers: IncomingHttpHeaders
  readonly query: Query
  /** Set by the front before the handler runs. */
  auth: Auth = ANONYMOUS
  target: Target = NO_TARGET
  operation: S3Operation = 'ListBuckets'
  /** Of a form's file, whose length is not known before its end: what it cannot exceed, in bytes. */
  fileBytesMax: number | undefined
  #payload: Payload | undefined
  #abort: AbortController | undefined

  constructor(
    private readonly message: IncomingMessage,
    private readonly response: ServerResponse,
    readonly reader: BodyReader,
    readonly requestId: string,
    /** When it arrived: wall clock, milliseconds since the epoch. */
    readonly timeMs: number,
    private readonly trustForwarded: boolean,
  ) {
    const { rawPath, rawQuery } = splitTarget(message.url ?? '/')
    this.method = message.method ?? 'GET'
    this.rawPath = rawPath
    this.rawQuery = rawQuery
    this.headers = message.headers
    this.query = new Query(rawQuery)
  }

  get rawHeaders(): readonly string[] {
    return this.message.rawHeaders
  }

  /** The bucket's name or alias as the request has it; undefined when the request is about no bucket. */
  get bucket(): string | undefined {
    return this.target.bucket
  }

  get key(): string | undefined {
    return this.target.key
  }

  /** The key id of a verified signature; undefined of an anonymous request. */
  get keyId(): string | undefined {
    return this.auth.kind === 'key' ? this.auth.keyId : undefined
  }

  /**
   * A header's value, by its lower-case name. Presigned URLs carry `x-amz-*` headers in the query as well, where
   * signers put them ("hoisting"); they count the same. Characters of the value are bytes.
   */
  header(name: string): string | undefined {
    const value = this.headers[name]
    if (typeof value === 'string') return value
    if (this.auth.kind === 'key' && this.auth.presigned && name.startsWith('x-amz-')) {
      const hoisted = this.query.getIgnoreCase(name)
      return hoisted === undefined ? undefined : bytesText(hoisted)
    }
    return undefined
  }

  /** A header's value as text: its bytes read as UTF-8 where they are UTF-8, else as latin1. */
  headerText(name: string): string | undefined {
    const value = this.header(name)
    return value === undefined ? undefined : utf8Text(value)
  }

  /**
   * Headers whose lower-case names begin with `prefix`, names without it, values as `header` gives them. Only for
   * prefixes below `x-amz-`.
   */
  headersWithPrefix(prefix: string): [name: string, value: string][] {
    const found: [string, string][] = []
    for (const name in this.headers) {
      const value = name.startsWith(prefix) ? this.headers[name] : undefined
      if (typeof value === 'string') found.push([name.slice(prefix.length), value])
    }
    if (this.auth.kind === 'key' && this.auth.presigned) {
      for (const [name, value] of this.query.pairs) {
        const lower = name.toLowerCase()
        if (lower.startsWith(prefix) && this.headers[lower] === undefined) {
          found.push([lower.slice(prefix.length), bytesText(value)])
        }
      }
    }
    return found
  }

  /** User metadata: names in lower case without `x-amz-meta-`; characters of the values are bytes, as sent. */
  metadata(): Record<string, string> {
    return Object.fromEntries(this.headersWithPrefix('x-amz-meta-'))
  }

  /** The body. @throws S3Error at the first access, when the headers about it are wrong */
  get payload(): Payload {
    this.#payload ??= new Payload({
      reader: this.reader,
      auth: this.auth,
      header: (name) => this.header(name),
      bodyChecksums: !CHECKSUMS_OF_OBJECT.has(this.operation),
    })
    return this.#payload
  }

  /** The PutObject that this POST of a form stands for: the form's fields as headers, its file as the body. */
  asPut(form: { key: string; auth: Auth; headers: IncomingHttpHeaders; reader: BodyBytes }): S3Request {
    const put = new S3Request(
      this.message,
      this.response,
      this.reader,
      this.requestId,
      this.timeMs,
      this.trustForwarded,
    )
    ;(put as { headers: IncomingHttpHeaders }).headers = form.headers
    put.auth = form.auth
    put.target = { bucket: this.bucket, key: form.key }
    put.operation = 'PutObject'
    const announced = this.headers['content-length']
    if (announced !== undefined) put.fileBytesMax = Number(announced)
    put.#payload = new Payload({
      reader: form.reader,
      auth: form.auth,
      header: (name) => put.header(name),
      bodyChecksums: true,
    })
    return put
  }

  /** Aborts when the client goes away before the answer is complete. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      const abort = new AbortController()
      this.#abort = abort
      if (this.response.destroyed && !this.response.writableFinished) abort.abort()
      else {
        this.response.on('close', () => {
          if (!this.response.writableFinished) abort.abort()
        })
      }
    }
    return this.#abort.signal
  }

  /** The client's address, or what a trusted proxy says of it. */
  get remoteAddress(): string {
    if (this.trustForwarded) {
      const forwarded = this.headers['x-forwarded-for']
      const last = typeof forwarded === 'string' ? forwarded.split(',').at(-1)!.trim() : ''
      if (last !== '') return last
    }
    return this.message.socket.remoteAddress ?? ''
  }

  /** Whether the request came by TLS, to this node or to a trusted proxy. */
  get secure(): boolean {
    if (this.trustForwarded && this.headers['x-forwarded-proto'] === 'https') return true
    return (this.message.socket as { encrypted?: boolean }).encrypted === true
  }
}

const NOT_ASCII = /[^\x00-\x7f]/
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A text's UTF-8 bytes as characters, the form of header values. */
function bytesText(text: string): string {
  return NOT_ASCII.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text
}

function utf8Text(value: string): string {
  if (!NOT_ASCII.test(value)) return value
  try {
    return utf8.decode(Buffer.from(value, 'latin1'))
  } catch {
    return value
  }
}

/** Headers of an answer; undefined ones are left out. */
export type S3Headers = Record<string, string | number | readonly string[] | undefined>

/** A handler's answer. Without a body, Content-Length is 0, except for HEAD, 204 and 304. */
export interface S3Response {
  status: number
  headers?: S3Headers
  /** A stream must come with a Content-Length header, else it is sent in chunked transfer. */
  body?: ResponseBody
}

/** Serves one operation. What it throws becomes an S3 error; only S3Errors tell their message to the client. */
export type Handler = (request: S3Request) => Promise<S3Response> | S3Response

/** All operations, so that a forgotten one does not compile. */
export type Handlers = Record<S3Operation, Handler | 'NotImplemented'>
