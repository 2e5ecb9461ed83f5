import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ConfigError, type ConfigInput, loadConfig, loadRpcConfig, loadSettings } from './config.js'
import { SECTIONS, TOP_LEVEL } from './schema.js'
import type { ReadSecretFile } from './secrets.js'

const SECRET = '1799bccfd7411eddcf9ebd316bc1f5287ad12a68094e1c6ac6abde7e6feae1ec'
const OTHER_SECRET = SECRET.replaceAll('1', '2')
const PEER_ID = '563e1ac825ee3323aa441e72c26d1030d6d4414aeb3dd25287c531e7fc2bc95d'

const REQUIRED: Record<string, string> = {
  metadata_dir: '"/m"',
  data_dir: '"/d"',
  replication_factor: '3',
  rpc_bind_addr: '"[::]:3901"',
  rpc_secret: `"${SECRET}"`,
}
const S3 = { api_bind_addr: '"[::]:3900"', s3_region: '"garage"' }

type Section = Record<string, string>
interface Toml {
  top?: Record<string, string | undefined>
  s3?: Record<string, string | undefined>
  web?: Section
  k2v?: Section
  admin?: Section
  rest?: string
}

/** Makes a valid configuration with keys replaced, added, or (undefined) left out. Values are TOML. */
function toml({ top = {}, s3 = {}, web, k2v, admin, rest = '' }: Toml = {}): string {
  const lines = (values: Record<string, string | undefined>) =>
    Object.entries(values)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => `${key} = ${value}`)
  const section = (name: string, values: Section | undefined) =>
    values === undefined ? [] : [`[${name}]`, ...lines(values)]
  return [
    ...lines({ ...REQUIRED, ...top }),
    '[s3_api]',
    ...lines({ ...S3, ...s3 }),
    ...section('s3_web', web),
    ...section('k2v_api', k2v),
    ...section('admin', admin),
    rest,
  ].join('\n')
}

function files(contents: Record<string, { text: string; mode?: number }>): ReadSecretFile {
  return (path) => {
    const file = contents[path]
    if (file === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
    return { text: file.text, mode: 0o100000 | (file.mode ?? 0o600) }
  }
}

function input(text: string, env: Record<string, string> = {}, readSecretFile = files({})): ConfigInput {
  return { fileName: 'carport.toml', text, env, readSecretFile }
}

function load(text: string, env?: Record<string, string>, readSecretFile?: ReadSecretFile) {
  return loadConfig(input(text, env, readSecretFile))
}

/** The problems as "key: message" lines. */
function problems(text: string, env?: Record<string, string>, readSecretFile?: ReadSecretFile): string[] {
  try {
    load(text, env, readSecretFile)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(({ key, message }) => `${key}: ${message}`)
  }
  throw new Error('the configuration was taken')
}

describe('defaults', () => {
  const config = load(toml())

  it('are those of Garage, except that everything is fsynced and less memory is taken', () => {
    expect(config).toMatchObject({
      configFile: 'carport.toml',
      metadataDir: '/m',
      metadataSnapshotsDir: '/m/snapshots',
      metadataFsync: true,
      metadataAutoSnapshotIntervalMs: null,
      dataDirs: [{ path: '/d', capacityBytes: null, readOnly: false }],
      dataFsync: true,
      disableScrub: false,
      useLocalTz: false,
      lmdbMapSizeBytes: 2 ** 40,
      blockSizeBytes: 1048576,
      inlineBytesMax: 65536,
      blockRamBufferMaxBytes: 67108864,
      blockMaxConcurrentReads: 16,
      blockMaxConcurrentWritesPerRequest: 8,
      compressionLevel: 1,
      replicationFactor: 3,
      consistencyMode: 'consistent',
      allowPunycode: false,
      trustedProxies: [],
      accessLog: { requests: 'off', file: null },
      workers: 1,
      k2vApi: null,
      web: null,
      log: { level: 'info', format: 'auto' },
      warnings: [],
    })
    expect(config.rpc).toEqual({
      bindAddr: { kind: 'tcp', host: '::', port: 3901 },
      bindOutgoing: false,
      publicAddr: null,
      publicAddrSubnet: null,
      pingTimeoutMs: null,
      timeoutMs: null,
      bootstrapPeers: [],
    })
    expect(config.admin).toEqual({
      bindAddr: null,
      metricsRequireToken: false,
      traceSink: null,
      traceSampleRatio: 1,
      tls: null,
    })
    expect(config.secrets).toEqual({
      rpcSecret: SECRET,
      sseMasterKeys: [],
      notifications: [],
      adminToken: null,
      metricsToken: null,
    })
  })

  it('are frozen in depth', () => {
    expect(Object.isFrozen(config)).toBe(true)
    expect(Object.isFrozen(config.rpc.bindAddr)).toBe(true)
    expect(Object.isFrozen(config.dataDirs[0])).toBe(true)
    expect(Object.isFrozen(config.secrets)).toBe(true)
  })
})

describe('each key', () => {
  const top = (key: string, value: string) => load(toml({ top: { [key]: value } }))
  const s3 = (key: string, value: string) => load(toml({ s3: { [key]: value } })).s3Api
  const web = (values: Section) => load(toml({ web: values })).web
  const admin = (values: Section) => load(toml({ admin: values }))

  it.each<[key: string, value: string, path: string, expected: unknown]>([
    ['metadata_dir', '"/fast"', 'metadataDir', '/fast'],
    ['metadata_snapshots_dir', '"/snap"', 'metadataSnapshotsDir', '/snap'],
    ['metadata_fsync', 'false', 'metadataFsync', false],
    ['metadata_auto_snapshot_interval', '"6h"', 'metadataAutoSnapshotIntervalMs', 6 * 3600_000],
    ['data_fsync', 'false', 'dataFsync', false],
    ['disable_scrub', 'true', 'disableScrub', true],
    ['use_local_tz', 'true', 'useLocalTz', true],
    ['lmdb_map_size', '"1T"', 'lmdbMapSizeBytes', 1e12],
    ['block_size', '"10MiB"', 'blockSizeBytes', 10 * 2 ** 20],
    ['block_size', '"1M"', 'blockSizeBytes', 1_000_000],
    ['block_size', '65536', 'blockSizeBytes', 65536],
    ['inline_max', '"16KiB"', 'inlineBytesMax', 16384],
    ['inline_max', '0', 'inlineBytesMax', 0],
    ['block_ram_buffer_max', '"1GiB"', 'blockRamBufferMaxBytes', 2 ** 30],
    ['block_max_concurrent_reads', '32', 'blockMaxConcurrentReads', 32],
    ['max_connections', '2000', 'maxConnections', 2000],
    ['max_requests', '100', 'maxRequests', 100],
    ['request_memory_max', '"128MiB"', 'requestMemoryBytes', 128 << 20],
    ['block_max_concurrent_writes_per_request', '5', 'blockMaxConcurrentWritesPerRequest', 5],
    ['compression_level', '-5', 'compressionLevel', -5],
    ['compression_level', '"none"', 'compressionLevel', null],
    ['replication_factor', '5', 'replicationFactor', 5],
    ['consistency_mode', '"degraded"', 'consistencyMode', 'degraded'],
    ['consistency_mode', '"dangerous"', 'consistencyMode', 'dangerous'],
    ['allow_punycode', 'true', 'allowPunycode', true],
    ['trusted_proxies', '["127.0.0.1", "fd00::/8"]', 'trustedProxies', ['127.0.0.1', 'fd00::/8']],
    ['access_log', '"all"', 'accessLog', { requests: 'all', file: null }],
    ['workers', '2', 'workers', 2],
  ])('%s = %s', (key, value, path, expected) => {
    expect(top(key, value)).toHaveProperty(path, expected)
  })

  it.each<[key: string, value: string, path: string, expected: unknown]>([
    ['rpc_bind_addr', '"10.0.0.1:4000"', 'bindAddr', { kind: 'tcp', host: '10.0.0.1', port: 4000 }],
    ['rpc_bind_outgoing', 'true', 'bindOutgoing', true],
    ['rpc_public_addr', '"[fc00:1::1]:3901"', 'publicAddr', { host: 'fc00:1::1', port: 3901 }],
    ['rpc_public_addr', '"n1.example.org:3901"', 'publicAddr', { host: 'n1.example.org', port: 3901 }],
    ['rpc_public_addr_subnet', '"2001:0db8:f00:b00:/64"', 'publicAddrSubnet', 'refused'],
    ['rpc_public_addr_subnet', '"2001:db8:f00::/64"', 'publicAddrSubnet', '2001:db8:f00::/64'],
    ['rpc_ping_timeout_msec', '5000', 'pingTimeoutMs', 5000],
    ['rpc_timeout_msec', '9000', 'timeoutMs', 9000],
    [
      'bootstrap_peers',
      `["${PEER_ID}@[fc00:1::1]:3901"]`,
      'bootstrapPeers',
      [{ id: PEER_ID, host: 'fc00:1::1', port: 3901 }],
    ],
  ])('rpc: %s = %s', (key, value, path, expected) => {
    if (expected === 'refused') expect(problems(toml({ top: { [key]: value } }))).toHaveLength(1)
    else expect(top(key, value).rpc).toHaveProperty(path, expected)
  })

  it('data_dir takes a list of folders, read-only ones without capacity', () => {
    const list = '[{ path = "/old", read_only = true }, { path = "/new", capacity = "2T" }]'
    expect(top('data_dir', list).dataDirs).toEqual([
      { path: '/old', capacityBytes: null, readOnly: true },
      { path: '/new', capacityBytes: 2e12, readOnly: false },
    ])
  })

  it('[s3_api]', () => {
    expect(s3('api_bind_addr', '"/run/s3.sock"').bindAddr).toEqual({ kind: 'unix', path: '/run/s3.sock' })
    expect(s3('s3_region', '"eu-west-1"').region).toBe('eu-west-1')
    expect(s3('root_domain', '".S3.Garage"').rootDomain).toBe('s3.garage')
    expect(s3('root_domain', '"s3.garage"').rootDomain).toBe('s3.garage')
    expect(load(toml({ s3: { api_bind_addr: undefined } })).s3Api.bindAddr).toBeNull()
  })

  it('[k2v_api] and [s3_web]', () => {
    expect(load(toml({ k2v: { api_bind_addr: '"[::]:3904"' } })).k2vApi).toEqual({
      bindAddr: { kind: 'tcp', host: '::', port: 3904 },
      publicEndpoint: null,
      tls: null,
    })
    expect(
      web({ bind_addr: '"[::]:3902"', root_domain: '".web.garage"', add_host_to_metrics: 'true' }),
    ).toEqual({
      bindAddr: { kind: 'tcp', host: '::', port: 3902 },
      rootDomain: 'web.garage',
      addHostToMetrics: true,
      pageCacheBytesMax: 32 * 1024 * 1024,
      tls: null,
    })
    expect(web({ bind_addr: '"[::]:3902"', page_cache_max: '"1MiB"' })).toMatchObject({
      rootDomain: null,
      pageCacheBytesMax: 1024 * 1024,
    })
  })

  it('certificates of each port', () => {
    const files = { tls_cert_file: '"/c.pem"', tls_key_file: '"/k.pem"' }
    const tls = { certFile: '/c.pem', keyFile: '/k.pem' }
    const config = load(
      toml({
        s3: files,
        web: { bind_addr: '"[::]:1"', ...files },
        k2v: { api_bind_addr: '"[::]:2"', ...files },
        admin: files,
      }),
    )
    expect([config.s3Api.tls, config.web?.tls, config.k2vApi?.tls, config.admin.tls]).toEqual([
      tls,
      tls,
      tls,
      tls,
    ])
  })

  it('[admin]', () => {
    const config = admin({
      api_bind_addr: '"0.0.0.0:3903"',
      admin_token: '"a"',
      metrics_token: '"m"',
      metrics_require_token: 'true',
      trace_sink: '"http://localhost:4317"',
      trace_sample_ratio: '0.01',
    })
    expect(config.admin).toEqual({
      bindAddr: { kind: 'tcp', host: '0.0.0.0', port: 3903 },
      metricsRequireToken: true,
      traceSink: 'http://localhost:4317',
      traceSampleRatio: 0.01,
      tls: null,
    })
    expect(config.secrets).toMatchObject({ adminToken: 'a', metricsToken: 'm' })
  })

  it('[console]', () => {
    const of = (rest: string) => load(toml({ rest })).console
    expect(of('')).toEqual({ enabled: true, bindAddr: null, tls: null })
    expect(of('[console]\nenabled = false')).toEqual({ enabled: false, bindAddr: null, tls: null })
    expect(of('[console]\nbind_addr = "[::]:3905"')).toEqual({
      enabled: true,
      bindAddr: { kind: 'tcp', host: '::', port: 3905 },
      tls: null,
    })
  })

  it('of earlier versions without a meaning is taken with a warning', () => {
    const config = load(toml({ web: { bind_addr: '"[::]:1"', root_domain: '"w"', index: '"index.html"' } }))
    expect(config.warnings.map((w) => w.key)).toEqual(['s3_web.index'])
    expect(load(toml({ top: { sled_cache_capacity: '1' } })).warnings).toHaveLength(1)
  })
})

describe('a problem names the key, what is wrong and what is expected', () => {
  it.each<[what: string, toml: Toml, message: RegExp]>([
    [
      'a wrong type',
      { top: { metadata_fsync: '"yes"' } },
      /^metadata_fsync: is "yes", expected true or false$/,
    ],
    [
      'a number for a path',
      { top: { metadata_dir: '1' } },
      /^metadata_dir: is 1, expected the path of a folder$/,
    ],
    ['an empty path', { top: { metadata_dir: '""' } }, /^metadata_dir: is "", expected the path/],
    ['a missing key', { top: { metadata_dir: undefined } }, /^metadata_dir: is missing, expected the path/],
    [
      'no replication factor',
      { top: { replication_factor: undefined } },
      /^replication_factor: is missing, .* 255$/,
    ],
    [
      'no copies',
      { top: { replication_factor: '0' } },
      /^replication_factor: is 0, expected a whole number from 1/,
    ],
    [
      'a fraction',
      { top: { replication_factor: '1.5' } },
      /^replication_factor: is 1.5, expected a whole number/,
    ],
    ['a misspelt key', { top: { metadata_dri: '"/m"' } }, /^metadata_dri: .*did you mean "metadata_dir"\?$/],
    ['hyphens', { top: { 'block-size': '1' } }, /^block-size: .*did you mean "block_size"\?$/],
    ['a misspelt key of a section', { s3: { root_domian: '"x"' } }, /did you mean "s3_api.root_domain"\?$/],
    ['a strange key', { top: { zzzzzzzz: '1' } }, /^zzzzzzzz: is not a known key of the top level/],
    ['a strange section', { rest: '[blubberlutsch]' }, /^blubberlutsch: is not a known key/],
    ['a prototype name', { top: { constructor: '1' } }, /^constructor: is not a known key/],
    ['replication_mode', { top: { replication_mode: '"3"' } }, /^replication_mode: is no longer supported/],
    [
      'a strange engine',
      { top: { db_engine: '"foo"' } },
      /^db_engine: is "foo", expected "lmdb" or "sqlite" or "fjall" or "sled"$/,
    ],
    [
      'a mode',
      { top: { consistency_mode: '"strong"' } },
      /^consistency_mode: is "strong", expected "consistent" or/,
    ],
    [
      'a size',
      { top: { block_size: '"1 mebibyte"' } },
      /^block_size: is "1 mebibyte", expected a number of bytes/,
    ],
    ['a negative size', { top: { block_size: '-1' } }, /^block_size: is -1, expected a number/],
    [
      'a small size',
      { top: { block_size: '"1B"' } },
      /^block_size: is "1B" \(1 bytes\), expected at least 1024/,
    ],
    [
      'a huge size',
      { top: { block_size: '"1GiB"' } },
      /^block_size: is "1GiB" \(\d+ bytes\), expected at most/,
    ],
    [
      'a duration',
      { top: { metadata_auto_snapshot_interval: '"6x"' } },
      /unknown unit "x", expected a duration/,
    ],
    ['a short interval', { top: { metadata_auto_snapshot_interval: '"5s"' } }, /at least one minute/],
    ['a compression level', { top: { compression_level: '23' } }, /^compression_level: is 23, .*or "none"$/],
    ['a compression word', { top: { compression_level: '"fast"' } }, /^compression_level: is "fast"/],
    [
      'no folder',
      { top: { data_dir: '[]' } },
      /^data_dir: is a list, expected the path of a folder, or a list/,
    ],
    [
      'no capacity',
      { top: { data_dir: '[{ path = "/a" }]' } },
      /^data_dir: item 1 has a capacity that is absent/,
    ],
    [
      'a capacity of a read-only folder',
      { top: { data_dir: '[{ path = "/a", read_only = true, capacity = "1G" }]' } },
      /^data_dir: item 1 is read_only and has a capacity/,
    ],
    [
      'read-only folders alone',
      { top: { data_dir: '[{ path = "/a", read_only = true }]' } },
      /^data_dir: has read-only folders alone/,
    ],
    [
      'a folder twice',
      { top: { data_dir: '[{ path = "/a", capacity = 1 }, { path = "/a", capacity = 1 }]' } },
      /^data_dir: names "\/a" twice/,
    ],
    ['a key of a folder', { top: { data_dir: '[{ path = "/a", size = 1 }]' } }, /unknown key "size"/],
    [
      'a host name to bind',
      { top: { rpc_bind_addr: '"localhost:1"' } },
      /^rpc_bind_addr: is "localhost:1", expected an IP/,
    ],
    ['IPv6 without brackets', { top: { rpc_bind_addr: '"::1:3901"' } }, /^rpc_bind_addr: is "::1:3901"/],
    ['a port', { top: { rpc_bind_addr: '"[::]:70000"' } }, /^rpc_bind_addr: is "\[::\]:70000"/],
    [
      'no port',
      { s3: { api_bind_addr: '"0.0.0.0"' } },
      /^s3_api.api_bind_addr: .*or the absolute path of a Unix socket$/,
    ],
    [
      'a public address',
      { top: { rpc_public_addr: '"300.1.1.1:3901"' } },
      /^rpc_public_addr: is "300.1.1.1:3901"/,
    ],
    ['a public port 0', { top: { rpc_public_addr: '"1.1.1.1:0"' } }, /^rpc_public_addr: /],
    [
      'a subnet',
      { top: { rpc_public_addr_subnet: '"10.0.0.0/33"' } },
      /^rpc_public_addr_subnet: .*a network such as/,
    ],
    [
      'a peer',
      { top: { bootstrap_peers: '["abc@1.1.1.1:1"]' } },
      /^bootstrap_peers: item 1 is "abc@1.1.1.1:1"/,
    ],
    ['no list of peers', { top: { bootstrap_peers: '"x"' } }, /^bootstrap_peers: is "x", expected a list/],
    [
      'no region',
      { s3: { s3_region: undefined } },
      /^s3_api.s3_region: is missing, expected the name of a region/,
    ],
    ['a region', { s3: { s3_region: '"a b"' } }, /^s3_api.s3_region: is "a b"/],
    ['a domain', { s3: { root_domain: '"a..b"' } }, /^s3_api.root_domain: is "a..b", expected a domain name/],
    [
      'a certificate without its key',
      { s3: { tls_cert_file: '"/c.pem"' } },
      /^s3_api.tls_key_file: is missing beside tls_cert_file/,
    ],
    [
      'a key without its certificate',
      { web: { bind_addr: '"[::]:1"', tls_key_file: '"/k.pem"' } },
      /^s3_web.tls_cert_file: is missing beside tls_key_file/,
    ],
    ['[k2v_api] without address', { k2v: {} }, /^k2v_api.api_bind_addr: is missing/],
    [
      'the address of a console that is off',
      { rest: '[console]\nenabled = false\nbind_addr = "[::]:1"' },
      /^console.bind_addr: is set beside enabled = false/,
    ],
    [
      'a certificate of a console without an address',
      { rest: '[console]\ntls_cert_file = "/c.pem"\ntls_key_file = "/k.pem"' },
      /^console.tls_cert_file: is set without console.bind_addr/,
    ],
    ['a section that is none', { top: { admin: '"x"' } }, /^admin: is "x", expected a section$/],
    ['a share', { admin: { trace_sample_ratio: '1.5' } }, /is 1.5, expected a number from 0 to 1/],
    ['a URL', { admin: { trace_sink: '"localhost"' } }, /^admin.trace_sink: is "localhost", expected a URL/],
    [
      'Consul without an address',
      { rest: '[consul_discovery]\nservice_name = "g"' },
      /^consul_discovery.consul_http_addr: is missing, expected a URL/,
    ],
    [
      'a misspelt key of Consul',
      { rest: '[consul_discovery]\nservice_name = "g"\nconsul_http_addr = "http://c:1"\ntokn = "x"' },
      /^consul_discovery.tokn: .*did you mean "consul_discovery.token"/,
    ],
    [
      'Kubernetes',
      { rest: '[kubernetes_discovery]\nnamespace = "g"' },
      /^kubernetes_discovery.service_name: is missing, expected the name of a service/,
    ],
    [
      'an address twice',
      { s3: { api_bind_addr: '"[::]:3901"' } },
      /^s3_api.api_bind_addr: .*where rpc_bind_addr listens/,
    ],
    [
      'a small buffer',
      { top: { block_size: '"4MiB"', block_ram_buffer_max: '"1MiB"' } },
      /^block_ram_buffer_max: /,
    ],
    ['no workers', { top: { workers: '0' } }, /^workers: is 0/],
  ])('%s', (_, values, message) => {
    const found = problems(toml(values))
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(message)
  })

  it('a missing [s3_api]', () => {
    const text = Object.entries(REQUIRED)
      .map(([k, v]) => `${k} = ${v}`)
      .join('\n')
    expect(problems(text)).toEqual(['s3_api: is missing, expected a section'])
  })

  it('an empty file lacks all required keys', () => {
    expect(problems('').map((line) => line.split(':')[0])).toEqual([
      'metadata_dir',
      'data_dir',
      'replication_factor',
      'rpc_bind_addr',
      's3_api',
      'rpc_secret',
    ])
  })

  it('TOML that cannot be read is located', () => {
    expect(problems('metadata_dir = "/m"\ndata_dir = ')[0]).toMatch(/^: line 2, column \d+: .*expected TOML$/)
  })

  it('db_engine = "lmdb" is taken without a warning', () => {
    expect(load(toml({ top: { db_engine: '"lmdb"' } })).warnings).toEqual([])
  })

  it.each([
    ['db_engine = "sqlite"', 'db_engine', /is "sqlite", which Carport does not have: .*LMDB/],
    ['db_engine = "fjall"', 'db_engine', /LMDB/],
    ['fjall_block_cache_size = 1000', 'fjall_block_cache_size', /LMDB/],
    ['sled_cache_capacity = 1000', 'sled_cache_capacity', /LMDB/],
  ])('%s of another engine is a warning, not an end', (line, key, message) => {
    const config = load(toml({}).replace('metadata_dir', `${line}\nmetadata_dir`))
    expect(config.warnings).toEqual([{ key, message: expect.stringMatching(message) }])
  })

  it('the endpoints that are told to clients are URLs', () => {
    const s3 = { public_endpoint: '"https://s3.example.org"', public_endpoint_path_style: 'true' }
    expect(load(toml({ s3 })).s3Api).toMatchObject({
      publicEndpoint: 'https://s3.example.org',
      publicEndpointPathStyle: true,
    })
    expect(problems(toml({ s3: { public_endpoint: '"s3.example.org"' } }))).toEqual([
      expect.stringMatching(/^s3_api.public_endpoint: is "s3.example.org", expected a URL/),
    ])
  })

  it('several are told at once, in the file, the environment and the secret files', () => {
    const text = toml({
      top: { metadata_dir: '1', blok_size: '1', rpc_secret: '"zz"', db_engine: '"x"' },
      s3: { s3_region: undefined },
      admin: { admin_token_file: '"/gone"', metrics_token: '5' },
    })
    const error = (() => {
      try {
        return load(text, { CARPORT_LOG: 'loud' })
      } catch (e) {
        return e as ConfigError
      }
    })() as ConfigError
    expect(error.problems.map((p) => p.key).sort()).toEqual([
      'CARPORT_LOG',
      'admin.admin_token_file',
      'admin.metrics_token',
      'blok_size',
      'db_engine',
      'metadata_dir',
      'rpc_secret',
      's3_api.s3_region',
    ])
    expect(error.message.split('\n')).toHaveLength(9)
    expect(error.message).toMatch(/^carport.toml:\n {2}metadata_dir: is 1/)
  })
})

describe('secrets', () => {
  const noSecret = toml({ top: { rpc_secret: undefined } })
  const inFile = (mode = 0o600) => files({ '/s': { text: `${SECRET}\n`, mode }, '/t': { text: 'token \n' } })
  const withFile = toml({ top: { rpc_secret: undefined, rpc_secret_file: '"/s"' } })

  it('come from files, without trailing white space', () => {
    const text = toml({
      top: { rpc_secret: undefined, rpc_secret_file: '"/s"' },
      admin: { admin_token_file: '"/t"', metrics_token_file: '"/t"' },
    })
    expect(load(text, {}, inFile()).secrets).toEqual({
      rpcSecret: SECRET,
      sseMasterKeys: [],
      notifications: [],
      adminToken: 'token',
      metricsToken: 'token',
    })
  })

  it('are never part of a message', () => {
    const bad = 'g'.repeat(64)
    expect(problems(toml({ top: { rpc_secret: `"${bad}"` } }))[0]).toMatch(
      /^rpc_secret: has characters that are no hex/,
    )
    expect(problems(toml({ top: { rpc_secret: `"${bad}"` } }))[0]).not.toContain('gg')
    expect(problems(toml({ top: { rpc_secret: '"abcd"' } }))[0]).toMatch(
      /^rpc_secret: has 4 digits, expected 32 bytes/,
    )
  })

  it('master keys are one a line, newest first, and wrong ones are not repeated in messages', () => {
    const [a, b] = ['ab'.repeat(32), 'cd'.repeat(32)]
    const text = toml({ top: { sse_master_key_file: '"/k"' } })
    const keys = (content: string) => files({ '/k': { text: content } })
    expect(load(text, {}, keys(`${a.toUpperCase()}\n\n ${b} \n`)).secrets.sseMasterKeys).toEqual([a, b])
    expect(load(toml({}), { CARPORT_SSE_MASTER_KEY: b }).secrets.sseMasterKeys).toEqual([b])
    const wrong = problems(text, {}, keys(`${a}\n${b.slice(1)}\n${a}\n`))
    expect(wrong).toEqual([
      expect.stringMatching(/^sse_master_key: has no 64 hexadecimal digits in line 2, expected 32 bytes/),
      expect.stringMatching(/^sse_master_key: has the same key in lines 1 and 3/),
    ])
    expect(wrong.join()).not.toContain('cdcd')
  })

  it('a missing RPC secret is a problem, missing tokens are none', () => {
    expect(problems(noSecret)).toEqual([
      expect.stringMatching(/^rpc_secret: is missing .*openssl rand -hex 32/),
    ])
  })

  it('both rpc_secret and rpc_secret_file are a problem', () => {
    const text = toml({ top: { rpc_secret_file: '"/s"' } })
    expect(problems(text, {}, inFile())).toEqual([
      'rpc_secret: is set together with rpc_secret_file, expected one of the two',
    ])
    expect(
      problems(toml({ admin: { admin_token: '"a"', admin_token_file: '"/t"' } }), {}, inFile()),
    ).toHaveLength(1)
  })

  it.each([0o644, 0o640, 0o604, 0o660])('a file that others may read is refused: mode %o', (mode) => {
    expect(problems(withFile, {}, inFile(mode))).toEqual([
      expect.stringMatching(/^rpc_secret_file: names the file \/s, which others may read .*chmod 600 \/s/),
    ])
  })

  it('unless world-readable secrets are allowed, in the file or the environment, which wins', () => {
    const allowed = withFile.replace('metadata_dir', 'allow_world_readable_secrets = true\nmetadata_dir')
    expect(load(allowed, {}, inFile(0o644)).secrets.rpcSecret).toBe(SECRET)
    for (const name of ['GARAGE_ALLOW_WORLD_READABLE_SECRETS', 'CARPORT_ALLOW_WORLD_READABLE_SECRETS']) {
      expect(load(withFile, { [name]: 'true' }, inFile(0o644)).secrets.rpcSecret).toBe(SECRET)
      expect(problems(allowed, { [name]: 'false' }, inFile(0o644))).toHaveLength(1)
      expect(problems(withFile, { [name]: 'maybe' }, inFile())).toEqual([
        `${name}: is "maybe", expected true or false`,
      ])
    }
  })

  it('a file that is gone, closed or empty is named', () => {
    expect(problems(withFile)).toEqual([
      expect.stringMatching(/^rpc_secret_file: .*\/s, which does not exist/),
    ])
    const closed: ReadSecretFile = () => {
      throw Object.assign(new Error('no'), { code: 'EACCES' })
    }
    expect(problems(withFile, {}, closed)[0]).toMatch(/cannot be read \(EACCES\)/)
    expect(problems(withFile, {}, files({ '/s': { text: ' \n' } }))[0]).toMatch(/which is empty/)
  })

  it('are not read where they are not needed', () => {
    const never: ReadSecretFile = () => {
      throw new Error('read a secret')
    }
    expect(loadSettings(input(withFile, {}, never)).metadataDir).toBe('/m')
    const text = toml({ admin: { admin_token_file: '"/t"' } })
    expect(loadRpcConfig(input(text, {}, never)).rpcSecret).toBe(SECRET)
  })
})

describe('environment', () => {
  const text = toml({ admin: { admin_token: '"file"', metrics_token_file: '"/m"' } })
  const read = files({ '/m': { text: 'file' }, '/e': { text: 'env file' }, '/r': { text: OTHER_SECRET } })

  it('GARAGE_ overrides the file, CARPORT_ overrides GARAGE_', () => {
    const tokens = (env: Record<string, string>) => load(text, env, read).secrets
    expect(tokens({})).toMatchObject({ adminToken: 'file', metricsToken: 'file' })
    expect(tokens({ GARAGE_ADMIN_TOKEN: 'g' }).adminToken).toBe('g')
    expect(tokens({ GARAGE_ADMIN_TOKEN: 'g', CARPORT_ADMIN_TOKEN: 'c' }).adminToken).toBe('c')
    expect(tokens({ GARAGE_ADMIN_TOKEN: 'g', CARPORT_ADMIN_TOKEN_FILE: '/e' }).adminToken).toBe('env file')
    expect(tokens({ GARAGE_METRICS_TOKEN_FILE: '/e' }).metricsToken).toBe('env file')
    expect(tokens({ GARAGE_RPC_SECRET: OTHER_SECRET }).rpcSecret).toBe(OTHER_SECRET)
    expect(tokens({ CARPORT_RPC_SECRET_FILE: '/r' }).rpcSecret).toBe(OTHER_SECRET)
  })

  it('an empty variable counts as absent', () => {
    expect(load(text, { CARPORT_ADMIN_TOKEN: '' }, read).secrets.adminToken).toBe('file')
  })

  it('both forms of one variable are a problem', () => {
    expect(problems(text, { CARPORT_RPC_SECRET: SECRET, CARPORT_RPC_SECRET_FILE: '/r' }, read)).toEqual([
      'CARPORT_RPC_SECRET: is set together with CARPORT_RPC_SECRET_FILE, expected one of the two',
    ])
  })

  it('shortens graces for tests, and says so', () => {
    expect(load(toml()).durationsForTests).toEqual({
      tombstoneMs: null,
      comparisonMs: null,
      unreferencedBlockMs: null,
      unclaimedBlockMs: null,
    })
    const config = load(
      `${toml()}\n[durations_for_tests]\ntombstone_seconds = 20\nunreferenced_block_seconds = 5\n`,
    )
    expect(config.durationsForTests).toMatchObject({ tombstoneMs: 20_000, unreferencedBlockMs: 5000 })
    expect(config.warnings.map(({ key }) => key)).toEqual(['durations_for_tests'])
  })

  it('sets the logging', () => {
    const log = (env: Record<string, string>) => load(toml(), env).log
    expect(log({ CARPORT_LOG: 'Debug', CARPORT_LOG_FORMAT: 'json' })).toEqual({
      level: 'debug',
      format: 'json',
    })
    expect(log({ RUST_LOG: 'garage=warn' }).level).toBe('warn')
    expect(log({ RUST_LOG: 'netapp=error,garage=debug,info' }).level).toBe('debug')
    expect(log({ RUST_LOG: 'trace' }).level).toBe('debug')
    expect(log({ RUST_LOG: 'other=debug' }).level).toBe('info')
    expect(log({ RUST_LOG: 'debug', CARPORT_LOG: 'error' }).level).toBe('error')
    expect(load(toml(), { GARAGE_LOG_TO_SYSLOG: '1' }).warnings[0]?.key).toBe('GARAGE_LOG_TO_SYSLOG')
  })
})

describe('documentation', () => {
  const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
  const keys = [
    ...Object.keys(TOP_LEVEL),
    ...Object.entries(SECTIONS).flatMap(([section, spec]) =>
      Object.keys(spec).map((key) => `${section}.${key}`),
    ),
  ]

  it.each(keys)('has a row for %s', (key) => {
    expect(page).toMatch(new RegExp(`^\\| .*\`${key.replace('.', '\\.')}\``, 'm'))
  })

  it('has an example that is taken without a warning and shows the defaults', () => {
    const example = readFileSync(new URL('../../docs/carport.toml', import.meta.url), 'utf8')
    const config = load(example)
    expect(config.warnings).toEqual([])
    expect(config.metadataFsync).toBe(true)
    const given = new Set([
      'data_dir',
      'rpc_public_addr_subnet',
      'rpc_secret_file',
      'sse_master_key_file',
      'secret_file',
      'admin_token_file',
      'metrics_token_file',
    ])
    const all = example.replace(/^#(?=\[|([a-z0-9_]+) =)/gm, (hash, key) => (given.has(key) ? hash : ''))
    expect(load(all)).toMatchObject({
      blockSizeBytes: 2 ** 20,
      web: { rootDomain: 'web.example.org' },
      warnings: [],
    })
  })

  it('has all keys in the example, but those for tests and those that mean nothing any more', () => {
    const example = readFileSync(new URL('../../docs/carport.toml', import.meta.url), 'utf8')
    const documented = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
    const keys = [...documented.matchAll(/^\| ((?:`[\w.]+`(?:, )?)+) \| [^|]+ \| (?!ignored)/gm)]
      .flatMap(([, names]) => [...names!.matchAll(/`([\w.]+)`/g)].map(([, name]) => name!))
      .filter((name) => /^[a-z]/.test(name) && !name.startsWith('durations_for_tests'))
    expect(keys.length).toBeGreaterThan(90)
    const missing = keys.filter((name) => {
      const key = name.split('.').at(-1)!
      return !new RegExp(`^#?(\\[+(\\w+\\.)*${key}[.\\]]|${key} = )`, 'm').test(example)
    })
    expect(missing).toEqual([])
  })
})
