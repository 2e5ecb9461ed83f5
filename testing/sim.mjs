// `npm run sim`: many seeds of each kind of run. `npm run sim -- --hours H`: whatever seeds draw, until H hours of virtual
// time are through; `--load MINUTES` is how long clients work in a run before it rests (default 2).
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const given = process.argv.slice(2)

/** The value of an option, which is taken away; undefined if it is not given. */
function take(name) {
  const at = given.findIndex((argument) => argument === name || argument.startsWith(`${name}=`))
  if (at < 0) return undefined
  const [argument, next] = given.slice(at, at + 2)
  given.splice(at, argument === name ? 2 : 1)
  return argument === name ? (next ?? '') : argument.slice(name.length + 1)
}

/** As `take`, for a number. */
function takeNumber(name) {
  const value = take(name)
  if (value !== undefined && !(Number(value) > 0)) {
    console.error(`${name} needs a number greater than 0, not ${value}`)
    process.exit(2)
  }
  return value
}

const hours = takeNumber('--hours')
const load = takeNumber('--load')
const kind = take('--kind')
if (kind !== undefined && hours === undefined) {
  console.error('--kind goes with --hours: without it all kinds run')
  process.exit(2)
}
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs')
const { status } = spawnSync(
  process.execPath,
  [vitest, 'run', '--config', 'vitest.sim.config.ts', ...given],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      ...(hours && { SIM_HOURS: hours }),
      ...(load && { SIM_LOAD: load }),
      ...(kind !== undefined && { SIM_KIND: kind }),
    },
  },
)
process.exit(status ?? 1)
