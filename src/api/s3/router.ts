import { isKeyWithinBounds, KEY_BYTES_MAX } from '../../model/versions/key-bounds.js'
import type { Query } from '../http/query.js'
import { percentDecode } from '../http/uri.js'
import { invalidArgument, S3Error } from './errors.js'
import {
  BUCKET_OPERATIONS,
  LISTED_CONFIGURATIONS,
  OBJECT_OPERATIONS,
  type S3Method,
  type S3Operation,
} from './operations.js'

/** The bucket and key of a request, as text; undefined where it names none. */
export interface Target {
  readonly bucket: string | undefined
  readonly key: string | undefined
}

/** The target of a request before it is parsed. */
export const NO_TARGET: Target = { bucket: undefined, key: undefined }

/** Finds bucket and key in the path, or the bucket in the host below a root domain (virtual-host style). */
export class TargetParser {
  /** Lower-case, with a leading dot, longest first. */
  readonly #domains: readonly string[]
  /** The last host and its bucket: most requests name the same one. */
  #lastHost: string | undefined
  #lastBucket: string | undefined

  /** `rootDomains`: as in the configuration, with or without a leading dot. */
  constructor(rootDomains: readonly string[]) {
    this.#domains = rootDomains
      .map((domain) => domain.toLowerCase())
      .map((domain) => (domain.startsWith('.') ? domain : `.${domain}`))
      .sort((a, b) => b.length - a.length)
  }

  /** The bucket that a Host header names; undefined in path style. The port does not count. */
  bucketOfHost(host: string | undefined): string | undefined {
    if (host === undefined || this.#domains.length === 0) return undefined
    if (host !== this.#lastHost) {
      this.#lastHost = host
      this.#lastBucket = this.#parseHost(host)
    }
    return this.#lastBucket
  }

  #parseHost(host: string): string | undefined {
    let end = host.length
    const colon = host.lastIndexOf(':')
    if (colon >= 0 && !host.endsWith(']')) end = colon
    if (host.charCodeAt(end - 1) === 46) end-- // a fully qualified name's last dot
    const name = host.slice(0, end).toLowerCase()
    for (const domain of this.#domains) {
      if (name.length > domain.length && name.endsWith(domain)) return name.slice(0, -domain.length)
    }
    return undefined
  }

  /**
   * Splits a raw path, then decodes each part once. Keys are taken as they are: `//`, `.` and `..` mean nothing.
   * @throws S3Error InvalidURI (bad escapes, not UTF-8), KeyTooLongError
   */
  parse(rawPath: string, host: string | undefined): Target {
    const hostBucket = this.bucketOfHost(host)
    if (hostBucket !== undefined) {
      return { bucket: hostBucket, key: rawPath.length > 1 ? decodeKey(rawPath.slice(1)) : undefined }
    }
    if (rawPath.length <= 1) return { bucket: undefined, key: undefined }
    const slash = rawPath.indexOf('/', 1)
    const bucket = percentDecode(slash < 0 ? rawPath.slice(1) : rawPath.slice(1, slash))
    if (bucket === undefined) throw new S3Error('InvalidURI')
    if (bucket === '') throw new S3Error('InvalidBucketName', undefined, { extra: { BucketName: '' } })
    return {
      bucket,
      key: slash < 0 || slash === rawPath.length - 1 ? undefined : decodeKey(rawPath.slice(slash + 1)),
    }
  }
}

function decodeKey(raw: string): string {
  const key = percentDecode(raw)
  if (key === undefined) throw new S3Error('InvalidURI')
  checkKey(key)
  return key
}

/** @throws S3Error KeyTooLongError */
export function checkKey(key: string): void {
  // A UTF-16 unit takes at most three bytes.
  if (key.length * 3 <= KEY_BYTES_MAX) return
  const bytes = Buffer.from(key)
  if (isKeyWithinBounds(bytes)) return
  throw new S3Error(
    'KeyTooLongError',
    bytes.length > KEY_BYTES_MAX ? undefined : 'Your key has too many control characters',
    { extra: { Size: bytes.length, MaxSizeAllowed: KEY_BYTES_MAX } },
  )
}

type Table = Readonly<Partial<Record<S3Method, Readonly<Record<string, S3Operation>>>>>

function subresourcesOf(table: Table): ReadonlySet<string> {
  return new Set(
    Object.values(table)
      .flatMap((row) => Object.keys(row))
      .filter((name) => name !== ''),
  )
}

const BUCKET: Table = BUCKET_OPERATIONS
const OBJECT: Table = OBJECT_OPERATIONS
const BUCKET_SUBRESOURCES = subresourcesOf(BUCKET)
/** `partNumber` belongs to uploads, and to GetObject and HeadObject. */
const OBJECT_SUBRESOURCES = subresourcesOf(OBJECT)

function isMethod(method: string): method is S3Method {
  return method === 'GET' || method === 'PUT' || method === 'HEAD' || method === 'DELETE' || method === 'POST'
}

/** The parts of a request that the detection needs. */
export interface Detectable {
  readonly method: string
  readonly rawPath: string
  readonly target: Target
  readonly query: Query
  /** The header's value, if there is one. */
  header(name: string): string | undefined
}

/**
 * The operation that a request asks for. Query parameters that are no sub-resource are ignored.
 * @throws S3Error MethodNotAllowed, InvalidArgument (sub-resources that exclude each other, parts of an
 * upload without its id), PreconditionFailed (POST on a bucket that is no form)
 */
export function detectOperation(request: Detectable): S3Operation {
  const { method, target, query } = request
  if (!isMethod(method)) throw methodNotAllowed(method)
  if (target.bucket === undefined) {
    if (method !== 'GET') throw methodNotAllowed(method)
    return query.raw !== '' && query.get('x-id') === 'ListDirectoryBuckets'
      ? 'ListDirectoryBuckets'
      : 'ListBuckets'
  }
  if (target.key === undefined) return detectOnBucket(request, method)
  return detectOnObject(request, method)
}

function detectOnBucket(request: Detectable, method: S3Method): S3Operation {
  const { query } = request
  if (method === 'POST' && request.rawPath === '/WriteGetObjectResponse') return 'WriteGetObjectResponse'
  if (method === 'HEAD') return 'HeadBucket'
  const name = query.raw === '' ? '' : subresource(query, BUCKET_SUBRESOURCES)
  if (method === 'GET') {
    if (name in LISTED_CONFIGURATIONS && !query.has('id')) {
      return LISTED_CONFIGURATIONS[name as keyof typeof LISTED_CONFIGURATIONS]
    }
    if (name === 'list-type' && query.get('list-type') !== '2') {
      if (query.get('list-type') === '1') return 'ListObjects'
      throw invalidArgument('Invalid List Type specified in Request', 'list-type', query.get('list-type'))
    }
  }
  const operation = BUCKET[method]?.[name]
  if (operation === undefined) throw methodNotAllowed(method)
  if (operation === 'PostObject') {
    const type = request.header('content-type')
    if (type === undefined || !/^multipart\/form-data\b/i.test(type)) {
      throw new S3Error('PreconditionFailed', undefined, {
        extra: { Condition: 'Bucket POST must be of the enclosure-type multipart/form-data' },
      })
    }
  }
  return operation
}

function detectOnObject(request: Detectable, method: S3Method): S3Operation {
  const { query } = request
  const name = query.raw === '' ? '' : subresource(query, OBJECT_SUBRESOURCES)
  if (method === 'HEAD') return 'HeadObject'
  if (method === 'PUT' && (name === '' || name === 'uploadId')) {
    const part = query.raw !== '' && query.has('partNumber')
    if (part !== (name === 'uploadId')) {
      throw part
        ? invalidArgument('This operation needs an uploadId', 'uploadId')
        : invalidArgument('This operation needs a partNumber', 'partNumber')
    }
    const copies = request.header('x-amz-copy-source') !== undefined
    if (part) return copies ? 'UploadPartCopy' : 'UploadPart'
    return copies ? 'CopyObject' : 'PutObject'
  }
  if (method === 'GET' && name === 'annotation' && !query.has('annotationName'))
    return 'ListObjectAnnotations'
  const operation = OBJECT[method]?.[name]
  if (operation === undefined) throw methodNotAllowed(method)
  return operation
}

/** The sub-resource in the query, '' for none. @throws S3Error InvalidArgument if there are several */
function subresource(query: Query, known: ReadonlySet<string>): string {
  let found = ''
  for (const [name] of query.pairs) {
    if (!known.has(name) || name === found) continue
    if (found !== '') {
      throw new S3Error('InvalidArgument', 'Conflicting query string parameters', {
        extra: { ArgumentName: 'ResourceType', ArgumentValue: `${found}, ${name}` },
      })
    }
    found = name
  }
  return found
}

function methodNotAllowed(method: string): S3Error {
  return new S3Error('MethodNotAllowed', undefined, { extra: { Method: method } })
}
