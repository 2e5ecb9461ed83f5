import type { IncomingHttpHeaders } from 'node:http'
import { describe, expect, test } from 'vitest'
import { parseAmzDate } from '../../http/date.js'
import { splitTarget } from '../../http/target.js'
import { S3Error } from '../errors.js'
import { AwsChunkedDecoder } from '../payload/aws-chunked.js'
import { HmacKey, SigningKeyCache } from './keys.js'
import { type KeyAuth, SignatureVerifier } from './verifier.js'

// Examples of the Amazon S3 API reference, "Authenticating Requests (AWS Signature Version 4)".
const KEY_ID = 'AKIAIOSFODNN7EXAMPLE'
const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const NOW = parseAmzDate('20130524T000000Z')!
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

const verifier = new SignatureVerifier({
  service: 's3',
  region: 'us-east-1',
  secretOf: (id) => (id === KEY_ID ? SECRET : undefined),
})

function parts(method: string, url: string, headers: Record<string, string>) {
  const lower: IncomingHttpHeaders = {}
  const rawHeaders: string[] = []
  for (const [name, value] of Object.entries(headers)) {
    lower[name.toLowerCase()] = value
    rawHeaders.push(name, value)
  }
  return { method, ...splitTarget(url), headers: lower, rawHeaders }
}

function signed(
  method: string,
  url: string,
  names: string,
  signature: string,
  headers: Record<string, string>,
) {
  return parts(method, url, {
    Host: 'examplebucket.s3.amazonaws.com',
    'x-amz-date': '20130524T000000Z',
    'x-amz-content-sha256': EMPTY,
    ...headers,
    Authorization: `AWS4-HMAC-SHA256 Credential=${KEY_ID}/20130524/us-east-1/s3/aws4_request, SignedHeaders=${names}, Signature=${signature}`,
  })
}

const getObject = (signature: string, headers: Record<string, string> = {}) =>
  signed('GET', '/test.txt', 'host;range;x-amz-content-sha256;x-amz-date', signature, {
    Range: 'bytes=0-9',
    ...headers,
  })
const GET_SIGNATURE = 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'
const PRESIGNED =
  `/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${KEY_ID}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request` +
  '&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host' +
  '&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404'
const presigned = (url = PRESIGNED, headers: Record<string, string> = {}) =>
  parts('GET', url, { Host: 'examplebucket.s3.amazonaws.com', ...headers })

function refusal(run: () => unknown): S3Error {
  try {
    run()
  } catch (error) {
    if (error instanceof S3Error) return error
    throw error
  }
  throw new Error('was not refused')
}

describe('Signature V4 by header', () => {
  test("accepts AWS's example of GetObject with a range", () => {
    expect(verifier.verify(getObject(GET_SIGNATURE), NOW)).toMatchObject({
      kind: 'key',
      keyId: KEY_ID,
      presigned: false,
      payloadKind: 'sha256',
      payloadSha256: EMPTY,
    })
  })

  test("accepts AWS's example of PutObject with an encoded path", () => {
    const sha256 = '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072'
    const request = (path: string) =>
      signed(
        'PUT',
        path,
        'date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class',
        '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
        {
          Date: 'Fri, 24 May 2013 00:00:00 GMT',
          'x-amz-content-sha256': sha256,
          'x-amz-storage-class': 'REDUCED_REDUNDANCY',
        },
      )
    expect(verifier.verify(request('/test%24file.text'), NOW)).toMatchObject({ payloadSha256: sha256 })
    expect(verifier.verify(request('/test$file.text'), NOW)).toMatchObject({ payloadSha256: sha256 })
  })

  test("accepts AWS's examples with query parameters, in any order", () => {
    const names = 'host;x-amz-content-sha256;x-amz-date'
    const lifecycle = 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'
    const list = '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'
    expect(verifier.verify(signed('GET', '/?lifecycle', names, lifecycle, {}), NOW)).toMatchObject({
      kind: 'key',
    })
    expect(verifier.verify(signed('GET', '/?prefix=J&max-keys=2', names, list, {}), NOW)).toMatchObject({
      kind: 'key',
    })
  })

  test('folds white space of header values', () => {
    expect(verifier.verify(getObject(GET_SIGNATURE, { Range: '  bytes=0-9 ' }), NOW)).toMatchObject({
      kind: 'key',
    })
  })

  test('is anonymous without a signature, and with an empty Authorization', () => {
    expect(verifier.verify(parts('GET', '/a', { Host: 'a' }), NOW)).toEqual({ kind: 'anonymous' })
    expect(verifier.verify(parts('GET', '/a', { Host: 'a', Authorization: '' }), NOW)).toEqual({
      kind: 'anonymous',
    })
  })

  test('refuses a wrong signature and shows what should have been signed', () => {
    const error = refusal(() => verifier.verify(getObject(GET_SIGNATURE.replace('f', 'e')), NOW))
    expect(error).toMatchObject({ code: 'SignatureDoesNotMatch', status: 403 })
    expect(error.extra?.CanonicalRequest).toContain('GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\n')
  })

  test.each([
    ['another path', () => ({ ...getObject(GET_SIGNATURE), rawPath: '/other.txt' })],
    ['another query', () => ({ ...getObject(GET_SIGNATURE), rawQuery: 'acl' })],
    ['another method', () => ({ ...getObject(GET_SIGNATURE), method: 'DELETE' })],
    ['another host', () => getObject(GET_SIGNATURE, { Host: 'other.s3.amazonaws.com' })],
  ])('refuses the signature for %s', (_, request) => {
    expect(refusal(() => verifier.verify(request(), NOW)).code).toBe('SignatureDoesNotMatch')
  })

  test('refuses headers that should be signed and are not', () => {
    const error = refusal(() =>
      verifier.verify(getObject(GET_SIGNATURE, { 'X-Amz-Acl': 'public-read' }), NOW),
    )
    expect(error).toMatchObject({ code: 'AccessDenied', extra: { HeadersNotSigned: 'x-amz-acl' } })
  })

  test('refuses clocks that are more than 15 minutes apart', () => {
    const minute = 60_000
    expect(verifier.verify(getObject(GET_SIGNATURE), NOW + 15 * minute)).toMatchObject({ kind: 'key' })
    for (const now of [NOW + 15 * minute + 1, NOW - 15 * minute - 1]) {
      expect(refusal(() => verifier.verify(getObject(GET_SIGNATURE), now)).code).toBe('RequestTimeTooSkewed')
    }
  })

  test('names the region that it expects', () => {
    const other = new SignatureVerifier({ service: 's3', region: 'garage', secretOf: () => SECRET })
    expect(other.verify(getObject(GET_SIGNATURE), NOW)).toMatchObject({ kind: 'key' })
    const request = getObject(GET_SIGNATURE)
    request.headers.authorization = request.headers.authorization!.replace('us-east-1', 'eu-west-1')
    expect(refusal(() => other.verify(request, NOW))).toMatchObject({
      code: 'AuthorizationHeaderMalformed',
      message: "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'garage'",
      extra: { Region: 'garage' },
    })
  })

  test.each([
    ['AWS AKID:c2lnbmF0dXJl', 'InvalidRequest'],
    ['AWS HAHAHA', 'InvalidArgument'],
    ['Bearer token', 'InvalidArgument'],
    ['AWS4-ECDSA-P256-SHA256 Credential=a', 'NotImplemented'],
    ['AWS4-HMAC-SHA256', 'AuthorizationHeaderMalformed'],
    ['AWS4-HMAC-SHA256 Credential', 'AuthorizationHeaderMalformed'],
    ['AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=x', 'AuthorizationHeaderMalformed'],
    [
      `AWS4-HMAC-SHA256 Credential=${KEY_ID}/20130524/us-east-1/k2v/aws4_request, SignedHeaders=host, Signature=x`,
      'AuthorizationHeaderMalformed',
    ],
    [
      `AWS4-HMAC-SHA256 Credential=${KEY_ID}/20130523/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x`,
      'AuthorizationHeaderMalformed',
    ],
    [
      'AWS4-HMAC-SHA256 Credential=NOBODY/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=x',
      'InvalidAccessKeyId',
    ],
    [
      `AWS4-HMAC-SHA256 Credential=${KEY_ID}/20130524/us-east-1/s3/aws4_request, SignedHeaders=constructor;host;x-amz-content-sha256;x-amz-date, Signature=x`,
      'SignatureDoesNotMatch',
    ],
  ])('answers %s with %s', (authorization, code) => {
    const request = getObject(GET_SIGNATURE)
    request.headers.authorization = authorization
    expect(refusal(() => verifier.verify(request, NOW)).code).toBe(code)
  })

  test.each([
    ['x-amz-date', 'Bad Date', 'AccessDenied'],
    ['x-amz-content-sha256', 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD', 'NotImplemented'],
    ['x-amz-content-sha256', 'nonsense', 'InvalidArgument'],
    ['x-amz-content-sha256', '', 'InvalidRequest'],
  ])('answers %s: %s with %s', (name, value, code) => {
    expect(refusal(() => verifier.verify(getObject(GET_SIGNATURE, { [name]: value }), NOW)).code).toBe(code)
  })

  test('waits for a secret that must be asked for elsewhere', async () => {
    const slow = new SignatureVerifier({
      service: 's3',
      region: 'us-east-1',
      secretOf: async (id) => (id === KEY_ID ? SECRET : undefined),
    })
    await expect(slow.verify(getObject(GET_SIGNATURE), NOW)).resolves.toMatchObject({ keyId: KEY_ID })
    await expect(slow.verify(getObject('0'), NOW)).rejects.toMatchObject({ code: 'SignatureDoesNotMatch' })
  })
})

describe('lists of signed headers', () => {
  const LISTS = [
    ['names one twice', 'host;range;x-amz-content-sha256;x-amz-date;range'],
    [
      'names more than a request can have',
      ['host', 'x-amz-content-sha256', 'x-amz-date', ...Array.from({ length: 600 }, (_, i) => `y${i}`)].join(
        ';',
      ),
    ],
  ] as const

  test.each(LISTS)('that %s are refused before a secret is looked up', (_, names) => {
    const request = signed('GET', '/test.txt', names, GET_SIGNATURE, { Range: 'bytes=0-9' })
    expect(refusal(() => verifier.verify(request, NOW)).code).toBe('AuthorizationHeaderMalformed')
    const url = PRESIGNED.replace('SignedHeaders=host', `SignedHeaders=${names.replaceAll(';', '%3B')}`)
    expect(refusal(() => verifier.verify(presigned(url), NOW)).code).toBe('AuthorizationQueryParametersError')
  })

  test('cost a few looks at each header, however many have commas', () => {
    const names = Array.from({ length: 400 }, (_, i) => `y${i}`)
    const list = ['host', 'x-amz-content-sha256', 'x-amz-date', ...names]
    const request = signed('GET', '/a%2Fb', list.join(';'), GET_SIGNATURE, {
      ...Object.fromEntries(names.map((name) => [name, ','])),
    })
    let reads = 0
    const rawHeaders = new Proxy(request.rawHeaders, {
      get(target, name) {
        reads++
        return Reflect.get(target, name)
      },
    })
    const error = refusal(() => verifier.verify({ ...request, rawHeaders }, NOW))
    expect(error.code).toBe('SignatureDoesNotMatch')
    expect(error.extra?.CanonicalRequest).toContain('\ny399:,\n')
    expect(reads).toBeLessThan(8 * rawHeaders.length)
  })

  test('join a header that was sent several times', () => {
    const request = getObject(GET_SIGNATURE, { Range: 'a, b' })
    request.rawHeaders.splice(request.rawHeaders.indexOf('Range'), 2, 'range', ' a ', 'RANGE', 'b')
    const error = refusal(() => verifier.verify(request, NOW))
    expect(error.extra?.CanonicalRequest).toContain('\nrange:a,b\n')
  })
})

test('texts that were signed stand in the answer unless they are long as XML', async () => {
  const long = (length: number) => getObject(GET_SIGNATURE, { Range: '"'.repeat(length) })
  const few = refusal(() => verifier.verify(long(2000), NOW)).extra
  expect(few?.CanonicalRequest).toContain('"')
  const many = refusal(() => verifier.verify(long(4000), NOW)).extra
  expect(many?.CanonicalRequest).toBeUndefined()
  expect(many?.StringToSign).toContain('AWS4-HMAC-SHA256')
  const policy = 'x'.repeat(50_000)
  const form = {
    policy,
    algorithm: 'AWS4-HMAC-SHA256',
    credential: `${KEY_ID}/20151229/us-east-1/s3/aws4_request`,
    date: '20151229T000000Z',
    signature: 'x',
  }
  const error: S3Error = await verifier.verifyPostPolicy(form).then(
    () => expect.fail('accepted'),
    (thrown) => thrown,
  )
  expect(error).toMatchObject({ code: 'SignatureDoesNotMatch', extra: { StringToSign: undefined } })
})

describe('Signature V4 by query', () => {
  test("accepts AWS's example for as long as it is valid", () => {
    for (const now of [NOW, NOW + 86_399_999, NOW - 15 * 60_000]) {
      expect(verifier.verify(presigned(), now)).toMatchObject({
        kind: 'key',
        presigned: true,
        payloadKind: 'unsigned',
      })
    }
  })

  test('refuses it before and after', () => {
    expect(refusal(() => verifier.verify(presigned(), NOW + 86_400_000))).toMatchObject({
      code: 'AccessDenied',
      message: 'Request has expired',
    })
    expect(refusal(() => verifier.verify(presigned(), NOW - 15 * 60_000 - 1))).toMatchObject({
      code: 'AccessDenied',
      message: 'Request is not valid yet',
    })
  })

  test.each([
    ['X-Amz-Expires=604801', 'AuthorizationQueryParametersError'],
    ['X-Amz-Expires=-1', 'AuthorizationQueryParametersError'],
    ['X-Amz-Expires=x', 'AuthorizationQueryParametersError'],
    ['X-Amz-Expires=604800', 'SignatureDoesNotMatch'],
  ])('answers %s with %s', (expires, code) => {
    const url = PRESIGNED.replace('X-Amz-Expires=86400', expires)
    expect(refusal(() => verifier.verify(presigned(url), NOW))).toMatchObject({ code, status: 403 })
  })

  test.each(['Algorithm', 'Credential', 'Date', 'Expires', 'SignedHeaders', 'Signature'])(
    'refuses it without X-Amz-%s',
    (name) => {
      const url = PRESIGNED.replace(`X-Amz-${name}=`, 'other=')
      expect(refusal(() => verifier.verify(presigned(url), NOW)).code).toBe(
        'AuthorizationQueryParametersError',
      )
    },
  )

  test('refuses two signatures at once, unsigned x-amz headers, and Signature V2 unless told to accept it', () => {
    expect(
      refusal(() => verifier.verify(presigned(PRESIGNED, { Authorization: 'AWS4-HMAC-SHA256 x' }), NOW)),
    ).toMatchObject({
      code: 'InvalidArgument',
    })
    expect(
      refusal(() => verifier.verify(presigned(PRESIGNED, { 'x-amz-acl': 'public-read' }), NOW)).code,
    ).toBe('AccessDenied')
    const v2 = '/a?AWSAccessKeyId=a&Signature=b&Expires=1'
    expect(refusal(() => verifier.verify(presigned(v2), NOW)).code).toBe('InvalidRequest')
  })
})

describe('Signature V4 of a POST policy', () => {
  // "Browser-based uploads using POST: example" of the same reference.
  test('is checked over the policy as sent', async () => {
    const policy = Buffer.from('{"expiration":"2015-12-30T12:00:00.000Z"}').toString('base64')
    const key = new SigningKeyCache().get('c', SECRET, '20151229', 'us-east-1', 's3')
    const form = {
      policy,
      algorithm: 'AWS4-HMAC-SHA256',
      credential: `${KEY_ID}/20151229/us-east-1/s3/aws4_request`,
      date: '20151229T000000Z',
      signature: key.hex(policy),
    }
    await expect(verifier.verifyPostPolicy(form)).resolves.toMatchObject({ kind: 'key', keyId: KEY_ID })
    await expect(verifier.verifyPostPolicy({ ...form, policy: `${policy}x` })).rejects.toMatchObject({
      code: 'SignatureDoesNotMatch',
    })
    await expect(verifier.verifyPostPolicy({ ...form, credential: 'x' })).rejects.toMatchObject({
      code: 'AuthorizationQueryParametersError',
    })
  })
})

test('HmacKey computes HMAC-SHA256 (RFC 4231, test cases 1 and 2) for short and long messages', async () => {
  const { createHmac } = await import('node:crypto')
  expect(new HmacKey(Buffer.alloc(20, 0x0b)).hex('Hi There')).toBe(
    'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
  )
  expect(new HmacKey(Buffer.from('Jefe')).hex('what do ya want for nothing?')).toBe(
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  )
  const key = Buffer.alloc(32, 7)
  for (const length of [0, 959, 960, 961, 5000]) {
    const message = 'é'.repeat(length)
    expect(new HmacKey(key).hex(message)).toBe(
      createHmac('sha256', key).update(message, 'latin1').digest('hex'),
    )
  }
})

describe('signed chunks', () => {
  const streaming = (signature: string, names: string, headers: Record<string, string>) => {
    const request = signed('PUT', '/examplebucket/chunkObject.txt', names, signature, {
      Host: 's3.amazonaws.com',
      'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      'Content-Encoding': 'aws-chunked',
      'x-amz-decoded-content-length': '66560',
      ...headers,
    })
    return verifier.verify(request, NOW) as KeyAuth
  }
  const decode = (decoder: AwsChunkedDecoder, body: Buffer, step: number) => {
    const out: Buffer[] = []
    for (let at = 0; at < body.length; at += step) decoder.push(body.subarray(at, at + step), out)
    decoder.end()
    return Buffer.concat(out)
  }
  const chunk = (length: number, signature: string) => [
    Buffer.from(`${length.toString(16)};chunk-signature=${signature}\r\n`),
    Buffer.alloc(length, 'a'),
    Buffer.from(length === 0 ? '' : '\r\n'),
  ]

  test("decode AWS's example", () => {
    const { seed, payloadKind } = streaming(
      '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
      'content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class',
      { 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'Content-Length': '66824' },
    )
    expect(payloadKind).toBe('signed-chunks')
    const body = Buffer.concat([
      ...chunk(65536, 'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648'),
      ...chunk(1024, '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497'),
      ...chunk(0, 'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9'),
      Buffer.from('\r\n'),
    ])
    expect(body.length).toBe(66824)
    const make = () =>
      new AwsChunkedDecoder({ seed, signedTrailers: false, trailerNames: [], decodedLength: 66560 })
    for (const step of [7, 1000, 65536, body.length]) {
      expect(decode(make(), body, step).equals(Buffer.alloc(66560, 'a'))).toBe(true)
    }
    const wrong = Buffer.from(body)
    wrong[70_000 - 3500] = 98
    expect(refusal(() => decode(make(), wrong, 4096)).code).toBe('SignatureDoesNotMatch')
  })

  test("decode AWS's example with a signed trailer", () => {
    const { seed, payloadKind } = streaming(
      '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e',
      'content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer',
      {
        'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
        'x-amz-trailer': 'x-amz-checksum-crc32c',
      },
    )
    expect(payloadKind).toBe('signed-chunks-trailer')
    const body = (checksum: string) =>
      Buffer.concat([
        ...chunk(65536, 'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2'),
        ...chunk(1024, '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7'),
        ...chunk(0, '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992'),
        Buffer.from(
          `x-amz-checksum-crc32c:${checksum}\n\r\n` +
            'x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n',
        ),
      ])
    const make = () =>
      new AwsChunkedDecoder({
        seed,
        signedTrailers: true,
        trailerNames: ['x-amz-checksum-crc32c'],
        decodedLength: 66560,
      })
    for (const step of [7, 1000, 1_000_000]) {
      const decoder = make()
      expect(decode(decoder, body('sOO8/Q=='), step).equals(Buffer.alloc(66560, 'a'))).toBe(true)
      expect(decoder.trailers.get('x-amz-checksum-crc32c')).toBe('sOO8/Q==')
    }
    expect(refusal(() => decode(make(), body('AAAAAA=='), 1000)).code).toBe('SignatureDoesNotMatch')
  })

  test('of several MiB are handed on before their end, but for the last bytes', () => {
    const key = new SigningKeyCache().get('c', SECRET, '20130524', 'us-east-1', 's3')
    const seed = { signature: '0'.repeat(64), amzDate: '20130524T000000Z', scope: 's', key }
    const options = { seed, signedTrailers: false, trailerNames: [], decodedLength: 4_000_000 }
    const decoder = new AwsChunkedDecoder(options)
    const out: Buffer[] = []
    decoder.push(Buffer.from(`${(4_000_000).toString(16)};chunk-signature=${'0'.repeat(64)}\r\n`), out)
    decoder.push(Buffer.alloc(3_999_999), out)
    expect(Buffer.concat(out).length).toBe(3_999_999)
    expect(refusal(() => decoder.push(Buffer.from('x'), out)).code).toBe('SignatureDoesNotMatch')
    expect(Buffer.concat(out).length).toBe(3_999_999)
  })
})
