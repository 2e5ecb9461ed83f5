import { appendFileSync, rmSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { runScenario, type ScenarioOptions } from './sim-scenario.js'
import { describeShrunk, shrink } from './sim-shrink.js'

/**
 * A cluster of five nodes under the seeded simulator, for many seeds. `SEEDS=200 npm run sim` runs 200 of them,
 * `CARPORT_SIM_SEED=123 npm run sim` runs one again, and `CARPORT_SIM_TRACE=file` writes down its every message.
 */
const SEEDS = Number(process.env.SEEDS ?? 50)
const FIRST = Number(process.env.FIRST_SEED ?? 1)
const single = process.env.CARPORT_SIM_SEED
const traceFile = process.env.CARPORT_SIM_TRACE
const LOAD_MS = 2 * 60_000
const TIMEOUT_MS = 20 * 60_000
/** How long a run that failed is cut down, in ms. */
const SHRINK_MS = Number(process.env.SHRINK_SECONDS ?? 120) * 1000

const seeds = single === undefined ? Array.from({ length: SEEDS }, (_, i) => FIRST + i) : [Number(single)]

async function run(options: ScenarioOptions): Promise<void> {
  const lines: string[] = []
  if (traceFile) rmSync(`${traceFile}.${options.kind}`, { force: true })
  const flush = () => {
    if (traceFile) appendFileSync(`${traceFile}.${options.kind}`, lines.splice(0).join(''))
  }
  const result = await runScenario({
    ...options,
    ...(traceFile && {
      onTrace: (line: string) => {
        lines.push(`${line}\n`)
        if (lines.length > 10_000) flush()
      },
    }),
  }).finally(flush)
  if (single !== undefined)
    console.log(options.kind, result.counts, result.acts, result.operations, result.traceHash)
  if (result.problems.length > 0) {
    const untilMs = performance.now() + SHRINK_MS
    const shrunk = await shrink(options, result, () => performance.now() > untilMs)
    expect.fail(
      `${result.problems.join('\n')}\n\nReplay it with: CARPORT_SIM_SEED=${options.seed} npm run sim\n\n${describeShrunk(shrunk)}`,
    )
  }
}

describe('five nodes while things break', () => {
  it.each(seeds)(
    'seed %i: nothing acknowledged is lost, and all replicas end up equal',
    { timeout: TIMEOUT_MS },
    (seed) => run({ seed, kind: 'faults', loadMs: LOAD_MS }),
  )
})

describe.each([2, 4])('with %i copies of everything', (replicationFactor) => {
  it.each(seeds)('seed %i', { timeout: TIMEOUT_MS }, (seed) =>
    run({ seed, kind: 'faults', loadMs: LOAD_MS, replicationFactor }),
  )
})

describe('the same while a node is added and another removed', () => {
  it.each(seeds)('seed %i', { timeout: TIMEOUT_MS }, (seed) => run({ seed, kind: 'layout', loadMs: LOAD_MS }))
})

describe('whatever a seed draws', () => {
  it.each(seeds)('seed %i', { timeout: TIMEOUT_MS }, (seed) => run({ seed, kind: 'swarm', loadMs: LOAD_MS }))
})

describe.each([
  'power',
  'outage',
  'wiped',
  'busy',
  'skipped',
  'outdated',
  'listings',
  'copies',
  'tags',
  'events',
  'lifecycle',
  'modes',
] as const)('mostly %s', (kind) => {
  it.each(seeds)('seed %i', { timeout: TIMEOUT_MS }, (seed) => run({ seed, kind, loadMs: LOAD_MS }))
})

describe.each(['conditional', 'moving'] as const)('conditional writes beside plain ones: %s', (kind) => {
  it.each(seeds)('seed %i', { timeout: TIMEOUT_MS }, (seed) => run({ seed, kind, loadMs: LOAD_MS }))
})
