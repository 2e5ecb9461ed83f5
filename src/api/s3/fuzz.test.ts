/**
 * Input from strangers. Invariant: whatever bytes come, the answer is a result or an S3Error with a status below
 * 500, bodies never come out other than they were signed or summed, and nothing hangs.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RawClient, signedHead, startFront, type TestFront } from '../../../testing/s3-front.js'
import { S3Error } from './errors.js'
import { AwsChunkedDecoder } from './payload/aws-chunked.js'
import { checksumOf } from './payload/checksum.js'
import { SigningKeyCache, sha256HexOfLatin1 } from './signature/keys.js'
import { SignatureVerifier } from './signature/verifier.js'

const EMPTY_SHA256 = sha256HexOfLatin1('')
const key = new SigningKeyCache().get('c', 'secret', '20260101', 'garage', 's3')
const seed = {
  signature: 'f'.repeat(64),
  amzDate: '20260101T000000Z',
  scope: '20260101/garage/s3/aws4_request',
  key,
}

function frame(chunks: readonly Buffer[], signed: boolean, checksum?: string): Buffer {
  const out: Buffer[] = []
  let previous = seed.signature
  for (const chunk of [...chunks, Buffer.alloc(0)]) {
    const sha256 = sha256HexOfLatin1(chunk.toString('latin1'))
    previous = key.hex(
      `AWS4-HMAC-SHA256-PAYLOAD\n${seed.amzDate}\n${seed.scope}\n${previous}\n${EMPTY_SHA256}\n${sha256}`,
    )
    out.push(Buffer.from(`${chunk.length.toString(16)}${signed ? `;chunk-signature=${previous}` : ''}\r\n`))
    if (chunk.length > 0) out.push(chunk, Buffer.from('\r\n'))
  }
  if (checksum !== undefined) {
    out.push(Buffer.from(`x-amz-checksum-crc32:${checksum}\r\n`))
    const text = sha256HexOfLatin1(`x-amz-checksum-crc32:${checksum}\n`)
    const signature = key.hex(
      `AWS4-HMAC-SHA256-TRAILER\n${seed.amzDate}\n${seed.scope}\n${previous}\n${text}`,
    )
    if (signed) out.push(Buffer.from(`x-amz-trailer-signature:${signature}\r\n`))
  }
  out.push(Buffer.from('\r\n'))
  return Buffer.concat(out)
}

const aBody = fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 6 })

function decode(
  body: Buffer,
  cuts: readonly number[],
  signed: boolean,
  trailer: boolean,
  length: number,
): Buffer {
  const decoder = new AwsChunkedDecoder({
    ...(signed ? { seed } : {}),
    signedTrailers: signed && trailer,
    trailerNames: trailer ? ['x-amz-checksum-crc32'] : [],
    decodedLength: length,
  })
  const out: Buffer[] = []
  const at = [0, ...cuts.map((cut) => cut % (body.length + 1)), body.length].sort((a, b) => a - b)
  for (let i = 1; i < at.length; i++) decoder.push(body.subarray(at[i - 1], at[i]), out)
  decoder.end()
  return Buffer.concat(out)
}

test('chunked bodies come out whole, however they are cut', () => {
  fc.assert(
    fc.property(aBody, fc.array(fc.nat()), fc.boolean(), fc.boolean(), (parts, cuts, signed, trailer) => {
      const chunks = parts.map((part) => Buffer.from(part))
      const whole = Buffer.concat(chunks)
      const checksum = trailer ? checksumOf('CRC32', whole).toString('base64') : undefined
      const body = frame(chunks, signed, checksum)
      expect(decode(body, cuts, signed, trailer, whole.length).equals(whole)).toBe(true)
    }),
  )
})

test('signed bodies with any byte changed, lost or added come out right or not at all', () => {
  const change = fc.record({
    at: fc.nat(),
    kind: fc.constantFrom('flip', 'drop', 'insert', 'cut'),
    byte: fc.nat(255),
  })
  fc.assert(
    fc.property(aBody, fc.array(fc.nat(), { maxLength: 3 }), change, (parts, cuts, { at, kind, byte }) => {
      const chunks = parts.map((part) => Buffer.from(part))
      const whole = Buffer.concat(chunks)
      const body = frame(chunks, true, checksumOf('CRC32', whole).toString('base64'))
      const i = at % body.length
      const insert = kind === 'insert' || kind === 'flip' ? [byte] : []
      const rest = kind === 'cut' ? body.length : kind === 'insert' ? i : i + 1
      const changed = Buffer.concat([body.subarray(0, i), Buffer.from(insert), body.subarray(rest)])
      try {
        expect(decode(changed, cuts, true, true, whole.length).equals(whole)).toBe(true)
      } catch (error) {
        expect(error).toBeInstanceOf(S3Error)
        expect((error as S3Error).status).toBeLessThan(500)
      }
    }),
    { numRuns: 1000 },
  )
})

test('any bytes as a chunked body end in an S3Error or the announced length', () => {
  const piece = fc.constantFrom(
    '0',
    '5',
    'ff',
    '\r\n',
    '\n',
    ';',
    'chunk-signature=',
    ':',
    'x-amz-checksum-crc32',
    'hello',
  )
  fc.assert(
    fc.property(
      fc.array(fc.oneof(piece, fc.string())),
      fc.array(fc.nat(), { maxLength: 4 }),
      fc.boolean(),
      fc.boolean(),
      fc.nat(10),
      (pieces, cuts, signed, trailer, length) => {
        try {
          expect(decode(Buffer.from(pieces.join('')), cuts, signed, trailer, length).length).toBe(length)
        } catch (error) {
          expect(error).toBeInstanceOf(S3Error)
        }
      },
    ),
    { numRuns: 1000 },
  )
})

test('any Authorization, date and query are anonymous or refused with an S3Error', async () => {
  const verifier = new SignatureVerifier({ service: 's3', region: 'garage', secretOf: () => 'secret' })
  const now = Date.UTC(2026, 0, 1)
  const piece = fc.constantFrom(
    ...[
      'AWS4-HMAC-SHA256 ',
      'Credential=',
      'SignedHeaders=',
      'Signature=',
      ',',
      '/',
      'a/20260101/garage/s3/aws4_request',
    ],
    ...[
      'host;x-amz-date',
      '__proto__',
      'constructor',
      'X-Amz-Algorithm=AWS4-HMAC-SHA256',
      '&',
      'X-Amz-Date=20260101T000000Z',
    ],
    ...[
      'X-Amz-Credential=',
      'X-Amz-Expires=1',
      'X-Amz-SignedHeaders=host',
      'X-Amz-Signature=',
      '%',
      '20260101T000000Z',
    ],
  )
  const text = fc
    .array(fc.oneof(piece, fc.string({ maxLength: 5 })), { maxLength: 8 })
    .map((pieces) => pieces.join(''))
  await fc.assert(
    fc.asyncProperty(text, text, text, text, async (authorization, date, rawQuery, sha256) => {
      const headers = { host: 'h', authorization, 'x-amz-date': date, 'x-amz-content-sha256': sha256 }
      const rawHeaders = Object.entries(headers).flat()
      try {
        const auth = await verifier.verify(
          { method: 'GET', rawPath: '/', rawQuery, headers, rawHeaders },
          now,
        )
        expect(auth.kind).toBe('anonymous')
      } catch (error) {
        expect(error).toBeInstanceOf(S3Error)
        expect((error as S3Error).status).toBeLessThan(500)
      }
    }),
    { numRuns: 1000 },
  )
})

let front: TestFront
beforeAll(async () => {
  front = await startFront()
})
afterAll(() => front.stop())

test('any signed request is answered, below 500 but for 501', async () => {
  const names = [
    'content-md5',
    'content-type',
    'range',
    'x-amz-acl',
    'x-amz-checksum-crc32',
    'x-amz-checksum-sha256',
    'x-amz-copy-source',
    'x-amz-decoded-content-length',
    'x-amz-meta-a',
    'x-amz-sdk-checksum-algorithm',
    'x-amz-trailer',
  ]
  const value = fc.oneof(
    fc.constantFrom('AAAAAA==', 'CRC32', 'SHA256', 'x-amz-checksum-crc32', '5', '-1', 'multipart/form-data'),
    fc.string({
      unit: fc.integer({ min: 33, max: 126 }).map((c) => String.fromCharCode(c)),
      minLength: 1,
      maxLength: 20,
    }),
  )
  const hash = fc.constantFrom(
    'UNSIGNED-PAYLOAD',
    'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
    EMPTY_SHA256,
    'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
  )
  const target = fc
    .tuple(
      fc.constantFrom('/', '/b', '/b/k', '/b//', '/b/%41'),
      fc.array(
        fc.constantFrom(
          'acl',
          'delete',
          'uploads',
          'uploadId=1',
          'partNumber=1',
          'list-type=2',
          'x=%20',
          'tagging',
        ),
      ),
    )
    .map(([path, query]) => (query.length === 0 ? path : `${path}?${query.join('&')}`))
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'PUT', 'POST', 'DELETE', 'HEAD'),
      target,
      fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 4 }),
      hash,
      fc.string({ maxLength: 40 }),
      async (method, url, headers, payloadHash, body) => {
        const client = new RawClient(front.port)
        const { head } = signedHead(front, {
          method,
          target: url,
          payloadHash,
          headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
        })
        client.send(head).send(body)
        const received = await client.until((text) => text.includes('\r\n\r\n'))
        client.socket.destroy()
        const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(received)?.[1])
        expect(status).toBeGreaterThanOrEqual(200)
        expect(status < 500 || status === 501).toBe(true)
      },
    ),
    { numRuns: 200 },
  )
  expect(front.errors).toEqual([])
})
