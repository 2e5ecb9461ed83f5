import { httpDateOf } from '../api/http/date.js'
import type { MasterKeys } from '../model/content/ciphers.js'
import type { BlockOpener } from '../model/content/refs.js'
import { versionOpener } from '../model/content/version-opener.js'
import type { Model } from '../model/model.js'
import { etagOf, lastModifiedMs, type VersionRecord } from '../model/versions/record.js'
import { type Awaitable, whenReady } from '../util/awaitable.js'
import { CODINGS, type Coding, mayBeCompressed } from './encoding.js'
import { PageCache } from './page-cache.js'
import type { Site } from './sites.js'

/** An object of a site, as it is sent. */
export interface Page {
  /** The version's id: another content has another one. */
  readonly id: Buffer
  /** In quotes. */
  readonly etag: string
  readonly lastModifiedMs: number
  readonly size: number
  /** Of an answer with the whole page. */
  readonly headers: Record<string, string>
  /** Whether it is encrypted with a key that only its owner has, so that it cannot be sent. */
  readonly isSealed: boolean
  /** Where the object's own redirect leads. */
  readonly redirect: string | undefined
  /** The whole content, if it is at hand. */
  readonly bytes: Buffer | undefined
  /** Where the content is, if it is not. */
  readonly source: { cacheKey: string; version: VersionRecord; anyReplica: boolean } | undefined
}

/** Files up to this size are kept in memory, in bytes. */
const KEPT_SIZE_MAX = 256 * 1024
const DEFAULT_CONTENT_TYPE = 'binary/octet-stream'
const REDIRECT = 'x-amz-website-redirect-location'
const EMPTY = Buffer.alloc(0)

/**
 * Reads the pages of sites. Small ones are kept in memory, but never trusted: at each request the object's row is read,
 * from a quorum as for any other read, and says which version is the current one. So a page is never older than a write
 * that was acknowledged before the request came, on whatever node. A page costs one round trip, whether it is kept or not:
 * the replicas are told which version is kept, and those that have another one send its content along.
 */
export class Pages {
  readonly #cache: PageCache<Page>

  constructor(
    private readonly model: Pick<Model, 'objects' | 'blobs'>,
    private readonly masterKeys: MasterKeys,
    cacheBytesMax: number,
  ) {
    this.#cache = new PageCache(cacheBytesMax)
  }

  /**
   * The page of that key, or one of its compressed siblings, the first in `codings` that is there.
   * @throws CarportError as reads do
   */
  negotiate(site: Site, key: string, codings: readonly Coding[]): Awaitable<Page | undefined> {
    const plain = this.read(site, key)
    if (codings.length === 0 || !mayBeCompressed(key)) return plain
    // All at once, so that the page takes one round trip.
    const siblings = codings.map((coding) => this.read(site, key + ENDINGS[coding]))
    if (plain instanceof Promise || siblings.some((sibling) => sibling instanceof Promise)) {
      return Promise.all([plain, ...siblings]).then(([page, ...found]) => choose(page, codings, found))
    }
    return choose(plain, codings, siblings as (Page | undefined)[])
  }

  /** The page of that key; undefined if there is none. @throws as `negotiate` */
  read(site: Site, key: string): Awaitable<Page | undefined> {
    const { bucket, anyReplica } = site
    const cacheKey = `${bucket.hexId}/${key}`
    const kept = this.#cache.get(cacheKey)
    const options = { anyReplica, ...(kept && { known: kept.id }) }
    return whenReady(this.model.objects.read(bucket.id, Buffer.from(key), undefined, options), (version) => {
      if (kept) {
        if (version?.id.equals(kept.id)) return kept
        this.#cache.delete(cacheKey)
      }
      return this.#pageOf(version, cacheKey, key, anyReplica)
    })
  }

  /** Whether there is a page of that key. */
  exists(site: Site, key: string): Awaitable<boolean> {
    const { bucket, anyReplica } = site
    return whenReady(
      this.model.objects.read(bucket.id, Buffer.from(key), undefined, { body: false, anyReplica }),
      (version) => version?.state === 'object',
    )
  }

  /**
   * Bytes of a page, which must not be sealed, from `start` up to `end` (exclusive).
   * @throws CarportError as reads do, also while iterating
   */
  content(
    page: Page,
    start: number,
    end: number,
    signal: () => AbortSignal,
  ): Awaitable<Buffer | AsyncIterable<Buffer>> {
    const { bytes, source } = page
    if (bytes) return start === 0 && end === page.size ? bytes : bytes.subarray(start, end)
    const { version, anyReplica, cacheKey } = source!
    return whenReady(this.#opener(version), (cipher) => {
      const options = { signal, anyReplica, ...(cipher && { cipher }) }
      if (page.size > KEPT_SIZE_MAX || !this.#cache.takes(page.size)) {
        return this.model.blobs.read(version, start, end, options)
      }
      return gather(this.model.blobs.read(version, 0, page.size, options), page.size).then((whole) => {
        this.#cache.set(cacheKey, { ...page, bytes: whole, source: undefined })
        return whole.subarray(start, end)
      })
    })
  }

  #pageOf(
    version: VersionRecord | undefined,
    cacheKey: string,
    key: string,
    anyReplica: boolean,
  ): Awaitable<Page | undefined> {
    if (version?.state !== 'object') return undefined
    const page: Page = {
      id: version.id,
      etag: etagOf(version),
      lastModifiedMs: lastModifiedMs(version),
      size: version.size,
      headers: headersOf(version, key),
      isSealed: version.encryption?.kind === 'SSE-C',
      redirect: version.headers[REDIRECT],
      bytes: version.size === 0 ? EMPTY : undefined,
      source: { cacheKey, version, anyReplica },
    }
    const { body } = version
    if (version.content.kind !== 'inline' || !body || page.isSealed) return page
    return whenReady(this.#opener(version), (cipher) => {
      // Copied where it is kept: it may be a part of a longer buffer.
      const bytes = cipher ? cipher.open(body, 0) : this.#cache.takes(body.length) ? Buffer.from(body) : body
      const whole = { ...page, bytes, source: undefined }
      this.#cache.set(cacheKey, whole)
      return whole
    })
  }

  #opener(version: VersionRecord): Awaitable<BlockOpener | undefined> {
    const { encryption } = version
    if (encryption?.kind !== 'SSE-S3') return undefined
    const dataKey = this.masterKeys.unwrap(version.bucket, encryption)
    return versionOpener(this.model.blobs, version, encryption, dataKey)
  }
}

const ENDINGS = Object.fromEntries(CODINGS) as Record<Coding, string>

/** The page as one of its compressed siblings, if it has one that is taken: a file that says it is compressed has none. */
function choose(
  page: Page | undefined,
  codings: readonly Coding[],
  siblings: readonly (Page | undefined)[],
): Page | undefined {
  if (!page || page.redirect !== undefined || page.headers['content-encoding'] !== undefined) return page
  const at = siblings.findIndex((sibling) => sibling !== undefined && !sibling.isSealed)
  const sibling = siblings[at]
  if (!sibling) return page
  const { etag, 'last-modified': modified, 'content-length': length } = sibling.headers
  const headers = {
    ...page.headers,
    etag: etag!,
    'last-modified': modified!,
    'content-length': length!,
    'content-encoding': codings[at]!,
  }
  return { ...sibling, headers }
}

function headersOf(version: VersionRecord, key: string): Record<string, string> {
  const headers: Record<string, string> = {
    'content-type': DEFAULT_CONTENT_TYPE,
    'content-length': String(version.size),
    'last-modified': httpDateOf(lastModifiedMs(version)),
    etag: etagOf(version),
    'accept-ranges': 'bytes',
  }
  const { headers: stored, metadata } = version
  for (const name in stored) if (name !== REDIRECT) headers[name] = stored[name]!
  for (const name in metadata) headers[`x-amz-meta-${name}`] = metadata[name]!
  if (mayBeCompressed(key) && stored['content-encoding'] === undefined) headers.vary = 'Accept-Encoding'
  return headers
}

async function gather(chunks: AsyncIterable<Buffer>, size: number): Promise<Buffer> {
  const whole = Buffer.allocUnsafe(size)
  let at = 0
  // The memory of a chunk is used again for the next one.
  for await (const chunk of chunks) at += chunk.copy(whole, at)
  return whole
}
