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
  const value = argument === name ? next : argument.slice(name.length + 1)
  given.splice(at, argument === name ? 2 : 1)
  if (!(Number(value) > 0)) {
    console.error(`${name} needs a number greater than 0, not ${value}`)
    process.exit(2)
  }
  return value
}

const hours = take('--hours')
const load = take('--load')
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs')
const { status } = spawnSync(
  process.execPath,
  [vitest, 'run', '--config', 'vitest.sim.config.ts', ...given],
  {
    stdio: 'inherit',
    env: { ...process.env, ...(hours && { SIM_HOURS: hours }), ...(load && { SIM_LOAD: load }) },
  },
)
process.exit(status ?? 1)
