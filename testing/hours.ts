/**
 * The long run of `npm run sim -- --hours H`: seed after seed, until so many hours of virtual time are through, or those
 * of a range. A program of its own, without a test runner, since calls between modules are quicker that way.
 */
import { openSync, writeSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Coverage, describeCoverage } from './sim-coverage.js'
import { SCENARIO_KINDS, type ScenarioKind } from './sim-profile.js'
import { runScenario, type ScenarioOptions } from './sim-scenario.js'
import { describeShrunk, shrink } from './sim-shrink.js'

const HOUR_MS = 3600_000
const MINUTE_MS = 60_000

const { values } = parseArgs({
  options: {
    hours: { type: 'string' },
    /** `A-B`: exactly these seeds, however long they take; all of them run even if some fail. */
    seeds: { type: 'string' },
    load: { type: 'string', default: '2' },
    life: { type: 'string', default: '120' },
    kind: { type: 'string', default: 'swarm' },
    /** A file for every message. */
    trace: { type: 'string' },
  },
})
const hours = values.hours === undefined ? undefined : positive('hours', values.hours)
const range = values.seeds === undefined ? undefined : rangeOf(values.seeds)
const kind = kindOf(values.kind)
const pace = {
  loadMs: positive('load', values.load) * MINUTE_MS,
  lifeMs: positive('life', values.life) * MINUTE_MS,
}
const firstSeed = range?.[0] ?? Number(process.env.FIRST_SEED ?? 1)
/** How long a run that failed is cut down, in ms. */
const SHRINK_MS = Number(process.env.SHRINK_SECONDS ?? 120) * 1000

const coverage = new Coverage()
const totals = { virtualMs: 0, loadMs: 0, usedMs: 0, seeds: 0, operations: 0 }
const failed: number[] = []
for (let seed = firstSeed; isWanted(seed); seed++) {
  const isRight = await runSeed({ kind, seed, ...pace })
  if (isRight) continue
  failed.push(seed)
  if (!range) break
}
console.log(`\n${told()}\n\n${describeCoverage(coverage)}`)
console.log(failed.length > 0 ? `\nFAILED: seeds ${failed.join(', ')}` : '\nAll seeds are clean.')
process.exitCode = failed.length > 0 ? 1 : 0

function isWanted(seed: number): boolean {
  return range ? seed <= range[1] : totals.virtualMs < hours! * HOUR_MS
}

/** Runs one seed, and tells of it. Resolves with whether all promises held. */
async function runSeed(options: ScenarioOptions): Promise<boolean> {
  const before = process.cpuUsage()
  const result = await runScenario({ ...options, ...tracing() }).catch((error: unknown) => ({
    error: `the run did not end: ${error instanceof Error ? error.stack : String(error)}`,
  }))
  const { user, system } = process.cpuUsage(before)
  const usedMs = (user + system) / 1000
  if ('error' in result) {
    console.log(`seed ${options.seed}: ${result.error}\n\nReplay it with: ${replay(options)}`)
    return false
  }
  coverage.addAll(result.coverage)
  totals.virtualMs += result.virtualMs
  totals.loadMs += result.loadMs
  totals.usedMs += usedMs
  totals.operations += result.operations
  totals.seeds++
  console.log(
    `seed ${options.seed}: ${result.operations} operations in ${(usedMs / 1000).toFixed(1)} s; ${told()}`,
  )
  if (result.problems.length === 0) return true
  console.log(`\n${result.problems.join('\n')}\n\nReplay it with: ${replay(options)}\n`)
  const untilMs = performance.now() + SHRINK_MS
  console.log(describeShrunk(await shrink(options, result, () => performance.now() > untilMs)))
  return false
}

/** Writes every message down. */
function tracing(): Pick<ScenarioOptions, 'onTrace'> {
  const file = values.trace
  if (file === undefined) return {}
  const stream = openSync(file, 'a')
  return { onTrace: (line) => writeSync(stream, `${line}\n`) }
}

function told(): string {
  const { seeds, virtualMs, loadMs, usedMs, operations } = totals
  const used = usedMs / MINUTE_MS
  const hours = (ms: number) => (ms / HOUR_MS).toFixed(2)
  return `${seeds} seeds, ${operations} operations, ${hours(virtualMs)} virtual hours (${hours(loadMs)} of load) in ${used.toFixed(1)} minutes of the processor: ${(virtualMs / HOUR_MS / used).toFixed(1)} virtual hours per minute`
}

function replay({ seed }: ScenarioOptions): string {
  return `npm run sim -- --seeds ${seed}-${seed} --kind ${kind} --load ${values.load} --life ${values.life}`
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (value > 0) return value
  return fail(`--${name} needs a number greater than 0, not ${text}`)
}

function rangeOf(text: string): [number, number] {
  const [, first, last] =
    /^(\d+)-(\d+)$/.exec(text) ?? fail(`--seeds needs a range such as 1-50, not ${text}`)
  return [Number(first), Number(last)]
}

function kindOf(name: string): ScenarioKind {
  const found = SCENARIO_KINDS.find((each) => each === name)
  return found ?? fail(`there are no runs of the kind "${name}", only ${SCENARIO_KINDS.join(', ')}`)
}

function fail(message: string): never {
  console.error(message)
  process.exit(2)
}
