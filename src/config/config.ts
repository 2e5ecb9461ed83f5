import { join } from 'node:path'
import { parse as parseToml, TomlError } from 'smol-toml'
import { readConsul, readKubernetes } from './discovery.js'
import { readLogConfig } from './logging.js'
import { readNotifications } from './notifications.js'
import { readOidc } from './oidc.js'
import { SECTIONS, type SectionValues, TOP_LEVEL, type TopLevelValues } from './schema.js'
import {
  checkMasterKeys,
  checkRpcSecret,
  type Env,
  type ReadSecretFile,
  resolveSecret,
  type SecretContext,
  worldReadableAllowed,
} from './secrets.js'
import { Findings, type Problem, readSection } from './section.js'
import type { Config, Secrets, Settings, TlsFiles } from './settings.js'
import { formatListenAddress, type ListenAddress } from './values.js'

export type { Config, ConsistencyMode, Secrets, Settings, TlsFiles } from './settings.js'

/** All problems of a configuration at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'

  constructor(
    readonly source: string,
    readonly problems: readonly Problem[],
  ) {
    const lines = problems.map(({ key, message }) => (key === '' ? message : `${key}: ${message}`))
    super(
      lines.length === 1 ? `${source}: ${lines[0]}` : `${source}:\n${lines.map((l) => `  ${l}`).join('\n')}`,
    )
  }
}

export interface ConfigSource {
  /** The name of the source, for messages. */
  fileName: string
  /** The path for Config.configFile. */
  configFile: string | null
  /** Parses the file; undefined after `findings` got the reason why it cannot be parsed. */
  table: Record<string, unknown> | undefined
  env: Env
  readSecretFile: ReadSecretFile
  findings: Findings
}

export interface ConfigInput {
  /** The path, for messages and for Config.configFile. */
  fileName: string
  /** The file's content, TOML. */
  text: string
  env: Env
  readSecretFile: ReadSecretFile
}

/**
 * The configuration of a node with its secrets.
 * @throws ConfigError with all problems of the file, the environment and the secret files.
 */
export function loadConfig(input: ConfigInput): Config {
  return interpretConfig(parseSource(input))
}

/**
 * The configuration without its secrets: for commands that need none and may run without the right to read them.
 * @throws ConfigError
 */
export function loadSettings(input: ConfigInput): Settings {
  return interpretSettings(parseSource(input))
}

/**
 * The settings and the RPC secret alone, for the command line.
 * @throws ConfigError
 */
export function loadRpcConfig(input: ConfigInput): RpcConfig {
  return interpretRpcConfig(parseSource(input))
}

export interface RpcConfig {
  settings: Settings
  rpcSecret: string
}

/** @throws ConfigError */
export function interpretConfig(source: ConfigSource): Config {
  const file = readSections(source)
  const settings = file && buildSettings(source, file)
  const secrets = file && readSecrets(source, file)
  throwIfProblems(source)
  return freeze({ ...settings!, secrets: secrets! })
}

/** @throws ConfigError */
export function interpretSettings(source: ConfigSource): Settings {
  const file = readSections(source)
  const settings = file && buildSettings(source, file)
  throwIfProblems(source)
  return freeze(settings!)
}

/** @throws ConfigError */
export function interpretRpcConfig(source: ConfigSource): RpcConfig {
  const file = readSections(source)
  const settings = file && buildSettings(source, file)
  const rpcSecret = file && readRpcSecret(source, file)
  throwIfProblems(source)
  return { settings: freeze(settings!), rpcSecret: rpcSecret! }
}

function parseSource(input: ConfigInput): ConfigSource {
  const findings = new Findings()
  let table: Record<string, unknown> | undefined
  try {
    table = parseToml(input.text.replace(/^\uFEFF/, ''))
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const reason = error.message.split('\n', 1)[0]!.replace(/^Invalid TOML document: /, '')
    findings.problem('', `line ${error.line}, column ${error.column}: ${reason}, expected TOML`)
  }
  const { fileName, env, readSecretFile } = input
  return { fileName, configFile: fileName, table, env, readSecretFile, findings }
}

type FileValues = { top: Partial<TopLevelValues> } & {
  [K in keyof SectionValues]: Partial<SectionValues[K]> | undefined
}

function readSections({ table, findings }: ConfigSource): FileValues | undefined {
  if (table === undefined) return undefined
  const top = readSection(TOP_LEVEL, table, '', findings)
  const section = <K extends keyof typeof SECTIONS>(name: K) =>
    top[name] ? readSection(SECTIONS[name], top[name], `${name}.`, findings) : undefined
  return {
    top,
    s3_api: section('s3_api'),
    k2v_api: section('k2v_api'),
    s3_web: section('s3_web'),
    admin: section('admin'),
    console: section('console'),
    durations_for_tests: section('durations_for_tests'),
  }
}

function buildSettings(source: ConfigSource, file: FileValues): Settings | undefined {
  const { findings } = source
  const log = readLogConfig(source.env, findings)
  const oidc = readOidc(file.top.oidc, findings)
  const consul = readConsul(file.top.consul_discovery, findings)
  const kubernetes = readKubernetes(file.top.kubernetes_discovery, findings)
  checkAcrossKeys(file, findings)
  if (file.durations_for_tests) {
    findings.warn(
      'durations_for_tests',
      'is for tests: what a node misses while it is away for longer is lost',
    )
  }
  if (findings.problems.length > 0) return undefined
  // Without problems every key of every section that is there has a value.
  const top = file.top as TopLevelValues
  const s3 = file.s3_api as SectionValues['s3_api']
  const k2v = file.k2v_api as SectionValues['k2v_api'] | undefined
  const web = file.s3_web as SectionValues['s3_web'] | undefined
  const admin = file.admin as SectionValues['admin']
  const console = file.console as SectionValues['console']
  return {
    configFile: source.configFile,
    metadataDir: top.metadata_dir,
    metadataSnapshotsDir: top.metadata_snapshots_dir ?? join(top.metadata_dir, 'snapshots'),
    metadataFsync: top.metadata_fsync,
    metadataAutoSnapshotIntervalMs: top.metadata_auto_snapshot_interval,
    maxClockDriftMs: top.max_clock_drift,
    dataDirs: top.data_dir,
    dataFsync: top.data_fsync,
    disableScrub: top.disable_scrub,
    useLocalTz: top.use_local_tz,
    lmdbMapSizeBytes: top.lmdb_map_size,
    blockSizeBytes: top.block_size,
    inlineBytesMax: top.inline_max,
    blockRamBufferMaxBytes: top.block_ram_buffer_max,
    blockMaxConcurrentReads: top.block_max_concurrent_reads,
    blockMaxConcurrentWritesPerRequest: top.block_max_concurrent_writes_per_request,
    maxConnections: top.max_connections,
    maxRequests: top.max_requests,
    requestMemoryBytes: top.request_memory_max,
    compressionLevel: top.compression_level,
    replicationFactor: top.replication_factor,
    consistencyMode: top.consistency_mode,
    allowPunycode: top.allow_punycode,
    trustedProxies: top.trusted_proxies,
    accessLog: { requests: top.access_log, file: top.access_log_file },
    allowWorldReadableSecrets: worldReadableAllowed(source.env, top.allow_world_readable_secrets, findings),
    rpc: {
      bindAddr: top.rpc_bind_addr,
      bindOutgoing: top.rpc_bind_outgoing,
      publicAddr: top.rpc_public_addr,
      publicAddrSubnet: top.rpc_public_addr_subnet,
      pingTimeoutMs: top.rpc_ping_timeout_msec,
      timeoutMs: top.rpc_timeout_msec,
      bootstrapPeers: top.bootstrap_peers,
    },
    s3Api: {
      bindAddr: s3.api_bind_addr,
      region: s3.s3_region,
      publicEndpoint: s3.public_endpoint,
      publicEndpointPathStyle: s3.public_endpoint_path_style,
      rootDomain: s3.root_domain,
      acceptSignatureV2: s3.accept_signature_v2,
      acceptStorageClasses: s3.accept_storage_classes,
      bucketNamespace: s3.bucket_namespace,
      tls: tlsFilesOf(s3),
    },
    k2vApi:
      k2v === undefined
        ? null
        : { bindAddr: k2v.api_bind_addr, publicEndpoint: k2v.public_endpoint, tls: tlsFilesOf(k2v) },
    web:
      web === undefined
        ? null
        : {
            bindAddr: web.bind_addr,
            rootDomain: web.root_domain,
            addHostToMetrics: web.add_host_to_metrics,
            pageCacheBytesMax: web.page_cache_max,
            tls: tlsFilesOf(web),
          },
    admin: {
      bindAddr: admin.api_bind_addr,
      metricsRequireToken: admin.metrics_require_token,
      traceSink: admin.trace_sink,
      traceSampleRatio: admin.trace_sample_ratio,
      tls: tlsFilesOf(admin),
    },
    console: { enabled: console.enabled, bindAddr: console.bind_addr, tls: tlsFilesOf(console) },
    multipartAbortAfterMs: top.multipart_abort_after,
    lifecycleDaySeconds: top.lifecycle_day_seconds,
    durationsForTests: durationsOf(file.durations_for_tests),
    oidc,
    consul,
    kubernetes,
    workers: top.workers,
    log,
    warnings: findings.warnings,
  }
}

function durationsOf(section: FileValues['durations_for_tests']): Settings['durationsForTests'] {
  const ms = (seconds: number | null | undefined) => (seconds ? seconds * 1000 : null)
  return {
    tombstoneMs: ms(section?.tombstone_seconds),
    comparisonMs: ms(section?.comparison_seconds),
    unreferencedBlockMs: ms(section?.unreferenced_block_seconds),
    unclaimedBlockMs: ms(section?.unclaimed_block_seconds),
  }
}

function tlsFilesOf({
  tls_cert_file: certFile,
  tls_key_file: keyFile,
}: {
  tls_cert_file: string | null
  tls_key_file: string | null
}): TlsFiles | null {
  return certFile === null || keyFile === null ? null : { certFile, keyFile }
}

/** Rules that bind several keys. Keys that had a problem of their own are undefined here. */
function checkAcrossKeys(file: FileValues, findings: Findings): void {
  const listeners: [key: string, address: ListenAddress | null | undefined][] = [
    ['rpc_bind_addr', file.top.rpc_bind_addr],
    ['s3_api.api_bind_addr', file.s3_api?.api_bind_addr],
    ['k2v_api.api_bind_addr', file.k2v_api?.api_bind_addr],
    ['s3_web.bind_addr', file.s3_web?.bind_addr],
    ['admin.api_bind_addr', file.admin?.api_bind_addr],
    ['console.bind_addr', file.console?.bind_addr],
  ]
  const takenBy = new Map<string, string>()
  for (const [key, address] of listeners) {
    if (!address || (address.kind === 'tcp' && address.port === 0)) continue
    const text = formatListenAddress(address)
    const other = takenBy.get(text)
    if (other === undefined) takenBy.set(text, key)
    else findings.problem(key, `is ${text}, where ${other} listens already, expected an address of its own`)
  }
  for (const name of ['s3_api', 'k2v_api', 's3_web', 'admin', 'console'] as const) {
    const { tls_cert_file: cert, tls_key_file: key } = file[name] ?? {}
    if (cert !== null && key === null)
      findings.problem(`${name}.tls_key_file`, 'is missing beside tls_cert_file')
    if (cert === null && key !== null)
      findings.problem(`${name}.tls_cert_file`, 'is missing beside tls_key_file')
  }
  const { enabled, bind_addr: consoleAddr, tls_cert_file: consoleCert } = file.console ?? {}
  if (enabled === false && consoleAddr)
    findings.problem('console.bind_addr', 'is set beside enabled = false, expected one of them')
  if (consoleAddr === null && consoleCert)
    findings.problem('console.tls_cert_file', 'is set without console.bind_addr, expected that of [admin]')
  const { block_size: blockSize, block_ram_buffer_max: buffer } = file.top
  if (blockSize !== undefined && buffer !== undefined && buffer < blockSize) {
    findings.problem('block_ram_buffer_max', `is ${buffer}, expected at least block_size (${blockSize})`)
  }
  const { db_engine: engine } = file.top
  if (engine !== undefined && engine !== 'lmdb') {
    findings.warn('db_engine', `is "${engine}", which Carport does not have: it keeps its metadata in LMDB`)
  }
  if (file.top.rpc_public_addr && file.top.rpc_public_addr_subnet) {
    findings.warn('rpc_public_addr_subnet', 'has no effect beside rpc_public_addr')
  }
}

function readSecrets(source: ConfigSource, file: FileValues): Secrets | undefined {
  const rpcSecret = readRpcSecret(source, file)
  const token = (name: 'admin_token' | 'metrics_token') =>
    resolveSecret(
      {
        key: `admin.${name}`,
        envName: name.toUpperCase(),
        inline: file.admin?.[name],
        file: file.admin?.[`${name}_file`],
      },
      secretContext(source, file),
      source.findings,
    )
  const adminToken = token('admin_token')
  const metricsToken = token('metrics_token')
  const sseMasterKeys = readMasterKeys(source, file)
  const notifications = readNotifications(
    file.top.notifications,
    secretContext(source, file),
    source.findings,
  )
  return rpcSecret === undefined
    ? undefined
    : { rpcSecret, sseMasterKeys, adminToken, metricsToken, notifications }
}

function readMasterKeys(source: ConfigSource, file: FileValues): string[] {
  const { sse_master_key: inline, sse_master_key_file: secretFile } = file.top
  const secret = resolveSecret(
    { key: 'sse_master_key', envName: 'SSE_MASTER_KEY', inline, file: secretFile },
    secretContext(source, file),
    source.findings,
  )
  return secret === null ? [] : checkMasterKeys('sse_master_key', secret, source.findings)
}

function readRpcSecret(source: ConfigSource, file: FileValues): string | undefined {
  const { findings } = source
  const before = findings.problems.length
  const { rpc_secret: inline, rpc_secret_file: secretFile } = file.top
  const secret = resolveSecret(
    { key: 'rpc_secret', envName: 'RPC_SECRET', inline, file: secretFile },
    secretContext(source, file),
    findings,
  )
  // A key of the wrong type, or a file that could not be read, is among the findings already.
  const told = findings.problems.length > before || inline === undefined || secretFile === undefined
  return secret === null && told ? undefined : checkRpcSecret('rpc_secret', secret, findings)
}

function secretContext({ env, readSecretFile, findings }: ConfigSource, file: FileValues): SecretContext {
  const allowWorldReadable = worldReadableAllowed(env, file.top.allow_world_readable_secrets, findings)
  return { env, readSecretFile, allowWorldReadable }
}

function throwIfProblems({ fileName, findings }: ConfigSource): void {
  if (findings.problems.length === 0) return
  const seen = new Set<string>()
  const problems = findings.problems.filter(({ key, message }) => {
    const line = `${key}\0${message}`
    return !seen.has(line) && seen.add(line)
  })
  throw new ConfigError(fileName, problems)
}

/** Freezes in depth. */
function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) freeze(inner)
  }
  return value
}
