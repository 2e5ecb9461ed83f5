import { createHash } from 'node:crypto'
import { StoreError } from '../api/client/s3-client.js'
import type { Content } from '../api/client/stream-call.js'
import { type Journal, printOf } from './journal.js'
import { eachOf } from './pool.js'
import type { Report } from './report.js'
import type { Destination, KeyVersions, Opened, Source, Version, Written } from './store.js'

/** Smallest part but the last of an upload, where S3's rules hold, in bytes. */
export const PART_BYTES_MIN = 5 << 20
/** The largest object that is written whole, in bytes. */
const WHOLE_BYTES_MAX = 5 * 2 ** 30
const MD5_ETAG = /^[0-9a-f]{32}$/

export interface CopyOptions {
  source: Source
  destination: Destination
  journal: Journal
  report: Report
  /** Objects that are copied at the same time. */
  parallel: number
  /** Whether to delete, at the destination, copies of what the source has deleted since. */
  removes: boolean
  /** Smallest part but the last that the destination takes, in bytes. */
  partBytesMin: number
  /** Whether the destination takes the Last-Modified of what is written to it. */
  takesTimes: boolean
  /** Buckets into which objects come only where nothing is yet: what is there, or was deleted there, is newer. */
  fills?(bucket: string): boolean
  /** Runs an attempt again while that may help. */
  retried<T>(attempt: () => Promise<T>): Promise<T>
}

/**
 * Looks through a bucket before it is copied: counts what is there and what is to be copied, and finds copies whose
 * original is gone.
 * @param isGone called for each of these
 */
export async function look(
  { source, journal, report }: Pick<CopyOptions, 'journal' | 'report'> & { source: Pick<Source, 'list'> },
  bucket: string,
  isGone: (key: string, version: string) => Promise<void> = async () => {},
): Promise<void> {
  const known = journal.entries(bucket)
  let next = await known.next()
  let now = ''
  // Both walks are in the order of keys: what the journal has before the listing's key, the source has not.
  const passed = async (until: Buffer | undefined) => {
    while (!next.done && (until === undefined || Buffer.compare(Buffer.from(next.value.key), until) < 0)) {
      if (next.value.key !== now) await isGone(next.value.key, next.value.version)
      next = await known.next()
    }
  }
  for await (const { key, versions } of source.list(bucket)) {
    await passed(Buffer.from(key))
    now = key
    const ids = new Set(versions.map(({ id }) => id))
    while (!next.done && next.value.key === key) {
      if (!ids.has(next.value.version)) await isGone(key, next.value.version)
      next = await known.next()
    }
    for (const version of versions) {
      report.found++
      report.foundBytes += version.bytes
      if (isCopied(journal, bucket, key, version)) report.unchanged++
      else {
        report.toCopy++
        report.toCopyBytes += version.bytes
      }
    }
  }
  await passed(undefined)
}

/** Whether a version is whole at the destination, as it is at the source now. */
export function isCopied(journal: Journal, bucket: string, key: string, version: Version): boolean {
  const entry = journal.entry(bucket, key, version.id)
  return entry?.isDone === true && entry.print === printOf(version)
}

/**
 * Copies what the journal does not know yet of a bucket. An object that cannot be copied is told in the report, and does not
 * keep the others from being copied.
 * @throws StoreError when the destination is full
 */
export async function copyBucket(options: CopyOptions, bucket: string): Promise<void> {
  const { source, parallel, report } = options
  await eachOf(source.list(bucket), parallel, async (item) => {
    try {
      await copyKey(options, bucket, item)
    } catch (error) {
      if (error instanceof StoreError && error.status === 507) throw error
      const isTooStrict = error instanceof StoreError && error.code === 'MetadataTooLarge'
      const hint = isTooStrict ? '; a relaxed bucket takes more: --relaxed' : ''
      report.failed.add(`${bucket}/${item.key}: ${(error as Error).message}${hint}`)
    }
  })
}

/** Copies the versions of a key, one after the other, the oldest first. */
async function copyKey(options: CopyOptions, bucket: string, { key, versions }: KeyVersions): Promise<void> {
  const { journal, report, destination } = options
  for (const version of versions) {
    if (isCopied(journal, bucket, key, version)) continue
    const entry = journal.entry(bucket, key, version.id)
    const print = printOf(version)
    const wasDone = entry?.isDone === true
    // A copy that was begun may be there; and so may any object in a bucket that was not empty.
    if (!wasDone && (entry || journal.fact(`filled ${bucket}`))) {
      const found = await findCopy(options, bucket, key, version, versions)
      if (found) {
        if (!version.isMarker) await finish(options, bucket, key, version, found)
        if (options.takesTimes && !isSameSecond(found.modifiedMs, version.modifiedMs))
          report.notCarried.add(
            `Last-Modified of objects that were in ${bucket} already: they stay as they are`,
          )
        await journal.set(bucket, key, version.id, { print, isDone: true, id: found.id, etag: found.etag })
        report.unchanged++
        report.toCopy--
        report.toCopyBytes -= version.bytes
        continue
      }
    }
    if (options.fills?.(bucket)) {
      await fill(options, bucket, key, version)
      continue
    }
    // An object that changed is overwritten: doing so once more does no harm.
    if (!wasDone) await journal.set(bucket, key, version.id, { print, isDone: false, id: '', etag: '' })
    const written = version.isMarker
      ? await destination.mark(bucket, key, version.modifiedMs)
      : await copyObject(options, bucket, key, version)
    await journal.set(bucket, key, version.id, { print, isDone: true, ...written })
    report.copied++
    report.copiedBytes += version.bytes
  }
}

/** Copies an object into a bucket of which applications have made use already: it refuses keys that it has, or had. */
async function fill(options: CopyOptions, bucket: string, key: string, version: Version): Promise<void> {
  const { journal, report } = options
  const print = printOf(version)
  let written: Written = { id: '', etag: '' }
  try {
    written = await copyObject(options, bucket, key, version)
    report.copied++
    report.copiedBytes += version.bytes
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'PreconditionFailed') throw error
    report.unchanged++
    report.toCopy--
    report.toCopyBytes -= version.bytes
  }
  await journal.set(bucket, key, version.id, { print, isDone: true, ...written })
}

/** The destination's version that is this one's copy, and no other one's. */
async function findCopy(
  { destination, journal }: CopyOptions,
  bucket: string,
  key: string,
  version: Version,
  versions: readonly Version[],
): Promise<Version | undefined> {
  const taken = new Set<string>()
  for (const { id } of versions) {
    const entry = journal.entry(bucket, key, id)
    if (entry?.isDone) taken.add(entry.id)
  }
  const there = await destination.versions(bucket, key)
  return there.find(
    (found) =>
      (found.id === '' || !taken.has(found.id)) &&
      found.isMarker === version.isMarker &&
      (version.isMarker ||
        (version.etag !== '' && found.etag === version.etag && found.bytes === version.bytes)),
  )
}

async function finish(
  { source, destination }: CopyOptions,
  bucket: string,
  key: string,
  version: Version,
  found: Version,
): Promise<void> {
  const extras = await source.extras(bucket, key, version, await source.head(bucket, key, version))
  await destination.finish(bucket, key, found.id, extras)
}

async function copyObject(
  options: CopyOptions,
  bucket: string,
  key: string,
  version: Version,
): Promise<Written> {
  const { report } = options
  const parts = await partsOf(options, bucket, key, version)
  const written = parts
    ? await copyParts(options, bucket, key, version, parts)
    : await copyWhole(options, bucket, key, version)
  if (version.etag !== '' && written.etag !== '' && written.etag !== version.etag)
    report.notCarried.add(`${bucket}/${key}: its ETag was ${version.etag}, and is ${written.etag} now`)
  return written
}

/** The sizes in which to upload an object; undefined to write it whole. */
async function partsOf(
  { source, partBytesMin }: CopyOptions,
  bucket: string,
  key: string,
  version: Version,
): Promise<number[] | undefined> {
  const parts = await source.parts(bucket, key, version)
  // Some stores take smaller parts than S3 does.
  if (parts?.slice(0, -1).every((bytes) => bytes >= partBytesMin)) return parts
  return version.bytes > WHOLE_BYTES_MAX ? evenParts(version.bytes) : undefined
}

function evenParts(bytes: number): number[] {
  const size = Math.max(64 << 20, Math.ceil(bytes / 10_000))
  return Array.from({ length: Math.ceil(bytes / size) }, (_, i) => Math.min(size, bytes - i * size))
}

/** Copies an object in one request, and compares the MD5 of what passed with both stores' ETags. */
async function copyWhole(
  { source, destination, report, retried }: CopyOptions,
  bucket: string,
  key: string,
  version: Version,
): Promise<Written> {
  let refused = ''
  return retried(async () => {
    const movedBefore = report.movedBytes
    const opened = await source.open(bucket, key, version)
    const passing = new Passing(opened.content, report)
    try {
      const extras = await source.extras(bucket, key, version, opened)
      // An ETag that is no MD5 of the content, as encryption makes them, proves nothing: the content came twice the same.
      const etag = refused !== '' ? '' : opened.etag
      const object = { ...opened, etag, modifiedMs: modifiedOf(version, opened), content: passing }
      const written = await destination.put(bucket, key, object, extras)
      const md5 = passing.md5()
      if (refused !== '' && refused !== md5)
        throw new StoreError('BadDigest', 'the content changed on its way', 500)
      if (MD5_ETAG.test(written.etag) && written.etag !== md5)
        throw new StoreError('BadDigest', `the destination has another content than was sent`, 500)
      return written
    } catch (error) {
      report.movedBytes = movedBefore
      await passing.end()
      if (error instanceof StoreError && error.code === 'BadDigest' && refused === '') {
        refused = await contentMd5(await source.open(bucket, key, version))
        throw new StoreError('BadDigest', error.message, 500)
      }
      throw error
    }
  })
}

/** Listings tell milliseconds, headers seconds: of another object, if it was written over meanwhile. */
function modifiedOf(listed: Version, opened: Pick<Opened, 'modifiedMs'>): number {
  return isSameSecond(listed.modifiedMs, opened.modifiedMs) ? listed.modifiedMs : opened.modifiedMs
}

/** Whether two times, in ms, are the same as far as headers tell them. */
export const isSameSecond = (a: number, b: number) => Math.floor(a / 1000) === Math.floor(b / 1000)

async function contentMd5({ content }: Opened): Promise<string> {
  const hash = createHash('md5')
  for await (const chunk of content) hash.update(chunk)
  return hash.digest('hex')
}

async function copyParts(
  { source, destination, report, retried }: CopyOptions,
  bucket: string,
  key: string,
  version: Version,
  parts: readonly number[],
): Promise<Written> {
  const head = await retried(() => source.head(bucket, key, version))
  const extras = await source.extras(bucket, key, version, head)
  return destination.putParts(
    bucket,
    key,
    { ...head, bytes: version.bytes, modifiedMs: modifiedOf(version, head) },
    extras,
    parts,
    async (range) => {
      const opened = await source.open(bucket, key, version, range)
      return { ...opened, content: new Passing(opened.content, report) }
    },
  )
}

/** Content with its MD5, counted while it passes. */
class Passing implements Content {
  readonly #hash = createHash('md5')
  #begun = false

  constructor(
    private readonly content: Content,
    private readonly report: Report,
  ) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    this.#begun = true
    for await (const chunk of this.content) {
      this.#hash.update(chunk)
      this.report.movedBytes += chunk.length
      yield chunk
    }
  }

  /** Breaks off the transfer if nobody has read it. */
  async end(): Promise<void> {
    if (this.#begun) return
    this.#begun = true
    for await (const _ of this.content) break
  }

  md5(): string {
    return this.#hash.digest('hex')
  }
}
