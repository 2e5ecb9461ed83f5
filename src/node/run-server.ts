import { mkdirSync, realpathSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { Config } from '../config/config.js'
import type { Env } from '../config/secrets.js'
import { collectGarbage, placeNewObjectsAmongYoung } from '../platform/allocation.js'
import { realClock, systemRandom } from '../platform/clock-and-random.js'
import { type FolderLock, lockFolder } from '../platform/folder-lock.js'
import { createLog } from '../platform/logger.js'
import { keepFilesPrivate, mendFolder } from '../platform/private-files.js'
import type { Log } from '../util/log.js'
import type { DefaultAccess } from './bootstrap.js'
import { refuseGarageFolders } from './garage-folder.js'
import { type CarportNode, startNode } from './node.js'
import { loadOrCreateNodeIdentity } from './node-key.js'
import { unusedSettings } from './unused-settings.js'
import { readVersion } from './version.js'

export interface RunOptions {
  /** Lays this node out as a cluster of one at the first start. */
  singleNode: boolean
  /** Makes a key at the first start, and prints its id at each. */
  defaultAccessKey: boolean
  /** Makes a key and a bucket at the first start, and prints them at each. */
  defaultBucket: boolean
  env: Env
}

/** How long after the start what it has left behind is collected, in ms. */
const START_GARBAGE_MS = 5_000

/**
 * Runs a node until SIGTERM or SIGINT, then lets requests end and stops.
 * @throws CarportError with a message for the operator
 */
export async function runServer(config: Config, options: RunOptions): Promise<void> {
  // Read when the first file is opened: four threads, libuv's default, are soon all waiting for an fsync.
  process.env.UV_THREADPOOL_SIZE ??= '16'
  placeNewObjectsAmongYoung()
  const { level, format } = config.log
  const isText = format === 'text' || (format === 'auto' && process.stderr.isTTY === true)
  const logFormat = isText ? 'text' : 'json'
  const log = createLog({ level, format: logFormat }, realClock, (line) => process.stderr.write(line))
  for (const { key, message } of config.warnings) log.warn({ key }, message)
  for (const key of unusedSettings(config)) log.warn({ key }, 'has no effect in this version')
  refuseGarageFolders(
    config.metadataDir,
    config.dataDirs.map((dir) => dir.path),
  )
  prepareFolders(config, log)
  const unlock = await lockFolders(config)
  const stopped = untilSignal()
  let node: CarportNode | undefined
  // What moves logs away may do so while the node still starts: unheard, the signal would end it.
  process.on('SIGHUP', () => node?.reopenLogs())
  let made: DefaultAccess | undefined
  node = await startNode(config, {
    clock: realClock,
    random: systemRandom,
    log,
    logFormat,
    identity: loadOrCreateNodeIdentity(config.metadataDir, systemRandom),
    version: readVersion(),
    hashThreads: Math.min(4, availableParallelism()),
    onBroken: (error) => {
      log.error(
        { error },
        'the disk of the metadata failed: this process ends, so that the next one reads what is on it',
      )
      process.exit(1)
    },
    ...(options.singleNode && {
      beforeServing: async (core) => {
        const { bootstrapSingleNode } = await import('./bootstrap.js')
        made = await bootstrapSingleNode(core, options)
      },
    }),
  })
  if (made && node.s3) {
    const { localEndpoint, welcome } = await import('./welcome.js')
    const endpoint = localEndpoint(node.s3.address, node.s3.secure)
    const console = node.console && `${localEndpoint(node.console.address, node.console.secure)}/console/`
    process.stdout.write(welcome({ ...made, endpoint, region: config.s3Api.region, console }))
  }
  log.info(
    {
      node: node.core.quorum.self.slice(0, 16),
      s3: node.s3?.address,
      web: node.web?.address,
      k2v: node.k2v?.address,
      admin: node.adminApi?.address,
      console: node.console?.address,
      rpc: `${node.rpc.host}:${node.rpc.port}`,
    },
    'ready',
  )
  const afterStart = realClock.after(START_GARBAGE_MS, collectGarbage)
  log.info({ signal: await stopped }, 'stopping')
  afterStart.cancel()
  await node.stop()
  await unlock()
}

/** Keeps other nodes out of this one's folders: two would write over each other. @throws CarportError Conflict */
async function lockFolders(config: Config): Promise<() => Promise<void>> {
  const folders = [
    config.metadataDir,
    ...config.dataDirs.filter((dir) => !dir.readOnly).map((dir) => dir.path),
  ]
  const locks: FolderLock[] = []
  const unlock = async () => {
    for (const lock of locks) await lock.release()
  }
  try {
    for (const folder of new Set(folders.map((path) => realpathSync(path))))
      locks.push(await lockFolder(folder))
  } catch (error) {
    await unlock()
    throw error
  }
  return unlock
}

/** Makes the node's folders, and sees to it that no other user reads them unless the configuration lets others. */
function prepareFolders(config: Config, log: Log): void {
  const { metadataDir, metadataSnapshotsDir, allowWorldReadableSecrets } = config
  const dataDirs = config.dataDirs.filter((dir) => !dir.readOnly).map((dir) => dir.path)
  if (!allowWorldReadableSecrets) keepFilesPrivate()
  for (const folder of [metadataDir, ...dataDirs]) mkdirSync(folder, { recursive: true })
  if (allowWorldReadableSecrets) return
  // Blocks may be millions: their folder shuts them off.
  for (const folder of dataDirs) mendFolder(folder, { content: false, log })
  for (const folder of new Set([metadataDir, metadataSnapshotsDir]))
    mendFolder(folder, { content: true, except: dataDirs, log })
}

/** Resolves with the first signal to stop. A second one ends the process at once. */
function untilSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let seen = false
    const onSignal = (signal: NodeJS.Signals) => {
      if (seen) process.exit(1)
      seen = true
      resolve(signal)
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
}
