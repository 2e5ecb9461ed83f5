import { MAX_CLOCK_DRIFT_MS } from '../util/clock.js'
import {
  filePath,
  obsolete,
  optional,
  parseBoolean,
  parseChoice,
  parseInteger,
  parseList,
  parseText,
  refused,
  required,
  type SectionSpec,
  type Values,
} from './section.js'
import {
  parseDuration,
  parseHostPort,
  parseListenAddress,
  parseNetwork,
  parsePeer,
  parseSize,
  parseSubnet,
  parseTcpAddress,
  show,
  ValueError,
} from './values.js'

/** A folder for blocks. Exactly one of `capacityBytes` and `readOnly` is set, or neither for the only folder. */
export interface DataDir {
  path: string
  /** Its share of the node's data is in proportion to this; null for a single folder or a read-only one. */
  capacityBytes: number | null
  readOnly: boolean
}

/** The engines of metadata that Garage has or had. */
type DbEngine = 'lmdb' | 'sqlite' | 'fjall' | 'sled'

const KIB = 1024
const MIB = 1024 * KIB
const TIB = MIB * MIB

const folderPath = parseText('the path of a folder')
const secretText = parseText('a text')

/**
 * The keys of garage.toml (Garage v2) and Carport's own. To add one: a line here, its place in Config
 * (config.ts), a row in docs/configuration.md (a test compares them).
 */
export const TOP_LEVEL = {
  metadata_dir: required(folderPath),
  metadata_snapshots_dir: optional(folderPath, null),
  metadata_fsync: optional(parseBoolean, true),
  metadata_auto_snapshot_interval: optional(parseSnapshotInterval, null),
  max_clock_drift: optional(parseClockDrift, MAX_CLOCK_DRIFT_MS),
  data_dir: required(parseDataDirs),
  data_fsync: optional(parseBoolean, true),
  disable_scrub: optional(parseBoolean, false),
  use_local_tz: optional(parseBoolean, false),
  /** Garage's engines are taken, with a warning: the one of Carport is used. */
  db_engine: optional(parseChoice(['lmdb', 'sqlite', 'fjall', 'sled']), 'lmdb' as DbEngine),
  lmdb_map_size: optional(sizeBetween(10 * MIB, 128 * TIB), TIB),
  block_size: optional(sizeBetween(KIB, 256 * MIB), MIB),
  inline_max: optional(sizeBetween(0, 128 * KIB), 64 * KIB),
  block_ram_buffer_max: optional(sizeBetween(MIB, TIB), 64 * MIB),
  block_max_concurrent_reads: optional(parseInteger(1, 65536), 16),
  block_max_concurrent_writes_per_request: optional(parseInteger(1, 1024), 8),
  max_connections: optional(parseInteger(1, 1_000_000), null),
  max_requests: optional(parseInteger(1, 100_000), null),
  request_memory_max: optional(sizeBetween(8 * MIB, TIB), 64 * MIB),
  compression_level: optional(parseCompressionLevel, 1),
  replication_factor: required(parseInteger(1, 255)),
  consistency_mode: optional(
    parseChoice(['consistent', 'degraded', 'dangerous']),
    'consistent' as 'consistent' | 'degraded' | 'dangerous',
  ),
  replication_mode: refused(
    'is no longer supported, expected replication_factor = 1, 2, 3 ... and, if wanted, consistency_mode',
  ),
  allow_world_readable_secrets: optional(parseBoolean, false),
  allow_punycode: optional(parseBoolean, false),
  rpc_secret: optional(secretText, null),
  rpc_secret_file: optional(filePath, null),
  sse_master_key: optional(secretText, null),
  sse_master_key_file: optional(filePath, null),
  rpc_bind_addr: required(parseTcpAddress),
  rpc_bind_outgoing: optional(parseBoolean, false),
  rpc_public_addr: optional(parseHostPort, null),
  rpc_public_addr_subnet: optional(parseSubnet, null),
  rpc_ping_timeout_msec: optional(parseInteger(100, 3_600_000), null),
  rpc_timeout_msec: optional(parseInteger(100, 3_600_000), null),
  bootstrap_peers: optional(parseList(parsePeer, 'a list of peers'), [] as ReturnType<typeof parsePeer>[]),
  trusted_proxies: optional(parseList(parseNetwork, 'a list of addresses and networks'), [] as string[]),
  access_log: optional(parseChoice(['off', 'errors', 'all']), 'off' as 'off' | 'errors' | 'all'),
  access_log_file: optional(filePath, null),
  multipart_abort_after: optional(parseAbortAge, null),
  lifecycle_day_seconds: optional(parseInteger(1, 86_400), null),
  workers: optional(parseInteger(1, 256), 1),
  consul_discovery: optional(parseTable, null),
  kubernetes_discovery: optional(parseTable, null),
  sled_cache_capacity: obsolete('has no meaning any more: the metadata engine is LMDB'),
  fjall_block_cache_size: obsolete('has no meaning here: the metadata engine is LMDB'),
  sled_flush_every_ms: obsolete('has no meaning any more: the metadata engine is LMDB'),
  s3_api: required(parseTable),
  k2v_api: optional(parseTable, null),
  s3_web: optional(parseTable, null),
  admin: optional(parseTable, {} as Record<string, unknown>),
  console: optional(parseTable, {} as Record<string, unknown>),
  oidc: optional(parseTable, null),
  durations_for_tests: optional(parseTable, null),
  notifications: optional(parseTable, null),
} satisfies SectionSpec

/** A certificate and its key, for a port with TLS of its own. */
const TLS = {
  tls_cert_file: optional(filePath, null),
  tls_key_file: optional(filePath, null),
} satisfies SectionSpec

export const S3_API = {
  api_bind_addr: optional(parseListenAddress, null),
  s3_region: required(parseRegion),
  public_endpoint: optional(parseUrl, null),
  public_endpoint_path_style: optional(parseBoolean, null as boolean | null),
  root_domain: optional(parseRootDomain, null),
  accept_signature_v2: optional(parseBoolean, true),
  accept_storage_classes: optional(parseBoolean, true),
  bucket_namespace: optional(parseChoice(['global', 'local']), 'global' as 'global' | 'local'),
  ...TLS,
} satisfies SectionSpec

export const K2V_API = {
  api_bind_addr: required(parseListenAddress),
  public_endpoint: optional(parseUrl, null),
  ...TLS,
} satisfies SectionSpec

export const S3_WEB = {
  bind_addr: required(parseListenAddress),
  root_domain: optional(parseRootDomain, null),
  add_host_to_metrics: optional(parseBoolean, false),
  page_cache_max: optional(sizeBetween(0, TIB), 32 * MIB),
  ...TLS,
  index: obsolete('has no meaning any more: the index document is set for each bucket by "bucket website"'),
} satisfies SectionSpec

export const ADMIN = {
  api_bind_addr: optional(parseListenAddress, null),
  admin_token: optional(secretText, null),
  admin_token_file: optional(filePath, null),
  metrics_token: optional(secretText, null),
  metrics_token_file: optional(filePath, null),
  metrics_require_token: optional(parseBoolean, false),
  trace_sink: optional(parseUrl, null),
  trace_sample_ratio: optional(parseShare, 1),
  ...TLS,
} satisfies SectionSpec

export const CONSOLE = {
  enabled: optional(parseBoolean, true),
  bind_addr: optional(parseListenAddress, null),
  ...TLS,
} satisfies SectionSpec

/** Graces that tests of faults shorten, in seconds: data that is kept for less time than a node may be away is lost with it. */
export const DURATIONS_FOR_TESTS = {
  tombstone_seconds: optional(parseInteger(1, 86_400), null),
  comparison_seconds: optional(parseInteger(1, 86_400), null),
  unreferenced_block_seconds: optional(parseInteger(1, 86_400), null),
  unclaimed_block_seconds: optional(parseInteger(1, 86_400), null),
} satisfies SectionSpec

/** The sections with a table of their own, by name. */
export const SECTIONS = {
  s3_api: S3_API,
  k2v_api: K2V_API,
  s3_web: S3_WEB,
  admin: ADMIN,
  console: CONSOLE,
  durations_for_tests: DURATIONS_FOR_TESTS,
}

export type TopLevelValues = Values<typeof TOP_LEVEL>
export type SectionValues = { [K in keyof typeof SECTIONS]: Values<(typeof SECTIONS)[K]> }

const DATA_DIR_EXPECTED =
  'the path of a folder, or a list such as [{ path = "/hdd1", capacity = "2T" }, { path = "/old", read_only = true }]'

function parseDataDirs(value: unknown): DataDir[] {
  if (typeof value === 'string' && value !== '') {
    return [{ path: folderPath(value), capacityBytes: null, readOnly: false }]
  }
  if (!Array.isArray(value) || value.length === 0) {
    throw new ValueError(`is ${show(value)}`, DATA_DIR_EXPECTED)
  }
  const dirs = parseList(parseDataDir, DATA_DIR_EXPECTED)(value)
  if (dirs.every((dir) => dir.readOnly)) {
    throw new ValueError('has read-only folders alone', 'at least one folder to write to, with a capacity')
  }
  const twice = dirs.find((dir, i) => dirs.findIndex((other) => other.path === dir.path) < i)
  if (twice !== undefined) throw new ValueError(`names ${show(twice.path)} twice`, 'each folder once')
  return dirs
}

function parseDataDir(value: unknown): DataDir {
  const table = parseTable(value)
  const unknown = Object.keys(table).find((key) => !['path', 'capacity', 'read_only'].includes(key))
  if (unknown !== undefined) {
    throw new ValueError(`has the unknown key ${show(unknown)}`, 'path, capacity and read_only alone')
  }
  if (typeof table.path !== 'string' || table.path === '') {
    throw new ValueError(`has the path ${show(table.path)}`, 'the path of a folder')
  }
  const readOnly = inner('read_only', table.read_only ?? false, parseBoolean)
  if (readOnly) {
    if (table.capacity !== undefined) {
      throw new ValueError('is read_only and has a capacity', 'one of them alone')
    }
    return { path: folderPath(table.path), capacityBytes: null, readOnly }
  }
  const capacityBytes = inner('capacity', table.capacity, sizeBetween(1, Number.MAX_SAFE_INTEGER))
  return { path: folderPath(table.path), capacityBytes, readOnly }
}

function inner<T>(key: string, value: unknown, parse: (value: unknown) => T): T {
  try {
    return parse(value)
  } catch (error) {
    if (!(error instanceof ValueError)) throw error
    throw new ValueError(`has a ${key} that ${error.wrong}`, error.expected)
  }
}

function parseTable(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date) {
    throw new ValueError(`is ${show(value)}`, 'a section')
  }
  return value as Record<string, unknown>
}

function sizeBetween(min: number, max: number): (value: unknown) => number {
  return (value) => {
    const bytes = parseSize(value)
    if (bytes < min || bytes > max) {
      const limit = bytes < min ? `at least ${min}` : `at most ${max}`
      throw new ValueError(`is ${show(value)} (${bytes} bytes)`, `${limit} bytes`)
    }
    return bytes
  }
}

/** Less would be within what clocks without a time server drift in a day, more within what rules count in. */
function parseClockDrift(value: unknown): number {
  const ms = parseDuration(value)
  if (ms < 1000 || ms > 3600_000) {
    throw new ValueError(`is ${show(value)}`, 'a duration from one second to one hour, such as "1m"')
  }
  return ms
}

function parseSnapshotInterval(value: unknown): number {
  const ms = parseDuration(value)
  if (ms < 60_000)
    throw new ValueError(`is ${show(value)}`, 'a duration of at least one minute, such as "6h"')
  return ms
}

function parseAbortAge(value: unknown): number {
  const ms = parseDuration(value)
  if (ms < 3600_000) {
    throw new ValueError(`is ${show(value)}`, 'a duration of at least one hour, such as "7d"')
  }
  return ms
}

/** Null for "none". */
function parseCompressionLevel(value: unknown): number | null {
  if (typeof value === 'string' && value.toLowerCase() === 'none') return null
  if (typeof value !== 'number' || !Number.isInteger(value) || value < -99 || value > 22) {
    throw new ValueError(`is ${show(value)}`, 'a whole number from -99 to 22, or "none"')
  }
  return value
}

function parseShare(value: unknown): number {
  if (typeof value !== 'number' || !(value >= 0 && value <= 1)) {
    throw new ValueError(`is ${show(value)}`, 'a number from 0 to 1, such as 0.01')
  }
  return value
}

function parseRegion(value: unknown): string {
  if (typeof value !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value)) {
    throw new ValueError(`is ${show(value)}`, 'the name of a region, such as "garage" or "us-east-1"')
  }
  return value
}

/** Without the leading dot, in lower case. */
function parseRootDomain(value: unknown): string {
  const domain = typeof value === 'string' ? value.replace(/^\./, '').toLowerCase() : ''
  if (!/^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/.test(domain)) {
    throw new ValueError(`is ${show(value)}`, 'a domain name such as ".s3.example.org"')
  }
  return domain
}

function parseUrl(value: unknown): string {
  if (typeof value !== 'string' || !/^https?:\/\//.test(value) || !URL.canParse(value)) {
    throw new ValueError(`is ${show(value)}`, 'a URL such as "http://localhost:4317"')
  }
  return value
}
