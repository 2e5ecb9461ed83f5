// `npm run sim`: many seeds of each kind of run, by Vitest. With `--hours H` or `--seeds A-B`: testing/hours.ts, compiled.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const given = process.argv.slice(2)
const isLong = given.some((argument) => /^--(hours|seeds)\b/.test(argument))
const only = given.find((argument) => /^--(kind|load|life)\b/.test(argument))
if (only !== undefined && !isLong) {
  console.error(`${only} goes with --hours or --seeds: without them all kinds run`)
  process.exit(2)
}
const require = createRequire(import.meta.url)

/** Runs a program of a package, or a file. */
function run(command, ...args) {
  const { status } = spawnSync(process.execPath, [...command, ...args], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

/** The path of a program that a package of ours has. */
function program(name, path) {
  return [join(dirname(require.resolve(`${name}/package.json`)), path)]
}

if (isLong) {
  run(program('typescript', 'bin/tsc'), '-p', 'tsconfig.sim.json')
  // Most of what a simulated message leaves behind is dead at once: a wide nursery saves a sixth of the time.
  const flags = ['--max-semi-space-size=64', '--single-threaded-gc', '--enable-source-maps']
  run([...flags, 'dist/sim/testing/hours.js'], ...given)
} else run(program('vitest', 'vitest.mjs'), 'run', '--config', 'vitest.sim.config.ts', ...given)
