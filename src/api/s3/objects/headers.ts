import type { Bucket } from '../../../model/buckets/buckets.js'
import {
  etagOf,
  lastModifiedMs,
  STORAGE_CLASSES,
  type VersionRecord,
} from '../../../model/versions/record.js'
import { httpDateOf } from '../../http/date.js'
import { isRelaxed, RELAXED_METADATA_BYTES_MAX } from '../buckets/relaxed.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import { CHECKSUM_HEADER } from '../payload/checksum.js'
import type { S3Request } from '../request.js'
import { versionIdText } from '../version-id.js'

export { etagOf, lastModifiedMs } from '../../../model/versions/record.js'

export const REDIRECT = 'x-amz-website-redirect-location'

/** Headers that are stored with an object and sent with it. */
export const STORED_HEADERS = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-type',
  'expires',
  REDIRECT,
] as const

const DEFAULT_CONTENT_TYPE = 'binary/octet-stream'
const META = 'x-amz-meta-'
/** The limit for user metadata: names and values together. */
const METADATA_BYTES_MAX = 2048

/**
 * Headers and user metadata that a request wants to be stored in a bucket.
 * @throws S3Error InvalidArgument, MetadataTooLarge
 */
export function storedHeaders(
  request: S3Request,
  bucket: Bucket,
): {
  headers: Record<string, string>
  metadata: Record<string, string>
} {
  const headers: Record<string, string> = {}
  for (const name of STORED_HEADERS) {
    let value = request.header(name)
    if (name === 'content-encoding' && value !== undefined) value = withoutAwsChunked(value)
    if (value !== undefined && value !== '') headers[name] = value
  }
  checkRedirect(headers[REDIRECT])
  return { headers, metadata: checkedMetadata(request.metadata(), bucket) }
}

/**
 * What a copy that takes the headers and metadata of its source along is stored with. As in AWS, the website redirect does
 * not go along: it is the one that the request names.
 * @throws S3Error InvalidArgument
 */
export function copiedHeaders(
  request: S3Request,
  source: Pick<VersionRecord, 'headers' | 'metadata'>,
): Pick<VersionRecord, 'headers' | 'metadata'> {
  const { [REDIRECT]: _, ...headers } = source.headers
  const redirect = request.header(REDIRECT)
  checkRedirect(redirect)
  return { headers: { ...headers, ...(redirect && { [REDIRECT]: redirect }) }, metadata: source.metadata }
}

/** @throws S3Error InvalidArgument */
function checkRedirect(location: string | undefined): void {
  if (!location || /^(\/|https?:\/\/)/.test(location)) return
  throw invalidArgument(
    'The website redirect location must have a prefix of http://, https:// or /',
    REDIRECT,
    location,
  )
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]*$/

/** Refuses names that no header can have: a URL or a form may contain them, but no answer could. */
function checkedMetadata(metadata: Record<string, string>, bucket: Bucket): Record<string, string> {
  let bytes = 0
  for (const name in metadata) {
    // The characters of a value are bytes.
    bytes += name.length + metadata[name]!.length
    // "__proto__" would be lost when the stored row is decoded.
    if (!TOKEN.test(name) || name === '__proto__') {
      throw invalidArgument('The name of user metadata is not valid.', META + name, metadata[name])
    }
  }
  if (bytes > METADATA_BYTES_MAX) {
    const most = isRelaxed(bucket) ? RELAXED_METADATA_BYTES_MAX : METADATA_BYTES_MAX
    if (bytes > most)
      throw new S3Error('MetadataTooLarge', undefined, { extra: { Size: bytes, MaxSizeAllowed: most } })
  }
  return metadata
}

/**
 * The storage class that a request names, to be spread into a new version or upload. All classes are kept in the same way;
 * a relaxed bucket takes any name, and tells STANDARD.
 * @throws S3Error InvalidStorageClass for an unknown one, or any but STANDARD where the configuration takes no others
 */
export function storageClassOf(
  { acceptStorageClasses }: S3Context,
  request: S3Request,
  bucket: Bucket,
): Pick<VersionRecord, 'storageClass'> {
  const name = request.header('x-amz-storage-class')
  if (name === undefined || name === 'STANDARD' || isRelaxed(bucket)) return {}
  const storageClass = STORAGE_CLASSES.find((known) => known === name)
  if (!storageClass || !acceptStorageClasses) throw new S3Error('InvalidStorageClass')
  return { storageClass }
}

/** Removes "aws-chunked", which describes the transfer of the body, not its content. */
function withoutAwsChunked(encoding: string): string {
  if (!encoding.includes('aws-chunked')) return encoding
  return encoding
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== 'aws-chunked' && item !== '')
    .join(',')
}

/** The response-* parameters of GetObject and the headers they replace. */
const OVERRIDES = [
  ['response-cache-control', 'cache-control'],
  ['response-content-disposition', 'content-disposition'],
  ['response-content-encoding', 'content-encoding'],
  ['response-content-language', 'content-language'],
  ['response-content-type', 'content-type'],
  ['response-expires', 'expires'],
] as const

/**
 * Headers of an answer with a version, without its length and range.
 * @param options.showVersion whether to send x-amz-version-id: versioning was on at some time
 */
export function versionHeaders(
  version: VersionRecord,
  request: S3Request,
  options: { showVersion: boolean },
): Record<string, string> {
  const headers: Record<string, string> = {
    'last-modified': httpDateOf(lastModifiedMs(version)),
    etag: etagOf(version),
    'accept-ranges': 'bytes',
    'content-type': DEFAULT_CONTENT_TYPE,
  }
  const stored = version.headers
  for (const name in stored) headers[name] = stored[name]!
  const { metadata } = version
  for (const name in metadata) headers[META + name] = metadata[name]!
  if (version.storageClass) headers['x-amz-storage-class'] = version.storageClass
  if (options.showVersion) headers['x-amz-version-id'] = versionIdText(version)
  if (version.checksum && request.header('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED') {
    Object.assign(headers, checksumHeaders(version))
  }
  const { tags, retention, legalHold } = version.mutable
  if (tags?.[1]) headers['x-amz-tagging-count'] = String(Object.keys(tags[1]).length)
  if (retention?.[1]) {
    headers['x-amz-object-lock-mode'] = retention[1].mode
    headers['x-amz-object-lock-retain-until-date'] = new Date(retention[1].untilMs).toISOString()
  }
  if (legalHold) headers['x-amz-object-lock-legal-hold'] = legalHold[1] ? 'ON' : 'OFF'
  return headers
}

/** x-amz-checksum-* of a version or part. */
export function checksumHeaders(
  version: Pick<
    VersionRecord,
    'checksum' | 'checksumAlgorithm' | 'checksumType' | 'etagParts' | 'parts' | 'partCount'
  >,
): Record<string, string> {
  if (!version.checksum || !version.checksumAlgorithm) return {}
  const value = checksumText(version)
  const type = version.checksumType ?? 'FULL_OBJECT'
  return { [CHECKSUM_HEADER[version.checksumAlgorithm]]: value, 'x-amz-checksum-type': type }
}

/** A checksum as text: base64, with "-N" if it is made of N parts' checksums. */
export function checksumText(
  version: Pick<VersionRecord, 'checksum' | 'checksumType' | 'etagParts' | 'parts' | 'partCount'>,
): string {
  const base64 = version.checksum!.toString('base64')
  if (version.checksumType !== 'COMPOSITE') return base64
  return `${base64}-${version.partCount ?? version.parts?.length ?? version.etagParts}`
}

/** Replaces headers as the response-* parameters say. @throws S3Error InvalidRequest for anonymous requests */
export function overrideHeaders(headers: Record<string, string>, request: S3Request): void {
  for (const [parameter, name] of OVERRIDES) {
    const value = request.query.get(parameter)
    if (value === undefined) continue
    if (request.auth.kind === 'anonymous') {
      throw new S3Error(
        'InvalidRequest',
        'Request specific response headers cannot be used for anonymous GET requests.',
      )
    }
    headers[name] = value
  }
}
