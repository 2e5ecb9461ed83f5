import { describe, expect, it } from 'vitest'
import { type Answers, BUCKET, CONFIG, cli, KEY, NODE_A, NOW_MS, SECRET } from '../../testing/cli-fakes.js'

const TOKEN = {
  id: '0123456789abcdef01234567',
  name: 'ops',
  created: '2025-06-14T16:12:29Z',
  expiration: null,
  expired: false,
  scope: ['ListKeys', 'ListBuckets'],
}
const OF_CONFIG = { ...TOKEN, id: null, name: 'admin_token (from daemon configuration)', created: null }
const HEALTH = {
  status: 'healthy',
  knownNodes: 3,
  connectedNodes: 3,
  storageNodes: 3,
  storageNodesUp: 3,
  partitions: 256,
  partitionsQuorum: 256,
  partitionsAllOk: 256,
}
const answers: Answers = {
  'adminToken.list': [TOKEN, OF_CONFIG],
  'adminToken.info': TOKEN,
  'adminToken.update': TOKEN,
  'adminToken.create': { ...TOKEN, secretToken: '0123.secret' },
  'adminToken.delete': null,
  'cluster.health': HEALTH,
  'key.info': ({ showSecretKey }: { showSecretKey?: boolean }) => ({
    ...KEY,
    secretAccessKey: showSecretKey ? "it's s3cr3t" : null,
  }),
  'key.create': KEY,
  'key.update': KEY,
  'bucket.info': BUCKET,
  'bucket.update': BUCKET,
  'bucket.updateSettings': { id: BUCKET.id, relaxed: true },
  'node.info': {
    success: {
      [NODE_A]: { connectionParameters: { region: 'eu-1', s3Endpoint: 'https://s3.example.org' } },
    },
    error: {},
  },
  'block.purge': { success: { [NODE_A]: {} }, error: {} },
  'node.connect': [{ success: true, error: null }],
}

const run = (line: string | string[], more: Answers = {}, stdin = '') =>
  cli(Array.isArray(line) ? line : line.split(' '), { answers: { ...answers, ...more }, stdin })
const later = (ms: number) => new Date(NOW_MS + ms).toISOString()

describe('the node is asked for', () => {
  it.each<[line: string, operation: string, args: object]>([
    ['admin-token create', 'adminToken.create', { scope: ['*'] }],
    [
      'admin-token create ops --expires-in 2h30m --scope ListKeys,ListBuckets -q',
      'adminToken.create',
      { name: 'ops', expiration: later(9_000_000), scope: ['ListKeys', 'ListBuckets'] },
    ],
    ['bucket relax photos', 'bucket.updateSettings', { id: BUCKET.id, relaxed: true }],
    ['bucket relax photos --off', 'bucket.updateSettings', { id: BUCKET.id, relaxed: false }],
    ['admin-token create --expires-in infinity', 'adminToken.create', { scope: ['*'] }],
    ['admin-token info op', 'adminToken.info', { search: 'op' }],
    ['admin-token rename op other', 'adminToken.update', { id: TOKEN.id, name: 'other' }],
    [
      'admin-token set op --scope=+GetKeyInfo,ListKeys',
      'adminToken.update',
      { id: TOKEN.id, scope: ['ListKeys', 'ListBuckets', 'GetKeyInfo'] },
    ],
    ['admin-token set op --scope=-ListKeys', 'adminToken.update', { id: TOKEN.id, scope: ['ListBuckets'] }],
    [
      'admin-token set op --scope * --never-expires',
      'adminToken.update',
      { id: TOKEN.id, scope: ['*'], neverExpires: true },
    ],
    ['admin-token delete op --yes', 'adminToken.delete', { id: TOKEN.id }],
    ['key set app --expires-in infinity', 'key.update', { id: KEY.accessKeyId, neverExpires: true }],
    ['key create --expires-in week', 'key.create', { name: 'Unnamed key', expiration: later(604_800_000) }],
    ['key create --expires-in infinity', 'key.create', { name: 'Unnamed key' }],
    ['repair -a --yes clear-resync-queue', 'repair.launch', { node: '*', repairType: 'clearResyncQueue' }],
    ['json-api GetClusterHealth', 'cluster.health', {}],
    ['json-api GetClusterHealth null', 'cluster.health', {}],
    ['json-api GetBucketInfo {"search":"ph","id":null}', 'bucket.info', { search: 'ph' }],
    [
      'json-api UpdateBucket {"id":"b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1","body":{"quotas":{"maxSize":7}}}',
      'bucket.update',
      { id: BUCKET.id, quotas: { maxSize: 7 } },
    ],
    [
      'json-api UpdateBucket {"id":"b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1","quotas":{"maxSize":7}}',
      'bucket.update',
      { id: BUCKET.id, quotas: { maxSize: 7 } },
    ],
    ['json-api GetNodeInfo {"node":"*","body":null}', 'node.info', { node: '*' }],
    ['json-api GetNodeInfo', 'node.info', { node: 'self' }],
    [
      'json-api PurgeBlocks {"node":"self","body":["abcd"]}',
      'block.purge',
      { node: 'self', blockHashes: ['abcd'] },
    ],
    ['json-api PurgeBlocks ["abcd"]', 'block.purge', { node: 'self', blockHashes: ['abcd'] }],
    ['json-api ConnectClusterNodes ["a@h:1"]', 'node.connect', { nodes: ['a@h:1'] }],
  ])('%s', async (line, operation, args) => {
    const { calls, err, status } = await run(line, {
      'repair.launch': { success: { [NODE_A]: null }, error: {} },
    })
    expect(err).toBe('')
    expect(status).toBe(0)
    expect(calls.at(-1)).toEqual({ operation, args })
  })
})

describe('tokens of the admin API', () => {
  it('are listed, those of the configuration without an id', async () => {
    const { out } = await run('admin-token list')
    expect(out.split('\n').map((line) => line.replace(/ {2,}/g, ' | '))).toEqual([
      'ID | Created | Name | Expiration | Scope',
      '- | - | admin_token (from daemon configuration) | never | ListKeys, ... (2)',
      '0123456789abcdef01234567 | 2025-06-14 | ops | never | ListKeys, ... (2)',
    ])
    expect(JSON.parse((await run('admin-token list --json')).out)).toEqual([TOKEN, OF_CONFIG])
  })

  it('are shown with their secret when they are made, and alone with -q', async () => {
    expect((await run('admin-token create -q')).out).toBe('0123.secret')
    const { out } = await run('admin-token create')
    expect(out).toContain('\n    0123.secret\n')
    expect(out).toMatch(/Scope: +ListKeys\n +ListBuckets$/)
    expect(JSON.parse((await run('admin-token create --json')).out)).toMatchObject({
      secretToken: '0123.secret',
    })
  })

  it('delete-expired deletes those that have an id and expired', async () => {
    const expired = { ...TOKEN, id: 'f'.repeat(24), expired: true }
    const list = { 'adminToken.list': [TOKEN, expired, { ...OF_CONFIG, expired: true }] }
    const { calls, out } = await run('admin-token delete-expired --yes', list)
    expect(calls.filter(({ operation }) => operation === 'adminToken.delete')).toEqual([
      { operation: 'adminToken.delete', args: { id: expired.id } },
    ])
    expect(out).toContain('1 admin tokens have been deleted.')
  })
})

describe('health', () => {
  it('prints figures, nothing with -q, and fails where the cluster is unavailable', async () => {
    const { out, status } = await run('health')
    expect(out).toMatch(/^Cluster health: +HEALTHY\n/)
    expect(status).toBe(0)
    expect(await run('health -q')).toMatchObject({ out: '', err: '', status: 0 })
    const bad = { 'cluster.health': { ...HEALTH, status: 'unavailable', partitionsQuorum: 250 } }
    const failed = await run('health', bad)
    expect(failed.status).toBe(1)
    expect(failed.out).toMatch(/UNAVAILABLE/)
    expect(failed.err).toBe('carport: the cluster is unavailable: 6 of 256 partitions have no quorum')
    expect(await run('health --quiet', bad)).toMatchObject({ out: '', err: failed.err, status: 1 })
    expect(await run('health', { 'cluster.health': { ...HEALTH, status: 'degraded' } })).toMatchObject({
      status: 0,
    })
  })
})

describe('access keys for scripts', () => {
  it('key info prints the id or the secret alone', async () => {
    expect((await run('key info app --key-id')).out).toBe(KEY.accessKeyId)
    expect((await run('key info app --secret-key')).out).toBe("it's s3cr3t")
    expect((await run('key info app')).out).toContain('(redacted)')
    expect((await run('key info app --show-secret')).out).toContain("it's s3cr3t")
  })

  it('export-env prints lines that a shell reads', async () => {
    const { out } = await run('key export-env app')
    expect(out.split('\n')).toEqual([
      `AWS_ACCESS_KEY_ID=${KEY.accessKeyId}`,
      `AWS_SECRET_ACCESS_KEY='it'\\''s s3cr3t'`,
      'AWS_DEFAULT_REGION=eu-1',
      'AWS_ENDPOINT_URL=https://s3.example.org',
    ])
    expect((await run('key export-env app --prefix GARAGE_')).out).toContain('GARAGE_ACCESS_KEY_ID=')
    const json = JSON.parse((await run('key export-env app --json')).out)
    expect(json).toMatchObject({ AWS_SECRET_ACCESS_KEY: "it's s3cr3t" })
  })
})

describe('json-api', () => {
  it('reads the payload from stdin, and prints the answer as JSON', async () => {
    const { out, calls } = await run('json-api GetKeyInfo -', {}, '{"search":"app","showSecretKey":true}')
    expect(calls).toEqual([{ operation: 'key.info', args: { search: 'app', showSecretKey: true } }])
    expect(JSON.parse(out)).toMatchObject({ accessKeyId: KEY.accessKeyId })
  })
})

describe('without a node', () => {
  it('admin-api-schema prints the OpenAPI document', async () => {
    const { out, targets } = await run('admin-api-schema')
    const document = JSON.parse(out)
    expect(document).toMatchObject({ openapi: '3.1.0' })
    expect(Object.keys(document.paths)).toContain('/v2/GetClusterStatus')
    expect(targets).toEqual([])
  })

  it('offline-repair counts anew on the node of the configuration', async () => {
    const { out, recounted } = await run('offline-repair --yes object_counters')
    expect(recounted).toMatchObject([
      { kind: 'objects', config: { metadataDir: '/m', secrets: { rpcSecret: SECRET } } },
    ])
    expect(out).toBe(
      `7 rows of 2 buckets counted. The counters of 1 were wrong and are right now: ${BUCKET.id}`,
    )
    const k2v = await run('offline-repair --yes k2v_item_counters')
    expect(k2v.recounted).toMatchObject([{ kind: 'k2v' }])
    expect(k2v.out).toMatch(/^7 rows of 2 partition keys counted/)
    expect((await run('offline-repair object_counters')).recounted).toEqual([])
  })

  it('server makes a key alone with --default-access-key', async () => {
    const { servers } = await cli(['server', '--single-node', '--default-access-key'], {
      files: { '/etc/garage.toml': CONFIG },
    })
    expect(servers[0]?.options).toMatchObject({ defaultAccessKey: true, defaultBucket: false })
  })
})

describe('wrong input is told in one sentence', () => {
  it.each<[line: string, status: number, message: RegExp]>([
    ['admin-token set op', 2, /nothing to set: give --scope, --expires-in or --never-expires/],
    ['admin-token set op --expires-in 1d --never-expires', 2, /give one of --expires-in and --never-expires/],
    ['admin-token create --expires-in soon', 2, /--expires-in is "soon", expected a duration/],
    ['admin-token create --expires-in 9999y', 2, /ends after the year 9999: give "infinity"/],
    ['admin-token delete op', 2, /deletes admin token 0123\w+ \("ops"\): confirm with --yes/],
    ['admin-token delete-expired', 2, /deletes 0 expired admin tokens: confirm/],
    ['key export-env app --prefix a-b', 2, /--prefix is "a-b", expected letters/],
    ['json-api GetClusterStatu', 2, /no endpoint "GetClusterStatu": did you mean GetClusterStatus\?/],
    ['json-api Frobnicate', 2, /no endpoint "Frobnicate": "carport admin-api-schema" lists them/],
    ['json-api Metrics', 2, /served over HTTP only/],
    ['json-api GetBucketInfo {"a', 2, /the payload is not JSON/],
    ['json-api GetBucketInfo 7', 2, /expected an object/],
    ['json-api PurgeBlocks 7', 2, /expected a list/],
    ['json-api GetBucketInfo {"nonsense":1}', 1, /bucket.info/],
    ['completions tcsh', 2, /'tcsh' is invalid.*bash, zsh, fish/],
    ['convert-db -i a -a lmdb -o b -b sqlite', 1, /nothing to convert: Carport has one engine/],
    ['offline-repair --yes all', 2, /"all" is no offline repair, expected one of: object_counters/],
    ['offline-repair object_counters', 2, /must be stopped: confirm with --yes/],
    ['server --default-access-key', 2, /--default-access-key needs --single-node/],
  ])('%s', async (line, status, message) => {
    const result = await run(line)
    expect(result.err).toMatch(message)
    expect(result.err).toMatch(/^carport: [^\n]+$/)
    expect(result).toMatchObject({ status, out: '' })
  })

  it('a token of the configuration is not changed here', async () => {
    const { err } = await run('admin-token rename admin x', { 'adminToken.info': OF_CONFIG })
    expect(err).toBe('carport: "admin" is a token of the configuration: change it there')
  })
})

describe('help', () => {
  it('-h without a host is help after every verb, as is -V the version', async () => {
    for (const line of ['-h', 'bucket -h', 'bucket info -h', 'layout apply -h', 'status -h']) {
      const { out, status, err } = await run(line)
      expect(out, line).toContain('Usage: carport')
      expect({ status, err }, line).toEqual({ status: 0, err: '' })
    }
    for (const line of ['-V', 'bucket -V', 'bucket info --version', 'layout apply -V']) {
      expect((await run(line)).out, line).toBe('1.2.3')
    }
  })
})
