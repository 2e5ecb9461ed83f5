import type { IncomingHttpHeaders } from 'node:http'
import type { Answer } from '../http/answer.js'
import { HttpRequest } from '../http/request.js'
import type { S3Operation } from './operations.js'
import { type BodyBytes, Payload } from './payload/payload.js'
import { type Detectable, NO_TARGET, type Target } from './router.js'
import { ANONYMOUS, type Auth, type SignedParts } from './signature/verifier.js'

export type { Answer as S3Response, AnswerHeaders as S3Headers } from '../http/answer.js'

/** Operations whose x-amz-checksum-* headers are not about the bytes of the request's body. */
const CHECKSUMS_OF_OBJECT: ReadonlySet<S3Operation> = new Set([
  'CompleteMultipartUpload',
  'CreateMultipartUpload',
  'CopyObject',
  'UploadPartCopy',
  'PostObject',
])

/** One request as the handlers see it. */
export class S3Request extends HttpRequest implements Detectable, SignedParts {
  /** The front sets it before the handler runs. */
  auth: Auth = ANONYMOUS
  target: Target = NO_TARGET
  /** The most bytes that a form's file can have, which has no length of its own; undefined for other bodies. */
  fileBytesMax: number | undefined
  #operation: S3Operation | undefined
  #payload: Payload | undefined

  /** The front sets it before the handler runs. */
  get operation(): S3Operation {
    return this.#operation ?? 'ListBuckets'
  }

  set operation(operation: S3Operation) {
    this.#operation = operation
  }

  override get operationName(): S3Operation | undefined {
    return this.#operation
  }

  override get bucket(): string | undefined {
    return this.target.bucket
  }

  get key(): string | undefined {
    return this.target.key
  }

  /** The key id of a verified signature; undefined of an anonymous request. */
  override get keyId(): string | undefined {
    return this.auth.kind === 'key' ? this.auth.keyId : undefined
  }

  /**
   * A header's value, by its lower-case name. Signers may move `x-amz-*` headers of presigned URLs into the
   * query ("hoisting"); there they count the same. The characters of the value are bytes.
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
   * The headers whose lower-case names begin with `prefix`, with the prefix removed and values as by
   * `header`. The prefix must begin with `x-amz-`.
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
      this.proxies,
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
}

const NOT_ASCII = /[^\x00-\x7f]/
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Turns the UTF-8 bytes of a text into characters, as in header values. */
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

/**
 * Serves one operation. Errors that it throws become S3 errors; only the messages of S3Errors reach the
 * client.
 */
export type Handler = (request: S3Request) => Promise<Answer> | Answer

/** All operations, so that a forgotten one does not compile. */
export type Handlers = Record<S3Operation, Handler | 'NotImplemented'>
