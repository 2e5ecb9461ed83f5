/** The long run of `npm run sim -- --hours H`: seed after seed, until so many hours of virtual time are through. */
import { expect, test } from 'vitest'
import { Coverage, describeCoverage } from './sim-coverage.js'
import { SCENARIO_KINDS, type ScenarioKind } from './sim-profile.js'
import { runScenario, type ScenarioOptions, type ScenarioResult } from './sim-scenario.js'
import { describeShrunk, shrink } from './sim-shrink.js'

const HOUR_MS = 3600_000
const MINUTE_MS = 60_000
const hours = Number(process.env.SIM_HOURS)
const loadMs = Number(process.env.SIM_LOAD ?? 2) * MINUTE_MS
const kind = kindOf(process.env.SIM_KIND ?? 'swarm')
const firstSeed = Number(process.env.FIRST_SEED ?? 1)
/** How long a run that failed is cut down, in ms. */
const SHRINK_MS = Number(process.env.SHRINK_SECONDS ?? 120) * 1000

test(`${hours} hours of virtual time`, { timeout: 0 }, async () => {
  const coverage = new Coverage()
  const startedMs = performance.now()
  let virtualMs = 0
  let seeds = 0
  const told = () => {
    const minutes = (performance.now() - startedMs) / MINUTE_MS
    const perMinute = virtualMs / HOUR_MS / minutes
    return `${seeds} seeds, ${(virtualMs / HOUR_MS).toFixed(2)} virtual hours in ${minutes.toFixed(1)} minutes, ${perMinute.toFixed(2)} virtual hours per minute`
  }
  for (let seed = firstSeed; virtualMs < hours * HOUR_MS; seed++) {
    const options: ScenarioOptions = { kind, seed, loadMs }
    const result = await runScenario(options)
    coverage.addAll(result.coverage)
    virtualMs += result.virtualMs
    seeds++
    console.log(`seed ${seed}: ${result.operations} operations; ${told()}`)
    if (result.problems.length > 0) {
      console.log(describeCoverage(coverage))
      expect.fail(await storyOf(options, result))
    }
  }
  console.log(`\n${told()}\n\n${describeCoverage(coverage)}`)
})

function kindOf(name: string): ScenarioKind {
  const found = SCENARIO_KINDS.find((each) => each === name)
  if (!found) throw new Error(`there are no runs of the kind "${name}", only ${SCENARIO_KINDS.join(', ')}`)
  return found
}

async function storyOf(options: ScenarioOptions, result: ScenarioResult): Promise<string> {
  const untilMs = performance.now() + SHRINK_MS
  const shrunk = await shrink(options, result, () => performance.now() > untilMs)
  const again = `FIRST_SEED=${options.seed} npm run sim -- --hours 0.01 --load ${loadMs / MINUTE_MS} --kind ${kind}`
  return `${result.problems.join('\n')}\n\nReplay it with: ${again}\n\n${describeShrunk(shrunk)}`
}
