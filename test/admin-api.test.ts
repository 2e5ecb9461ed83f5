import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ENDPOINTS } from '../src/api/admin/http/endpoints.js'
import { startTestNode, type TestNode } from './support/test-node.js'

// Every endpoint of the admin API over HTTP, on a real node. Each answer is checked against Garage 2.5's own document, and
// against ours.

type Document = {
  paths: Record<string, Record<string, { responses: Record<string, { content?: unknown }> }>>
  components: { schemas: Record<string, object> }
}

const ADMIN = 'the-admin-token'
const METRICS = 'the-metrics-token'
const theirs = JSON.parse(
  readFileSync(join(import.meta.dirname, 'fixtures/garage-admin-v2.schemas.json'), 'utf8'),
) as Document
const asked = new Set<string>()
let node: TestNode
let base: string
let checks: Map<string, (value: unknown) => string | undefined>[]

/** Checks by the name of the endpoint, for the answer with status 200. */
function checksOf(document: Document): Map<string, (value: unknown) => string | undefined> {
  const ajv = new Ajv2020({ strict: false, allErrors: true, formats: FORMATS })
  ajv.addSchema(document, 'doc')
  const found = new Map<string, (value: unknown) => string | undefined>()
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, { responses }] of Object.entries(methods)) {
      if (!responses['200']?.content) continue
      const escaped = path.replaceAll('/', '~1')
      const $ref = `doc#/paths/${escaped}/${method}/responses/200/content/application~1json/schema`
      const validate = ajv.compile({ $ref })
      found.set(path.slice(path.lastIndexOf('/') + 1), (value) =>
        validate(value) ? undefined : ajv.errorsText(validate.errors),
      )
    }
  }
  return found
}

const FORMATS = {
  int64: true,
  int32: true,
  float: true,
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
} as const

interface Ask {
  token?: string | null
  method?: string
  query?: Record<string, string>
  body?: unknown
}

async function ask(path: string, { token = ADMIN, method, query = {}, body }: Ask = {}) {
  const name = path.slice(path.lastIndexOf('/') + 1)
  const known = Object.hasOwn(ENDPOINTS, name) ? ENDPOINTS[name as keyof typeof ENDPOINTS] : undefined
  asked.add(name)
  const search = new URLSearchParams(query)
  const response = await fetch(`${base}${path}${search.size > 0 ? `?${search}` : ''}`, {
    method: method ?? known?.method ?? 'GET',
    headers: token === null ? {} : { authorization: `Bearer ${token}` },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

/** Asks an endpoint of v2 that must succeed, and checks the answer against both documents. */
// biome-ignore lint/suspicious/noExplicitAny: the answer of any endpoint
async function call(name: string, options: Ask = {}): Promise<any> {
  const { status, text } = await ask(`/v2/${name}`, options)
  expect(status, `${name}: ${text}`).toBe(200)
  const value = JSON.parse(text)
  for (const check of checks) {
    const problem = check.get(name)?.(value)
    if (problem !== undefined) throw new Error(`${name}: ${problem}\n${text}`)
  }
  return value
}

/** The answer of the one node. */
// biome-ignore lint/suspicious/noExplicitAny: the answer of any endpoint
async function callNode(name: string, options: Ask = {}): Promise<any> {
  const { success, error } = await call(name, { query: { node: 'self' }, ...options })
  expect(error).toEqual({})
  return success[node.core.quorum.self]
}

async function refused(path: string, options: Ask, status: number, code: string, message?: RegExp) {
  const answer = await ask(path, options)
  expect(answer.status, answer.text).toBe(status)
  const error = JSON.parse(answer.text)
  expect(error).toEqual({ code, message: expect.any(String), region: 'us-east-1', path })
  if (message) expect(error.message).toMatch(message)
}

beforeAll(async () => {
  node = await startTestNode({ secrets: { adminToken: ADMIN, metricsToken: METRICS } })
  base = `http://${node.adminApi!.address}`
  const ours = JSON.parse((await ask('/openapi.json', { token: null })).text) as Document
  checks = [checksOf(theirs), checksOf(ours)]
})
afterAll(() => node.dispose())

describe('cluster and layout', () => {
  test('status, health and statistics', async () => {
    const { nodes } = await call('GetClusterStatus')
    expect(nodes).toMatchObject([{ id: node.core.quorum.self, isUp: true, garageVersion: 'test' }])
    expect(await call('GetClusterHealth')).toMatchObject({ status: 'healthy', storageNodesUp: 1 })
    expect(await call('GetClusterStatistics')).toMatchObject({
      bucketCount: expect.any(Number),
      incompleteAvailInfo: expect.any(Boolean),
    })
    // The node has just begun, and compares its partitions with none.
    await expect.poll(async () => (await call('GetClusterProgress')).done, { timeout: 30_000 }).toBe(true)
    expect(await call('GetClusterProgress')).toMatchObject({
      done: true,
      secondsLeft: 0,
      layout: { oldestVersion: 1, newestVersion: 1, behind: [] },
      total: { blocksToFetch: 0, partitionsToCompare: 0 },
      unknown: {},
    })
    expect(await callNode('GetNodeProgress')).toMatchObject({ blocksToFetch: 0, secondsLeft: 0, repairs: [] })
    const answers = await call('ConnectClusterNodes', { body: [`${'ab'.repeat(32)}@127.0.0.1:1`] })
    expect(answers).toEqual([{ success: false, error: expect.any(String) }])
  })

  test('is diagnosed, and figures of its nodes are told', async () => {
    const { findings, nodesAnswered } = await call('GetClusterDiagnosis')
    expect(nodesAnswered).toBe(1)
    expect(findings).toContainEqual(expect.objectContaining({ check: 'one-copy', severity: 'info' }))
    const diagnostics = await callNode('GetNodeDiagnostics')
    expect(diagnostics).toMatchObject({
      version: 'test',
      replicationFactor: 1,
      consistencyMode: 'consistent',
    })
    expect(diagnostics.machine.volumes).toMatchObject([
      { use: 'metadata', fsyncMs: expect.any(Number), problem: null },
      { use: 'data', fsyncMs: expect.any(Number), problem: null, lost: false },
    ])
    const figures = await callNode('GetNodeFigures')
    expect(figures.process.requests.admin.count).toBeGreaterThan(2)
    expect(figures.process.memory.rss).toBeGreaterThan(1e7)
  })

  test('is staged by a prefix of an id, previewed, reverted, and applied', async () => {
    const { version, roles } = await call('GetClusterLayout')
    const role = { zone: 'z1', tags: ['new'], capacity: 2e12 }
    const id = node.core.quorum.self.slice(0, 8)
    await call('UpdateClusterLayout', { body: { roles: [{ id, ...role }] } })
    await call('RevertClusterLayout')
    const staged = await call('UpdateClusterLayout', {
      body: { roles: [{ id, ...role }], parameters: { zoneRedundancy: { atLeast: 1 } } },
    })
    expect(staged.stagedRoleChanges).toEqual([{ id: roles[0].id, ...role }])
    const preview = await call('PreviewClusterLayoutChanges')
    expect(preview.statistics).toMatchObject({
      replicationFactor: 1,
      totalCapacity: 2e12,
      zones: [{ name: 'z1', nodes: [{ id: roles[0].id, storedPartitions: 256, tags: ['new'] }] }],
    })
    const plan = await call('PlanClusterLayout', { body: { roles: [{ id, ...role }] } })
    expect(plan).toMatchObject({
      version: version + 1,
      changes: [{ id: roles[0].id, after: role }],
      movedPartitions: 0,
      survives: { zones: [{ zone: 'z1', nodes: 1, withoutCopy: 256 }], nodes: { data: 0 } },
    })
    const applied = await call('ApplyClusterLayout', { body: { version: version + 1 } })
    expect(applied).toMatchObject({
      layout: { version: version + 1 },
      statistics: { totalMovedPartitions: 0 },
    })
    expect((await call('GetClusterLayoutHistory')).currentVersion).toBe(version + 1)
    await refused('/v2/ApplyClusterLayout', { body: { version: 1 } }, 409, 'Conflict')
    const skip = { version: version + 1, allowMissingData: true }
    const skipped = await ask('/v2/ClusterLayoutSkipDeadNodes', { body: skip })
    expect([200, 400]).toContain(skipped.status)
  })
})

describe('access keys', () => {
  test('are made, listed in pages, changed, found and deleted', async () => {
    const made = await call('CreateKey', { body: { name: 'one', allow: { createBucket: true } } })
    expect(made).toMatchObject({ secretAccessKey: expect.any(String), permissions: { createBucket: true } })
    await call('CreateKey', { body: { expiration: '2030-01-01T00:00:00Z' } })
    const all = await call('ListKeys')
    expect(all.length).toBeGreaterThanOrEqual(2)
    expect(await call('ListKeys', { query: { offset: all[1].id, limit: '1' } })).toEqual([all[1]])
    expect(await call('ListKeys', { query: { limit: '0' } })).toEqual([])
    expect((await call('ListKeysInfo', { query: { limit: '1' } }))[0]).toMatchObject({
      accessKeyId: all[0].id,
      secretAccessKey: null,
    })
    const id = made.accessKeyId
    expect(
      await call('UpdateKey', { query: { id }, body: { name: 'two', neverExpires: true } }),
    ).toMatchObject({
      name: 'two',
      secretAccessKey: null,
    })
    expect(await call('GetKeyInfo', { query: { search: 'two', showSecretKey: 'true' } })).toMatchObject({
      secretAccessKey: made.secretAccessKey,
    })
    expect(await call('DeleteKey', { query: { id } })).toBeNull()
    await refused('/v2/GetKeyInfo', { query: { id } }, 404, 'NoSuchAccessKey')
  })

  test('are imported again and again, but never with another secret, nor after they were deleted', async () => {
    const body = { accessKeyId: `GK${'12'.repeat(12)}`, secretAccessKey: 'ab'.repeat(32), name: 'mine' }
    const first = await call('ImportKey', { body })
    expect(await call('ImportKey', { body })).toEqual(first)
    expect(await call('ImportKey', { body: { ...body, name: null } })).toMatchObject({ name: 'mine' })
    expect(await call('ImportKey', { body: { ...body, name: 'other' } })).toMatchObject({
      name: 'other',
      created: first.created,
    })
    const other = { ...body, secretAccessKey: 'cd'.repeat(32) }
    await refused('/v2/ImportKey', { body: other }, 409, 'KeyAlreadyExists')
    await call('DeleteKey', { query: { id: body.accessKeyId } })
    await refused('/v2/ImportKey', { body }, 409, 'KeyAlreadyExists')
  })
})

describe('buckets', () => {
  test('are made, named, opened to keys, configured, looked into and deleted', async () => {
    const key = await call('CreateKey', { body: { name: 'user' } })
    const { accessKeyId } = key
    const bucket = await call('CreateBucket', { body: { globalAlias: 'photos' } })
    const bucketId = bucket.id
    await refused('/v2/CreateBucket', { body: { globalAlias: 'photos' } }, 409, 'BucketAlreadyExists')
    await call('AddBucketAlias', { body: { bucketId, globalAlias: 'pictures' } })
    await call('AddBucketAlias', { body: { bucketId, accessKeyId, localAlias: 'mine' } })
    await call('RemoveBucketAlias', { body: { bucketId, globalAlias: 'pictures' } })
    const permissions = { read: true, write: true, owner: true }
    const opened = await call('AllowBucketKey', { body: { bucketId, accessKeyId, permissions } })
    expect(opened.keys).toEqual([{ accessKeyId, name: 'user', permissions, bucketLocalAliases: ['mine'] }])
    await call('DenyBucketKey', { body: { bucketId, accessKeyId, permissions: { owner: true } } })

    const corsRules = [{ AllowedOrigin: ['*'], AllowedMethod: ['GET'], AllowedHeader: [], ExposeHeader: [] }]
    const lifecycleRules = [
      { ID: 'old', Status: 'Enabled', Filter: { Prefix: 'tmp/' }, Expiration: { Days: 3 } },
      {
        ID: 'uploads',
        Status: 'Enabled',
        Filter: {},
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 },
      },
    ]
    const routingRules = [
      {
        Condition: { KeyPrefixEquals: 'a/' },
        Redirect: { ReplaceKeyPrefixWith: 'b/', HttpRedirectCode: 302 },
      },
    ]
    const body = {
      websiteAccess: { enabled: true, indexDocument: 'index.html', errorDocument: 'oops.html', routingRules },
      quotas: { maxObjects: 100 },
      corsRules,
      lifecycleRules,
    }
    expect(await call('UpdateBucket', { query: { id: bucketId }, body })).toMatchObject({
      websiteAccess: true,
      websiteConfig: { indexDocument: 'index.html', errorDocument: 'oops.html', routingRules },
      quotas: { maxObjects: 100, maxSize: null },
      corsRules,
      lifecycleRules,
    })
    const cleared = { corsRules: [], lifecycleRules: [], websiteAccess: { enabled: false } }
    expect(await call('UpdateBucket', { query: { id: bucketId }, body: cleared })).toMatchObject({
      ...{ corsRules: null, lifecycleRules: null, websiteAccess: false, websiteConfig: null },
      quotas: { maxObjects: 100, maxSize: null },
    })
    const wrong = { corsRules: [{ AllowedOrigin: ['*'], AllowedMethod: ['FETCH'] }] }
    await refused(
      '/v2/UpdateBucket',
      { query: { id: bucketId }, body: wrong },
      400,
      'InvalidRequest',
      /FETCH/,
    )

    const client = node.client((await node.core.model.keys.get(accessKeyId))!)
    await client.send(new PutObjectCommand({ Bucket: 'photos', Key: 'a b/c', Body: 'hello' }))
    const inspected = await call('InspectObject', { query: { bucketId, key: 'a b/c' } })
    expect(inspected.versions).toMatchObject([{ size: 5, inline: true }])
    await refused('/v2/InspectObject', { query: { bucketId, key: 'none' } }, 404, 'NoSuchKey')
    expect(await call('GetBucketInfo', { query: { globalAlias: 'photos' } })).toMatchObject({ objects: 1 })
    expect(await call('GetBucketInfo', { query: { search: bucketId.slice(0, 10) } })).toMatchObject({
      id: bucketId,
    })
    expect(await call('GetClusterStatistics')).toMatchObject({ totalObjectCount: 1, totalObjectBytes: 5 })
    const uploads = { bucketId, olderThanSecs: 3600 }
    expect(await call('CleanupIncompleteUploads', { body: uploads })).toEqual({ uploadsDeleted: 0 })
    expect((await call('ListBuckets')).map(({ id }: { id: string }) => id)).toContain(bucketId)
    expect((await call('ListBucketsInfo', { query: { offset: bucketId, limit: '1' } }))[0].id).toBe(bucketId)
    await refused('/v2/DeleteBucket', { query: { id: bucketId } }, 409, 'BucketNotEmpty')

    const empty = await call('CreateBucket', { body: {} })
    expect(await call('DeleteBucket', { query: { id: empty.id } })).toBeNull()
    await refused('/v2/DeleteBucket', { query: { id: empty.id } }, 404, 'NoSuchBucket')
  })

  test('with an id of the caller are made once, however often they are asked for', async () => {
    const id = '0123456789abcdef0123456789abcdef'
    const body = { id, globalAlias: 'terraformed' }
    const first = await call('CreateBucket', { body })
    expect(first.id).toBe(id)
    expect(await call('CreateBucket', { body })).toEqual(first)
    const other = { id, globalAlias: 'another-name' }
    await refused('/v2/CreateBucket', { body: other }, 409, 'BucketAlreadyExists')
    await call('DeleteBucket', { query: { id } })
    await refused('/v2/CreateBucket', { body }, 409, 'BucketAlreadyExists')
  })
})

describe('nodes', () => {
  test('tell what they are and do', async () => {
    expect(await callNode('GetNodeInfo')).toMatchObject({
      nodeId: node.core.quorum.self,
      dbEngine: 'lmdb',
      connectionParameters: { region: 'us-east-1' },
    })
    const prefix = { node: node.core.quorum.self.slice(0, 6) }
    expect(await callNode('GetNodeStatistics', { query: prefix })).toMatchObject({
      tableStats: expect.arrayContaining([expect.objectContaining({ tableName: 'bucket' })]),
    })
    await callNode('CreateMetadataSnapshot')
    const workers = await callNode('ListWorkers', { body: {} })
    const { id } = workers[0]
    expect(await callNode('GetWorkerInfo', { body: { id } })).toMatchObject({ id })
    const variable = 'resync-tranquility'
    expect(await callNode('SetWorkerVariable', { body: { variable, value: '3' } })).toEqual({
      variable,
      value: '3',
    })
    expect(await callNode('GetWorkerVariable', { body: {} })).toMatchObject({ [variable]: '3' })
    await refused('/v2/GetNodeInfo', { query: { node: 'ffff' } }, 404, 'NoSuchNode')
    await refused('/v2/GetNodeInfo', {}, 400, 'InvalidRequest', /parameter node is missing/)
  })

  test.each([
    'tables',
    'blocks',
    'multipartUploads',
    'blockRefs',
    'blockRc',
    'rebalance',
    'aliases',
    'clearResyncQueue',
  ])('start the repair %s', async (repairType) => {
    expect(await callNode('LaunchRepairOperation', { body: { repairType } })).toBeNull()
  })

  test('start the scrub, and say that versions need no repair', async () => {
    await callNode('LaunchRepairOperation', { body: { repairType: { scrub: 'start' } } })
    const answer = await call('LaunchRepairOperation', {
      query: { node: '*' },
      body: { repairType: 'versions' },
    })
    expect(Object.values(answer.error)).toEqual([expect.stringMatching(/nothing to repair/)])
  })

  test('tell of blocks', async () => {
    expect(await callNode('ListBlockErrors')).toEqual([])
    expect(await callNode('RetryBlockResync', { body: { all: true } })).toEqual({ count: 0 })
    const key = await node.createKey('blocks')
    const { id } = await call('CreateBucket', {
      body: {
        globalAlias: 'blocks',
        localAlias: { accessKeyId: key.id, alias: 'own', allow: { write: true } },
      },
    })
    const Body = Buffer.alloc(200_000, 'x')
    await node.client(key).send(new PutObjectCommand({ Bucket: 'blocks', Key: 'k', Body }))
    const { versions } = await call('InspectObject', { query: { bucketId: id, key: 'k' } })
    const blockHash = versions[0].blocks[0].hash
    expect(await callNode('GetBlockInfo', { body: { blockHash } })).toMatchObject({ blockHash })
    const purge = await call('PurgeBlocks', { query: { node: 'self' }, body: [blockHash] })
    expect(Object.values(purge.error)).toEqual([expect.stringMatching(/not lost/)])
  })
})

describe('tokens', () => {
  test('are made with a scope, changed, listed, found and deleted, and only allow their scope', async () => {
    const made = await call('CreateAdminToken', { body: { name: 'ci', scope: ['ListBuckets', 'Metrics'] } })
    const { id, secretToken: token } = made
    expect(token.startsWith(`${id}.`)).toBe(true)
    await call('ListBuckets', { token })
    await refused('/v2/ListKeys', { token }, 403, 'AccessDenied', /scope does not have ListKeys/)
    expect(await call('GetCurrentAdminTokenInfo', { token })).toMatchObject({ id, name: 'ci' })
    const changed = { name: 'all', scope: ['*'], expiration: '2999-01-01T00:00:00Z' }
    await call('UpdateAdminToken', { query: { id }, body: changed })
    await call('ListKeys', { token })
    expect(await call('GetAdminTokenInfo', { query: { search: 'all' } })).toMatchObject({ id, scope: ['*'] })
    expect(await call('GetAdminTokenInfo', { query: { id } })).not.toHaveProperty('secretToken')
    const listed = await call('ListAdminTokens')
    expect(listed.map((each: { id: string | null }) => each.id)).toEqual([null, null, id])
    const past = { expiration: '2020-01-01T00:00:00Z' }
    expect(await call('UpdateAdminToken', { query: { id }, body: past })).toMatchObject({ expired: true })
    await refused('/v2/ListKeys', { token }, 403, 'AccessDenied', /expired/)
    await call('UpdateAdminToken', { query: { id }, body: { neverExpires: true } })
    await call('ListKeys', { token })
    expect(await call('DeleteAdminToken', { query: { id } })).toBeNull()
    await refused('/v2/ListKeys', { token }, 403, 'AccessDenied')
  })

  test('of the configuration: one for everything, one for metrics alone', async () => {
    expect(await call('GetCurrentAdminTokenInfo')).toMatchObject({ id: null, scope: ['*'] })
    await refused('/v2/ListKeys', { token: METRICS }, 403, 'AccessDenied')
    await refused('/metrics', { token: null }, 403, 'AccessDenied')
    for (const token of [null, 'wrong', `${'ab'.repeat(12)}.secret`, 'x'.repeat(600)]) {
      await refused('/v2/GetClusterStatus', { token }, 403, 'AccessDenied')
    }
  })

  test('are never stored, only a hash of them', async () => {
    const { secretToken } = await call('CreateAdminToken', { body: {} })
    const rows = [...node.db.range('admin_token:head', {})]
    expect(rows.length).toBeGreaterThan(0)
    for (const { value } of rows) expect(value.includes(secretToken.split('.')[1])).toBe(false)
    await refused('/v2/ListKeys', { token: secretToken }, 403, 'AccessDenied', /scope/)
  })
})

describe('without a token', () => {
  test('health, domains, the document and the page are told', async () => {
    const health = await ask('/health', { token: null })
    expect([health.status, health.text.split('\n')[0]]).toEqual([200, 'Carport is fully operational'])
    await call('CreateBucket', { body: { globalAlias: 'site' } })
    await refused('/check', { token: null, query: { domain: 'site' } }, 400, 'InvalidRequest')
    const { id } = await call('GetBucketInfo', { query: { globalAlias: 'site' } })
    const websiteAccess = { enabled: true, indexDocument: 'index.html' }
    await call('UpdateBucket', { query: { id }, body: { websiteAccess } })
    expect((await ask('/check', { token: null, query: { domain: 'site' } })).status).toBe(200)
    await refused('/check', { token: null }, 400, 'InvalidRequest')
    const page = await ask('/', { token: null })
    expect(page.headers.get('content-type')).toContain('text/html')
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(page.text.match(/https?:\/\//g)).toBeNull()
    expect((await ask('/v2/ListKeys', { token: null, method: 'OPTIONS' })).status).toBe(200)
  })
})

describe('bad requests', () => {
  test.each<[string, Ask, number, string, RegExp]>([
    ['/v2/Nothing', {}, 404, 'NoSuchEndpoint', /Nothing/],
    ['/v2/constructor', {}, 404, 'NoSuchEndpoint', /constructor/],
    ['/v3/ListKeys', {}, 404, 'NoSuchEndpoint', /v3/],
    ['/v2/CreateKey', { method: 'GET' }, 405, 'MethodNotAllowed', /POST/],
    ['/v2/ListKeys', { query: { limit: 'many' } }, 400, 'InvalidRequest', /limit/],
    ['/v2/CreateKey', { body: '{"name":' }, 400, 'InvalidRequest', /not JSON/],
    [
      '/v2/CreateKey',
      { body: `[${'{},'.repeat(150_000)}{}]` },
      400,
      'InvalidRequest',
      /more than 150000 values/,
    ],
    ['/v2/CreateKey', { body: '['.repeat(1_000_000) }, 400, 'InvalidRequest', /more than 150000 values/],
    ['/v2/CreateKey', { body: [1] }, 400, 'InvalidRequest', /JSON object/],
    ['/v2/ConnectClusterNodes', { body: {} }, 400, 'InvalidRequest', /JSON list/],
    ['/v2/CreateKey', { body: { nome: 'x' } }, 400, 'InvalidRequest', /nome/],
    ['/v2/UpdateKey', { body: {} }, 400, 'InvalidRequest', /parameter id is missing/],
    ['/v2/GetBucketInfo', {}, 400, 'InvalidRequest', /bucket.info/],
  ])('%s %j', async (path, options, status, code, message) => {
    await refused(path, options, status, code, message)
  })

  test('a body is not read before the token is accepted', async () => {
    const body = 'x'.repeat(20 * 1024 * 1024)
    const answer = await ask('/v2/CreateKey', { token: 'wrong', body }).catch(() => undefined)
    if (answer) expect(answer.status).toBe(403)
    await refused('/v2/CreateKey', { body: 'x'.repeat(9 * 1024 * 1024) }, 413, 'EntityTooLarge')
  })
})

describe('the older paths', () => {
  test('of v1 that Garage still serves answer as v2', async () => {
    const v1 = async (method: string, path: string, options: Ask = {}) => {
      const answer = await ask(`/v1${path}`, { method, ...options })
      expect(answer.status, answer.text).toBe(200)
      return JSON.parse(answer.text)
    }
    expect(await v1('GET', '/health')).toMatchObject({ status: 'healthy' })
    expect(await v1('GET', '/layout')).toMatchObject({ version: expect.any(Number) })
    const key = await v1('POST', '/key', { body: { name: 'old' } })
    const id = key.accessKeyId
    expect(await v1('GET', '/key', { query: { id, showSecretKey: 'true' } })).toEqual(key)
    await v1('POST', '/key', { query: { id }, body: { name: 'older' } })
    const bucket = await v1('POST', '/bucket', { body: { globalAlias: 'v1-bucket' } })
    await v1('PUT', '/bucket/alias/global', { query: { id: bucket.id, alias: 'v1-second' } })
    await v1('PUT', '/bucket/alias/local', { query: { id: bucket.id, alias: 'loc', accessKeyId: id } })
    await v1('DELETE', '/bucket/alias/global', { query: { id: bucket.id, alias: 'v1-second' } })
    const permissions = { read: true }
    await v1('POST', '/bucket/allow', { body: { bucketId: bucket.id, accessKeyId: id, permissions } })
    await v1('PUT', '/bucket', {
      query: { id: bucket.id },
      body: { quotas: { maxSize: 5, maxObjects: null } },
    })
    expect(await v1('GET', '/bucket', { query: { globalAlias: 'v1-bucket' } })).toMatchObject({
      globalAliases: ['v1-bucket'],
      quotas: { maxSize: 5 },
      keys: [{ accessKeyId: id, bucketLocalAliases: ['loc'] }],
    })
    expect((await v1('GET', '/bucket')).length).toBeGreaterThan(0)
  })

  test('that Garage serves no more name their successor, and v0 tells secrets as it did', async () => {
    const gone = (method: string, path: string, query: Record<string, string>, message: RegExp) =>
      refused(path, { method, query }, 400, 'InvalidRequest', message)
    await gone('GET', '/v1/status', {}, /\/v2\/GetClusterStatus/)
    await gone('DELETE', '/v1/key', { id: 'GK1' }, /\/v2\/DeleteKey/)
    await gone('GET', '/v0/layout', {}, /\/v2\/GetClusterLayout/)
    const { accessKeyId: id, secretAccessKey } = await call('CreateKey', { body: {} })
    const answer = await ask('/v0/key', { query: { id } })
    expect(JSON.parse(answer.text)).toMatchObject({ secretAccessKey })
  })
})

test("every endpoint of Garage's document was asked", () => {
  const names = Object.keys(theirs.paths).map((path) => path.slice(path.lastIndexOf('/') + 1))
  expect(names).toHaveLength(51)
  expect([...asked]).toEqual(expect.arrayContaining(names))
})
