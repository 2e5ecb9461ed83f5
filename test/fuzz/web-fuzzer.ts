import fc from 'fast-check'
import { exchange } from '../support/fuzz-client.js'
import { headerBytes, oddText, urlBytes } from '../support/fuzz-text.js'
import type { FuzzCluster } from './fuzz-cluster.js'
import { asError, type PortFuzzer, UnexpectedAnswer } from './port-fuzzer.js'

const SITE = 'fuzz-site'
const DEADLINE_MS = 20_000

const header: fc.Arbitrary<[string, string]> = fc
  .constantFrom<[string, string[]][]>(
    ['Range', ['bytes=0-0', 'bytes=-1', 'bytes=5-2', 'bytes=0-,1-', 'bytes=9'.repeat(200)]],
    ['If-None-Match', ['*', '"x"', 'W/"x"', '"'.repeat(500)]],
    ['If-Match', ['*', '"x"']],
    ['If-Modified-Since', ['Thu, 01 Jan 1970 00:00:00 GMT', 'x']],
    ['Accept-Encoding', ['gzip', 'br, zstd;q=0.5', '*;q=0', 'gzip;q=x', ', '.repeat(1000)]],
    ['Origin', ['http://a.example', 'null', '*']],
    ['Access-Control-Request-Method', ['GET', 'PUT', '']],
    ['Access-Control-Request-Headers', ['x', 'x,'.repeat(500)]],
    ['X-Forwarded-Proto', ['https', 'x']],
    ['Content-Length', ['0', '5', '-1', '1e9']],
    ['Transfer-Encoding', ['chunked', 'x']],
    ['Expect', ['100-continue', 'x']],
    ['Host', ['a']],
  )
  .chain(([name, values]) =>
    fc
      .oneof({ weight: 5, arbitrary: fc.constantFrom(...values) }, { weight: 1, arbitrary: oddText })
      .map((value): [string, string] => [name, headerBytes(value)]),
  )

const host = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(`${SITE}.web.localhost`, `${SITE}.web.localhost:80`, SITE) },
  { weight: 1, arbitrary: fc.constantFrom('no-site.web.localhost', '127.0.0.1', '', '.', 'a.'.repeat(500)) },
  { weight: 1, arbitrary: oddText.map(headerBytes) },
)
const path = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom('/', '/index.html', '/docs', '/docs/', '/old/a/b', '/gone/x', '/page'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('//x', '/\\x', '/../..', '/%2e%2e/', '/%00', '/%', '*', 'http://x/'),
  },
  { weight: 3, arbitrary: oddText.map((text) => `/${urlBytes(text, true)}`) },
)
const webRequest = fc.record({
  method: fc.oneof(
    { weight: 10, arbitrary: fc.constantFrom('GET', 'GET', 'HEAD', 'OPTIONS') },
    { weight: 1, arbitrary: fc.constantFrom('PUT', 'POST', 'DELETE', 'TRACE', 'PATCH', 'FOO') },
  ),
  path,
  query: fc.constantFrom('', '', '?', '?a=b', `?${'x'.repeat(3000)}`, '?%zz'),
  host,
  headers: fc.array(header, { maxLength: 4 }),
})

const RULES = [
  {
    Condition: { KeyPrefixEquals: 'old/' },
    Redirect: { ReplaceKeyPrefixWith: 'new/', HttpRedirectCode: 301 },
  },
  {
    Condition: { HttpErrorCodeReturnedEquals: 404, KeyPrefixEquals: 'gone/' },
    Redirect: { ReplaceKeyWith: 'index.html', HttpRedirectCode: 200 },
  },
]

/** Sites: requests with odd hosts, paths and headers to a site with pages and routing rules. */
export class WebFuzzer implements PortFuzzer {
  readonly name = 'web'
  #requests = 0

  private constructor(private readonly cluster: FuzzCluster) {}

  static async create(
    cluster: FuzzCluster,
    put: (target: string, body: string) => Promise<void>,
  ): Promise<WebFuzzer> {
    await put(`/${SITE}`, '')
    for (const key of ['index.html', 'docs/index.html', 'error.html', 'page', 'page.gz']) {
      await put(`/${SITE}/${key}`, `<p>${key}</p>`)
    }
    const { id } = await cluster.first.admin<{ id: string }>('GET', `/v2/GetBucketInfo?globalAlias=${SITE}`)
    await cluster.first.admin('POST', `/v2/UpdateBucket?id=${id}`, {
      websiteAccess: {
        enabled: true,
        indexDocument: 'index.html',
        errorDocument: 'error.html',
        routingRules: RULES,
      },
    })
    return new WebFuzzer(cluster)
  }

  async *run(seed: number): AsyncGenerator<number> {
    for (const request of fc.sample(webRequest, { seed, numRuns: 100 })) {
      const { ports } = this.cluster.nodes[this.#requests++ % this.cluster.nodes.length]!
      const { method, query, headers } = request
      const lines = [['Host', request.host], ...headers].map(([name, value]) => `${name}: ${value}\r\n`)
      const bytes = Buffer.from(
        `${method} ${request.path}${query} HTTP/1.1\r\n${lines.join('')}\r\n`,
        'latin1',
      )
      // A length that the client announced and does not send makes the node wait for it: the client leaves.
      const leaves = headers.some(([name]) => /^(Content-Length|Transfer-Encoding)$/.test(name))
      try {
        const answer = await exchange(ports.web, bytes, method, { leaves, deadlineMs: DEADLINE_MS })
        const { status = 0 } = answer
        if (status >= 500 && status !== 501) throw new Error(`status ${status}`)
        if (status === 0 && !leaves) throw new Error('closed without an answer')
        if (answer.headers.has('x-injected')) throw new Error('a header that nobody sent')
        yield status
      } catch (error) {
        throw new UnexpectedAnswer(asError(error).message, request, seed)
      }
    }
  }
}
