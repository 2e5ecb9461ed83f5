import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetBucketWebsiteCommand,
  PutBucketCorsCommand,
  PutBucketWebsiteCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type RoutingRule,
  type S3Client,
  type WebsiteConfiguration,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'
import { exchangeBytes, type Visit, visit } from './support/visit.js'

const HOST = 'blog.web.localhost'
const WEBSITE = { IndexDocument: { Suffix: 'index.html' }, ErrorDocument: { Key: 'oops.html' } }

let node: TestNode
let s3: S3Client
let port: number

beforeAll(async () => {
  node = await startTestNode()
  s3 = node.client(await node.createKey('web'))
  port = node.web!.port
  await site('blog')
  await put('blog', 'index.html', 'home', { ContentType: 'text/html' })
  await put('blog', 'oops.html', 'no such page', { ContentType: 'text/html' })
  await put('blog', 'docs/index.html', 'docs', { ContentType: 'text/html' })
  await put('blog', 'docs/a b.txt', '0123456789', {
    ContentType: 'text/plain',
    CacheControl: 'max-age=60',
    Metadata: { author: 'me' },
  })
  await s3.send(new CreateBucketCommand({ Bucket: 'private' }))
  await put('private', 'index.html', 'secret')
})

afterAll(() => node?.dispose())

async function site(bucket: string, website: WebsiteConfiguration = WEBSITE): Promise<void> {
  await s3.send(new CreateBucketCommand({ Bucket: bucket }))
  await s3.send(new PutBucketWebsiteCommand({ Bucket: bucket, WebsiteConfiguration: website }))
}

function put(bucket: string, key: string, body: string | Buffer, more: Partial<PutObjectCommandInput> = {}) {
  return s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body, ...more }))
}

const get = (path: string, headers: Record<string, string> = {}, host = HOST) =>
  visit(port, host, path, { headers })

describe('a site', () => {
  test('is found by its label under the root domain, whatever the port and the case of the host', async () => {
    for (const host of [HOST, `${HOST}:3902`, 'BLOG.Web.localhost', `${HOST}.`]) {
      expect(await get('/', {}, host)).toMatchObject({ status: 200, text: 'home' })
    }
  })

  test('is found by its full host names, of which it may have several', async () => {
    const bucket = node.core.model.buckets.localByName('blog', undefined)!
    for (const name of ['www.example.org', 'example.org', 'full.web.localhost']) {
      await node.core.model.buckets.addAlias(bucket, name)
      expect(await get('/', {}, name)).toMatchObject({ status: 200, text: 'home' })
    }
  })

  test('sends pages with what was stored with them', async () => {
    const page = await get('/docs/a%20b.txt?x=1')
    expect(page).toMatchObject({ status: 200, text: '0123456789' })
    expect(page.headers).toMatchObject({
      'content-type': 'text/plain',
      'cache-control': 'max-age=60',
      'content-length': '10',
      'accept-ranges': 'bytes',
      'x-amz-meta-author': 'me',
      etag: '"781e5e245d69b566979b86e28d23f2c7"',
    })
    expect(Date.parse(page.headers['last-modified']!)).toBeGreaterThan(0)
    const head = await visit(port, HOST, '/docs/a%20b.txt', { method: 'HEAD' })
    expect(head).toMatchObject({ status: 200, text: '' })
    expect({ ...head.headers, date: '', 'x-amz-request-id': '' }).toEqual({
      ...page.headers,
      date: '',
      'x-amz-request-id': '',
    })
  })

  test('shows the index document of a folder, and leads to its slash', async () => {
    expect(await get('/docs/')).toMatchObject({ status: 200, text: 'docs' })
    const answer = await get('/docs?q=1')
    expect([answer.status, answer.headers.location]).toEqual([302, '/docs/?q=1'])
    expect(await get('/docs/index.html')).toMatchObject({ status: 200, text: 'docs' })
  })

  test('never leads to another host by a path that begins with two slashes', async () => {
    await put('blog', '/evil.example/index.html', 'folder')
    const { status, headers } = await get('//evil.example')
    expect(status).toBe(302)
    expect(new URL(headers.location!, `http://${HOST}/`).host).toBe(HOST)
  })

  test('shows its error document, with the status of the error', async () => {
    const page = await get('/nothing')
    expect([page.status, page.text, page.headers['content-type']]).toEqual([404, 'no such page', 'text/html'])
    expect((await visit(port, HOST, '/nothing', { method: 'HEAD' })).status).toBe(404)
    await site('plain', { IndexDocument: { Suffix: 'index.html' } })
    const plain = await get('/nothing', {}, 'plain.web.localhost')
    expect([plain.status, plain.headers['content-type']]).toEqual([404, 'text/html; charset=utf-8'])
    expect(plain.text).toContain('<h1>404 Not Found</h1>')
  })

  test('shows what was written and deleted at once, though it keeps pages in memory', async () => {
    await put('blog', 'changing.txt', 'one')
    expect((await get('/changing.txt')).text).toBe('one')
    expect((await get('/changing.txt')).text).toBe('one')
    await put('blog', 'changing.txt', 'two')
    expect((await get('/changing.txt')).text).toBe('two')
    await put('blog', 'changing.txt', 'two', { ContentType: 'text/css' })
    expect((await get('/changing.txt')).headers['content-type']).toBe('text/css')
    await s3.send(new DeleteObjectCommand({ Bucket: 'blog', Key: 'changing.txt' }))
    expect((await get('/changing.txt')).status).toBe(404)
  })

  test('sends pages of all sizes whole, again and again', async () => {
    for (const size of [0, 1, 70_000, 300_000, 3_000_000]) {
      const body = Buffer.alloc(size, `${size}-`)
      await put('blog', 'sized', body)
      for (let i = 0; i < 2; i++) {
        const page = await get('/sized')
        expect([page.status, page.body.equals(body)]).toEqual([200, true])
      }
      if (size < 10) continue
      const part = await get('/sized', { range: `bytes=5-${size - 3}` })
      expect([part.status, part.body.equals(body.subarray(5, size - 2))]).toEqual([206, true])
    }
  })

  test('sends pages that are encrypted with the cluster’s keys, and refuses those of clients’ keys', async () => {
    const large = Buffer.alloc(1_500_000, 'x')
    await put('blog', 'sealed.txt', 'sealed', { ServerSideEncryption: 'AES256' })
    await put('blog', 'sealed-large', large, { ServerSideEncryption: 'AES256' })
    for (let i = 0; i < 2; i++) expect((await get('/sealed.txt')).text).toBe('sealed')
    expect((await get('/sealed-large')).body.equals(large)).toBe(true)
    const SSECustomerKey = Buffer.alloc(32, 1).toString('base64')
    await put('blog', 'customer', 'x', { SSECustomerAlgorithm: 'AES256', SSECustomerKey })
    expect((await get('/customer')).status).toBe(403)
    expect((await visit(port, HOST, '/customer', { method: 'HEAD' })).status).toBe(403)
    await put('blog', 'theirs.js', 'plain')
    await put('blog', 'theirs.js.br', 'x', { SSECustomerAlgorithm: 'AES256', SSECustomerKey })
    expect((await get('/theirs.js', { 'accept-encoding': 'br' })).text).toBe('plain')
  })
})

describe('conditions and ranges', () => {
  const path = '/docs/a%20b.txt'
  let page: Visit
  beforeAll(async () => {
    page = await get(path)
  })

  test('spare what the visitor has', async () => {
    const { etag, 'last-modified': modified } = page.headers
    for (const [name, value] of [
      ['if-none-match', etag!],
      ['if-none-match', `"x", W/${etag}`],
      ['if-modified-since', modified!],
    ] as const) {
      const answer = await get(path, { [name]: value })
      expect([answer.status, answer.text, answer.headers.etag]).toEqual([304, '', etag])
      expect(answer.headers['cache-control']).toBe('max-age=60')
    }
    expect((await get(path, { 'if-none-match': '"x"', 'if-modified-since': modified! })).status).toBe(200)
    expect((await get(path, { 'if-match': '"x"' })).status).toBe(412)
    expect((await get(path, { 'if-unmodified-since': new Date(0).toUTCString() })).status).toBe(412)
  })

  test('of bytes are sent alone, if the page is still the same', async () => {
    const part = await get(path, { range: 'bytes=2-4' })
    expect([part.status, part.text, part.headers['content-range']]).toEqual([206, '234', 'bytes 2-4/10'])
    expect((await get(path, { range: 'bytes=-3' })).text).toBe('789')
    expect((await get(path, { range: 'bytes=7-', 'if-range': page.headers.etag! })).text).toBe('789')
    expect((await get(path, { range: 'bytes=7-', 'if-range': page.headers['last-modified']! })).text).toBe(
      '789',
    )
    expect((await get(path, { range: 'bytes=7-', 'if-range': '"other"' })).status).toBe(200)
    const beyond = await get(path, { range: 'bytes=10-' })
    expect([beyond.status, beyond.headers['content-range']]).toEqual([416, 'bytes */10'])
    expect(beyond.text).toContain('416 Range Not Satisfiable')
  })

  test('of many parts are answered by the whole, or refused where they are too many to read', async () => {
    const ranges = (count: number) => `bytes=${Array(count).fill('0-0').join(',')}`
    expect(await get(path, { range: ranges(3000) })).toMatchObject({ status: 200, text: '0123456789' })
    const answer = await get(path, { range: ranges(10_000) })
    expect(answer.status).toBe(431)
    expect(answer.text).toContain('<h1>431 Request Header Fields Too Large</h1>')
  })
})

describe('compressed siblings', () => {
  beforeAll(async () => {
    await put('blog', 'app.js', 'plain', { ContentType: 'text/javascript', CacheControl: 'no-cache' })
    await put('blog', 'app.js.br', 'brotli')
    await put('blog', 'app.js.gz', 'gzip', { ContentEncoding: 'gzip' })
    await put('blog', 'photo.png', 'png')
    await put('blog', 'photo.png.gz', 'never')
  })

  test('are sent to those who take them, each with an ETag of its own', async () => {
    const plain = await get('/app.js')
    const br = await get('/app.js', { 'accept-encoding': 'gzip, deflate, br, zstd' })
    const gzip = await get('/app.js', { 'accept-encoding': 'gzip, deflate, zstd' })
    expect([plain.text, br.text, gzip.text]).toEqual(['plain', 'brotli', 'gzip'])
    expect([plain, br, gzip].map(({ headers }) => headers['content-encoding'])).toEqual([
      undefined,
      'br',
      'gzip',
    ])
    expect(new Set([plain, br, gzip].map(({ headers }) => headers.etag)).size).toBe(3)
    for (const { headers } of [plain, br, gzip]) {
      expect(headers).toMatchObject({
        vary: 'Accept-Encoding',
        'content-type': 'text/javascript',
        'cache-control': 'no-cache',
      })
    }
    expect((await get('/app.js', { 'accept-encoding': 'br;q=0, gzip;q=0.5' })).text).toBe('gzip')
    expect((await get('/app.js', { 'accept-encoding': 'identity, gzip;q=0.5' })).text).toBe('plain')
    const again = await get('/app.js', { 'accept-encoding': 'br', 'if-none-match': br.headers.etag! })
    expect([again.status, again.headers.vary]).toEqual([304, 'Accept-Encoding'])
    expect((await get('/app.js', { 'accept-encoding': 'br', range: 'bytes=0-2' })).text).toBe('bro')
  })

  test('are not looked for where nothing would be gained', async () => {
    const answer = await get('/photo.png', { 'accept-encoding': 'gzip' })
    expect([answer.text, answer.headers.vary]).toEqual(['png', undefined])
  })

  test('come and go with their files', async () => {
    await put('blog', 'new.css', 'plain')
    expect((await get('/new.css', { 'accept-encoding': 'zstd' })).text).toBe('plain')
    await put('blog', 'new.css.zst', 'zstd')
    expect((await get('/new.css', { 'accept-encoding': 'zstd' })).headers['content-encoding']).toBe('zstd')
    await s3.send(new DeleteObjectCommand({ Bucket: 'blog', Key: 'new.css' }))
    expect((await get('/new.css', { 'accept-encoding': 'zstd' })).status).toBe(404)
  })
})

describe('redirects', () => {
  test('of an object lead where its header says', async () => {
    await put('blog', 'moved', '', { WebsiteRedirectLocation: 'https://example.org/x' })
    const answer = await get('/moved')
    expect([answer.status, answer.headers.location, answer.text]).toEqual([301, 'https://example.org/x', ''])
  })

  test('of a whole site keep path and query', async () => {
    await site('all', { RedirectAllRequestsTo: { HostName: 'example.org', Protocol: 'https' } })
    await site('same', { RedirectAllRequestsTo: { HostName: 'example.org' } })
    const host = (name: string) => `${name}.web.localhost`
    const answer = await get('/a%20b/?q=1', {}, host('all'))
    expect([answer.status, answer.headers.location]).toEqual([301, 'https://example.org/a%20b/?q=1'])
    expect((await get('/', {}, host('same'))).headers.location).toBe('http://example.org/')
  })

  test('by rules follow their conditions', async () => {
    const rules: RoutingRule[] = [
      { Condition: { KeyPrefixEquals: 'old/' }, Redirect: { ReplaceKeyPrefixWith: 'new/' } },
      {
        Condition: { KeyPrefixEquals: 'out/' },
        Redirect: { HostName: 'example.org', Protocol: 'https', HttpRedirectCode: '308' },
      },
      { Condition: { KeyPrefixEquals: 'one' }, Redirect: { ReplaceKeyWith: 'a b', HttpRedirectCode: '307' } },
      {
        Condition: { KeyPrefixEquals: 'app/', HttpErrorCodeReturnedEquals: '404' },
        Redirect: { ReplaceKeyWith: 'app/shell.html', HttpRedirectCode: '200' },
      },
      {
        Condition: { KeyPrefixEquals: 'gone/' },
        Redirect: { ReplaceKeyWith: 'gone.html', HttpRedirectCode: '404' },
      },
      { Condition: { HttpErrorCodeReturnedEquals: '404' }, Redirect: { ReplaceKeyPrefixWith: 'search/' } },
    ]
    await site('rules', { RoutingRules: rules })
    await put('rules', 'app/shell.html', 'shell')
    await put('rules', 'app/real.html', 'real')
    await put('rules', 'app/sub/index.html', 'sub')
    await put('rules', 'gone.html', 'gone')
    const at = async (path: string) => {
      const { status, headers, text } = await get(path, {}, 'rules.web.localhost')
      return [status, headers.location ?? text]
    }
    expect(await at('/old/x%20y?q=1')).toEqual([302, '/new/x%20y?q=1'])
    expect(await at('/out/x')).toEqual([308, 'https://example.org/out/x'])
    expect(await at('/one-more')).toEqual([307, '/a%20b'])
    expect(await at('/app/real.html')).toEqual([200, 'real'])
    expect(await at('/app/some/route')).toEqual([200, 'shell'])
    expect(await at('/app/sub')).toEqual([302, '/app/sub/'])
    expect(await at('/gone/x')).toEqual([404, 'gone'])
    expect(await at('/nothing')).toEqual([302, '/search/nothing'])
  })

  test('by more rules than AWS takes work, without an index document', async () => {
    const rules = Array.from({ length: 900 }, (_, i) => ({
      Condition: { KeyPrefixEquals: `p${i}/` },
      Redirect: { ReplaceKeyPrefixWith: `q${i}/` },
    }))
    await site('many', { RoutingRules: rules })
    expect((await get('/p899/x', {}, 'many.web.localhost')).headers.location).toBe('/q899/x')
    const got = await s3.send(new GetBucketWebsiteCommand({ Bucket: 'many' }))
    expect(got.RoutingRules).toHaveLength(900)
    expect(got.IndexDocument).toEqual({ Suffix: 'index.html' })
  })
})

describe('scripts of other origins', () => {
  beforeAll(() =>
    s3.send(
      new PutBucketCorsCommand({
        Bucket: 'blog',
        CORSConfiguration: {
          CORSRules: [
            { AllowedOrigins: ['https://app.example'], AllowedMethods: ['GET'], AllowedHeaders: ['*'] },
          ],
        },
      }),
    ),
  )

  test('are told by a preflight what they may do', async () => {
    const preflight = (origin: string) =>
      visit(port, HOST, '/app.js', {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'x-a' },
      })
    const answer = await preflight('https://app.example')
    expect(answer.status).toBe(200)
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': 'https://app.example',
      'access-control-allow-headers': 'x-a',
    })
    expect((await preflight('https://evil.example')).status).toBe(403)
  })

  test('may read the answers, error pages too', async () => {
    for (const path of ['/app.js', '/nothing']) {
      const { headers } = await get(path, { origin: 'https://app.example' })
      expect(headers['access-control-allow-origin']).toBe('https://app.example')
      const other = await get(path, { origin: 'https://evil.example' })
      expect(other.headers['access-control-allow-origin']).toBeUndefined()
      expect(other.headers.vary).toContain('Origin')
    }
  })
})

describe('what is no page of a site', () => {
  const plain = ({ status, text }: Visit) => [status, /^<!doctype html>[\s\S]*<h1>\d{3} /.test(text)]

  test.each([
    'private.web.localhost',
    'private',
    'nobody.web.localhost',
    'web.localhost',
    '127.0.0.1',
    '[::1]:3902',
    'a..b',
    '-',
    'bl%6fg.web.localhost',
    'blog.web.localhost@private',
    'x'.repeat(300),
  ])('is a plain error page for the host %s', async (host) => {
    const answer = await get('/index.html', {}, host)
    expect(plain(answer)).toEqual([404, true])
    expect(answer.text).not.toMatch(/secret|home/)
  })

  test('is a plain error page where the host is missing, given twice or contradicted', async () => {
    const end = 'Connection: close\r\n\r\n'
    for (const head of [
      `GET / HTTP/1.0\r\n${end}`,
      `GET / HTTP/1.1\r\nHost: ${HOST}\r\nHost: private.web.localhost\r\n${end}`,
      `GET http://private.web.localhost/ HTTP/1.1\r\nHost: ${HOST}\r\n${end}`,
    ]) {
      const answer = await exchangeBytes(port, head)
      expect(answer).toMatch(/^HTTP\/1\.1 400 /)
      expect(answer).toContain('<h1>400 Bad Request</h1>')
    }
    expect(await exchangeBytes(port, `GET http://${HOST}/docs/ HTTP/1.1\r\nHost: ${HOST}\r\n${end}`)).toMatch(
      /^HTTP\/1\.1 200 [\s\S]*docs$/,
    )
  })

  test.each([
    ['/../private/index.html', 400],
    ['/%2e%2e/private/index.html', 400],
    ['/docs/%2E./index.html', 400],
    ['/./index.html', 400],
    ['/a%00b', 400],
    ['/%', 400],
    ['/%ff%fe', 400],
    [`/${'a'.repeat(1025)}`, 414],
    [`/${'a/'.repeat(9000)}`, 431],
  ])('is a plain error page for the path %s', async (path, status) => {
    expect(plain(await get(path))).toEqual([status, true])
  })

  test('is a plain error page for other methods', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PROPFIND']) {
      const answer = await visit(port, HOST, '/index.html', { method })
      expect(plain(answer)).toEqual([405, true])
      expect(answer.headers.allow).toBe('GET, HEAD, OPTIONS')
    }
  })

  test('is a plain error page for what is no HTTP', async () => {
    expect(await exchangeBytes(port, 'hello\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 400 [\s\S]*<h1>400 Bad Request<\/h1>/,
    )
  })

  test('is anything of a bucket that is no site any more', async () => {
    await site('closing')
    await put('closing', 'index.html', 'open')
    expect((await get('/', {}, 'closing.web.localhost')).text).toBe('open')
    const bucket = node.core.model.buckets.localByName('closing', undefined)!
    await node.core.model.buckets.setDocument(bucket, 'website', undefined)
    expect((await get('/', {}, 'closing.web.localhost')).status).toBe(404)
  })
})

describe('a proxy', () => {
  test('that is trusted tells by which protocol the visitor came, and the access log has the visitor', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'carport-web-log-'))
    const file = join(dir, 'access.log')
    const behind = await startTestNode({
      trustedProxies: ['127.0.0.1'],
      accessLog: { requests: 'all', file },
      allowPunycode: true,
    })
    try {
      const buckets = behind.core.model.buckets
      const redirectAllRequestsTo = { hostName: 'example.org' }
      await buckets.create('all', { documents: { website: { indexDocument: 'i', redirectAllRequestsTo } } })
      const forwarded = { 'x-forwarded-for': '192.0.2.7', 'x-forwarded-proto': 'https' }
      const answer = await visit(behind.web!.port, 'all.web.localhost', '/x', { headers: forwarded })
      expect(answer.headers.location).toBe('https://example.org/x')
      await buckets.create('xn--bcher-kva.example', { documents: { website: { indexDocument: 'i' } } })
      expect((await visit(behind.web!.port, 'xn--bcher-kva.example', '/')).status).toBe(404)
      await behind.stop()
      const lines = readFileSync(file, 'utf8').trim().split('\n')
      expect(JSON.parse(lines[0]!)).toMatchObject({
        ...{ api: 'web', source: '192.0.2.7', bucket: 'all', operation: 'GetPage', path: '/x', status: 301 },
      })
    } finally {
      await behind.dispose()
      rmSync(dir, { recursive: true, force: true })
    }
  })

  test('or anybody cannot have a bucket named with xn-- where that is not allowed', async () => {
    await expect(node.core.model.buckets.create('a.xn--bcher-kva')).rejects.toThrow('not a valid bucket name')
    await expect(s3.send(new CreateBucketCommand({ Bucket: 'xn--bcher-kva' }))).rejects.toMatchObject({
      name: 'InvalidBucketName',
    })
  })
})
