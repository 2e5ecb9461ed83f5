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
  /** Made at the first start, mode 0600. */
  rpcSecretFile: string
}

/** Where a single node keeps its things. */
export function singleNodePaths(dataDir: string): SingleNodePaths {
  return {
    metadataDir: join(dataDir, 'meta'),
    blocksDir: join(dataDir, 'data'),
    rpcSecretFile: join(dataDir, 'rpc_secret'),
  }
}

/** The data folder of a single node: CARPORT_DATA_DIR, else ./data. */
export function singleNodeDataDir(env: Env): string {
  return readEnv(env, 'DATA_DIR')?.value ?? 'data'
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
 * CARPORT_S3_REGION and CARPORT_ROOT_DOMAIN. Where no RPC secret is in the environment, the one in
 * `singleNodePaths(dataDir).rpcSecretFile` counts, which must exist.
 * @throws ConfigError
 */
export function singleNodeConfig(input: SingleNodeInput): Config {
  return interpretConfig(source(input))
}

/**
 * The same for the command line, which needs the RPC secret alone.
 * @throws ConfigError
 */
export function singleNodeRpcConfig(input: SingleNodeInput): RpcConfig {
  return interpretRpcConfig(source(input))
}

function source({ dataDir, env, readSecretFile, listen = {}, region }: SingleNodeInput): ConfigSource {
  const paths = singleNodePaths(dataDir)
  const fromEnv = (name: string) => readEnv(env, name)?.value
  const rootDomain = (fromEnv('ROOT_DOMAIN') ?? 'localhost').replace(/^\./, '')
  const secretInEnv = fromEnv('RPC_SECRET') ?? fromEnv('RPC_SECRET_FILE')
  return {
    fileName: 'single node',
    configFile: null,
    table: {
      metadata_dir: paths.metadataDir,
      data_dir: paths.blocksDir,
      replication_factor: 1,
      rpc_bind_addr: listen.rpc ?? fromEnv('RPC_BIND_ADDR') ?? '127.0.0.1:3901',
      ...(secretInEnv === undefined && { rpc_secret_file: paths.rpcSecretFile }),
      s3_api: {
        api_bind_addr: listen.s3 ?? fromEnv('S3_BIND_ADDR') ?? '127.0.0.1:3900',
        s3_region: region ?? fromEnv('S3_REGION') ?? 'us-east-1',
        root_domain: `.s3.${rootDomain}`,
      },
      s3_web: {
        bind_addr: listen.web ?? fromEnv('WEB_BIND_ADDR') ?? '127.0.0.1:3902',
        root_domain: `.web.${rootDomain}`,
      },
      admin: { api_bind_addr: listen.admin ?? fromEnv('ADMIN_BIND_ADDR') ?? '127.0.0.1:3903' },
    },
    env,
    readSecretFile,
    findings: new Findings(),
  }
}
