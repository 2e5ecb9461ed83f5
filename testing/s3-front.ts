import { createHash, createHmac, randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { amzDate } from '../src/api/http/date.js'
import { HTTP_SERVER_OPTIONS, type HttpFront, type RequestRecord } from '../src/api/http/front.js'
import { uriEncode } from '../src/api/http/uri.js'
import { S3Error } from '../src/api/s3/errors.js'
import { createS3Front, type S3FrontOptions } from '../src/api/s3/front.js'
import { S3_OPERATIONS } from '../src/api/s3/operations.js'
import type { PayloadResult } from '../src/api/s3/payload/payload.js'
import type { Handler, Handlers, S3Request } from '../src/api/s3/request.js'
import { canonicalQuery } from '../src/api/s3/signature/canonical.js'
import { deriveSigningKey } from '../src/api/s3/signature/keys.js'
import { parseXml } from '../src/api/xml/reader.js'
import { xmlDocument, xmlText } from '../src/api/xml/writer.js'
import type { Log } from '../src/util/log.js'
import { ManualClock } from './cluster-fakes.js'

export const KEY_ID = 'GK0123456789abcdef'
export const SECRET = 'a secret of the tests'
export const REGION = 'garage'

export interface StoredObject {
  body: Buffer
  result: PayloadResult
  contentType: string | undefined
  metadata: Record<string, string>
  /** Whether the checksum came in a trailer. */
  inTrailer: boolean | undefined
}

/** The front on a real server, with handlers that keep objects in memory. */
export interface TestFront {
  front: HttpFront<S3Request>
  server: Server
  port: number
  endpoint: string
  clock: ManualClock
  objects: Map<string, StoredObject>
  records: RequestRecord[]
  /** Lines logged as errors. */
  errors: object[]
  /** Lines logged as warnings. */
  warnings: object[]
  stop(): Promise<void>
}

export async function startFront(
  handlers: Partial<Handlers> = {},
  options: Partial<S3FrontOptions> = {},
): Promise<TestFront> {
  const clock = new ManualClock(Date.now())
  const objects = new Map<string, StoredObject>()
  const records: RequestRecord[] = []
  const errors: object[] = []
  const warnings: object[] = []
  const log: Log = {
    debug() {},
    info() {},
    warn: (fields) => void warnings.push(fields),
    error: (fields) => void errors.push(fields),
    child: () => log,
  }
  const front = createS3Front({
    clock,
    random: { bytes: randomBytes, float: () => 0.5 },
    log,
    region: REGION,
    rootDomains: ['.s3.localhost'],
    secretOf: (id) => (id === KEY_ID ? SECRET : undefined),
    handlers: { ...memoryHandlers(objects), ...handlers },
    hostId: 'test-node',
    onRequest: (record) => records.push(record),
    ...options,
  })
  const server = createServer(HTTP_SERVER_OPTIONS)
  front.attach(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    front,
    server,
    port,
    endpoint: `http://127.0.0.1:${port}`,
    clock,
    objects,
    records,
    errors,
    warnings,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function memoryHandlers(objects: Map<string, StoredObject>): Handlers {
  const store: Handler = async (request) => {
    const chunks: Buffer[] = []
    for await (const chunk of request.payload) chunks.push(chunk)
    const { result } = request.payload
    objects.set(`${request.bucket}/${request.key}`, {
      body: Buffer.concat(chunks),
      result,
      contentType: request.header('content-type'),
      metadata: request.metadata(),
      inTrailer: request.payload.checksum?.inTrailer,
    })
    const headers: Record<string, string> = { ETag: '"etag"' }
    if (result.checksum) {
      headers[`x-amz-checksum-${result.checksum.algorithm.toLowerCase()}`] =
        result.checksum.value.toString('base64')
    }
    return { status: 200, headers }
  }
  const read: Handler = (request) => {
    const object = objects.get(`${request.bucket}/${request.key}`)
    if (!object) throw new S3Error('NoSuchKey', undefined, { extra: { Key: request.key } })
    return {
      status: 200,
      headers: { 'Content-Length': object.body.length, 'Content-Type': object.contentType, ETag: '"etag"' },
      body: object.body,
    }
  }
  const all = Object.fromEntries(S3_OPERATIONS.map((name) => [name, 'NotImplemented'])) as Handlers
  return {
    ...all,
    PutObject: store,
    UploadPart: store,
    GetObject: read,
    HeadObject: read,
    DeleteObject: (request) => {
      objects.delete(`${request.bucket}/${request.key}`)
      return { status: 204 }
    },
    DeleteObjects: async (request) => {
      const root = await parseXml(await request.payload.readAll(1024 * 1024, 'MalformedXML'), 'Delete')
      const keys = root.all('Object').map((object) => object.needText('Key'))
      for (const key of keys) objects.delete(`${request.bucket}/${key}`)
      const deleted = keys.map((key) => `<Deleted>${xmlText('Key', key)}</Deleted>`).join('')
      return { status: 200, body: xmlDocument('DeleteResult', deleted) }
    },
    ListBuckets: () => ({ status: 200, body: xmlDocument('ListAllMyBucketsResult', '<Buckets/>') }),
  }
}

export interface RawRequest {
  method: string
  /** Path and query in the form in which they are sent. */
  target: string
  headers?: Record<string, string>
  /** Declared hash of the body; default UNSIGNED-PAYLOAD. */
  payloadHash?: string
}

/** The head of a signed HTTP request, up to the empty line, and its signature. */
export function signedHead(
  test: TestFront,
  request: RawRequest,
): { head: string; signature: string; date: string } {
  const date = amzDate(test.clock.nowMs())
  const headers: Record<string, string> = {
    host: `127.0.0.1:${test.port}`,
    'x-amz-date': date,
    'x-amz-content-sha256': request.payloadHash ?? 'UNSIGNED-PAYLOAD',
    ...request.headers,
  }
  const names = Object.keys(headers)
    .map((name) => name.toLowerCase())
    .sort()
  const lower = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
  const [path, query = ''] = request.target.split('?') as [string, string?]
  const canonical = [
    request.method,
    uriEncode(decodeURIComponent(path), true),
    canonicalQuery(query),
    ...names.map((name) => `${name}:${lower[name]}`),
    '',
    names.join(';'),
    headers['x-amz-content-sha256'],
  ].join('\n')
  const scope = `${date.slice(0, 8)}/${REGION}/s3/aws4_request`
  const hash = createHash('sha256').update(canonical, 'latin1').digest('hex')
  const signature = createHmac('sha256', deriveSigningKey(SECRET, date.slice(0, 8), REGION, 's3'))
    .update(`AWS4-HMAC-SHA256\n${date}\n${scope}\n${hash}`)
    .digest('hex')
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return {
    head:
      `${request.method} ${request.target} HTTP/1.1\r\n${lines.join('')}` +
      `Authorization: AWS4-HMAC-SHA256 Credential=${KEY_ID}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}\r\n\r\n`,
    signature,
    date,
  }
}

/** A connection on which tests send bytes and wait for the answer. */
export class RawClient {
  received = ''
  closed = false
  /** The pieces in which the answer arrived. */
  readonly pieces: string[] = []
  readonly socket: Socket
  #waiters: (() => void)[] = []

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    const wake = () => {
      for (const waiter of this.#waiters.splice(0)) waiter()
    }
    this.socket.on('data', (data) => {
      this.received += data.toString('latin1')
      this.pieces.push(data.toString('latin1'))
      wake()
    })
    this.socket.on('close', () => {
      this.closed = true
      wake()
    })
    this.socket.on('error', () => {})
  }

  send(data: string | Buffer): this {
    this.socket.write(data)
    return this
  }

  /** Resolves with all bytes received so far, once `condition` holds for them. */
  async until(condition: (received: string, closed: boolean) => boolean): Promise<string> {
    while (!condition(this.received, this.closed)) {
      if (this.closed) throw new Error(`closed after ${JSON.stringify(this.received.slice(0, 2000))}`)
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
    return this.received
  }

  untilText(text: string): Promise<string> {
    return this.until((received) => received.includes(text))
  }

  untilClosed(): Promise<string> {
    return this.until((_, closed) => closed)
  }
}
