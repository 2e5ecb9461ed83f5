import { secretFilesNeeded, singleNodeConfig, singleNodeDataDir } from '../../config/single-node.js'
import { CliError, UsageError } from '../admin-client.js'
import { findConfig, type GlobalFlags, namedConfig, readFullConfig } from '../config-source.js'
import type { CliIo } from '../io.js'

export interface ServerFlags {
  singleNode?: boolean
  defaultAccessKey?: boolean
  defaultBucket?: boolean
  data?: string
}

/** `server`: runs until it is stopped. */
export async function runServerCommand(io: CliIo, flags: GlobalFlags, server: ServerFlags): Promise<void> {
  const singleNode = server.singleNode ?? false
  const defaultBucket = server.defaultBucket ?? false
  const defaultAccessKey = server.defaultAccessKey ?? false
  if (!singleNode && defaultBucket) throw new UsageError('--default-bucket needs --single-node')
  if (!singleNode && defaultAccessKey) throw new UsageError('--default-access-key needs --single-node')
  if (!singleNode && server.data !== undefined) {
    throw new UsageError('--data needs --single-node: a configuration file names its folders itself')
  }
  const config = singleNode ? readSingleNodeConfig(io, flags, server.data) : readConfig(io, flags)
  await io.runServer(config, { singleNode, defaultAccessKey, defaultBucket, env: io.env })
}

function readConfig(io: CliIo, flags: GlobalFlags) {
  const location = findConfig(io, flags)
  if ('dataDir' in location) {
    throw new CliError(
      `no configuration file: name one with -c, or add --single-node to run what is in ${location.dataDir}`,
    )
  }
  return readFullConfig(io, location)
}

/** Reads the named file, or else the folder alone. Files in /etc are ignored, since they belong to a cluster. */
function readSingleNodeConfig(io: CliIo, flags: GlobalFlags, data: string | undefined) {
  const named = namedConfig(io, flags)
  if (named === undefined) {
    const dataDir = data ?? singleNodeDataDir(io.env)
    for (const path of secretFilesNeeded(dataDir, io.env)) io.createSecret(path)
    return singleNodeConfig({ dataDir, env: io.env, readSecretFile: io.readSecretFile })
  }
  if (data !== undefined) throw new UsageError('give one of --data and a configuration file')
  const config = readFullConfig(io, named)
  if (config.replicationFactor !== 1) {
    throw new CliError(
      `--single-node keeps one copy, but ${named.path} says replication_factor = ${config.replicationFactor}: set it to 1`,
    )
  }
  return config
}
