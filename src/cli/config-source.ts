import {
  ConfigError,
  loadConfig,
  loadRpcConfig,
  loadSettings,
  type RpcConfig,
  type Settings,
} from '../config/config.js'
import { checkRpcSecret, type Env, readEnv, resolveSecret, worldReadableAllowed } from '../config/secrets.js'
import { Findings } from '../config/section.js'
import { singleNodeDataDir, singleNodePaths, singleNodeRpcConfig } from '../config/single-node.js'
import { formatHostPort, type HostPort, parsePeer } from '../config/values.js'
import { CliError, UsageError } from './admin-client.js'
import type { CliIo, Target } from './io.js'

/** Flags that replace the configuration or a part of it, by their long names. */
export interface GlobalFlags {
  config?: string
  rpcHost?: string
  rpcSecret?: string
  rpcSecretFile?: string
  adminToken?: string
  adminTokenFile?: string
  metricsToken?: string
  metricsTokenFile?: string
  allowWorldReadableSecrets?: string | true
  json?: boolean
}

const DEFAULT_FILES = ['/etc/carport.toml', '/etc/garage.toml']

/** A configuration file that was found, or the folder of a single node that runs without one. */
export type ConfigLocation = { path: string; text: string } | { dataDir: string }

/** The environment with flags in it, which come before every variable. */
export function withFlags(env: Env, flags: GlobalFlags): Env {
  const result: Record<string, string | undefined> = { ...env }
  const secret = (name: string, inline: string | undefined, file: string | undefined) => {
    if (inline === undefined && file === undefined) return
    result[`CARPORT_${name}`] = inline
    result[`CARPORT_${name}_FILE`] = file
  }
  secret('RPC_SECRET', flags.rpcSecret, flags.rpcSecretFile)
  secret('ADMIN_TOKEN', flags.adminToken, flags.adminTokenFile)
  secret('METRICS_TOKEN', flags.metricsToken, flags.metricsTokenFile)
  if (flags.allowWorldReadableSecrets !== undefined) {
    result.CARPORT_ALLOW_WORLD_READABLE_SECRETS = String(flags.allowWorldReadableSecrets)
  }
  return result
}

/** The file named by flag or environment; undefined if none is. @throws CliError if it cannot be read. */
export function namedConfig(io: CliIo, flags: GlobalFlags): { path: string; text: string } | undefined {
  const path = flags.config ?? readEnv(io.env, 'CONFIG_FILE')?.value
  if (path === undefined) return undefined
  const text = readIfThere(io, path)
  if (text === undefined)
    throw new CliError(`the configuration file ${path} does not exist: name another with -c`)
  return { path, text }
}

/**
 * Where the configuration is: the named file, the folder in CARPORT_DATA_DIR, a file in /etc, ./data.
 * @throws CliError
 */
export function findConfig(io: CliIo, flags: GlobalFlags): ConfigLocation {
  const named = namedConfig(io, flags)
  if (named !== undefined) return named
  const dataDir = singleNodeDataDir(io.env)
  if (readEnv(io.env, 'DATA_DIR') !== undefined) return { dataDir }
  for (const path of DEFAULT_FILES) {
    const text = readIfThere(io, path)
    if (text !== undefined) return { path, text }
  }
  if (hasSecret(io, dataDir)) return { dataDir }
  throw new CliError(
    `no configuration: there is neither ${DEFAULT_FILES.join(' nor ')}; name a file with -c, ` +
      'or run a single node without one: carport server --single-node',
  )
}

/** A node's settings, without secrets. @throws ConfigError, CliError */
export function readSettings(io: CliIo, flags: GlobalFlags): Settings {
  const location = findConfig(io, flags)
  if ('dataDir' in location) return readSingleNode(io, location.dataDir).settings
  return loadSettings(fileInput(io, location))
}

/** Everything a server needs. @throws ConfigError, CliError */
export function readFullConfig(io: CliIo, location: { path: string; text: string }) {
  return loadConfig(fileInput(io, location))
}

/**
 * The node that commands talk to: -h, else the one of the configuration. The configuration is not read if both
 * the host and the secret are given.
 * @throws ConfigError, CliError
 */
export function findTarget(io: CliIo, flags: GlobalFlags): Target {
  const host = flags.rpcHost ?? readEnv(io.env, 'RPC_HOST')?.value
  const peer = host === undefined ? undefined : parseHost(host)
  const secretGiven = readEnv(io.env, 'RPC_SECRET') ?? readEnv(io.env, 'RPC_SECRET_FILE')
  if (peer !== undefined && secretGiven !== undefined) {
    return { addresses: [peer], nodeId: peer.id, rpcSecret: secretAlone(io) }
  }
  const { settings, rpcSecret } = readRpcConfig(io, flags)
  if (peer !== undefined) return { addresses: [peer], nodeId: peer.id, rpcSecret }
  const { bindAddr, publicAddr } = settings.rpc
  const addresses: HostPort[] = [{ host: loopbackOf(bindAddr.host), port: bindAddr.port }]
  if (publicAddr !== null && formatHostPort(publicAddr) !== formatHostPort(addresses[0]!))
    addresses.push(publicAddr)
  return { addresses, nodeId: io.readNodeId(settings.metadataDir), rpcSecret }
}

/**
 * Where programs on this machine reach S3 and K2V of the node that the configuration describes; undefined where another node
 * is named, or it has TLS, whose certificate is of a name that is not known.
 * @throws ConfigError, CliError
 */
export function localEndpoints(
  io: CliIo,
  flags: GlobalFlags,
): { s3: string | undefined; k2v: string | undefined } {
  if ((flags.rpcHost ?? readEnv(io.env, 'RPC_HOST')?.value) !== undefined)
    return { s3: undefined, k2v: undefined }
  const { s3Api, k2vApi } = readSettings(io, flags)
  return { s3: localUrl(s3Api), k2v: k2vApi === null ? undefined : localUrl(k2vApi) }
}

function localUrl({ bindAddr, tls }: Pick<Settings['s3Api'], 'bindAddr' | 'tls'>): string | undefined {
  if (bindAddr === null || bindAddr.kind !== 'tcp' || tls !== null) return undefined
  return `http://${formatHostPort({ host: loopbackOf(bindAddr.host), port: bindAddr.port })}`
}

/** An address that is bound to all interfaces is reached by the loopback one. */
const loopbackOf = (host: string) => (['::', '0.0.0.0'].includes(host) ? '127.0.0.1' : host)

function readRpcConfig(io: CliIo, flags: GlobalFlags): RpcConfig {
  const location = findConfig(io, flags)
  if ('dataDir' in location) return readSingleNode(io, location.dataDir)
  return loadRpcConfig(fileInput(io, location))
}

function readSingleNode(io: CliIo, dataDir: string): RpcConfig {
  return singleNodeRpcConfig({ dataDir, env: io.env, readSecretFile: io.readSecretFile })
}

function fileInput(io: CliIo, { path, text }: { path: string; text: string }) {
  return { fileName: path, text, env: io.env, readSecretFile: io.readSecretFile }
}

function parseHost(text: string) {
  try {
    return parsePeer(text)
  } catch (error) {
    throw new UsageError(`the RPC host ${(error as Error).message}: "carport node id" prints it on that node`)
  }
}

function secretAlone(io: CliIo): string {
  const findings = new Findings()
  const source = { key: 'rpc_secret', envName: 'RPC_SECRET', inline: null, file: null }
  const context = {
    env: io.env,
    readSecretFile: io.readSecretFile,
    allowWorldReadable: worldReadableAllowed(io.env, false, findings),
  }
  const secret = resolveSecret(source, context, findings)
  const checked = secret === null ? undefined : checkRpcSecret('rpc_secret', secret, findings)
  if (checked === undefined || findings.problems.length > 0)
    throw new ConfigError('RPC secret', findings.problems)
  return checked
}

/** The text, or undefined if there is no such file. @throws CliError if it cannot be read. */
function readIfThere(io: CliIo, path: string): string | undefined {
  try {
    return io.readText(path)
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (code === 'ENOENT') return undefined
    throw new CliError(`cannot read the configuration file ${path} (${code ?? 'unknown error'})`)
  }
}

function hasSecret(io: CliIo, dataDir: string): boolean {
  try {
    io.readSecretFile(singleNodePaths(dataDir).rpcSecretFile)
    return true
  } catch (error) {
    return (error as { code?: unknown }).code !== 'ENOENT'
  }
}
