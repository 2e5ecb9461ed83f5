/**
 * Sends bad input to a whole node, byte by byte over real sockets. For each case, the answer carries AWS's error code,
 * nothing is stored, and in the end neither sockets nor block files are left.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { crc32 } from '@node-rs/crc32'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AccessKey } from '../src/model/buckets/access-keys.js'
import { ALPN_PROTOCOL } from '../src/net/handshake.js'
import { MARK_FILE } from '../src/node/data-folders.js'
import { realClock } from '../src/platform/clock-and-random.js'
import type { Clock } from '../src/util/clock.js'
import { RawClient } from '../testing/s3-front.js'
import { signedHead } from './support/signed-head.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const IDLE_MS = 1000
const HOUR_MS = 3_600_000
const BUCKET = 'bad-input'

/** The real clock, with a wall clock that can be put forward, so that the graces of blocks can be waited for. */
let offsetMs = 0
let uptimeMs = 0
const clock: Clock = {
  nowMs: () => realClock.nowMs() + offsetMs,
  monotonicMs: () => realClock.monotonicMs() + uptimeMs,
  after: (delayMs, fn) => realClock.after(delayMs, fn),
}

let node: TestNode
let key: AccessKey
const clients: RawClient[] = []

beforeAll(async () => {
  node = await startTestNode({}, { clock, clientIdleMs: IDLE_MS })
  // A node deletes no blocks shortly after its start.
  uptimeMs = HOUR_MS
  key = await node.createKey('bad input')
  expect(await answer(open().send(head('PUT', `/${BUCKET}`, { 'content-length': '0' })))).toMatch(
    /^HTTP\/1.1 200/,
  )
})

afterAll(() => node?.dispose())

function open(): RawClient {
  const client = new RawClient(node.s3!.port)
  clients.push(client)
  return client
}

/** The head of a request signed with the test's key, the empty line included. */
function head(
  method: string,
  target: string,
  headers: Record<string, string> = {},
  payloadHash = 'UNSIGNED-PAYLOAD',
): string {
  return signedHead({ key, port: node.s3!.port, nowMs: clock.nowMs() }, method, target, headers, payloadHash)
}

/** A whole answer: head, and the body that its Content-Length announces, or all until the end. */
function answer(client: RawClient): Promise<string> {
  return client.until((received, closed) => {
    const end = received.indexOf('\r\n\r\n')
    if (end < 0) return closed && received !== ''
    if (received.startsWith('HTTP/1.1 204 ')) return true
    const length = /content-length: (\d+)/i.exec(received.slice(0, end))
    return closed || (length !== null && received.length >= end + 4 + Number(length[1]))
  })
}

async function expectError(client: RawClient, status: number, code: string): Promise<void> {
  const received = await answer(client)
  expect(received).toContain(`<Code>${code}</Code>`)
  expect(received).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
}

async function expectAbsent(name: string): Promise<void> {
  const client = open().send(head('GET', `/${BUCKET}/${name}`))
  await expectError(client, 404, 'NoSuchKey')
  client.socket.destroy()
}

function blockFiles(): string[] {
  const data = `${node.dir}/data`
  if (!existsSync(data)) return []
  return readdirSync(data, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== MARK_FILE)
    .map((entry) => entry.name)
}

function serverConnections(): Promise<number> {
  return new Promise((resolve, reject) => {
    node.s3!.server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
  })
}

/** aws-chunked framing without signatures. */
const chunk = (data: Buffer) =>
  Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')])

const CHUNKED = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'

describe('bodies that are not what they are said to be', () => {
  const large = randomBytes(3_000_000)
  const small = Buffer.from('hello')

  test.each([
    ['small', small],
    ['of several blocks', large],
  ])('a truncated body (%s) is not stored', async (_, body) => {
    const client = open()
    client.send(head('PUT', `/${BUCKET}/truncated`, { 'content-length': String(body.length + 1) }))
    client.send(body)
    client.socket.end()
    await client.untilClosed()
    expect(client.received).not.toMatch(/^HTTP\/1.1 200/)
    await expectAbsent('truncated')
  })

  test('a connection reset in the middle of a body', async () => {
    const client = open()
    client.send(head('PUT', `/${BUCKET}/reset`, { 'content-length': '9000000' }))
    client.send(large)
    await once(client.socket, 'drain')
    client.socket.resetAndDestroy()
    await client.untilClosed()
    await expectAbsent('reset')
  })

  const digest = (algorithm: string, data: Buffer, encoding: 'hex' | 'base64') =>
    createHash(algorithm).update(data).digest(encoding)

  test.each([
    ['small', small],
    ['of several blocks', large],
  ])('wrong digests (%s)', async (_, body) => {
    const other = Buffer.from('not it')
    const crc = Buffer.alloc(4)
    crc.writeUInt32BE(crc32(other))
    const cases: [Record<string, string>, string, string][] = [
      [{ 'content-md5': digest('md5', other, 'base64') }, 'UNSIGNED-PAYLOAD', 'BadDigest'],
      [{ 'content-md5': 'not base64' }, 'UNSIGNED-PAYLOAD', 'InvalidDigest'],
      [{ 'x-amz-checksum-sha256': digest('sha256', other, 'base64') }, 'UNSIGNED-PAYLOAD', 'BadDigest'],
      [{ 'x-amz-checksum-sha1': digest('sha1', other, 'base64') }, 'UNSIGNED-PAYLOAD', 'BadDigest'],
      [{ 'x-amz-checksum-crc32': crc.toString('base64') }, 'UNSIGNED-PAYLOAD', 'BadDigest'],
      [{}, digest('sha256', other, 'hex'), 'XAmzContentSHA256Mismatch'],
    ]
    for (const [headers, payloadHash, code] of cases) {
      const client = open()
      client.send(
        head('PUT', `/${BUCKET}/digest`, { ...headers, 'content-length': String(body.length) }, payloadHash),
      )
      client.send(body)
      await expectError(client, 400, code)
      client.socket.destroy()
    }
    await expectAbsent('digest')
  })

  test('no length, a length that is no number, and one that is too large', async () => {
    await expectError(open().send(head('PUT', `/${BUCKET}/length`)), 411, 'MissingContentLength')
    const tooLarge = { 'content-length': String(5 * 1024 ** 3 + 1) }
    await expectError(open().send(head('PUT', `/${BUCKET}/length`, tooLarge)), 400, 'EntityTooLarge')
    const received = await answer(open().send(head('PUT', `/${BUCKET}/length`, { 'content-length': 'x' })))
    expect(received).toMatch(/^HTTP\/1.1 400 /)
    await expectAbsent('length')
  })

  test.each([
    [
      'a chunk that is no hexadecimal number',
      'zz\r\nhello\r\n0\r\n\r\n',
      'IncompleteBody|InvalidRequest|InvalidChunk',
    ],
    ['a chunk longer than it says', '3\r\nhello\r\n0\r\n\r\n', 'IncompleteBody|InvalidRequest|InvalidChunk'],
    [
      'more than x-amz-decoded-content-length',
      `${chunk(small)}${chunk(small)}0\r\n\r\n`,
      'IncompleteBody|InvalidRequest',
    ],
    ['less than x-amz-decoded-content-length', `${chunk(Buffer.from('he'))}0\r\n\r\n`, 'IncompleteBody'],
  ])('aws-chunked with %s', async (_, body, codes) => {
    const client = open()
    const headers = {
      'content-encoding': 'aws-chunked',
      'x-amz-decoded-content-length': '5',
      'content-length': String(body.length),
    }
    client.send(head('PUT', `/${BUCKET}/chunked`, headers, CHUNKED) + body)
    const received = await answer(client)
    expect(received).toMatch(/^HTTP\/1.1 400 /)
    expect(received).toMatch(new RegExp(`<Code>(${codes})</Code>`))
    client.socket.destroy()
    await expectAbsent('chunked')
  })

  const framed = `${chunk(small)}0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n`

  test.each([
    ['UNSIGNED-PAYLOAD', { 'x-amz-trailer': 'x-amz-checksum-crc32', 'x-amz-decoded-content-length': '5' }],
    ['UNSIGNED-PAYLOAD', { 'x-amz-trailer': 'x-amz-checksum-crc32' }],
    ['UNSIGNED-PAYLOAD', { 'x-amz-decoded-content-length': '5' }],
    [digest('sha256', Buffer.from(framed), 'hex'), { 'x-amz-decoded-content-length': '5' }],
    [digest('sha256', Buffer.from(framed), 'hex'), { 'x-amz-trailer': 'x-amz-checksum-crc32' }],
  ])('aws-chunked that x-amz-content-sha256 does not name (%s, %j)', async (payloadHash, framing) => {
    const headers = {
      'content-encoding': 'aws-chunked',
      ...(framing as Record<string, string>),
      'content-length': String(framed.length),
    }
    await expectError(
      open().send(head('PUT', `/${BUCKET}/framed`, headers, payloadHash) + framed),
      400,
      'InvalidRequest',
    )
    await expectAbsent('framed')
  })

  test('a wrong checksum in the trailer', async () => {
    const body = `${chunk(small)}0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n`
    const headers = {
      'content-encoding': 'aws-chunked',
      'x-amz-decoded-content-length': '5',
      'x-amz-trailer': 'x-amz-checksum-crc32',
      'content-length': String(body.length),
    }
    await expectError(
      open().send(head('PUT', `/${BUCKET}/trailer`, headers, CHUNKED) + body),
      400,
      'BadDigest',
    )
    await expectAbsent('trailer')
  })

  test('a part with a wrong digest is no part', async () => {
    const created = await answer(
      open().send(head('POST', `/${BUCKET}/parts?uploads=`, { 'content-length': '0' })),
    )
    const uploadId = /<UploadId>(.+)<\/UploadId>/.exec(created)![1]!
    const target = `/${BUCKET}/parts?partNumber=1&uploadId=${uploadId}`
    const headers = {
      'content-md5': digest('md5', small, 'base64'),
      'content-length': String(large.length),
    }
    await expectError(
      open()
        .send(head('PUT', target, headers))
        .send(large),
      400,
      'BadDigest',
    )
    const listed = await answer(open().send(head('GET', `/${BUCKET}/parts?uploadId=${uploadId}`)))
    expect(listed).toMatch(/^HTTP\/1.1 200 /)
    expect(listed).not.toContain('<Part>')
    expect(await answer(open().send(head('DELETE', `/${BUCKET}/parts?uploadId=${uploadId}`)))).toMatch(
      /^HTTP\/1.1 204 /,
    )
  })

  test.each(['', '<Delete>', '\xff\xfe', `<!DOCTYPE a [<!ENTITY b "c">]><Delete/>`])(
    'a DeleteObjects body of %j',
    async (body) => {
      const bytes = Buffer.from(body, 'latin1')
      const headers = {
        'content-md5': digest('md5', bytes, 'base64'),
        'content-length': String(bytes.length),
      }
      const client = open()
        .send(head('POST', `/${BUCKET}?delete=`, headers))
        .send(bytes)
      const received = await answer(client)
      expect(received).toMatch(/^HTTP\/1.1 400 /)
      expect(received).toMatch(/<Code>(MalformedXML|MissingRequestBodyError)<\/Code>/)
    },
  )
})

describe('what is no proper request', () => {
  test('two Host headers, whichever is signed', async () => {
    for (const second of ['Host: example.org', `HOST: 127.0.0.1:${node.s3!.port}`, 'host:']) {
      const client = open().send(head('GET', `/${BUCKET}/k`).replace('\r\n', `\r\n${second}\r\n`))
      await expectError(client, 400, 'BadRequest')
    }
  })

  test('headers larger than 16 KiB', async () => {
    const client = open().send(`GET / HTTP/1.1\r\nhost: x\r\nx-large: ${'a'.repeat(20_000)}\r\n\r\n`)
    await expectError(client, 400, 'RequestHeaderSectionTooLarge')
    await client.untilClosed()
  })

  test('user metadata larger than 2 KiB', async () => {
    const headers = { 'x-amz-meta-a': 'b'.repeat(2048), 'content-length': '0' }
    await expectError(open().send(head('PUT', `/${BUCKET}/metadata`, headers)), 400, 'MetadataTooLarge')
    await expectAbsent('metadata')
  })

  test.each([
    ['bytes without meaning', randomBytes(1000)],
    ['TLS on the plain port', Buffer.from('16030100a5010000a1', 'hex')],
    ['a method that HTTP does not have', Buffer.from('FETCH / HTTP/1.1\r\nhost: x\r\n\r\n')],
    [
      'two lengths',
      Buffer.from('PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na'),
    ],
    [
      'a length and chunks, as request smuggling has it',
      Buffer.from(
        'PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      ),
    ],
  ])('%s', async (_, bytes) => {
    const client = open().send(bytes)
    await expectError(client, 400, 'BadRequest')
    await client.untilClosed()
  })

  test.each(['/%', '/%zz/a', `/${BUCKET}/%ff%fe`, `/${BUCKET}/${'k'.repeat(1025)}`])(
    'a path of %j is answered with an error of the client',
    async (target) => {
      const client = open().send(head('GET', target))
      expect(await answer(client)).toMatch(/^HTTP\/1.1 40[034] [\s\S]*<Code>\w+<\/Code>/)
      client.socket.destroy()
    },
  )

  test('a wrong signature stores nothing, and does not ask for the body', async () => {
    const request = head('PUT', `/${BUCKET}/forged`, { 'content-length': '5', expect: '100-continue' })
    const client = open().send(request.replace(/Signature=[0-9a-f]{8}/, 'Signature=00000000'))
    await expectError(client, 403, 'SignatureDoesNotMatch')
    expect(client.received).not.toContain('100 Continue')
    client.socket.destroy()
    await expectAbsent('forged')
  })
})

test('a body that breaks off when its request was answered gets no second answer', async () => {
  const client = open()
    .send(head('POST', '/no-such-bucket?delete=', { 'content-length': '10' }))
    .send('<Del')
  await expectError(client, 404, 'NoSuchBucket')
  client.socket.end()
  await client.untilClosed()
  expect(client.received.match(/HTTP\/1.1/g)).toHaveLength(1)
})

describe('clients that take their time', () => {
  test('a head that does not come to its end', async () => {
    const client = open().send('GET / HTTP/1.1\r\nhost: x\r\n')
    await expectError(client, 400, 'RequestTimeout')
    await client.untilClosed()
  })

  test('a body that stops coming', async () => {
    const client = open()
    client.send(head('PUT', `/${BUCKET}/slow`, { 'content-length': '3000000' })).send(randomBytes(1_500_000))
    await expectError(client, 400, 'RequestTimeout')
    await client.untilClosed()
    await expectAbsent('slow')
  })

  test('an answer that is not taken', async () => {
    const size = 40_000_000
    const put = open()
    put.send(head('PUT', `/${BUCKET}/untaken`, { 'content-length': String(size) })).send(randomBytes(size))
    expect(await answer(put)).toMatch(/^HTTP\/1.1 200 /)
    for (const client of clients) client.socket.destroy()
    await expect.poll(serverConnections).toBe(0)
    const socket = connect(node.s3!.port, '127.0.0.1').pause()
    socket.on('error', () => {})
    socket.write(head('GET', `/${BUCKET}/untaken`))
    await expect.poll(serverConnections).toBe(1)
    await expect.poll(serverConnections, { timeout: 20_000 }).toBe(0)
    socket.destroy()
    expect(await answer(open().send(head('DELETE', `/${BUCKET}/untaken`)))).toMatch(/^HTTP\/1.1 204 /)
  })
})

describe('strangers on the RPC port', () => {
  test.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n')],
    ['random bytes', randomBytes(4096)],
  ])('%s in plain text: dropped without an answer in it', async (_, bytes) => {
    const socket = connect(node.rpc.port, '127.0.0.1')
    let received = Buffer.alloc(0)
    socket.on('data', (data) => {
      received = Buffer.concat([received, data])
    })
    socket.on('error', () => {})
    socket.write(bytes)
    await once(socket, 'close')
    // The server may send a TLS alert, but nothing more.
    expect(received.length === 0 || received[0] === 0x15).toBe(true)
  })

  test('frames over TLS before any proof of the secret', async () => {
    const socket = connectTls({
      port: node.rpc.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ALPNProtocols: [ALPN_PROTOCOL],
    })
    socket.on('error', () => {})
    socket.on('secureConnect', () => socket.write(randomBytes(64 * 1024)))
    socket.resume()
    await once(socket, 'close')
  })

  test('the node still serves', async () => {
    expect(await answer(open().send(head('GET', '/')))).toMatch(/^HTTP\/1.1 200 /)
  })
})

test('in the end nothing is left: no object, no upload, no block file, no connection', async () => {
  const listed = await answer(open().send(head('GET', `/${BUCKET}?versions=`)))
  expect(listed).toMatch(/^HTTP\/1.1 200 /)
  expect(listed).not.toMatch(/<Key>/)
  expect(await answer(open().send(head('GET', `/${BUCKET}?uploads=`)))).not.toMatch(/<Upload>/)
  for (const client of clients) client.socket.destroy()
  await expect.poll(serverConnections, { timeout: 10_000 }).toBe(0)
  // Blocks of failed uploads are kept for a day, in case their row is still on its way.
  expect(blockFiles().length).toBeGreaterThan(0)
  offsetMs += 48 * HOUR_MS
  const later = () => {
    // Deletions wait for a minute while references wait to be carried.
    offsetMs += 60_000
    return blockFiles()
  }
  await expect.poll(later, { timeout: 50_000, interval: 1000 }).toEqual([])
})
