// `npm run sim`: many seeds of each kind of run, by Vitest. With `--hours H` or `--seeds A-B`: testing/hours.ts, compiled.
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const COVERAGE = 'dist/sim/coverage'

const given = process.argv.slice(2)
const isCovered = given.includes('--coverage')
const isLong = given.some((argument) => /^--(hours|seeds)\b/.test(argument))
const only = given.find((argument) => /^--(kind|load|life|coverage)\b/.test(argument))
if (only !== undefined && !isLong) {
  console.error(`${only} goes with --hours or --seeds: without them all kinds run`)
  process.exit(2)
}
const require = createRequire(import.meta.url)

/** Runs a program. Returns its exit status. */
function run(command, args, environment = process.env) {
  const { status } = spawnSync(process.execPath, [...command, ...args], {
    stdio: 'inherit',
    env: environment,
  })
  return status ?? 1
}

/** The path of a program that a package of ours has. */
function program(name, path) {
  return [join(dirname(require.resolve(`${name}/package.json`)), path)]
}

function runLong() {
  const status = run(program('typescript', 'bin/tsc'), ['-p', 'tsconfig.sim.json'])
  if (status !== 0) return status
  // Most of what a simulated message leaves behind is dead at once: a wide nursery saves a sixth of the time.
  const flags = ['--max-semi-space-size=64', '--single-threaded-gc', '--enable-source-maps']
  const hours = [...flags, 'dist/sim/testing/hours.js']
  if (!isCovered) return run(hours, given)
  rmSync(COVERAGE, { recursive: true, force: true })
  const left = given.filter((argument) => argument !== '--coverage')
  const outcome = run(hours, left, { ...process.env, NODE_V8_COVERAGE: COVERAGE })
  return run(['dist/sim/testing/branch-report-main.js'], []) || outcome
}

process.exitCode = isLong
  ? runLong()
  : run(program('vitest', 'vitest.mjs'), ['run', '--config', 'vitest.sim.config.ts', ...given])
