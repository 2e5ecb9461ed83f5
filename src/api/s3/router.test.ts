import * as sdk from '@aws-sdk/client-s3'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Query } from '../http/query.js'
import { splitTarget } from '../http/target.js'
import { recode, uriEncode } from '../http/uri.js'
import { S3Error } from './errors.js'
import { S3_OPERATIONS } from './operations.js'
import { detectOperation, TargetParser } from './router.js'

const parser = new TargetParser(['.s3.garage.localhost', 's3.example.org'])

function detect(method: string, url: string, headers: Record<string, string> = {}) {
  const { rawPath, rawQuery } = splitTarget(url)
  return detectOperation({
    method,
    rawPath,
    target: parser.parse(rawPath, 'localhost'),
    query: new Query(rawQuery),
    header: (name) => headers[name],
  })
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof S3Error) return error.code
    throw error
  }
  return 'none'
}

describe('operations', () => {
  // The AWS SDK's own model: [9, namespace, name, { http: [method, uri, status] }, ...] for each operation.
  const modelled = Object.values(sdk as Record<string, unknown>)
    .filter((value): value is [9, string, string, { http: [string, string, number] }] => {
      return Array.isArray(value) && value[0] === 9
    })
    .map(([, , name, traits]) => ({ name, method: traits.http[0], uri: traits.http[1] }))
  const queryOf: Record<string, string> = {
    UploadPart: 'partNumber=1&uploadId=u',
    UploadPartCopy: 'partNumber=1&uploadId=u',
    ListParts: 'uploadId=u',
    AbortMultipartUpload: 'uploadId=u',
    CompleteMultipartUpload: 'uploadId=u',
    GetBucketAnalyticsConfiguration: 'id=i',
    GetBucketIntelligentTieringConfiguration: 'id=i',
    GetBucketInventoryConfiguration: 'id=i',
    GetBucketMetricsConfiguration: 'id=i',
    GetObjectAnnotation: 'annotationName=a',
  }
  const onService = ['ListBuckets', 'ListDirectoryBuckets']

  test("are those of the AWS SDK's model, PostObject, and this store's own", () => {
    const own = ['PostObject', 'DeleteBucketRelaxed', 'GetBucketRelaxed', 'PutBucketRelaxed']
    expect([...S3_OPERATIONS].sort()).toEqual([...modelled.map(({ name }) => name), ...own].sort())
  })

  test.each(modelled)('$name is detected in what the SDK sends', ({ name, method, uri }) => {
    const path = uri.replace('{Key+}', 'some/key')
    const url = onService.includes(name) || name === 'WriteGetObjectResponse' ? path : `/bucket${path}`
    const query = queryOf[name]
    const headers =
      name.endsWith('Copy') || name === 'CopyObject' ? { 'x-amz-copy-source': 'a/b' } : undefined
    const whole = query === undefined ? url : `${url}${url.includes('?') ? '&' : '?'}${query}`
    expect(detect(method, whole, headers)).toBe(name)
  })

  test.each([
    ['GET', '/', 'ListBuckets'],
    ['GET', '/bucket', 'ListObjects'],
    ['GET', '/bucket/', 'ListObjects'],
    ['GET', '/bucket?prefix=a&delimiter=/', 'ListObjects'],
    ['GET', '/bucket?list-type=1', 'ListObjects'],
    ['GET', '/bucket/?list-type=2&x-id=ListObjectsV2', 'ListObjectsV2'],
    ['GET', '/bucket/key?versionId=v&partNumber=2&response-expires=x', 'GetObject'],
    ['HEAD', '/bucket/key?partNumber=2', 'HeadObject'],
    ['DELETE', '/bucket/key?versionId=v', 'DeleteObject'],
    ['GET', '/bucket?analytics', 'ListBucketAnalyticsConfigurations'],
    ['POST', '/bucket?delete', 'DeleteObjects'],
    ['GET', '/bucket/key?X-Amz-Signature=a&X-Amz-Date=b', 'GetObject'],
  ])('%s %s is %s', (method, url, operation) => {
    expect(detect(method, url)).toBe(operation)
  })

  test.each([
    ['PATCH', '/bucket/key', 'MethodNotAllowed'],
    ['POST', '/', 'MethodNotAllowed'],
    ['PUT', '/', 'MethodNotAllowed'],
    ['POST', '/bucket/key', 'MethodNotAllowed'],
    ['DELETE', '/bucket?versioning', 'MethodNotAllowed'],
    ['PUT', '/bucket/key?uploads', 'MethodNotAllowed'],
    ['GET', '/bucket?acl&policy', 'InvalidArgument'],
    ['GET', '/bucket?list-type=3', 'InvalidArgument'],
    ['PUT', '/bucket/key?partNumber=1', 'InvalidArgument'],
    ['PUT', '/bucket/key?uploadId=1', 'InvalidArgument'],
    ['POST', '/bucket', 'PreconditionFailed'],
    ['GET', '//key', 'InvalidBucketName'],
  ])('%s %s is refused with %s', (method, url, code) => {
    expect(codeOf(() => detect(method, url))).toBe(code)
  })

  test('a form is uploaded by POST on the bucket', () => {
    expect(detect('POST', '/bucket', { 'content-type': 'multipart/form-data; boundary=x' })).toBe(
      'PostObject',
    )
  })
})

describe('targets', () => {
  test.each([
    ['/bucket/a//b', 'a//b'],
    ['/bucket//a', '/a'],
    ['/bucket//', '/'],
    ['/bucket/./..', './..'],
    ['/bucket/../other/key', '../other/key'],
    ['/bucket/a%2Fb%20c+d%25', 'a/b c+d%'],
    ['/bucket/%2e%2e%2f', '../'],
    ['/bucket/%E2%82%AC%F0%9F%98%80', '€😀'],
    ['/bucket/%EF%BB%BFbom', '\ufeffbom'],
    ['/bucket/%00', '\0'],
  ])('the key of %s is taken as it is', (path, key) => {
    expect(parser.parse(path, 'localhost:3900')).toEqual({ bucket: 'bucket', key })
  })

  test.each([
    '/bucket/%',
    '/bucket/%4',
    '/bucket/%zz',
    '/bucket/%ff',
    '/bucket/%c0%af',
    '/b%fft',
    '/bucket/%ED%A0%80',
  ])('%s is no URI', (path) => {
    expect(codeOf(() => parser.parse(path, undefined))).toBe('InvalidURI')
  })

  test('keys have up to 1024 bytes', () => {
    expect(parser.parse(`/bucket/${'é'.repeat(512).replaceAll('é', '%C3%A9')}`, undefined).key?.length).toBe(
      512,
    )
    expect(parser.parse(`/bucket/${'k'.repeat(1024)}`, undefined).key?.length).toBe(1024)
    expect(codeOf(() => parser.parse(`/bucket/${'k'.repeat(1025)}`, undefined))).toBe('KeyTooLongError')
    expect(codeOf(() => parser.parse(`/bucket/${'%00'.repeat(1000)}`, undefined))).toBe('KeyTooLongError')
    expect(codeOf(() => parser.parse(`/bucket/${'%E2%82%AC'.repeat(342)}`, undefined))).toBe(
      'KeyTooLongError',
    )
  })

  test.each([
    ['bucket.s3.garage.localhost:3900', 'bucket'],
    ['My.Bucket.S3.Garage.Localhost', 'my.bucket'],
    ['bucket.s3.example.org.', 'bucket'],
    ['s3.garage.localhost:3900', undefined],
    ['localhost:3900', undefined],
    ['[::1]:3900', undefined],
    ['[::1]', undefined],
    ['evils3.example.org', undefined],
    [undefined, undefined],
  ])('host %s names bucket %s', (host, bucket) => {
    expect(parser.bucketOfHost(host)).toBe(bucket)
    expect(parser.parse('/a/b', host)).toEqual(
      bucket === undefined ? { bucket: 'a', key: 'b' } : { bucket, key: 'a/b' },
    )
  })

  test.each([
    ['/a?b?c', '/a', 'b?c'],
    ['http://host:80/a/b?c', '/a/b', 'c'],
    ['http://host', '/', ''],
    ['*', '/', ''],
    ['', '/', ''],
  ])('%s is split', (url, rawPath, rawQuery) => {
    expect(splitTarget(url)).toEqual({ rawPath, rawQuery })
  })
})

describe('encodings', () => {
  test('decoding what was encoded gives any key back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 100 }), (key) => {
        expect(parser.parse(`/bucket/${uriEncode(key)}`, undefined).key).toBe(key)
        expect(parser.parse(`/bucket/${uriEncode(key, true)}`, undefined).key).toBe(key)
        expect(new Query(`prefix=${uriEncode(key)}&x`).get('prefix')).toBe(key)
      }),
    )
  })

  test('recoding is canonical whatever the sender encoded', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii' }), (text) => {
        const canonical = uriEncode(text)
        expect(recode(canonical, false, false)).toBe(canonical)
        const all = [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
        expect(recode(all, false, false)).toBe(canonical)
      }),
    )
    expect(recode('/a b/c%2Fd', true, false)).toBe('/a%20b/c%2Fd')
    expect(recode('a+b', false, true)).toBe('a%20b')
    expect(recode('100%', false, false)).toBe('100%25')
  })

  test('any request target is routed or refused with an S3Error', () => {
    const piece = fc.constantFrom(
      '/',
      '//',
      'bucket',
      '%',
      '%2',
      '%ff',
      '?',
      '&',
      '=',
      'acl',
      'uploadId',
      'list-type',
      'partNumber',
      '..',
      '+',
      ';',
    )
    fc.assert(
      fc.property(
        fc.constantFrom('GET', 'PUT', 'POST', 'DELETE', 'HEAD', 'TRACE'),
        fc.array(fc.oneof(piece, fc.string({ unit: fc.nat(255).map((c) => String.fromCharCode(c)) }))),
        (method, pieces) => {
          try {
            expect(S3_OPERATIONS).toContain(detect(method, `/${pieces.join('')}`))
          } catch (error) {
            expect(error).toBeInstanceOf(S3Error)
          }
        },
      ),
      { numRuns: 1000 },
    )
  })
})
