import { describe, expect, it } from 'vitest'
import { runK2vScenario } from './k2v-scenario.js'

const TIMEOUT_MS = 300_000

/** One short run of each kind; `npm run sim` has many long ones. */
describe.each(['faults', 'layout', 'amnesia'] as const)('histories of K2V items with %s', (kind) => {
  it('are causal, tell polls of every change, and end with equal replicas', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const { problems, counts } = await runK2vScenario({ seed: 1, kind, loadMs: 30_000 })
    expect(problems).toEqual([])
    expect(counts['poll answered']).toBeGreaterThan(0)
    expect(counts['watch answered']).toBeGreaterThan(0)
  })
})
