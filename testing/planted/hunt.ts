/**
 * Looks for the bug that is planted into this run (see vitest.planted.config.ts), seed after seed, until it is caught.
 * Without a bug it runs the same seeds as a control: whatever it finds then is a false alarm, or a bug of ours.
 */
import { expect, test } from 'vitest'
import { SCENARIO_KINDS, type ScenarioKind } from '../sim-profile.js'
import { runScenario } from '../sim-scenario.js'
import { plantedBug } from './bugs.js'
import './table-reporter.js'

const name = process.env.PLANTED
/** Time of the processor, so that other work on the machine does not count. */
const limitSeconds = Number(process.env.PLANTED_SECONDS ?? 120)
const firstSeed = Number(process.env.FIRST_SEED ?? 1)
const LOAD_MS = 60_000
const CONTROL = { breaks: 'nothing: the control', hunts: SCENARIO_KINDS }
/** The kinds of runs that are tried, instead of the bug's own: `KINDS=layout,moving`. */
const kindsGiven = SCENARIO_KINDS.filter((kind) => process.env.KINDS?.split(',').includes(kind))

test(name ? `${name} is caught` : 'no false alarm', { timeout: 24 * 3_600_000 }, async ({ task }) => {
  const { breaks, hunts } = name ? plantedBug(name) : CONTROL
  const kinds = kindsGiven.length > 0 ? kindsGiven : hunts
  const hunt = { bug: name ?? 'none', breaks }
  let seed = firstSeed
  for (; usedSeconds() < limitSeconds; seed++) {
    const kind = kinds[(seed - firstSeed) % kinds.length]!
    const problems = await caughtIn(kind, seed)
    if (problems.length === 0) continue
    const [problem] = problems as [string]
    const seeds = seed - firstSeed + 1
    task.meta.hunt = { ...hunt, seeds, seconds: usedSeconds(), caughtBy: { kind, problem } }
    if (!name) expect.fail(`${kind}, seed ${seed}: ${problems.join('\n')}`)
    return
  }
  task.meta.hunt = { ...hunt, seeds: seed - firstSeed, seconds: usedSeconds() }
  if (name) expect.fail(`"${name}" escaped ${seed - firstSeed} seeds in ${limitSeconds} s`)
})

function usedSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** A bug may also end the run by an error, or keep it from coming to an end. */
async function caughtIn(kind: ScenarioKind, seed: number): Promise<string[]> {
  try {
    return (await runScenario({ kind, seed, loadMs: LOAD_MS })).problems
  } catch (error) {
    return [`the run did not end: ${String(error)}`]
  }
}
