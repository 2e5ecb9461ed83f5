/**
 * The store behind a shadow bucket, by S3. What goes wrong there is told in plain words, and never as a missing object:
 * 503 where another try may help, 502 where an administrator must.
 */
import type { ShadowDocument } from '../../../model/buckets/documents.js'
import { type ClientWorld, isPassing, type S3Call, S3Client, StoreError } from '../../client/s3-client.js'
import type { StreamAnswer } from '../../client/stream-call.js'
import type { XmlElement } from '../../xml/reader.js'
import { S3Error } from '../errors.js'

/** A page of the source's listing: keys without the shadow's prefix. */
export interface SourcePage {
  objects: { key: string; size: number; etag: string; modifiedMs: number }[]
  prefixes: string[]
  isTruncated: boolean
}

/** How long it counts that the source's bucket was there, in ms. */
const BUCKET_SEEN_MS = 30_000

export class ShadowSource {
  readonly #client: S3Client
  #seenMs = Number.NEGATIVE_INFINITY

  /** @throws TypeError if the endpoint is no URL */
  constructor(
    readonly shadow: ShadowDocument,
    private readonly world: ClientWorld,
  ) {
    const { endpoint, region, accessKeyId, secretAccessKey } = shadow
    const credentials = { accessKeyId, secret: secretAccessKey }
    // A source that is a shadow bucket itself refuses what has this header.
    const headers = { 'x-carport-shadow': 'read' }
    this.#client = new S3Client({ endpoint, region, credentials, headers }, world)
  }

  /** The head of an object, or of a part of it; undefined if the source has no such object. @throws S3Error 502, 503 */
  async head(key: string, partNumber?: number): Promise<StreamAnswer['headers'] | undefined> {
    const answer = await this.#found({
      ...{ method: 'HEAD', key: this.#keyOf(key) },
      ...(partNumber !== undefined && { query: { partNumber: String(partNumber) } }),
    })
    return answer?.headers
  }

  /** Opens a part of an object as `head` told it. @throws S3Error 502, 503: also when it is another object by now */
  async open(
    key: string,
    etag: string,
    range: { start: number; end: number },
  ): Promise<StreamAnswer['body']> {
    const answer = await this.#found({
      ...{ method: 'GET', key: this.#keyOf(key) },
      headers: { 'if-match': etag, range: `bytes=${range.start}-${range.end - 1}` },
    })
    if (!answer) throw unavailable('has no such object any more', new Error('404'))
    return answer.body
  }

  /** @throws S3Error 502, 503 */
  async tags(key: string): Promise<Record<string, string>> {
    const document = await this.#xml({ key: this.#keyOf(key), query: { tagging: '' } }, 'Tagging')
    const tags = document.need('TagSet').all('Tag')
    return Object.fromEntries(tags.map((tag) => [tag.needText('Key'), tag.needText('Value')]))
  }

  /** @throws S3Error 502, 503 */
  async list(options: {
    prefix: string
    delimiter: string
    after: string
    limit: number
  }): Promise<SourcePage> {
    const own = this.shadow.prefix ?? ''
    const { prefix, delimiter, after, limit } = options
    const query = {
      ...{ 'list-type': '2', 'encoding-type': 'url', 'max-keys': String(limit), prefix: own + prefix },
      ...(delimiter !== '' && { delimiter }),
      ...(after !== '' && { 'start-after': own + after }),
    }
    const page = await this.#xml({ query }, 'ListBucketResult')
    const text = (element: XmlElement, name: string) =>
      decodeURIComponent((element.text(name) ?? '').replaceAll('+', '%20'))
    return {
      objects: page.all('Contents').map((item) => ({
        key: text(item, 'Key').slice(own.length),
        size: item.integer('Size') ?? 0,
        etag: (item.text('ETag') ?? '').replaceAll('"', ''),
        modifiedMs: Date.parse(item.text('LastModified') ?? '') || 0,
      })),
      prefixes: page.all('CommonPrefixes').map((item) => text(item, 'Prefix').slice(own.length)),
      isTruncated: page.boolean('IsTruncated') ?? false,
    }
  }

  /** Makes sure that the source's bucket can be listed. @throws S3Error 502, 503 */
  async check(): Promise<void> {
    await this.list({ prefix: '', delimiter: '', after: '', limit: 1 })
  }

  #keyOf(key: string): string {
    return (this.shadow.prefix ?? '') + key
  }

  /** An answer; undefined where the source says that there is no such object. */
  async #found(call: Omit<S3Call, 'bucket'>): Promise<StreamAnswer | undefined> {
    try {
      return await this.#client.once({ ...call, bucket: this.shadow.bucket })
    } catch (error) {
      const isMissing = error instanceof StoreError && error.status === 404
      if (isMissing && error.code === 'NoSuchKey') return undefined
      if (!isMissing || error.code !== '404') throw failure(error)
      // The answer to HEAD does not say what is missing: the bucket must be there, else nothing is known of the object.
      const { clock } = this.world
      if (clock.nowMs() - this.#seenMs > BUCKET_SEEN_MS) {
        await this.check()
        this.#seenMs = clock.nowMs()
      }
      return undefined
    }
  }

  async #xml(call: Omit<S3Call, 'bucket' | 'method'>, root: string): Promise<XmlElement> {
    try {
      return await this.#client.xmlOnce({ ...call, method: 'GET', bucket: this.shadow.bucket }, root)
    } catch (error) {
      throw failure(error)
    }
  }
}

function failure(error: unknown): S3Error {
  if (isPassing(error)) return unavailable('does not answer as it should', error)
  const reason = error instanceof StoreError ? error.code : 'an answer in an unknown form'
  return new S3Error(
    'InternalError',
    `The store that this bucket shadows refuses the request (${reason}): its address, bucket or key must be set anew.`,
    { status: 502, cause: error },
  )
}

function unavailable(what: string, cause: unknown): S3Error {
  return new S3Error(
    'ServiceUnavailable',
    `The store that this bucket shadows ${what}: what is not kept here yet cannot be told now.`,
    { cause, headers: { 'Retry-After': '1' } },
  )
}
