/**
 * Makes requests to every operation of the S3 API, nearly right. `@V0@`, `@U0@`, `@E0@`, `@T0@` stand for version ids, upload
 * ids, ETags and tokens of earlier answers, `@ID@` for the key id, `@MD5@` and the like for sums of the body.
 */
import fc from 'fast-check'
import { BUCKET_OPERATIONS, OBJECT_OPERATIONS } from '../../src/api/s3/operations.js'
import type { ChunkedFraming, FuzzRequest } from './fuzz-client.js'
import { XML_SCHEMAS, xmlBody } from './fuzz-documents.js'
import { bucketPolicy } from './fuzz-json.js'
import { headerBytes, oddText, urlBytes } from './fuzz-text.js'
import { HEADERS, LISTINGS, PARAMETERS, SSE_HEADERS } from './fuzz-values.js'

export const BUCKETS = {
  plain: 'fuzz-plain',
  versioned: 'fuzz-versioned',
  locked: 'fuzz-locked',
  odd: 'fuzz-odd',
}

interface Target {
  operation: string
  method: string
  sub: string
  on: 'service' | 'bucket' | 'object'
}

function targets(table: typeof BUCKET_OPERATIONS | typeof OBJECT_OPERATIONS, on: Target['on']): Target[] {
  return Object.entries(table).flatMap(([method, row]) =>
    Object.entries(row as Record<string, string>).map(([sub, operation]) => ({ operation, method, sub, on })),
  )
}

const TARGETS: Target[] = [
  { operation: 'ListBuckets', method: 'GET', sub: '', on: 'service' },
  ...targets(BUCKET_OPERATIONS, 'bucket'),
  ...targets(OBJECT_OPERATIONS, 'object'),
]
/** Operations that get more tries than the others, since more can go wrong in them. */
const DEEP = new Set(
  ['PutObject', 'GetObject', 'HeadObject', 'DeleteObject', 'DeleteObjects', 'ListObjects', 'ListObjectsV2']
    .concat([
      'ListObjectVersions',
      'ListMultipartUploads',
      'ListParts',
      'UploadPart',
      'CreateMultipartUpload',
    ])
    .concat([
      'CompleteMultipartUpload',
      'PutObjectRetention',
      'PutObjectTagging',
      'GetObjectAttributes',
      'PutBucketPolicy',
    ]),
)
const target: fc.Arbitrary<Target> = fc.oneof(
  fc.constantFrom(...TARGETS),
  fc.constantFrom(...TARGETS.filter(({ operation }) => DEEP.has(operation))),
  fc.constantFrom(...TARGETS.filter(({ operation }) => operation in XML_SCHEMAS)),
)

const KEYS = ['a', 'a', 'a', 'b', 'dir/a', 'dir/b', '@K@', '\u0000'.repeat(749)]
const COPY = Object.keys(HEADERS).filter((name) => name.startsWith('x-amz-copy-source'))

const odds = (values: readonly string[]) =>
  values.length === 0
    ? oddText
    : fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...values) }, { weight: 1, arbitrary: oddText })

const parameter = (operation: string): fc.Arbitrary<string> => {
  const own = PARAMETERS[operation] ?? LISTINGS[operation] ?? {}
  const pick = (table: Readonly<Record<string, readonly string[]>>) =>
    fc
      .constantFrom(...Object.keys(table))
      .chain((name) => odds(table[name]!).map((value) => `${urlBytes(name)}=${urlBytes(value)}`))
  const raw = fc.constantFrom(
    '&&',
    '=',
    'a',
    '%',
    'a=%zz',
    '%00=%00',
    'X-Amz-Algorithm=x',
    'X-Amz-Signature',
    'acl',
    'uploads',
    '__proto__=1',
  )
  return fc.oneof(
    ...(Object.keys(own).length > 0 ? [{ weight: 12, arbitrary: pick(own) }] : []),
    { weight: 3, arbitrary: pick(PARAMETERS['']!) },
    { weight: 1, arbitrary: raw },
  )
}

const header: fc.Arbitrary<[string, string]> = fc
  .constantFrom(...Object.keys(HEADERS))
  .chain((name) => odds(HEADERS[name]!).map((value): [string, string] => [name, headerBytes(value)]))

/** Headers that make sense only together. */
const together: fc.Arbitrary<[string, string][]> = fc.constantFrom<[string, string][]>(
  [],
  [],
  [],
  [],
  [],
  SSE_HEADERS.map(([name, values]) => [name, values[0]!]),
  [
    ['x-amz-object-lock-mode', 'GOVERNANCE'],
    ['x-amz-object-lock-retain-until-date', '2099-01-01T00:00:00Z'],
  ],
  [
    ['x-amz-checksum-algorithm', 'CRC64NVME'],
    ['x-amz-checksum-type', 'FULL_OBJECT'],
  ],
  [
    ['x-amz-copy-source', 'fuzz-versioned/a'],
    ['x-amz-metadata-directive', 'REPLACE'],
  ],
)

const framing: fc.Arbitrary<ChunkedFraming> = fc.record({
  sizes: fc.array(fc.nat(20), { maxLength: 4 }),
  signed: fc.boolean(),
  trailers: fc.constantFrom(
    [],
    [],
    ['x-amz-checksum-crc32:@CRC32@'],
    ['x:y'],
    ['bad'],
    [':'],
    Array(40).fill('x-amz-checksum-crc32:x'),
  ),
  damage: fc.constantFrom(
    'none',
    'none',
    'size',
    'signature',
    'line-end',
    'no-last',
    'more',
    'trailer-signature',
    'huge-line',
  ),
})

function bodyOf({ operation }: Target): fc.Arbitrary<string> {
  const anything = fc.constantFrom('', 'hello', 'x'.repeat(70_000), '<a/>', '\u0000\u00ff', '{}')
  if (operation === 'PutBucketPolicy')
    return fc.oneof({ weight: 9, arbitrary: bucketPolicy(BUCKETS.odd) }, anything)
  if (operation in XML_SCHEMAS) return fc.oneof({ weight: 9, arbitrary: xmlBody(operation) }, anything)
  return anything
}

const bucketName = fc.oneof(
  { weight: 24, arbitrary: fc.constantFrom(...Object.values(BUCKETS)) },
  { weight: 1, arbitrary: fc.constantFrom('fuzz-new', 'no-such-bucket', 'x', '@ID@') },
  { weight: 1, arbitrary: oddText },
)
const key = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...KEYS) }, { weight: 1, arbitrary: oddText })

/** Sends most configurations to a bucket of their own, so that the others stay usable. */
const pathOf = ({ on, method, sub }: Target): fc.Arbitrary<string> => {
  if (on === 'service') return fc.constantFrom('/', '/', '/?', '//', '')
  const changes = method !== 'GET' && on === 'bucket' && sub !== 'delete'
  const bucket = (
    changes ? fc.oneof({ weight: 4, arbitrary: fc.constant(BUCKETS.odd) }, bucketName) : bucketName
  ).map((name) => urlBytes(name))
  if (on === 'bucket') return bucket.map((name) => `/${name}`)
  const path = fc.tuple(bucket, key).map(([name, text]) => `/${name}/${urlBytes(text, true)}`)
  // Most requests name the key that has an upload.
  return sub === 'uploadId'
    ? fc.oneof({ weight: 5, arbitrary: fc.constant(`/${BUCKETS.plain}/a`) }, path)
    : path
}

/** Picks some values, most often none or one. */
function few<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant<T[]>([]) },
    { weight: 4, arbitrary: fc.array(arbitrary, { minLength: 1, maxLength: 1 }) },
    { weight: 2, arbitrary: fc.array(arbitrary, { minLength: 2, maxLength: 4 }) },
  )
}

const put = (target: string, method: FuzzRequest['method'] = 'PUT', body = 'hello'): FuzzRequest => ({
  ...{ operation: 'Prelude', method, target, headers: [], body, auth: 'header', length: 'right' },
})

/** The requests that begin every sequence, so that later ones find something. */
export const PRELUDE: readonly FuzzRequest[] = [
  put(`/${BUCKETS.plain}/a`),
  put(`/${BUCKETS.versioned}/a`),
  put(`/${BUCKETS.locked}/a`),
  put(`/${BUCKETS.plain}/a?uploads`, 'POST', ''),
  put(`/${BUCKETS.plain}/a?uploadId=@U0@&partNumber=1`),
]

/** Makes one request, most often an authentic one. */
export const fuzzRequest: fc.Arbitrary<FuzzRequest> = target.chain((chosen) => {
  const { operation, method, sub } = chosen
  const own =
    sub === '' ? [] : [sub === 'list-type' ? 'list-type=2' : sub === 'uploadId' ? 'uploadId=@U0@' : sub]
  if (operation === 'UploadPart') own.push('partNumber=1')
  return fc
    .record({
      method: fc.oneof(
        { weight: 60, arbitrary: fc.constant(method) },
        fc.constantFrom('OPTIONS', 'PATCH', 'HEAD', 'POST', 'PUT'),
      ),
      path: pathOf(chosen),
      parameters: few(parameter(operation)),
      headers: few(header),
      more: together,
      repeated: fc.oneof({ weight: 15, arbitrary: fc.constant(false) }, fc.constant(true)),
      body: method === 'GET' || method === 'HEAD' ? fc.constantFrom('', '', 'x') : bodyOf(chosen),
      auth: fc.oneof(
        { weight: 20, arbitrary: fc.constant('header' as const) },
        { weight: 3, arbitrary: fc.constantFrom('presigned' as const, 'none' as const) },
        { weight: 1, arbitrary: fc.constantFrom('wrong' as const, 'other-key' as const) },
      ),
      payloadHash: fc.oneof(
        { weight: 20, arbitrary: fc.constant(undefined) },
        fc.constantFrom('UNSIGNED-PAYLOAD', 'x', '0'.repeat(64), 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'),
      ),
      chunked:
        method === 'PUT'
          ? fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, framing)
          : fc.constant(undefined),
      length: fc.oneof(
        { weight: 20, arbitrary: fc.constant('right' as const) },
        fc.constantFrom(
          'none' as const,
          'short' as const,
          'transfer-chunked' as const,
          'transfer-broken' as const,
        ),
      ),
    })
    .map(({ path, parameters, headers, more, repeated, ...rest }) => {
      const query = [...own, ...parameters].join('&')
      const names = new Set<string>()
      if (operation === 'GetObjectAttributes')
        headers.push(['x-amz-object-attributes', 'ETag,ObjectParts,Checksum'])
      const isCopy = operation === 'PutObject' || operation === 'UploadPart'
      const kept = [...more, ...headers].filter(([name]) => {
        const fresh = !names.has(name) && (isCopy || !COPY.includes(name))
        names.add(name)
        return fresh
      })
      if (repeated && kept[0]) kept.push(kept[0])
      return {
        operation,
        ...rest,
        headers: kept,
        target: query === '' ? path || '/' : `${path || '/'}?${query}`,
      }
    })
})
