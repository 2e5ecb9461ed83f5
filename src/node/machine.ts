import type { MachineAccess } from '../api/admin/handlers/context.js'
import { tryParseAddress } from '../cluster/address.js'
import type { Config } from '../config/config.js'
import { singleNodePaths } from '../config/single-node.js'
import { connectAsClient } from '../net/client.js'
import type { Clock } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { silentLog } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { DataFolders } from './data-folders.js'
import type { Metrics } from './metrics/metrics.js'

/** The machine below a node, for its administration. */
export function machineAccess(
  config: Config,
  parts: { clock: Clock; random: Random; folders: DataFolders; metrics: Metrics | undefined },
): MachineAccess {
  const { clock, random, folders, metrics } = parts
  const startedMs = clock.monotonicMs()
  return {
    uptimeSecs: () => (clock.monotonicMs() - startedMs) / 1000,
    async facts() {
      const { machineFacts, readTextFile } = await import('./machine-facts.js')
      await folders.check()
      return machineFacts({
        ...{ settings: config, env: process.env, clock, random, readText: readTextFile },
        lostFolders: folders.lost(),
        ...(config.configFile === null && { secretFiles: singleNodeSecrets(config) }),
      })
    },
    acceptFolders: () => folders.accept(),
    async probe(text) {
      const address = tryParseAddress(text)
      if (!address) throw new CarportError('InvalidArgument', `${text} is no address`)
      const rpcSecret = Buffer.from(config.secrets.rpcSecret, 'hex')
      const client = await connectAsClient({ ...address, rpcSecret, clock, log: silentLog })
      const { node: id, incarnation } = client
      await client.close()
      return { id, incarnation }
    },
    ...(metrics && { figures: () => metrics.figures() }),
  }
}

/** The files with secrets beside the folders of a single node. */
export function singleNodeSecrets({ metadataDir }: Pick<Config, 'metadataDir'>): string[] {
  const { rpcSecretFile, sseMasterKeyFile } = singleNodePaths(metadataDir.replace(/\/meta\/?$/, ''))
  return [rpcSecretFile, sseMasterKeyFile]
}
