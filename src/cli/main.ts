#!/usr/bin/env node
import { realIo } from './real-io.js'
import { runCli } from './run.js'

// A reader that goes away ("carport bucket list | head -1") is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1)
})

// Nor is a log that nobody takes, or whose disk is full, a reason for a node to end.
process.stderr.on('error', () => {})

process.exitCode = await runCli(process.argv.slice(2), realIo)
