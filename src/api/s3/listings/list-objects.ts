import type { Bucket } from '../../../model/buckets/buckets.js'
import type { PageEntry, PageRequest } from '../../../model/listing/page.js'
import type { VersionPage } from '../../../model/listing/versions.js'
import type { Model } from '../../../model/model.js'
import { type ListedVersion, readListed } from '../../../model/versions/codec.js'
import { isKeyWithinBounds } from '../../../model/versions/key-bounds.js'
import { lastModifiedMs } from '../../../model/versions/record.js'
import { prefixEnd, successor } from '../../../table/row-keys.js'
import { isoDate } from '../../http/date.js'
import { escapeXml, XmlWriter, xmlText } from '../../xml/writer.js'
import { authorize } from '../access/authorize.js'
import { ownerXml, parseMax, percentEncodeKey, xmlBody } from '../answers.js'
import type { S3Context } from '../context.js'
import { invalidArgument } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { listedOf, type UnionEntry, type UnionPage, unionPage } from '../shadow/listing.js'
import { asksForOwn } from '../shadow/writes.js'
import { parseVersionId, versionIdText } from '../version-id.js'
import { readToken, writeToken } from './token.js'

const MAX_KEYS = 1000
const EMPTY = Buffer.alloc(0)
const OLDEST_VERSION = '0'.repeat(32)

/** The parameters that the three listings share. */
interface ListQuery {
  prefix: string
  delimiter: string
  maxKeys: number
  encode: (text: string) => string
  encodingType: string | undefined
}

/** @throws S3Error InvalidArgument */
function readListQuery({ query }: S3Request): ListQuery {
  const encodingType = query.get('encoding-type')
  if (encodingType !== undefined && encodingType !== 'url') {
    throw invalidArgument('Invalid Encoding Method specified in Request', 'encoding-type', encodingType)
  }
  return {
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    maxKeys: parseMax(query.get('max-keys'), 'max-keys', MAX_KEYS),
    encode: encodingType === 'url' ? percentEncodeKey : escapeXml,
    encodingType,
  }
}

/** ListObjects (version 1): the next page begins after a marker, which is a key or common prefix. */
export async function listObjects(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const { bucket } = await authorize(model, request, { permission: 'read', action: 's3:ListBucket' })
  const list = readListQuery(request)
  const marker = request.query.get('marker') ?? ''
  const page = await pageOf(context, request, bucket, pageRequest(bucket.id, list, after(marker, list)))
  // A page without entries ends behind a key that is deleted.
  const last = page.entries.at(-1)?.key ?? (page.next && markerOf(page.next))
  const xml = pageWriter('ListBucketResult', page.entries)
  xml.add(
    xmlText('Name', request.bucket) +
      `<Prefix>${list.encode(list.prefix)}</Prefix>` +
      `<Marker>${list.encode(marker)}</Marker>` +
      // AWS sends NextMarker only with a delimiter; without one, clients use the last key. Sending it always
      // does no harm.
      (page.more && last ? `<NextMarker>${list.encode(last.toString())}</NextMarker>` : '') +
      tail(list, page.more),
  )
  writeEntries(xml, page.entries, list, ownersOf(model))
  return xmlBody(xml.finish())
}

/** ListObjectsV2: a token says where the next page begins. */
export async function listObjectsV2(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const { query } = request
  if (query.get('list-type') !== '2')
    throw invalidArgument('Invalid list type', 'list-type', query.get('list-type'))
  const { bucket } = await authorize(model, request, { permission: 'read', action: 's3:ListBucket' })
  const list = readListQuery(request)
  const token = query.get('continuation-token')
  const startAfter = query.get('start-after')
  // An empty token is repeated in the answer and means the first page.
  const start = token ? readToken(token) : startAfter ? after(startAfter, list) : EMPTY
  const page = await pageOf(context, request, bucket, pageRequest(bucket.id, list, start))
  const xml = pageWriter('ListBucketResult', page.entries)
  xml.add(
    xmlText('Name', request.bucket) +
      `<Prefix>${list.encode(list.prefix)}</Prefix>` +
      (token !== undefined ? xmlText('ContinuationToken', token) : '') +
      (startAfter !== undefined ? `<StartAfter>${list.encode(startAfter)}</StartAfter>` : '') +
      (page.next ? xmlText('NextContinuationToken', writeToken(page.next)) : '') +
      `<KeyCount>${page.entries.length}</KeyCount>` +
      tail(list, page.more),
  )
  writeEntries(xml, page.entries, list, query.get('fetch-owner') === 'true' ? ownersOf(model) : undefined)
  return xmlBody(xml.finish())
}

/** ListObjectVersions: all versions and delete markers, by key, the newest of a key first. */
export async function listObjectVersions(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model } = context
  const { query } = request
  const { bucket } = await authorize(model, request, { permission: 'read', action: 's3:ListBucketVersions' })
  const list = readListQuery(request)
  const keyMarker = query.get('key-marker') ?? ''
  const idMarker = query.get('version-id-marker') ?? ''
  if (idMarker !== '' && keyMarker === '') {
    throw invalidArgument(
      'A version-id marker cannot be specified without a key marker.',
      'version-id-marker',
      idMarker,
    )
  }
  const markerKey = Buffer.from(keyMarker)
  let afterVersion: Buffer = EMPTY
  if (idMarker !== '') {
    const selector = parseVersionId(idMarker)
    if (selector !== 'null') afterVersion = selector as Buffer
    else if (isKeyWithinBounds(markerKey)) {
      afterVersion = (await model.objects.get(bucket.id, markerKey, 'null', { body: false }))?.id ?? EMPTY
    }
  }
  const page = await model.versionListing.page({
    ...pageRequest(bucket.id, list, afterVersion.length > 0 ? markerKey : after(keyMarker, list)),
    afterVersion,
  })
  const owners = ownersOf(model)
  const next = page.more ? nextVersionMarkers(page, list) : ''
  const xml = pageWriter('ListVersionsResult', page.entries)
  xml.add(
    xmlText('Name', request.bucket) +
      `<Prefix>${list.encode(list.prefix)}</Prefix>` +
      `<KeyMarker>${list.encode(keyMarker)}</KeyMarker>` +
      xmlText('VersionIdMarker', idMarker) +
      next +
      tail(list, page.more),
  )
  for (const { key, head, latest } of page.entries) {
    if (!head) continue
    const text = list.encode(key.toString())
    const version = readListed(head)
    const id = `<VersionId>${versionIdText(version)}</VersionId><IsLatest>${latest}</IsLatest>`
    xml.add(
      version.isMarker
        ? `<DeleteMarker><Key>${text}</Key>${id}<LastModified>${listedDate(version)}</LastModified>${owners(version.owner)}</DeleteMarker>`
        : `<Version><Key>${text}</Key>${id}${listedFields(version)}${owners(version.owner)}</Version>`,
    )
  }
  writePrefixes(xml, page.entries, list)
  return xmlBody(xml.finish())
}

function nextVersionMarkers({ entries, next }: VersionPage, list: ListQuery): string {
  const markers = (key: Buffer, id: string | undefined) =>
    `<NextKeyMarker>${list.encode(key.toString())}</NextKeyMarker>${xmlText('NextVersionIdMarker', id)}`
  const last = entries.at(-1)
  if (last) return markers(last.key, last.head && versionIdText(readListed(last.head)))
  // Only deleted versions were found: the next page begins behind one of them, or behind all of its key.
  const { start, afterVersion } = next!
  if (afterVersion.length > 0) return markers(start, afterVersion.toString('hex'))
  const marker = markerOf(start)
  // A marker that is a common prefix means all below it; with a version, it is a key. No version is as old as this one.
  const isExact = after(marker.toString(), list).equals(start)
  return markers(marker, isExact ? undefined : OLDEST_VERSION)
}

/** A page of the current objects; of a shadow bucket and its source together, unless a migration asks. */
function pageOf(
  context: S3Context,
  request: S3Request,
  bucket: Bucket,
  page: PageRequest,
): Promise<UnionPage> {
  const isShadow = bucket.document('shadow') !== undefined && !asksForOwn(request)
  return isShadow ? unionPage(context, bucket, page) : context.model.listing.page(page)
}

function pageRequest(bucket: Buffer, list: ListQuery, start: Buffer) {
  return {
    bucket,
    prefix: Buffer.from(list.prefix),
    delimiter: Buffer.from(list.delimiter),
    start,
    limit: list.maxKeys,
  }
}

/**
 * The first key that may follow `marker`; if the marker is a common prefix, the first key after all that it
 * folds.
 */
function after(marker: string, list: Pick<ListQuery, 'prefix' | 'delimiter'>): Buffer {
  if (marker === '') return EMPTY
  const key = Buffer.from(marker)
  if (list.delimiter !== '' && marker.startsWith(list.prefix)) {
    const cut = marker.indexOf(list.delimiter, list.prefix.length)
    if (cut >= 0 && cut + list.delimiter.length === marker.length) return prefixEnd(key) ?? successor(key)
  }
  return successor(key)
}

/** The marker of a page that begins not behind an entry, but behind a deleted key or all keys below a common prefix. */
function markerOf(start: Buffer): Buffer {
  const last = start.at(-1)!
  return last === 0 ? start.subarray(0, -1) : Buffer.concat([start.subarray(0, -1), Buffer.of(last - 1)])
}

/** Roughly the bytes of an entry beside its key, and of a page beside its entries. */
const ENTRY_BYTES = 300
const PAGE_BYTES = 1000

function pageWriter(root: string, entries: readonly PageEntry[]): XmlWriter {
  const bytes = entries.reduce((sum, { key }) => sum + key.length + ENTRY_BYTES, PAGE_BYTES)
  return new XmlWriter(root, bytes)
}

/** Writes the objects, then the common prefixes: S3 does not mix them. */
function writeEntries(
  xml: XmlWriter,
  entries: readonly UnionEntry[],
  list: ListQuery,
  owners: ((owner: string) => string) | undefined,
): void {
  for (const entry of entries) {
    const version = listedOf(entry)
    if (!version) continue
    const { key } = entry
    const owner = owners ? owners(version.owner) : ''
    xml.add(`<Contents><Key>${list.encode(key.toString())}</Key>${listedFields(version)}${owner}</Contents>`)
  }
  writePrefixes(xml, entries, list)
}

function writePrefixes(xml: XmlWriter, entries: readonly UnionEntry[], list: ListQuery): void {
  for (const { key, head, listed } of entries) {
    if (!head && !listed)
      xml.add(`<CommonPrefixes><Prefix>${list.encode(key.toString())}</Prefix></CommonPrefixes>`)
  }
}

function listedFields(version: ListedVersion): string {
  const checksum = version.checksumAlgorithm
    ? `<ChecksumAlgorithm>${version.checksumAlgorithm}</ChecksumAlgorithm><ChecksumType>${version.checksumType}</ChecksumType>`
    : ''
  return `<LastModified>${listedDate(version)}</LastModified><ETag>&quot;${version.etag}&quot;</ETag>${checksum}<Size>${version.size}</Size><StorageClass>${version.storageClass}</StorageClass>`
}

function listedDate(version: ListedVersion): string {
  return isoDate(lastModifiedMs(version))
}

/** As ownerXml, for pages of objects that mostly have the same owner. */
function ownersOf(model: Model): (owner: string) => string {
  const known = new Map<string, string>()
  return (owner) => {
    let xml = known.get(owner)
    if (xml === undefined) {
      xml = ownerXml(model, owner)
      known.set(owner, xml)
    }
    return xml
  }
}

function tail(list: ListQuery, more: boolean): string {
  return (
    `<MaxKeys>${list.maxKeys}</MaxKeys>` +
    (list.delimiter !== '' ? `<Delimiter>${list.encode(list.delimiter)}</Delimiter>` : '') +
    xmlText('EncodingType', list.encodingType) +
    `<IsTruncated>${more}</IsTruncated>`
  )
}
