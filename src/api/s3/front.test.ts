import { createHash, createHmac } from 'node:crypto'
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  RawClient,
  type RawRequest,
  REGION,
  SECRET,
  signedHead,
  startFront,
  type TestFront,
} from '../../../testing/s3-front.js'
import { CarportError } from '../../util/errors.js'
import { S3Error } from './errors.js'
import type { S3FrontOptions } from './front.js'
import type { Handlers } from './request.js'
import { deriveSigningKey } from './signature/keys.js'

let front: TestFront
const clients: RawClient[] = []

async function start(handlers: Partial<Handlers> = {}, options: Partial<S3FrontOptions> = {}) {
  front = await startFront(handlers, options)
}

function open(): RawClient {
  const client = new RawClient(front.port)
  clients.push(client)
  return client
}

const head = (request: RawRequest) => signedHead(front, request).head
const put = (length: number, headers: Record<string, string> = {}, payloadHash?: string) =>
  head({
    method: 'PUT',
    target: '/b/k',
    headers: { 'content-length': String(length), ...headers },
    ...(payloadHash === undefined ? {} : { payloadHash }),
  })
const get = (target = '/b/k', method = 'GET') => head({ method, target })

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy()
  await front.stop()
  await vi.waitFor(() => expect(front.front.inFlight).toBe(0))
})

describe('answers', () => {
  test('come in one piece, with id, date and server', async () => {
    await start()
    const client = open().send(get('/'))
    const received = await client.untilText('</ListAllMyBucketsResult>')
    expect(client.pieces.length).toBe(1)
    expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(received).toMatch(/\r\nx-amz-request-id: [0-9A-F]{16}\r\n/)
    expect(received).toContain(`\r\nDate: ${new Date(front.clock.nowMs()).toUTCString()}\r\n`)
    expect(received).toContain('\r\nServer: Carport\r\n')
    expect(received).toMatch(/\r\nContent-Length: \d+\r\n/)
  })

  test('keep the connection, several on one', async () => {
    await start()
    const client = open().send(put(4)).send('text')
    await client.untilText('HTTP/1.1 200 OK')
    client.send(get())
    expect(await client.untilText('text')).toContain('Content-Length: 4')
    client.send(get('/b/k', 'HEAD'))
    client.send(get('/b/k', 'DELETE'))
    const received = await client.untilText('HTTP/1.1 204')
    expect(received.split('HTTP/1.1 200').length).toBe(4)
    expect(front.records.map((record) => record.operation)).toEqual(
      expect.arrayContaining(['PutObject', 'GetObject', 'HeadObject']),
    )
  })

  test('to failures have the code, the resource and the ids', async () => {
    await start()
    const received = await open().send(get('/b/a%20%26%20b')).untilText('</Error>')
    expect(received).toContain('HTTP/1.1 404 Not Found')
    expect(received).toContain('Content-Type: application/xml')
    const id = /x-amz-request-id: (\w+)/.exec(received)![1]
    expect(received).toContain(
      '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>' +
        '<Message>The specified key does not exist.</Message><Key>a &amp; b</Key><Resource>/b/a &amp; b</Resource>' +
        `<RequestId>${id}</RequestId><HostId>test-node</HostId></Error>`,
    )
  })

  test('to HEAD have no body, also of failures', async () => {
    await start()
    const client = open().send(get('/b/missing', 'HEAD'))
    await client.untilText('\r\n\r\n')
    const received = await client.send(get('/')).untilText('HTTP/1.1 200')
    expect(received).toMatch(/^HTTP\/1\.1 404 [^<]*\r\n\r\nHTTP\/1\.1 200/)
  })

  test.each([
    [() => new CarportError('QuorumUnavailable', 'inside'), 503, 'ServiceUnavailable'],
    [() => new CarportError('Timeout', 'inside'), 503, 'SlowDown'],
    [() => new CarportError('StorageFull', 'inside'), 507, 'InsufficientStorage'],
    [() => new CarportError('Corrupted', 'inside'), 500, 'InternalError'],
    [() => new TypeError('inside'), 500, 'InternalError'],
    [() => 'inside', 500, 'InternalError'],
  ])('to domain error %# hide the inside and log it', async (make, status, code) => {
    await start({
      GetObject: () => {
        throw make()
      },
      DeleteObject: async () => {
        throw make()
      },
    })
    for (const method of ['GET', 'DELETE']) {
      const received = await open().send(get('/b/k', method)).untilText('</Error>')
      expect(received).toContain(`HTTP/1.1 ${status} `)
      expect(received).toContain(`<Code>${code}</Code>`)
      expect(received).not.toContain('inside')
    }
    // That other nodes are away is no fault of this one.
    expect((status === 503 ? front.warnings : front.errors).length).toBe(2)
    await vi.waitFor(() => expect(front.records.map((record) => record.errorCode)).toEqual([code, code]))
  })

  test('of 304 have headers and no body', async () => {
    await start({
      GetObject: () => {
        throw new S3Error('NotModified', undefined, { headers: { ETag: '"e"' } })
      },
    })
    const received = await open().send(get()).untilText('\r\n\r\n')
    expect(received).toContain('HTTP/1.1 304')
    expect(received).toContain('ETag: "e"')
    expect(received).not.toContain('<')
  })

  test('carry header values beyond ASCII as UTF-8', async () => {
    await start({ HeadObject: () => ({ status: 200, headers: { 'x-amz-meta-a': 'żółw\n' } }) })
    const received = await open().send(get('/b/k', 'HEAD')).untilText('\r\n\r\n')
    expect(Buffer.from(received, 'latin1').toString()).toContain('x-amz-meta-a: żółw')
  })

  test('carry header values that are bytes as they are, also beside others', async () => {
    const bytes = Buffer.from('ä').toString('latin1')
    const headers = { 'x-amz-meta-a': bytes, 'x-amz-meta-b': 'żółw', 'x-amz-meta-c': `${bytes}\n` }
    await start({ HeadObject: () => ({ status: 200, headers }) })
    const received = await open().send(get('/b/k', 'HEAD')).untilText('\r\n\r\n')
    expect(Buffer.from(received, 'latin1').toString()).toMatch(
      /x-amz-meta-a: ä\r\nx-amz-meta-b: żółw\r\nx-amz-meta-c: ä *\r\n/,
    )
  })
})

describe('Expect: 100-continue', () => {
  test('is answered when the handler reads, after authentication', async () => {
    await start()
    const client = open().send(put(4, { expect: '100-continue' }))
    await client.untilText('HTTP/1.1 100 Continue\r\n\r\n')
    await client.send('text').untilText('HTTP/1.1 200 OK')
    expect(front.objects.get('b/k')?.body.toString()).toBe('text')
  })

  test('is not answered to a wrong signature; the connection closes', async () => {
    await start()
    const client = open().send(put(4, { expect: '100-continue' }).replace(/Signature=./, 'Signature=x'))
    const received = await client.untilClosed()
    expect(received).not.toContain('100 Continue')
    expect(received).toContain('HTTP/1.1 403')
    expect(received).toContain('Connection: close')
  })

  test('with another expectation is ignored', async () => {
    await start()
    await open()
      .send(put(4, { expect: '200' }))
      .send('text')
      .untilText('HTTP/1.1 200 OK')
  })
})

describe('bodies', () => {
  test('cut off are refused, and nothing is stored', async () => {
    let failure: unknown
    await start({
      PutObject: async ({ payload }) => {
        try {
          for await (const _ of payload);
        } catch (error) {
          failure = error
          throw error
        }
        return { status: 200 }
      },
    })
    const client = open().send(put(10)).send('text')
    await vi.waitFor(() => expect(front.front.inFlight).toBe(1))
    client.socket.destroy()
    await vi.waitFor(() => expect(failure).toMatchObject({ code: 'IncompleteBody' }))
    await vi.waitFor(() => expect(front.records[0]).toMatchObject({ status: 499 }))
  })

  // A content may pause for the idle time; a document must arrive within its own.
  test.each([
    ['stream', 59_000],
    ['readAll', 19_000],
  ])('of a client that sends nothing end with RequestTimeout (%s)', async (way, waitsMs) => {
    await start({
      PutObject: async ({ payload }) => {
        if (way === 'readAll') await payload.readAll(100)
        else for await (const _ of payload);
        return { status: 200 }
      },
    })
    const client = open().send(put(10)).send('text')
    await vi.waitFor(() => expect(front.front.inFlight).toBe(1))
    await front.clock.advance(waitsMs)
    expect(client.received).toBe('')
    await front.clock.advance(17_000)
    const received = await client.untilText('</Error>')
    expect(received).toContain('HTTP/1.1 400')
    expect(received).toContain('<Code>RequestTimeout</Code>')
    expect(received).toContain('Connection: close')
    await front.clock.advance(80_000)
    await client.untilClosed()
  })

  test.each([
    ['XAmzContentSHA256Mismatch', {}, createHash('sha256').update('other').digest('hex')],
    ['BadDigest', { 'content-md5': createHash('md5').update('other').digest('base64') }, undefined],
    ['InvalidDigest', { 'content-md5': '' }, undefined],
    ['InvalidDigest', { 'content-md5': 'YWJyYWNhZGFicmE=' }, undefined],
    ['BadDigest', { 'x-amz-checksum-crc32': 'AAAAAA==' }, undefined],
    ['BadDigest', { 'x-amz-checksum-sha256': 'bad' }, undefined],
    ['InvalidRequest', { 'x-amz-checksum-crc32': 'a', 'x-amz-checksum-sha1': 'b' }, undefined],
    ['InvalidRequest', { 'x-amz-sdk-checksum-algorithm': 'MD4' }, undefined],
    ['InvalidRequest', { 'x-amz-sdk-checksum-algorithm': 'SHA1', 'x-amz-checksum-crc32': 'a' }, undefined],
    ['InvalidRequest', { 'x-amz-trailer': 'x-amz-meta-a' }, 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'],
    ['MissingContentLength', {}, 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'],
    ['InvalidArgument', { 'x-amz-decoded-content-length': '-4' }, 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'],
    ['IncompleteBody', { 'x-amz-decoded-content-length': '4' }, 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'],
  ])('with bad headers are answered %s (%j)', async (code, headers, payloadHash) => {
    await start()
    const received = await open()
      .send(put(4, headers as Record<string, string>, payloadHash))
      .send('text')
      .untilText('</Error>')
    expect(received).toContain(`<Code>${code}</Code>`)
    expect(front.objects.size).toBe(0)
  })

  test.each<Record<string, string>>([
    { 'content-encoding': 'aws-chunked' },
    { 'x-amz-decoded-content-length': '4' },
  ])('are taken as they are when nothing says that they are framed (%j)', async (headers) => {
    await start()
    await open().send(put(4, headers)).send('text').untilText('HTTP/1.1 200')
    expect(front.objects.get('b/k')?.body.toString()).toBe('text')
  })

  test.each(['', 'crc32', 'SHA256'])('may name the checksum algorithm %j without a value', async (name) => {
    await start()
    await open()
      .send(put(4, { 'x-amz-sdk-checksum-algorithm': name }))
      .send('text')
      .untilText('HTTP/1.1 200')
    expect(front.objects.get('b/k')?.result.checksum?.algorithm).toBe(
      name === '' ? undefined : name.toUpperCase(),
    )
  })

  test('of uploads need a length', async () => {
    await start()
    const request = head({ method: 'PUT', target: '/b/k', headers: { 'transfer-encoding': 'chunked' } })
    const received = await open().send(request).send('0\r\n\r\n').untilText('</Error>')
    expect(received).toContain('HTTP/1.1 411')
    expect(received).toContain('<Code>MissingContentLength</Code>')
  })

  test('beyond 5 GiB are refused at once', async () => {
    await start()
    const received = await open()
      .send(put(5 * 1024 ** 3 + 1))
      .untilText('</Error>')
    expect(received).toContain('<Code>EntityTooLarge</Code>')
  })

  test('in signed chunks are verified as they come', async () => {
    await start()
    const data = ['first chunk', 'second']
    const make = () => {
      const { head, signature, date } = signedHead(front, {
        method: 'PUT',
        target: '/b/k',
        payloadHash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
        headers: { 'transfer-encoding': 'chunked', 'x-amz-decoded-content-length': '17' },
      })
      const key = deriveSigningKey(SECRET, date.slice(0, 8), REGION, 's3')
      const hash = (text: string) => createHash('sha256').update(text).digest('hex')
      let previous = signature
      let body = ''
      for (const chunk of [...data, '']) {
        const scope = `${date.slice(0, 8)}/${REGION}/s3/aws4_request`
        previous = createHmac('sha256', key)
          .update(`AWS4-HMAC-SHA256-PAYLOAD\n${date}\n${scope}\n${previous}\n${hash('')}\n${hash(chunk)}`)
          .digest('hex')
        body += `${chunk.length.toString(16)};chunk-signature=${previous}\r\n${chunk}\r\n`
      }
      return { head, body }
    }
    const send = ({ head, body }: { head: string; body: string }) =>
      open()
        .send(head)
        .send(`${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`)
    await send(make()).untilText('HTTP/1.1 200')
    expect(front.objects.get('b/k')?.body.toString()).toBe('first chunksecond')
    front.objects.clear()
    const { head, body } = make()
    const received = await send({ head, body: body.replace('second', 'sEcond') }).untilText('</Error>')
    expect(received).toContain('<Code>SignatureDoesNotMatch</Code>')
    expect(front.objects.size).toBe(0)
  })

  test('not read are drained when they are short, and the connection serves on', async () => {
    await start({ PutObject: () => ({ status: 200 }) })
    const client = open().send(put(100_000))
    await client.untilText('HTTP/1.1 200')
    client.send(Buffer.alloc(100_000)).send(get('/'))
    await client.untilText('ListAllMyBucketsResult')
  })

  test('not read are read a while when they are long, so that the answer arrives', async () => {
    await start({ PutObject: () => Promise.reject(new S3Error('NoSuchBucket')) })
    const client = open().send(put(4 * 1024 * 1024))
    const received = await client.untilText('</Error>')
    expect(received).toContain('Connection: close')
    client.send(Buffer.alloc(4 * 1024 * 1024))
    await client.untilClosed()
  })

  test('not read that are endless end with the connection', async () => {
    await start({ PutObject: () => Promise.reject(new S3Error('NoSuchBucket')) })
    const client = open().send(put(1024 ** 3))
    await client.untilText('</Error>')
    const send = () => {
      while (!client.closed && client.socket.write(Buffer.alloc(65_536)));
    }
    client.socket.on('drain', send)
    send()
    const untilRead = { timeout: 60_000 }
    await vi.waitFor(() => expect(client.socket.bytesWritten).toBeGreaterThan(64 * 1024 ** 2), untilRead)
    await vi.waitFor(async () => {
      await front.clock.advance(5_000)
      expect(client.closed).toBe(true)
    }, untilRead)
  })

  test('read in part are drained', async () => {
    await start({
      PutObject: async ({ payload }) => {
        for await (const _ of payload) break
        throw new S3Error('QuotaExceeded')
      },
    })
    const client = open().send(put(500_000)).send(Buffer.alloc(500_000))
    await client.untilText('<Code>QuotaExceeded</Code>')
    await client.send(get('/')).untilText('ListAllMyBucketsResult')
  })

  test('too long for the handler are refused', async () => {
    await start({
      PutObject: async ({ payload }) => ({ status: 200, body: await payload.readAll(3) }),
      DeleteObjects: async ({ payload }) => ({ status: 200, body: await payload.readAll(3, 'MalformedXML') }),
    })
    expect(await open().send(put(4)).send('text').untilText('</Error>')).toContain('EntityTooLarge')
    const chunked = head({ method: 'POST', target: '/b?delete', headers: { 'transfer-encoding': 'chunked' } })
    const received = await open().send(chunked).send('4\r\ntext\r\n0\r\n\r\n').untilText('</Error>')
    expect(received).toContain('MalformedXML')
  })
})

describe('streams', () => {
  test('are sent as the client takes them, and end when it goes away', async () => {
    let made = 0
    let ended = false
    let aborted = false
    await start({
      GetObject: (request) => {
        request.signal.addEventListener('abort', () => {
          aborted = true
        })
        return {
          status: 200,
          headers: { 'Content-Length': 1024 ** 3 },
          body: (async function* () {
            try {
              for (;;) {
                made++
                yield Buffer.alloc(65_536)
              }
            } finally {
              ended = true
            }
          })(),
        }
      },
    })
    const client = open().send(get())
    client.socket.pause()
    await vi.waitFor(() => expect(made).toBeGreaterThan(1))
    await vi.waitFor(async () => {
      const before = made
      await new Promise((resolve) => setImmediate(resolve))
      expect(made).toBe(before)
    })
    expect(made).toBeLessThan(1000)
    client.socket.destroy()
    await vi.waitFor(() => expect([ended, aborted]).toEqual([true, true]))
    await vi.waitFor(() => expect(front.records[0]).toMatchObject({ status: 200, operation: 'GetObject' }))
  })

  test('end after the idle time of a client that reads nothing', async () => {
    await start({
      GetObject: () => ({
        status: 200,
        body: (async function* () {
          for (;;) yield Buffer.alloc(65_536)
        })(),
      }),
    })
    const client = open().send(get())
    client.socket.pause()
    await vi.waitFor(() => expect(front.clock.pendingTimers).toBeGreaterThan(0))
    await front.clock.until(() => front.front.inFlight === 0, 90_000, 5_000)
  })

  test.each([
    ['fail', 10, new Error('disk')],
    ['end early', 10, undefined],
    ['are too long', 2, undefined],
  ])('that %s break the connection off', async (_, length, failure) => {
    await start({
      GetObject: () => ({
        status: 200,
        headers: { 'Content-Length': length },
        body: (async function* () {
          yield Buffer.from('text')
          if (failure) throw failure
        })(),
      }),
    })
    const client = open().send(get())
    await client.untilClosed()
    expect(client.received.split('\r\n\r\n')[1] ?? '').toBe(
      client.received === '' || length === 2 ? '' : 'text',
    )
    expect(front.errors.length).toBe(1)
  })

  test('of HEAD are closed unread', async () => {
    let pulled = false
    await start({
      HeadObject: () => ({
        status: 200,
        headers: { 'Content-Length': 7 },
        body: (async function* () {
          pulled = true
          yield Buffer.from('a')
        })(),
      }),
    })
    const client = open().send(get('/b/k', 'HEAD'))
    await client.untilText('Content-Length: 7')
    await client.send(get('/')).untilText('ListAllMyBucketsResult')
    expect(pulled).toBe(false)
  })
})

describe('what is no request', () => {
  test.each([
    [
      'a head too large',
      `GET / HTTP/1.1\r\nHost: a\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`,
      'RequestHeaderSectionTooLarge',
    ],
    ['garbage', 'hello\r\n\r\n', 'BadRequest'],
    ['a negative length', 'PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n', 'BadRequest'],
    ['an empty length', 'PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n', 'BadRequest'],
  ])('%s is answered with an error', async (_, text, code) => {
    await start()
    const received = await open().send(text).untilClosed()
    expect(received).toMatch(/^HTTP\/1\.1 400 /)
    expect(received).toContain(`<Code>${code}</Code>`)
  })

  test('an unknown method is not allowed', async () => {
    await start()
    const received = await open().send('TRACE /b/k HTTP/1.1\r\nHost: a\r\n\r\n').untilText('</Error>')
    expect(received).toContain('<Code>MethodNotAllowed</Code>')
  })
})

describe('anonymous requests', () => {
  test('reach the handlers as such', async () => {
    await start({
      GetObject: ({ auth, keyId }) => {
        expect(auth).toEqual({ kind: 'anonymous' })
        expect(keyId).toBeUndefined()
        throw new S3Error('AccessDenied')
      },
    })
    const received = await open().send('GET /b/k HTTP/1.1\r\nHost: a\r\n\r\n').untilText('</Error>')
    expect(received).toContain('HTTP/1.1 403')
    expect(received).toContain('<Code>AccessDenied</Code>')
  })
})

describe('CORS', () => {
  test('is off without hooks', async () => {
    await start()
    const received = await open()
      .send('OPTIONS /b/k HTTP/1.1\r\nHost: a\r\nOrigin: x\r\n\r\n')
      .untilText('</Error>')
    expect(received).toContain('<Code>AccessForbidden</Code>')
  })

  test('answers preflights and decorates answers, errors too', async () => {
    await start(
      {},
      {
        cors: {
          preflight: async (request) => ({
            status: 200,
            headers: { 'Access-Control-Allow-Origin': `of ${request.bucket}` },
          }),
          decorate: async (request) => ({
            'Access-Control-Allow-Origin': `${request.headers.origin} in ${request.bucket}`,
          }),
        },
      },
    )
    const client = open().send('OPTIONS /b/k HTTP/1.1\r\nHost: a\r\nOrigin: x\r\n\r\n')
    await client.untilText('Access-Control-Allow-Origin: of b\r\n')
    client.send('GET /c/k HTTP/1.1\r\nHost: a\r\nOrigin: x\r\n\r\n')
    await client.untilText('Access-Control-Allow-Origin: x in c\r\n')
    client.send('GET /d/k HTTP/1.1\r\nHost: a\r\nOrigin: x\r\nAuthorization: nonsense\r\n\r\n')
    const received = await client.untilText('Access-Control-Allow-Origin: x in d\r\n')
    expect(received).toContain('Unsupported Authorization Type')
  })
})

describe('shutdown', () => {
  test('waits for the requests in flight and closes their connections', async () => {
    let release: (() => void) | undefined
    await start({
      GetObject: () =>
        new Promise((resolve) => {
          release = () => resolve({ status: 200, body: 'late' })
        }),
    })
    const client = open().send(get())
    await vi.waitFor(() => expect(release).toBeDefined())
    let drained = false
    const done = front.front.drain().then(() => {
      drained = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(drained).toBe(false)
    release!()
    await done
    const received = await client.untilClosed()
    expect(received).toContain('late')
    expect(received).toContain('Connection: close')
  })
})

test('one line is recorded of each request', async () => {
  await start()
  await open().send(put(4)).send('text').untilText('HTTP/1.1 200')
  await vi.waitFor(() =>
    expect(front.records).toEqual([
      {
        requestId: expect.stringMatching(/^[0-9A-F]{16}$/),
        method: 'PUT',
        operation: 'PutObject',
        bucket: 'b',
        keyId: 'GK0123456789abcdef',
        rawPath: '/b/k',
        remoteAddress: '127.0.0.1',
        host: expect.any(String),
        status: 200,
        errorCode: undefined,
        bytesReceived: 4,
        bytesSent: 0,
        durationMs: 0,
      },
    ]),
  )
})
