#!/usr/bin/env node
import { randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { Clock } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Random } from '../util/random.js'
import { connectAdmin } from './connect.js'
import { createOnce } from './create-once.js'
import type { CliIo } from './io.js'
import { loadOrCreateNodeIdentity, readNodeIdentity } from './node-key.js'
import { runCli } from './run.js'
import { readVersion } from './version.js'

const clock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, fn) => {
    const timer = setTimeout(fn, delayMs)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

const random: Random = { bytes: (length) => randomBytes(length), float: () => Math.random() }

const io: CliIo = {
  env: process.env,
  nowMs: () => Date.now(),
  out: (text) => {
    process.stdout.write(`${text}\n`)
  },
  err: (text) => {
    process.stderr.write(`${text}\n`)
  },
  readText: (path) => readFileSync(path, 'utf8'),
  readSecretFile: (path) => ({ mode: statSync(path).mode, text: readFileSync(path, 'utf8') }),
  readNodeId: (metadataDir) => {
    try {
      return readNodeIdentity(metadataDir)?.nodeId
    } catch {
      // Whoever may not read the node's key can still talk to whoever proves to know the secret.
      return undefined
    }
  },
  createNodeId: (metadataDir) => loadOrCreateNodeIdentity(metadataDir, random).nodeId,
  createSecret: (path) => {
    try {
      createOnce(path, `${random.bytes(32).toString('hex')}\n`, random)
    } catch (cause) {
      const { code } = cause as { code?: unknown }
      throw new CarportError('InvalidArgument', `cannot make the secret file ${path} (${code})`, { cause })
    }
  },
  connect: (target) => connectAdmin(target, clock),
  runServer: async (config, options) => {
    const { runServer } = await import('../server/main.js')
    await runServer(config, options)
  },
  version: readVersion,
}

// A reader that goes away ("carport bucket list | head -1") is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1)
})

process.exitCode = await runCli(process.argv.slice(2), io)
