import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type IncomingHttpHeaders } from 'node:http2'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import { CreateBucketCommand, PutBucketWebsiteCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createIdentity, type NodeIdentity } from '../src/net/identity.js'
import { realClock, systemRandom } from '../src/platform/clock-and-random.js'
import { type Listening, listen } from '../src/platform/listen.js'
import { createLog } from '../src/platform/logger.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const HOST = 'site.web.localhost'
const LARGE = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 7) % 251))
const tcp = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const

let dir: string
let files: { certFile: string; keyFile: string }
let node: TestNode

/** Puts a certificate and its key in place, as certbot and the like do: by renaming. */
function install({
  certificatePem,
  privateKeyPem,
}: Pick<NodeIdentity, 'certificatePem' | 'privateKeyPem'>): void {
  for (const [file, pem] of [
    [files.keyFile, privateKeyPem],
    [files.certFile, certificatePem],
  ] as const) {
    writeFileSync(`${file}.new`, pem)
    renameSync(`${file}.new`, file)
  }
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'carport-tls-'))
  files = { certFile: join(dir, 'cert.pem'), keyFile: join(dir, 'key.pem') }
  install(createIdentity(systemRandom))
  const web = { rootDomain: 'web.localhost', addHostToMetrics: false, pageCacheBytesMax: 1e6 }
  node = await startTestNode({ web: { ...web, bindAddr: tcp, tls: files } })
  const s3 = node.client(await node.createKey('tls'))
  await s3.send(new CreateBucketCommand({ Bucket: 'site' }))
  const WebsiteConfiguration = { IndexDocument: { Suffix: 'index.html' } }
  await s3.send(new PutBucketWebsiteCommand({ Bucket: 'site', WebsiteConfiguration }))
  for (const [Key, Body] of [
    ['index.html', 'home'],
    ['docs/index.html', 'docs'],
    ['large', LARGE],
  ] as const) {
    await s3.send(new PutObjectCommand({ Bucket: 'site', Key, Body }))
  }
})

afterAll(async () => {
  await node?.dispose()
  rmSync(dir, { recursive: true, force: true })
})

interface Got {
  headers: IncomingHttpHeaders & { ':status'?: number }
  body: Buffer
}

/** Requests over one HTTP/2 connection. */
async function overHttp2<T>(
  use: (get: (path: string, more?: object) => Promise<Got>) => Promise<T>,
): Promise<T> {
  const session = connect(`https://127.0.0.1:${node.web!.port}`, { rejectUnauthorized: false })
  const get = (path: string, more: object = {}) =>
    new Promise<Got>((resolve, reject) => {
      const stream = session.request({ ':path': path, ':authority': HOST, ...more })
      let headers: Got['headers']
      const chunks: Buffer[] = []
      stream.on('response', (got) => {
        headers = got
      })
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('error', reject)
      stream.on('end', () => resolve({ headers, body: Buffer.concat(chunks) }))
      stream.end()
    })
  try {
    return await use(get)
  } finally {
    await new Promise<void>((resolve) => session.close(resolve))
  }
}

test('a site is served over HTTP/2, many requests at a time', async () => {
  await overHttp2(async (get) => {
    const pages = await Promise.all(Array.from({ length: 60 }, () => get('/')))
    for (const { headers, body } of pages) expect([headers[':status'], String(body)]).toEqual([200, 'home'])
    const [large, part, folder, missing, head] = await Promise.all([
      get('/large'),
      get('/large', { range: 'bytes=1000-2000000' }),
      get('/docs'),
      get('/nothing'),
      get('/large', { ':method': 'HEAD' }),
    ])
    expect(large.body.equals(LARGE)).toBe(true)
    expect([part.headers[':status'], part.body.equals(LARGE.subarray(1000, 2_000_001))]).toEqual([206, true])
    expect([folder.headers[':status'], folder.headers.location]).toEqual([302, '/docs/'])
    expect(missing.headers[':status']).toBe(404)
    expect([head.headers['content-length'], head.body.length]).toEqual([String(LARGE.length), 0])
  })
})

test('a visitor who goes away in the middle of a page leaves the others on the connection alone', async () => {
  await overHttp2(async (get) => {
    const session = connect(`https://127.0.0.1:${node.web!.port}`, { rejectUnauthorized: false })
    const leaving = session.request({ ':path': '/large', ':authority': HOST })
    await new Promise((resolve) => leaving.once('data', resolve))
    leaving.close()
    session.destroy()
    expect(String((await get('/')).body)).toBe('home')
  })
})

/** A request over TLS and HTTP/1.1. */
function overHttp1(port: number, host: string, path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', rejectUnauthorized: false, agent: false }
    const sent = request({ ...options, path, headers: { host } }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode!, text }))
    })
    sent.on('error', reject).end()
  })
}

test('a site is served over HTTP/1.1 too', async () => {
  expect(await overHttp1(node.web!.port, HOST, '/')).toEqual({ status: 200, text: 'home' })
})

test('the S3 and admin APIs are served over TLS where they have certificates', async () => {
  const s3Api = {
    region: 'us-east-1',
    rootDomain: null,
    publicEndpoint: null,
    publicEndpointPathStyle: null,
    acceptSignatureV2: true,
    acceptStorageClasses: true,
    bucketNamespace: 'global' as const,
  }
  const admin = { metricsRequireToken: false, traceSink: null, traceSampleRatio: 1 }
  const secure = await startTestNode({
    s3Api: { ...s3Api, bindAddr: tcp, tls: files },
    admin: { ...admin, bindAddr: tcp, tls: files },
  })
  try {
    const answer = await overHttp1(secure.s3!.port, 'localhost', '/bucket/key')
    expect([answer.status, answer.text.includes('<Error><Code>')]).toEqual([404, true])
    expect((await overHttp1(secure.adminApi!.port, 'localhost', '/health')).status).toBe(200)
    await expect(fetch(`http://127.0.0.1:${secure.s3!.port}/`)).rejects.toThrow()
  } finally {
    await secure.dispose()
  }
})

test('connections over TLS are counted while they are open, and no longer', async () => {
  const web = { rootDomain: 'web.localhost', addHostToMetrics: false, pageCacheBytesMax: 0 }
  const small = await startTestNode({ maxConnections: 3, web: { ...web, bindAddr: tcp, tls: files } })
  try {
    for (let i = 0; i < 100; i++) expect((await overHttp1(small.web!.port, 'none', '/')).status).toBe(404)
  } finally {
    await small.dispose()
  }
})

/** The certificate that a server shows, as PEM without line ends. */
function shown(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().raw.toString('base64'))
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

const base64Of = ({ certificatePem }: NodeIdentity) => certificatePem.replace(/-----[^-]+-----|\n/g, '')

test('certificates are read again when their files change, and a pair that does not fit changes nothing', async () => {
  const [first, second] = [createIdentity(systemRandom), createIdentity(systemRandom)]
  install(first)
  let told: (line: string) => void = () => {}
  const log = createLog({ level: 'info', format: 'text' }, realClock, (line) => told(line))
  const lineWith = (text: string) =>
    new Promise<void>((resolve) => {
      told = (line) => {
        if (line.includes(text)) resolve()
      }
    })
  const tls = { files, http2: true, log, lookEveryMs: 20 }
  const listening: Listening = await listen(tcp, {}, () => {}, tls)
  try {
    expect(await shown(listening.port)).toBe(base64Of(first))
    const kept = lineWith('the old certificate stays in use')
    install({ ...second, certificatePem: first.certificatePem })
    await kept
    expect(await shown(listening.port)).toBe(base64Of(first))
    const changed = lineWith('a new certificate is in use')
    install(second)
    await changed
    expect(await shown(listening.port)).toBe(base64Of(second))
  } finally {
    await listening.close()
  }
})

test('a certificate that cannot be used ends the start with one sentence', async () => {
  const log = createLog({ level: 'error', format: 'text' }, realClock, () => {})
  const start = (paths: typeof files) => listen(tcp, {}, () => {}, { files: paths, http2: false, log })
  await expect(start({ ...files, certFile: join(dir, 'none.pem') })).rejects.toThrow(
    /none.pem cannot be read/,
  )
  writeFileSync(join(dir, 'other.pem'), createIdentity(systemRandom).privateKeyPem)
  await expect(start({ ...files, keyFile: join(dir, 'other.pem') })).rejects.toThrow(
    /cannot be used together/,
  )
})
