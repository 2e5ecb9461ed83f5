/** Versions of objects, and what is kept beside their content. */
import { type ListingQuery, listingPage } from './listing'
import { BYPASS } from './locks'
import { childrenOf, copyObject, decode, escapeXml, REDIRECT, s3, s3Xml, sourceOf, textOf } from './s3'

/** A version of an object, or a mark that it was deleted. */
export interface Version {
  readonly key: string
  /** "null" for what was written while the bucket kept no versions. */
  readonly versionId: string
  readonly isLatest: boolean
  readonly isDeleteMarker: boolean
  readonly modified: string
  /** In bytes; 0 for a delete marker. */
  readonly size: number
  readonly etag: string
}

export interface VersionPage {
  /** Folders and versions: by key, the newest of a key first. */
  readonly entries: (Version | { readonly key: string })[]
  readonly seen: number
  readonly last: string | undefined
  readonly next: VersionMarker | undefined
}

export interface VersionMarker {
  readonly key: string
  /** Undefined: after all versions of the key. */
  readonly versionId: string | undefined
}

/** A page of the versions below a prefix. @param next the page that the one before told of */
export async function listVersions(asked: ListingQuery, next?: VersionMarker): Promise<VersionPage> {
  const { bucket, prefix, delimiter, after, signal, isWanted } = asked
  const from = next ?? (after === undefined ? undefined : { key: after, versionId: undefined })
  const query = {
    ...{ versions: '', prefix, 'max-keys': '1000' },
    ...(delimiter !== undefined && { delimiter }),
    ...(from && {
      'key-marker': from.key,
      ...(from.versionId !== undefined && { 'version-id-marker': from.versionId }),
    }),
  }
  const call = { bucket, query, ...(signal && { signal }) }
  const { root, ...page } = await listingPage(call, versionOf, isWanted)
  const isMore = textOf(root, 'IsTruncated') === 'true'
  const marker = {
    key: decode(textOf(root, 'NextKeyMarker')),
    versionId: textOf(root, 'NextVersionIdMarker'),
  }
  return { ...page, next: isMore ? marker : undefined }
}

function versionOf(entry: Element): Version | { key: string } {
  if (entry.localName === 'CommonPrefixes') return { key: decode(textOf(entry, 'Prefix')) }
  return {
    key: decode(textOf(entry, 'Key')),
    versionId: textOf(entry, 'VersionId'),
    isLatest: textOf(entry, 'IsLatest') === 'true',
    isDeleteMarker: entry.localName === 'DeleteMarker',
    modified: textOf(entry, 'LastModified'),
    size: Number(textOf(entry, 'Size')),
    etag: textOf(entry, 'ETag'),
  }
}

/** The versions of one key, the newest first; at most a thousand. */
export async function versionsOf(bucket: string, key: string): Promise<Version[]> {
  const { entries } = await listVersions({ bucket, prefix: key, isWanted: (each) => each === key })
  return entries as Version[]
}

/** Makes a version the current one again: a copy of it, so that nothing is lost. */
export async function restoreVersion(bucket: string, key: string, versionId: string): Promise<void> {
  await copyObject({ bucket, key, versionId }, { bucket, key })
}

/** Deletes a version for good; the delete marker of a deleted object: brings the object back. */
export async function deleteVersion(
  bucket: string,
  key: string,
  versionId: string,
  bypass: boolean,
): Promise<void> {
  await s3({ method: 'DELETE', bucket, key, query: { versionId }, headers: bypass ? BYPASS : {} })
}

/** Names and values in their order. */
export type Pairs = readonly (readonly [name: string, value: string])[]

export async function tagsOf(bucket: string, key?: string): Promise<Pairs> {
  const { documentElement: root } = await s3Xml({
    bucket,
    ...(key !== undefined && { key }),
    query: { tagging: '' },
  })
  return childrenOf(root, 'TagSet').flatMap((set) =>
    childrenOf(set, 'Tag').map((tag) => [textOf(tag, 'Key'), textOf(tag, 'Value')] as const),
  )
}

export async function setTags(bucket: string, key: string, tags: Pairs): Promise<void> {
  const list = tags.map(
    ([name, value]) => `<Tag><Key>${escapeXml(name)}</Key><Value>${escapeXml(value)}</Value></Tag>`,
  )
  const body = `<Tagging><TagSet>${list.join('')}</TagSet></Tagging>`
  await s3({ method: 'PUT', bucket, key, query: { tagging: '' }, body })
}

/** The headers that are kept with an object and that one may change. */
export const KEPT_HEADERS = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
  REDIRECT,
] as const

/** Replaces the headers and the metadata of an object by a copy onto itself. Names of metadata come without "x-amz-meta-". */
export async function setMetadata(
  bucket: string,
  key: string,
  headers: Readonly<Record<string, string>>,
  metadata: Pairs,
): Promise<void> {
  const kept = Object.entries(headers).filter(([, value]) => value.trim() !== '')
  const named = metadata.map(([name, value]) => [`x-amz-meta-${name.toLowerCase()}`, value] as const)
  await s3({
    method: 'PUT',
    bucket,
    key,
    headers: {
      'x-amz-copy-source': sourceOf({ bucket, key }),
      'x-amz-metadata-directive': 'REPLACE',
      ...Object.fromEntries([...kept, ...named]),
    },
  })
}
