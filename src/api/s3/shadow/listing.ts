/**
 * Listings of shadow buckets: what is here and at the source together. What was deleted here is hidden by its delete marker.
 */
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { ListPage } from '../../../model/listing/objects.js'
import type { PageRequest } from '../../../model/listing/page.js'
import { type ListedVersion, readListed } from '../../../model/versions/codec.js'
import { etagOf, type VersionRecord } from '../../../model/versions/record.js'
import { prefixEnd, successor } from '../../../table/row-keys.js'
import { eachLimited } from '../../../util/limited.js'
import type { S3Context } from '../context.js'
import { sourceOf } from './keep.js'
import { etagFields } from './record.js'
import type { ShadowSource, SourcePage } from './source.js'

/** An entry of a listing: a key with what is listed of it, or a common prefix without. */
export interface UnionEntry {
  key: Buffer
  head: Buffer | undefined
  /** Of an object of the source. */
  listed?: ListedVersion
}

export interface UnionPage extends Omit<ListPage, 'entries'> {
  entries: UnionEntry[]
}

/** Entries of the source that are looked at here at the same time. */
const LOOKS_AT_ONCE = 32
/** Keys below a common prefix of the source that are looked at, to see whether one of them was not deleted here. */
const PROBE_KEYS = 100
/** The longest page that S3 stores answer with. */
const PAGE_MAX = 1000
const NO_ID = Buffer.alloc(16)

/** A page of a bucket's listing. @throws S3Error 502, 503 where the source cannot tell its part of it */
export async function unionPage(
  context: S3Context,
  bucket: Bucket,
  request: PageRequest,
): Promise<UnionPage> {
  const { listing } = context.model
  const source = sourceOf(context, bucket)
  if (!source || request.limit === 0) return listing.page(request)
  const [own, theirs] = await Promise.all([listing.page(request), sourcePage(source, request)])
  // Beyond the end of either page nothing is known of the other side.
  const bound = earlier(own.more ? own.next : undefined, theirs.next)
  const known = new Set(own.entries.map(({ key }) => key.toString('latin1')))
  const candidates = theirs.entries.filter(
    ({ key }) => !known.has(key.toString('latin1')) && isBefore(key, bound),
  )
  const shown: UnionEntry[] = []
  await eachLimited(candidates, LOOKS_AT_ONCE, async (entry) => {
    const found = await shownFor(context, bucket, source, entry)
    if (found) shown.push(found)
  })
  const merged = [...own.entries.filter(({ key }) => isBefore(key, bound)), ...shown].sort((a, b) =>
    Buffer.compare(a.key, b.key),
  )
  const entries = merged.slice(0, request.limit)
  const last = entries.at(-1)
  const next = merged.length > entries.length && last ? behind(last) : bound
  return { entries, more: next !== undefined, next }
}

/** What the source has from the page's start on, and the first key of which nothing is known; undefined at the end. */
async function sourcePage(
  source: ShadowSource,
  { prefix, delimiter, start, limit }: PageRequest,
): Promise<{ entries: UnionEntry[]; next: Buffer | undefined }> {
  const page = await source.list({
    // One more: the source may begin with the common prefix behind which this page begins.
    ...{ prefix: prefix.toString(), delimiter: delimiter.toString(), limit: Math.min(limit + 1, PAGE_MAX) },
    after: afterText(start),
  })
  const all = entriesOf(page).sort((a, b) => Buffer.compare(a.key, b.key))
  const last = all.at(-1)
  const entries = all.filter(({ key }) => start.length === 0 || Buffer.compare(key, start) >= 0)
  return { entries, next: page.isTruncated && last ? behind(last) : undefined }
}

function entriesOf(page: SourcePage): UnionEntry[] {
  return [
    ...page.objects.map(({ key, size, etag, modifiedMs }) => {
      const fields = etagFields(etag)
      const hex = fields.etag.toString('hex')
      return {
        key: Buffer.from(key),
        head: undefined,
        listed: {
          ...{ id: NO_ID, isNull: true, isMarker: false, createdUs: 0, modifiedMs, size },
          etag: fields.etagParts === 0 ? hex : `${hex}-${fields.etagParts}`,
          ...{ checksumAlgorithm: undefined, checksumType: undefined, storageClass: 'STANDARD' as const },
          owner: '',
        },
      }
    }),
    ...page.prefixes.map((prefix) => ({ key: Buffer.from(prefix), head: undefined })),
  ]
}

/**
 * What readers of this bucket see for an entry of the source: nothing where it was deleted here, and the object that is here
 * where it was written, or kept, since the own page was read.
 */
async function shownFor(
  { model }: S3Context,
  bucket: Bucket,
  source: ShadowSource,
  entry: UnionEntry,
): Promise<UnionEntry | undefined> {
  const { key, listed } = entry
  if (listed) {
    const row = await model.objects.current(bucket.id, key)
    if (!row) return entry
    return row.state === 'object' ? { key, head: undefined, listed: listedVersion(row) } : undefined
  }
  // Of a common prefix, a key must be left. Where nothing below it was ever written here, it is.
  const here = await model.versionListing.page({
    ...{ bucket: bucket.id, prefix: key, delimiter: Buffer.alloc(0), start: Buffer.alloc(0) },
    ...{ afterVersion: Buffer.alloc(0), limit: 1 },
  })
  if (here.entries.length === 0 && !here.more) return entry
  const below = await source.list({ prefix: key.toString(), delimiter: '', after: '', limit: PROBE_KEYS })
  for (const object of below.objects) {
    const row = await model.objects.current(bucket.id, Buffer.from(object.key))
    if (!row || row.state === 'object') return entry
  }
  return below.isTruncated ? entry : undefined
}

function listedVersion(version: VersionRecord): ListedVersion {
  const { id, isNull, createdUs, modifiedMs, size, checksumAlgorithm, checksumType, owner } = version
  return {
    ...{ id, isNull, isMarker: false, createdUs, modifiedMs, size, checksumAlgorithm, checksumType, owner },
    etag: etagOf(version).slice(1, -1),
    storageClass: version.storageClass ?? 'STANDARD',
  }
}

/** The first key that may follow an entry: of a common prefix, the first one behind all that it folds. */
function behind({ key, head, listed }: UnionEntry): Buffer {
  return head || listed ? successor(key) : (prefixEnd(key) ?? successor(key))
}

/** A text after which the source's listing surely has every key from `start` on. */
function afterText(start: Buffer): string {
  if (start.length === 0) return ''
  const last = start.at(-1)!
  const before =
    last === 0 ? start.subarray(0, -1) : Buffer.concat([start.subarray(0, -1), Buffer.of(last - 1)])
  const text = before.toString()
  // Without the last character, where what is left of it is none: then some keys come twice, and are passed over.
  return Buffer.from(text).equals(before) ? text : text.replace(/.\ufffd*$/su, '')
}

const isBefore = (key: Buffer, bound: Buffer | undefined) =>
  bound === undefined || Buffer.compare(key, bound) < 0

function earlier(a: Buffer | undefined, b: Buffer | undefined): Buffer | undefined {
  if (!a || !b) return a ?? b
  return Buffer.compare(a, b) <= 0 ? a : b
}

/** What is listed of an entry that is no common prefix. */
export function listedOf({ head, listed }: UnionEntry): ListedVersion | undefined {
  return listed ?? (head && readListed(head))
}
