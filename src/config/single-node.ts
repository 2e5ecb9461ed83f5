import { join } from 'node:path'
import {
  type Config,
  type ConfigSource,
  interpretConfig,
  interpretRpcConfig,
  type RpcConfig,
} from './config.js'
import { type Env, type ReadSecretFile, readEnv } from './secrets.js'
import { Findings } from './section.js'

export interface SingleNodePaths {
  metadataDir: string
  blocksDir: string
  /** The file with the RPC secret: made at the first start, mode 0600. */
  rpcSecretFile: string
  /** The master key of server-side encryption: made like the RPC secret. */
  sseMasterKeyFile: string
}

/** The paths of a single node's files and folders. */
export function singleNodePaths(dataDir: string): SingleNodePaths {
  return {
    metadataDir: join(dataDir, 'meta'),
    blocksDir: join(dataDir, 'data'),
    rpcSecretFile: join(dataDir, 'rpc_secret'),
    sseMasterKeyFile: join(dataDir, 'sse_master_key'),
  }
}

/** The data folder of a single node: CARPORT_DATA_DIR, else ./data. */
export function singleNodeDataDir(env: Env): string {
  return readEnv(env, 'DATA_DIR')?.value ?? 'data'
}

/** The files with secrets that a single node needs, since the environment does not have them. */
export function secretFilesNeeded(dataDir: string, env: Env): string[] {
  const { rpcSecretFile, sseMasterKeyFile } = singleNodePaths(dataDir)
  return [
    ...(isInEnv(env, 'RPC_SECRET') ? [] : [rpcSecretFile]),
    ...(isInEnv(env, 'SSE_MASTER_KEY') ? [] : [sseMasterKeyFile]),
  ]
}

function isInEnv(env: Env, secret: string): boolean {
  return (readEnv(env, secret) ?? readEnv(env, `${secret}_FILE`)) !== undefined
}

export interface SingleNodeInput {
  dataDir: string
  env: Env
  readSecretFile: ReadSecretFile
  /** Addresses to listen on, as in the configuration file; they win over the environment and the defaults. */
  listen?: { s3?: string; rpc?: string; web?: string; admin?: string }
  region?: string
}

/**
 * A configuration without a file: one node on loopback (S3 3900, RPC 3901, web 3902, admin 3903), one copy.
 * Containers set CARPORT_S3_BIND_ADDR, CARPORT_RPC_BIND_ADDR, CARPORT_WEB_BIND_ADDR, CARPORT_ADMIN_BIND_ADDR,
 * CARPORT_S3_REGION and CARPORT_ROOT_DOMAIN; with CARPORT_K2V_BIND_ADDR, K2V is served too. Secrets that are not in the environment are those in the files of
 * `singleNodePaths(dataDir)`, which must exist: see `secretFilesNeeded`.
 * @throws ConfigError
 */
export function singleNodeConfig(input: SingleNodeInput): Config {
  return interpretConfig(source(input))
}

/**
 * The configuration for the command line, which needs the RPC secret alone.
 * @throws ConfigError
 */
export function singleNodeRpcConfig(input: SingleNodeInput): RpcConfig {
  return interpretRpcConfig(source(input))
}

function source({ dataDir, env, readSecretFile, listen = {}, region }: SingleNodeInput): ConfigSource {
  const paths = singleNodePaths(dataDir)
  const fromEnv = (name: string) => readEnv(env, name)?.value
  const k2v = fromEnv('K2V_BIND_ADDR')
  const rootDomain = (fromEnv('ROOT_DOMAIN') ?? 'localhost').replace(/^\./, '')
  return {
    fileName: 'single node',
    configFile: null,
    table: {
      metadata_dir: paths.metadataDir,
      data_dir: paths.blocksDir,
      replication_factor: 1,
      rpc_bind_addr: listen.rpc ?? fromEnv('RPC_BIND_ADDR') ?? '127.0.0.1:3901',
      ...(!isInEnv(env, 'RPC_SECRET') && { rpc_secret_file: paths.rpcSecretFile }),
      ...(!isInEnv(env, 'SSE_MASTER_KEY') && { sse_master_key_file: paths.sseMasterKeyFile }),
      s3_api: {
        api_bind_addr: listen.s3 ?? fromEnv('S3_BIND_ADDR') ?? '127.0.0.1:3900',
        s3_region: region ?? fromEnv('S3_REGION') ?? 'us-east-1',
        root_domain: `.s3.${rootDomain}`,
      },
      s3_web: {
        bind_addr: listen.web ?? fromEnv('WEB_BIND_ADDR') ?? '127.0.0.1:3902',
        root_domain: `.web.${rootDomain}`,
      },
      // Not served unless asked for: few need it.
      ...(k2v !== undefined && { k2v_api: { api_bind_addr: k2v } }),
      admin: { api_bind_addr: listen.admin ?? fromEnv('ADMIN_BIND_ADDR') ?? '127.0.0.1:3903' },
    },
    env,
    readSecretFile,
    findings: new Findings(),
  }
}
