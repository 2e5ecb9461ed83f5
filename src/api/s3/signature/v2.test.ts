import { createHmac } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { describe, expect, test } from 'vitest'
import { splitTarget } from '../../http/target.js'
import { S3Error } from '../errors.js'
import { SignatureVerifier } from './verifier.js'

// Examples of the Amazon S3 API reference, "Signing and authenticating REST requests" (Signature V2).
const KEY_ID = 'AKIAIOSFODNN7EXAMPLE'
const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const NOW = Date.parse('Tue, 27 Mar 2007 19:36:42 +0000')
const HOST = 'awsexamplebucket1.us-west-1.s3.amazonaws.com'

const verifier = new SignatureVerifier({
  service: 's3',
  region: 'us-west-1',
  secretOf: (id) => (id === KEY_ID ? SECRET : undefined),
  bucketOfHost: (host) => (host === HOST ? 'awsexamplebucket1' : undefined),
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

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof S3Error) return error.code
    throw error
  }
  return 'accepted'
}

const sign = (text: string) => createHmac('sha1', SECRET).update(text).digest('base64')

describe('Signature V2 in the Authorization header', () => {
  const signed = (method: string, url: string, signature: string, headers: Record<string, string> = {}) =>
    parts(method, url, {
      Host: HOST,
      Date: 'Tue, 27 Mar 2007 19:36:42 +0000',
      ...headers,
      Authorization: `AWS ${KEY_ID}:${signature}`,
    })

  test('the examples of the reference: a GET, a PUT, a listing, a subresource', () => {
    const requests = [
      signed('GET', '/photos/puppy.jpg', 'qgk2+6Sv9/oM7G3qLEjTH1a1l1g='),
      signed('PUT', '/photos/puppy.jpg', 'iqRzw+ileNPu1fhspnRs8nOjjIA=', {
        'Content-Type': 'image/jpeg',
        'Content-Length': '94328',
        Date: 'Tue, 27 Mar 2007 21:15:45 +0000',
      }),
      signed('GET', '/?prefix=photos&max-keys=50&marker=puppy', 'm0WP8eCtspQl5Ahe6L1SozdX9YA=', {
        Date: 'Tue, 27 Mar 2007 19:42:41 +0000',
      }),
      signed('GET', '/?acl', '82ZHiFIjc+WbcwFKGUVEQspPn+0=', { Date: 'Tue, 27 Mar 2007 19:44:46 +0000' }),
    ]
    for (const request of requests) {
      const nowMs = Date.parse(request.headers.date!)
      expect(verifier.verify(request, nowMs)).toMatchObject({ keyId: KEY_ID, presigned: false, isV2: true })
      expect(codeOf(() => verifier.verify({ ...request, method: 'DELETE' }, nowMs))).toBe(
        'SignatureDoesNotMatch',
      )
    }
  })

  test('x-amz-date takes the place of Date; x-amz headers are signed, in order and joined', () => {
    const request = signed(
      'PUT',
      '/a%20b',
      sign(
        'PUT\n\n\n\nx-amz-date:20070327T193642Z\nx-amz-meta-a:one,two words\nx-amz-meta-b:3\n/awsexamplebucket1/a%20b',
      ),
      {
        'X-Amz-Meta-B': '3',
        'x-amz-meta-a': 'one',
        'X-Amz-Meta-A': ' two   words ',
        'x-amz-date': '20070327T193642Z',
      },
    )
    expect(verifier.verify(request, NOW)).toMatchObject({ keyId: KEY_ID, payloadKind: 'unsigned' })
    request.rawHeaders.push('x-amz-acl', 'public-read')
    expect(codeOf(() => verifier.verify(request, NOW))).toBe('SignatureDoesNotMatch')
  })

  test('is refused with a date that is absent, malformed or too far off, and when it is malformed itself', () => {
    const get = (headers: Record<string, string>) =>
      codeOf(() => verifier.verify(parts('GET', '/', headers), NOW))
    const Authorization = `AWS ${KEY_ID}:abc=`
    expect(get({ Host: HOST, Authorization })).toBe('AccessDenied')
    expect(get({ Host: HOST, Authorization, Date: 'yesterday' })).toBe('AccessDenied')
    expect(get({ Host: HOST, Authorization, Date: 'Tue, 27 Mar 2007 18:36:42 +0000' })).toBe(
      'RequestTimeTooSkewed',
    )
    expect(get({ Host: HOST, Authorization: 'AWS nonsense' })).toBe('InvalidArgument')
    expect(get({ Host: HOST, Authorization: 'AWS a:b', Date: 'Tue, 27 Mar 2007 19:36:42 +0000' })).toBe(
      'InvalidAccessKeyId',
    )
  })

  test('signed chunks need Signature V4', () => {
    const request = signed('PUT', '/a', 'x', { 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' })
    expect(codeOf(() => verifier.verify(request, NOW))).toBe('InvalidRequest')
  })
})

describe('a URL presigned by Signature V2', () => {
  const presigned = (query: string, text: string, headers: Record<string, string> = {}) =>
    parts(
      'GET',
      `/photos/puppy.jpg?AWSAccessKeyId=${KEY_ID}&Signature=${encodeURIComponent(sign(text))}${query}`,
      { Host: HOST, ...headers },
    )

  test('is accepted until it expires', () => {
    const expected = sign('GET\n\n\n1175139620\n/awsexamplebucket1/photos/puppy.jpg')
    const query = `AWSAccessKeyId=${KEY_ID}&Signature=${encodeURIComponent(expected)}&Expires=1175139620`
    const request = parts('GET', `/awsexamplebucket1/photos/puppy.jpg?${query}`, { Host: 'path.style' })
    expect(verifier.verify(request, 1175139619_000)).toMatchObject({
      keyId: KEY_ID,
      presigned: true,
      isV2: true,
    })
    expect(codeOf(() => verifier.verify(request, 1175139620_000))).toBe('AccessDenied')
  })

  test('nobody can add a parameter that changes what it does, or a header', () => {
    const text = 'GET\n\n\n1175139620\n/awsexamplebucket1/photos/puppy.jpg'
    const ok = presigned('&Expires=1175139620', text)
    expect(codeOf(() => verifier.verify(ok, NOW))).toBe('accepted')
    for (const added of [
      '&acl',
      '&versionId=1',
      '&response-content-type=text/html',
      '&x-amz-acl=public-read',
      '&tagging=',
    ]) {
      expect([
        added,
        codeOf(() => verifier.verify(presigned(`&Expires=1175139620${added}`, text), NOW)),
      ]).toEqual([added, 'SignatureDoesNotMatch'])
    }
    const later = presigned('&Expires=1175139621', text)
    expect(codeOf(() => verifier.verify(later, NOW))).toBe('SignatureDoesNotMatch')
  })

  test('signed parameters stand in it decoded and in order; headers may be in the query', () => {
    const text =
      'GET\n\ntext/x\n1175139620\nx-amz-meta-a:ü\n/awsexamplebucket1/photos/puppy.jpg?response-content-type=text/y z&versionId=v'
    const query =
      '&versionId=v&Expires=1175139620&response-content-type=text/y%20z&content-type=text/x&X-Amz-Meta-A=%C3%BC'
    expect(codeOf(() => verifier.verify(presigned(query, text), NOW))).toBe('accepted')
  })

  test('with control characters in what is signed is refused: one value would stand for several lines', () => {
    const lines = 'x-amz-meta-a:1\nx-amz-acl:public-read'
    const text = `GET\n\n\n1175139620\n${lines}\n/awsexamplebucket1/photos/puppy.jpg`
    // Signed as two headers, sent as one with a line end in it; and the other way round.
    const one = presigned(`&Expires=1175139620&x-amz-meta-a=1%0Ax-amz-acl:public-read`, text)
    expect(codeOf(() => verifier.verify(one, NOW))).toBe('InvalidRequest')
    for (const code of ['00', '0A', '0D', '1F', '7F']) {
      const query = `&Expires=1175139620&response-content-type=a%${code}b`
      expect(codeOf(() => verifier.verify(presigned(query, ''), NOW))).toBe('InvalidRequest')
      expect(
        codeOf(() => verifier.verify(presigned(`&Expires=1175139620&content-type=${'%'}${code}`, ''), NOW)),
      ).toBe('InvalidRequest')
    }
  })

  test.each(['', '&Expires=', '&Expires=soon', '&Expires=-1'])('is refused with %j', (query) => {
    expect(codeOf(() => verifier.verify(presigned(query, ''), NOW))).toBe('AccessDenied')
  })
})

test('can be turned off: in headers, URLs and forms', async () => {
  const off = new SignatureVerifier({
    service: 's3',
    region: 'us-west-1',
    secretOf: () => SECRET,
    bucketOfHost: () => undefined,
    acceptV2: false,
  })
  const text = 'GET\n\n\n1175139620\n/photos/puppy.jpg'
  const url = `/photos/puppy.jpg?AWSAccessKeyId=${KEY_ID}&Signature=${encodeURIComponent(sign(text))}&Expires=1175139620`
  expect(codeOf(() => off.verify(parts('GET', url, { Host: HOST }), NOW))).toBe('InvalidRequest')
  const headers = { Host: HOST, Date: new Date(NOW).toUTCString(), Authorization: `AWS ${KEY_ID}:x` }
  expect(codeOf(() => off.verify(parts('GET', '/', headers), NOW))).toBe('InvalidRequest')
  const form = { policy: 'e30=', keyId: KEY_ID, signature: sign('e30=') }
  await expect(verifier.verifyPostPolicyV2(form)).resolves.toMatchObject({ keyId: KEY_ID })
  await expect(off.verifyPostPolicyV2(form)).rejects.toMatchObject({ code: 'InvalidRequest' })
})
