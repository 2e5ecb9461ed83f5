import { readFileSync, statSync } from 'node:fs'
import { loadOrCreateNodeIdentity, readNodeIdentity } from '../node/node-key.js'
import { readVersion } from '../node/version.js'
import { realClock, systemRandom } from '../platform/clock-and-random.js'
import { createOnce } from '../platform/create-once.js'
import { sleep } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { CliError } from './admin-client.js'
import { connectAdmin } from './connect.js'
import type { CliIo } from './io.js'
import { openScreen } from './screen.js'
import { terminalOf } from './terminal.js'

/** As much as the admin API takes over HTTP. */
const STDIN_BYTES_MAX = 8 * 1024 * 1024

/** The real world, as the command line sees it. */
export const realIo: CliIo = {
  env: process.env,
  nowMs: () => realClock.nowMs(),
  out: (text) => {
    process.stdout.write(`${text}\n`)
  },
  err: (text) => {
    process.stderr.write(`${text}\n`)
  },
  sleep: (ms) => sleep(realClock, ms),
  terminal: terminalOf(process.stderr, process.env),
  openScreen: () => openScreen(process.stdin, process.stdout, process.env),
  readText: (path) => readFileSync(path, 'utf8'),
  readStdin: async () => {
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of process.stdin) {
      chunks.push(chunk as Buffer)
      bytes += (chunk as Buffer).length
      if (bytes > STDIN_BYTES_MAX) throw new CliError('stdin is longer than 8 MiB')
    }
    return Buffer.concat(chunks).toString('utf8')
  },
  readSecretFile: (path) => ({ mode: statSync(path).mode, text: readFileSync(path, 'utf8') }),
  readNodeId: (metadataDir) => {
    try {
      return readNodeIdentity(metadataDir)?.nodeId
    } catch {
      // A user who may not read the node's key can still talk to any node that proves to know the secret.
      return undefined
    }
  },
  createNodeId: (metadataDir) => loadOrCreateNodeIdentity(metadataDir, systemRandom).nodeId,
  createSecret: (path) => {
    try {
      createOnce(path, `${systemRandom.bytes(32).toString('hex')}\n`, systemRandom)
    } catch (cause) {
      const { code } = cause as { code?: unknown }
      throw new CarportError('InvalidArgument', `cannot make the secret file ${path} (${code})`, { cause })
    }
  },
  connect: (target) => connectAdmin(target, realClock),
  runServer: async (config, options) => {
    const { runServer } = await import('../node/run-server.js')
    await runServer(config, options)
  },
  repairCounters: async (config, kind) => {
    const { repairCounters } = await import('../node/offline-repair.js')
    return repairCounters(config, kind)
  },
  restoreMetadata: async (settings, source) => {
    const { restoreMetadata } = await import('../node/restore-metadata.js')
    return restoreMetadata(settings, source, realClock)
  },
  migrationWorld: async () => {
    const { migrationWorld } = await import('../platform/migration-world.js')
    return migrationWorld()
  },
  version: readVersion,
  lookAtStopped: async (settings, env, unreachable) => {
    const { stoppedFacts } = await import('../node/stopped-facts.js')
    return stoppedFacts(settings, env, unreachable)
  },
}
