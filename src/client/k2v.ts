/**
 * A client of K2V (https://git.deuxfleurs.fr/Deuxfleurs/garage/src/branch/main-v1/doc/drafts/k2v-spec.md) for browsers and
 * Node, on nothing but fetch. It makes one request for each call and leaves retries to its caller.
 */
import {
  bytesOf,
  insertDocument,
  parseChanges,
  parseDeletions,
  parseIndex,
  parseJson,
  parseSearchResults,
  parseValues,
  rangeDocument,
  wellFormed,
} from './k2v-documents.js'
import { invalidAnswer, invalidArgument, K2vError } from './k2v-errors.js'
import type {
  K2vCallOptions,
  K2vDeletion,
  K2vIndex,
  K2vIndexOptions,
  K2vInput,
  K2vInsertOptions,
  K2vItem,
  K2vPollOptions,
  K2vPollRangeOptions,
  K2vRangeChanges,
  K2vReadOptions,
  K2vSearch,
  K2vSearchResult,
  K2vWrite,
} from './k2v-types.js'
import { encode, hashOf, queryText, signHeaders } from './sign.js'

export { type K2vClientErrorCode, K2vError, type K2vServerErrorCode } from './k2v-errors.js'
export type * from './k2v-types.js'

const TOKEN_HEADER = 'x-garage-causality-token'
const BINARY = 'application/octet-stream'
const JSON_TYPE = 'application/json'
const POLL_SECONDS = 50

export interface K2vClientOptions {
  /** The address of the K2V API, as http://localhost:3904 */
  readonly endpoint: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of temporary credentials. */
  readonly sessionToken?: string
  /** The server's; us-east-1 unless told, which Carport accepts beside its own. Garage's is `garage`. */
  readonly region?: string
  /** Sends requests in the place of the global fetch. */
  readonly fetch?: typeof fetch
  /** The time for signatures, which must be within 15 minutes of the server's. */
  readonly now?: () => Date
}

interface Call extends K2vCallOptions {
  readonly method: string
  readonly partitionKey?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
}

/**
 * The items of one bucket. Every method throws K2vError (InvalidArgument, NetworkError, InvalidAnswer, or the code that the
 * server answers with) and rejects with the reason of its `signal` once that is aborted.
 */
export class K2vClient {
  readonly #options: K2vClientOptions
  readonly #origin: string
  readonly #host: string

  /** @throws K2vError InvalidArgument */
  constructor(options: K2vClientOptions) {
    const { endpoint, bucket, accessKeyId, secretAccessKey } = options
    let url: URL
    try {
      url = new URL(endpoint)
    } catch (cause) {
      throw invalidArgument('the endpoint is not a URL', cause)
    }
    if (!/^https?:$/.test(url.protocol)) throw invalidArgument('the endpoint is not http:// or https://')
    if (url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== '')
      throw invalidArgument('the endpoint has a path, a query or a user')
    for (const [name, value] of Object.entries({ bucket, accessKeyId, secretAccessKey })) {
      if (typeof value !== 'string' || value === '') throw invalidArgument(`${name} is missing`)
    }
    if (!/^[\w.-]*\w[\w.-]*$/.test(bucket)) throw invalidArgument('bucket is not the name of a bucket')
    this.#options = options
    this.#origin = url.origin
    this.#host = url.host
  }

  /** The item's values and token; undefined if it was never written. A deleted item has the value null for a day or so. */
  async readItem(
    partitionKey: string,
    sortKey: string,
    { nonMonotonic, signal }: K2vReadOptions = {},
  ): Promise<K2vItem | undefined> {
    const query = { sort_key: wellFormed(sortKey, 'the sort key') }
    try {
      return await this.#item({ method: 'GET', partitionKey, query, headers: monotony(nonMonotonic), signal })
    } catch (error) {
      if (error instanceof K2vError && error.code === 'NoSuchKey') return undefined
      throw error
    }
  }

  /**
   * Stores a value of at most 1 MiB, in the place of the values that `token` has shown.
   * @throws K2vError Conflict if the item has 100 values that nobody has superseded
   */
  async insertItem(
    partitionKey: string,
    sortKey: string,
    value: K2vInput,
    { token, signal }: K2vInsertOptions = {},
  ): Promise<void> {
    const query = { sort_key: wellFormed(sortKey, 'the sort key') }
    const headers: Record<string, string> = token === undefined ? {} : { [TOKEN_HEADER]: checkToken(token) }
    await this.#send({ method: 'PUT', partitionKey, query, headers, body: bytesOf(value), signal })
  }

  /** Deletes the values that `token` has shown; others stay, beside a null. */
  async deleteItem(
    partitionKey: string,
    sortKey: string,
    token: string,
    { signal }: K2vCallOptions = {},
  ): Promise<void> {
    const query = { sort_key: wellFormed(sortKey, 'the sort key') }
    const headers = { [TOKEN_HEADER]: checkToken(token) }
    await this.#send({ method: 'DELETE', partitionKey, query, headers, signal })
  }

  /** Waits until the item has something that `token` has not seen; undefined if that did not happen in time. */
  pollItem(
    partitionKey: string,
    sortKey: string,
    token: string,
    { timeoutSeconds, signal }: K2vPollOptions = {},
  ): Promise<K2vItem | undefined> {
    return this.#item({
      method: 'GET',
      partitionKey,
      query: {
        sort_key: wellFormed(sortKey, 'the sort key'),
        causality_token: checkToken(token),
        timeout: String(checkTimeout(timeoutSeconds)),
      },
      signal,
    })
  }

  /** The partition keys that have values, in the order of their bytes. */
  async readIndex({ signal, ...options }: K2vIndexOptions = {}): Promise<K2vIndex> {
    const query: Record<string, string> = {}
    for (const [name, value] of Object.entries(options)) {
      if (value !== undefined) query[name] = wellFormed(String(value), name)
    }
    return parseIndex(await this.#json({ method: 'GET', query, signal }))
  }

  /** Many writes in one request. It is no transaction: after an error some may have been carried out. */
  async insertBatch(writes: readonly K2vWrite[], { signal }: K2vCallOptions = {}): Promise<void> {
    await this.#send({ method: 'POST', ...jsonBody(insertDocument(writes)), signal })
  }

  /** The results of up to 1000 searches, in their order. */
  async readBatch(
    searches: readonly K2vSearch[],
    { nonMonotonic, signal }: K2vReadOptions = {},
  ): Promise<K2vSearchResult[]> {
    const { headers, body } = jsonBody(rangeDocument(searches))
    const call = { method: 'POST', query: { search: '' }, headers: { ...headers, ...monotony(nonMonotonic) } }
    return parseSearchResults(await this.#json({ ...call, body, signal }), searches.length)
  }

  /** Deletes the items of up to 1000 ranges, as they are when they are read; how many each range had. */
  async deleteBatch(ranges: readonly K2vDeletion[], { signal }: K2vCallOptions = {}): Promise<number[]> {
    const call = { method: 'POST', query: { delete: '' }, ...jsonBody(rangeDocument(ranges)), signal }
    return parseDeletions(await this.#json(call), ranges.length)
  }

  /**
   * All items of a range at once if there is no `seenMarker`, else what has changed since it, as soon as something has;
   * undefined if nothing has in time.
   */
  async pollRange(
    partitionKey: string,
    { timeoutSeconds, signal, ...range }: K2vPollRangeOptions = {},
  ): Promise<K2vRangeChanges | undefined> {
    rangeDocument([{ ...range, partitionKey }])
    const document = jsonBody({ ...range, timeout: checkTimeout(timeoutSeconds) })
    const call = { method: 'POST', partitionKey, query: { poll_range: '' }, ...document, signal }
    const { status, content } = await this.#send(call, (answer) => answer.text())
    return status === 304 ? undefined : parseChanges(parseJson(content))
  }

  async #item(call: Call): Promise<K2vItem | undefined> {
    const headers = { ...call.headers, accept: `${BINARY}, ${JSON_TYPE}` }
    const {
      status,
      headers: answered,
      content: bytes,
    } = await this.#send({ ...call, headers }, bytesOfAnswer)
    if (status === 304) return undefined
    const token = answered.get(TOKEN_HEADER)
    if (token === null)
      throw invalidAnswer('the answer has no X-Garage-Causality-Token: CORS must expose it', status)
    if (status === 204) return { values: [null], token }
    const type = answered.get('content-type')
    if (type?.startsWith(BINARY)) return { values: [bytes], token }
    return { values: parseValues(parseJson(new TextDecoder().decode(bytes))), token }
  }

  async #json(call: Call): Promise<unknown> {
    return parseJson((await this.#send(call, (answer) => answer.text())).content)
  }

  /** Sends a request and reads its answer by `read`. @throws K2vError */
  async #send(call: Call): Promise<Received<undefined>>
  async #send<T>(call: Call, read: (answer: Response) => Promise<T>): Promise<Received<T>>
  async #send<T>(call: Call, read?: (answer: Response) => Promise<T>): Promise<Received<T | undefined>> {
    const { fetch: send = fetch } = this.#options
    const { url, init } = this.#prepare(call)
    try {
      const answer = await send(url, init)
      const { status, headers } = answer
      if (status < 400) return { status, headers, content: await read?.(answer) }
      throw errorOf(answer, await answer.text())
    } catch (error) {
      if (call.signal?.aborted) throw call.signal.reason
      if (error instanceof K2vError) throw error
      throw new K2vError('NetworkError', `${this.#origin} does not answer`, { cause: error })
    }
  }

  #prepare({ method, partitionKey, query = {}, headers = {}, body, signal }: Call) {
    const { bucket, accessKeyId, secretAccessKey, sessionToken, region = 'us-east-1', now } = this.#options
    const path = `/${bucket}${partitionKey === undefined ? '' : `/${pathOf(partitionKey)}`}`
    const signed = signHeaders(
      {
        ...{ method, host: this.#host, path, query, headers, region, service: 'k2v' },
        bodyHash: hashOf(body ?? new Uint8Array()),
        now: now?.() ?? new Date(),
      },
      { accessKeyId, secret: secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) },
    )
    const text = queryText(query)
    // Nothing keeps an answer: a browser's cache would show a value again that was superseded since.
    const init: RequestInit & { cache: 'no-store' } = {
      method,
      headers: signed,
      cache: 'no-store',
      credentials: 'omit',
    }
    if (body !== undefined) init.body = body as Uint8Array<ArrayBuffer>
    if (signal !== undefined) init.signal = signal
    return { url: `${this.#origin}${path}${text === '' ? '' : `?${text}`}`, init }
  }
}

interface Received<T> {
  readonly status: number
  readonly headers: Headers
  readonly content: T
}

async function bytesOfAnswer(answer: Response): Promise<Uint8Array> {
  return new Uint8Array(await answer.arrayBuffer())
}

function jsonBody(document: unknown): { headers: Record<string, string>; body: Uint8Array } {
  return { headers: { 'content-type': JSON_TYPE }, body: bytesOf(JSON.stringify(document)) }
}

function monotony(nonMonotonic = false): Record<string, string> {
  return nonMonotonic ? { 'x-garage-non-monotonic-read': 'true' } : {}
}

/** A partition key in a path. @throws K2vError InvalidArgument */
function pathOf(partitionKey: string): string {
  const key = wellFormed(partitionKey, 'the partition key')
  // Without a key the path would name the bucket, and the request would be another one.
  if (key === '') throw invalidArgument('the partition key is empty')
  if (key === '.' || key === '..') {
    throw invalidArgument(`no URL has the partition key ${key}: use insertBatch and readBatch`)
  }
  return encode(key)
}

/** @throws K2vError InvalidArgument */
function checkToken(token: string): string {
  if (typeof token === 'string' && /^[\w+/=-]+$/.test(token)) return token
  throw invalidArgument('the token is not one that a read has answered with')
}

/** @throws K2vError InvalidArgument */
function checkTimeout(seconds = POLL_SECONDS): number {
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 600) return seconds
  throw invalidArgument('timeoutSeconds is an integer from 1 to 600')
}

function errorOf({ status, headers }: Response, text: string): K2vError {
  const wait = Number(headers.get('retry-after') ?? Number.NaN)
  const options = { status, ...(wait >= 0 && { retryAfterSeconds: wait }) }
  let document: { code?: unknown; message?: unknown } | null = null
  try {
    document = JSON.parse(text)
  } catch {
    // A proxy answers with a page of its own.
  }
  const { code, message } = document ?? {}
  if (typeof code === 'string') return new K2vError(code, String(message ?? code), options)
  return new K2vError('InvalidAnswer', `HTTP status ${status} without a K2V error`, options)
}
