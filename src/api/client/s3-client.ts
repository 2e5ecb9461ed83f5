import { type Backoff, backoffMs } from '../../util/backoff.js'
import { type Clock, sleep } from '../../util/clock.js'
import type { Random } from '../../util/random.js'
import { parseXml, type XmlElement, XmlError } from '../xml/reader.js'
import { type Credentials, signed } from './sign.js'
import type { Content, Headers, StreamAnswer, StreamCall } from './stream-call.js'

/** An answer of a store that is an error. `code` is S3's, or the status where there is none. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  constructor(
    readonly code: string,
    message: string,
    readonly status: number,
  ) {
    super(message)
  }
}

export interface S3Call {
  method: string
  bucket?: string
  key?: string
  /** Values that are empty stand for a sub-resource alone. */
  query?: Readonly<Record<string, string>>
  headers?: Headers
  /** Content that streams must come with `content-length`; such a call is not repeated. */
  body?: Buffer | Content
}

export interface S3Endpoint {
  /** Such as https://s3.example.org; a path is kept before the bucket's name. */
  endpoint: string
  region: string
  credentials: Credentials
  /** Headers of each request. */
  headers?: Headers
}

/** The part of the world that a client touches. */
export interface ClientWorld {
  call: StreamCall
  clock: Clock
  random: Random
}

const RETRY: Backoff = { baseMs: 200, maxMs: 10_000 }
const TRIES_MAX = 6
const ANSWER_BYTES_MAX = 8 << 20

/** Percent-encodes as RFC 3986 says; slashes too. */
export function encodeUri(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** Whether another attempt may do better: the store is busy, or did not answer. */
export function isPassing(error: unknown): boolean {
  if (error instanceof StoreError) return error.status >= 500 && error.status !== 501 && error.status !== 507
  return !(error instanceof XmlError) && (error as { code?: unknown }).code !== 'ENOENT'
}

/** An S3 client for what migrations and shadows need: path style, Signature V4, bodies that stream. */
export class S3Client {
  readonly #origin: string
  readonly #host: string
  readonly #base: string

  /** @throws TypeError if the endpoint is no URL */
  constructor(
    readonly at: S3Endpoint,
    private readonly world: ClientWorld,
  ) {
    const { origin, host, pathname } = new URL(at.endpoint)
    this.#origin = origin
    this.#host = host
    this.#base = pathname.replace(/\/$/, '')
  }

  /** Calls once. @throws StoreError for answers from 300 on, another error if there is none */
  async once(call: S3Call): Promise<StreamAnswer> {
    const { method, bucket, key, body } = call
    const path = `${this.#base}/${bucket === undefined ? '' : encodeUri(bucket)}${
      key === undefined ? '' : `/${key.split('/').map(encodeUri).join('/')}`
    }`
    const query = Object.entries(call.query ?? {})
      .map(([name, value]) => `${encodeUri(name)}=${encodeUri(value)}`)
      .join('&')
    const headers: Record<string, string> = { ...this.at.headers, ...call.headers, host: this.#host }
    if (Buffer.isBuffer(body)) headers['content-length'] = String(body.length)
    const { credentials, region } = this.at
    const answer = await this.world.call({
      ...{ origin: this.#origin, method },
      target: query === '' ? path : `${path}?${query}`,
      headers: signed({ method, path, query, headers }, credentials, region, this.world.clock.nowMs()),
      ...(body !== undefined && { body }),
    })
    if (answer.status < 300) return answer
    const text = await readAll(answer.body)
    const found = await parseXml(text, 'Error').catch(() => undefined)
    const code = found?.text('Code') ?? String(answer.status)
    const what = `${method} ${bucket ?? ''}${key === undefined ? '' : `/${key}`}`
    throw new StoreError(
      code,
      `${what}: ${code}: ${found?.text('Message') ?? 'no reason given'}`,
      answer.status,
    )
  }

  /** Calls again while that may help. Not for bodies that stream. @throws as `once` */
  async call(call: S3Call): Promise<StreamAnswer> {
    return this.retried(() => this.once(call))
  }

  /** Runs `attempt` again while that may help. @throws the last attempt's error */
  retried<T>(attempt: () => Promise<T>): Promise<T> {
    return retried(this.world, attempt)
  }

  /** Calls, and reads the whole answer. */
  async bytes(call: S3Call): Promise<{ headers: Headers; body: Buffer }> {
    return this.retried(async () => {
      const { headers, body } = await this.once(call)
      return { headers, body: await readAll(body) }
    })
  }

  /** As `xml`, without another attempt. */
  async xmlOnce(call: S3Call, root: string): Promise<XmlElement> {
    return parseXml(await readAll((await this.once(call)).body), root)
  }

  /** Calls, and reads the answer as XML. @throws XmlError when it is not that document */
  async xml(call: S3Call, root: string): Promise<XmlElement> {
    return parseXml((await this.bytes(call)).body, root)
  }
}

/** Runs `attempt` again while that may help. @throws the last attempt's error */
export async function retried<T>(
  { clock, random }: Omit<ClientWorld, 'call'>,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt()
    } catch (error) {
      if (tries >= TRIES_MAX || !isPassing(error)) throw error
      await sleep(clock, backoffMs(RETRY, tries - 1, random))
    }
  }
}

/** An answer, whole. @throws StoreError when it is too long to be one of its kind */
export async function readAll(body: Content, bytesMax = ANSWER_BYTES_MAX): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > bytesMax) throw new StoreError('TooLong', 'the answer is longer than such answers are', 400)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
