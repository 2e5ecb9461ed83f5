import { describe, expect, it } from 'vitest'
import { runK2vScenario } from './k2v-scenario.js'

/**
 * K2V under the seeded simulator, for many seeds: `SEEDS=200 npm run sim` runs 200 of them, `CARPORT_SIM_SEED=123 npm run sim`
 * runs one again.
 */
const SEEDS = Number(process.env.SEEDS ?? 50)
const FIRST = Number(process.env.FIRST_SEED ?? 1)
const single = process.env.CARPORT_SIM_SEED
const TIMEOUT_MS = 10 * 60_000
const seeds = single === undefined ? Array.from({ length: SEEDS }, (_, i) => FIRST + i) : [Number(single)]

describe.each(['faults', 'layout', 'amnesia'] as const)('histories of K2V items with %s', (kind) => {
  it.each(seeds)('seed %i', { timeout: TIMEOUT_MS }, async (seed) => {
    const { problems, counts } = await runK2vScenario({ seed, kind, loadMs: 2 * 60_000 })
    if (single !== undefined) console.log(kind, counts)
    if (problems.length > 0) {
      expect.fail(`${problems.join('\n')}\n\nReplay it with: CARPORT_SIM_SEED=${seed} npm run sim`)
    }
  })
})
