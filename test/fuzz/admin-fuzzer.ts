import fc from 'fast-check'
import { ENDPOINTS, type EndpointName } from '../../src/api/admin/http/endpoints.js'
import { exchange } from '../support/fuzz-client.js'
import { headerBytes, oddText, urlBytes } from '../support/fuzz-text.js'
import { FuzzCluster } from './fuzz-cluster.js'
import { asError, type PortFuzzer, UnexpectedAnswer } from './port-fuzzer.js'

const DEADLINE_MS = 30_000
/** Endpoints that would end the cluster under the other fuzzers' feet: they only get arguments that are refused. */
const HARMFUL: readonly string[] = ['ApplyClusterLayout', 'ClusterLayoutSkipDeadNodes', 'UpdateClusterLayout']

const NAMES = Object.keys(ENDPOINTS) as EndpointName[]
/** `@B@` and `@K@` stand for the id of a bucket and of a key that only this fuzzer uses. */
const TEXTS = [
  '@B@',
  '@B@',
  '@K@',
  '@K@',
  'fuzz-admin',
  'self',
  '*',
  'GK',
  'a',
  '2099-01-01T00:00:00Z',
  '*/15',
]

const text = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...TEXTS) }, { weight: 1, arbitrary: oddText })
const FIELDS =
  `id accessKeyId bucketId globalAlias localAlias alias name permissions read write owner allow deny
  createBucket expiration neverExpires scope roles parameters zoneRedundancy zone capacity tags remove version
  websiteAccess enabled indexDocument errorDocument routingRules quotas maxSize maxObjects corsRules lifecycleRules
  olderThanSecs secretAccessKey repairType busyOnly errorOnly variable value blockHash blockHashes all key
  AllowedOrigin AllowedMethod ID Status Filter Expiration Days Condition Redirect __proto__`.split(/\s+/)
const json: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    text,
    fc.constantFrom<unknown>(null, true, false, 0, 1, -1, 2 ** 53, 1.5, 1e308, '', 'x'.repeat(2000)),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom(...FIELDS), tie('value'), { maxKeys: 6 }),
  ),
})).value
const body = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .dictionary(fc.constantFrom(...FIELDS), json, { maxKeys: 5 })
      .map((value) => JSON.stringify(value)),
  },
  { weight: 2, arbitrary: json.map((value) => JSON.stringify(value)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', '{', '['.repeat(50_000), '{"a":'.repeat(20_000), '\u0000', '"\\ud800"'),
  },
)

const adminRequest = fc.record({
  endpoint: fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom(...NAMES) },
    { weight: 1, arbitrary: fc.constant(undefined) },
  ),
  path: fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        '/',
        '/health',
        '/metrics',
        '/openapi.json',
        '/check?domain=a',
        '/v1/status',
      ),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom('/v0/bucket', '/v1/key?list', '/v2/', '/v2/__proto__', '/v1/bucket?id=@B@'),
    },
    { weight: 1, arbitrary: oddText.map((odd) => `/${urlBytes(odd, true)}`) },
  ),
  query: fc.array(
    fc.tuple(
      fc.constantFrom('id', 'search', 'node', 'globalAlias', 'limit', 'offset', 'bucketId', 'key'),
      text,
    ),
    {
      maxLength: 3,
    },
  ),
  node: fc.constantFrom('self', 'self', '*', '0000', 'x'),
  body,
  otherMethod: fc.oneof(
    { weight: 12, arbitrary: fc.constant(undefined) },
    fc.constantFrom('PUT', 'HEAD', 'OPTIONS', 'FOO'),
  ),
  token: fc.oneof(
    { weight: 15, arbitrary: fc.constant(`Bearer ${FuzzCluster.adminToken}`) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('', 'Bearer x', 'Basic eDp4', 'Bearer a.b', `Bearer ${'x'.repeat(5000)}`),
    },
    { weight: 1, arbitrary: oddText.map(headerBytes) },
  ),
})

/** The admin API: all endpoints with arguments that are nearly right, and paths, methods and tokens that are not. */
export class AdminFuzzer implements PortFuzzer {
  readonly name = 'admin'
  #requests = 0

  private constructor(private readonly cluster: FuzzCluster) {}

  static async create(cluster: FuzzCluster): Promise<AdminFuzzer> {
    return new AdminFuzzer(cluster)
  }

  async *run(seed: number): AsyncGenerator<number> {
    const ids = await this.#makeThings()
    const fill = (value: string) => value.replaceAll('@B@', ids.bucket).replaceAll('@K@', ids.key)
    for (const request of fc.sample(adminRequest, { seed, numRuns: 60 })) {
      const { ports } = this.cluster.nodes[this.#requests++ % this.cluster.nodes.length]!
      const { endpoint, otherMethod, token } = request
      const isHarmful = endpoint !== undefined && HARMFUL.includes(endpoint)
      const method = otherMethod ?? (endpoint === undefined ? 'GET' : ENDPOINTS[endpoint].method)
      const query = [
        ...request.query,
        ...(request.query.some(([name]) => name === 'node') ? [] : [['node', request.node]]),
      ]
      const target = fill(
        endpoint === undefined
          ? request.path
          : `/v2/${endpoint}?${query.map(([name, value]) => `${name}=${urlBytes(fill(value!))}`).join('&')}`,
      )
      const sent = Buffer.from(isHarmful ? '{"version":0}' : fill(request.body))
      const head = `${method} ${target} HTTP/1.1\r\nHost: admin\r\nAuthorization: ${token}\r\nContent-Length: ${sent.length}\r\n\r\n`
      try {
        const bytes = Buffer.concat([Buffer.from(head, 'latin1'), sent])
        const answer = await exchange(ports.admin, bytes, method, { leaves: false, deadlineMs: DEADLINE_MS })
        const { status = 0 } = answer
        if (status === 0) throw new Error('closed without an answer')
        if (status >= 500 && status !== 501) throw new Error(`status ${status}: ${answer.body.slice(0, 500)}`)
        if (answer.headers.get('content-type') === 'application/json' && answer.body !== '')
          JSON.parse(answer.body)
        yield status
      } catch (error) {
        throw new UnexpectedAnswer(
          asError(error).message,
          { method, target, token, body: sent.toString() },
          seed,
        )
      }
    }
  }

  /** A bucket and a key, to be changed and deleted. */
  async #makeThings(): Promise<{ bucket: string; key: string }> {
    const { admin } = this.cluster.first
    const call = admin.bind(this.cluster.first)
    await call('POST', '/v2/RevertClusterLayout')
    const bucket = await call<{ id: string }>('POST', '/v2/CreateBucket', {})
    const key = await call<{ accessKeyId: string }>('POST', '/v2/CreateKey', { name: 'fuzz-admin' })
    return { bucket: bucket.id, key: key.accessKeyId }
  }
}
