/**
 * Looks for the bug that is planted into this run (see vitest.planted.config.ts), seed after seed, until it is caught.
 * Without a bug it runs the same seeds as a control: whatever it finds then is a false alarm, or a bug of ours.
 */
import { expect, test } from 'vitest'
import type { ScenarioKind } from '../sim-profile.js'
import { runScenario } from '../sim-scenario.js'
import { plantedBug } from './bugs.js'

const name = process.env.PLANTED
/** Time of the processor, so that other work on the machine does not count. */
const limitSeconds = Number(process.env.PLANTED_SECONDS ?? 120)
const firstSeed = Number(process.env.FIRST_SEED ?? 1)
const LOAD_MS = 60_000

test(name ? `${name} is caught` : 'no false alarm', { timeout: 24 * 3_600_000 }, async () => {
  const kinds = name
    ? plantedBug(name).hunts
    : (['faults', 'power', 'outage', 'wiped', 'busy', 'layout'] as const)
  let seed = firstSeed
  for (; usedSeconds() < limitSeconds; seed++) {
    const kind = kinds[(seed - firstSeed) % kinds.length]!
    const problems = await caughtIn(kind, seed)
    if (problems.length === 0) continue
    const seconds = usedSeconds().toFixed(0)
    console.log(
      `PLANTED\t${name ?? 'none'}\t${seed - firstSeed + 1}\t${seconds}\t${kind}\t${problems[0]!.split('\n')[0]}`,
    )
    if (!name) expect.fail(`${kind}, seed ${seed}: ${problems.join('\n')}`)
    return
  }
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
