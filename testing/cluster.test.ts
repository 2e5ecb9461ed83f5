import { describe, expect, it } from 'vitest'
import { runScenario } from './sim-scenario.js'

const BRIEF = { loadMs: 40_000, thinkMs: 150 }
/** The longest that a run may take on a busy machine, in ms. */
const TIMEOUT_MS = 180_000

/** A short part of what `npm run sim` does for many seeds (see cluster.sim.test.ts). */
describe('a simulated cluster of five nodes', { timeout: TIMEOUT_MS }, () => {
  it('loses nothing acknowledged, never reads backwards, and ends with equal replicas, while everything breaks', async () => {
    const { problems, operations } = await runScenario({ ...BRIEF, seed: 1, kind: 'faults' })
    expect(problems).toEqual([])
    expect(operations).toBeGreaterThan(300)
  })

  it('keeps that while a node is added and another removed', async () => {
    const { problems } = await runScenario({ ...BRIEF, seed: 2, kind: 'layout' })
    expect(problems).toEqual([])
  })

  it.each([2, 4])('keeps that with an even number of copies: %i', async (replicationFactor) => {
    const { problems, operations } = await runScenario({
      ...BRIEF,
      seed: 1,
      kind: 'faults',
      replicationFactor,
    })
    expect(problems).toEqual([])
    expect(operations).toBeGreaterThan(200)
  })

  it('lets one of several conditional writes win, and takes nothing back, beside plain ones', async () => {
    const { problems, counts } = await runScenario({ seed: 8, kind: 'conditional', loadMs: 15_000 })
    expect(problems).toEqual([])
    expect(counts['create:done']).toBeGreaterThan(5)
    expect(counts['replace:refused']).toBeGreaterThan(2)
  })

  it('keeps what copies share, whatever becomes of that from which they were made', async () => {
    const { problems, counts } = await runScenario({ seed: 2, kind: 'copies', loadMs: 15_000 })
    expect(problems).toEqual([])
    expect(counts['copy:done']).toBeGreaterThan(20)
  })

  it.each([
    ['tags with their versions, and shows them as they were acknowledged', 'tags', 'tag'],
    ['a target informed of every write, and of none that lost', 'events', 'told'],
    ['what lifecycle rules end until its time, and nothing longer', 'lifecycle', 'ended'],
    ['one and the same in the end where reads may be old', 'modes', 'put'],
  ] as const)('keeps %s', async (_, kind, counted) => {
    const { problems, counts } = await runScenario({ seed: 1, kind, loadMs: 10_000 })
    expect(problems).toEqual([])
    expect(counts[counted]).toBeGreaterThan(20)
  })

  it('runs the same way again, message by message', async () => {
    const options = { seed: 3, kind: 'faults', loadMs: 6_000, thinkMs: 150, quietMs: 0 } as const
    const first = await runScenario(options)
    const second = await runScenario(options)
    expect(second.traceHash).toBe(first.traceHash)
    const other = await runScenario({ ...options, seed: 4 })
    expect(other.traceHash).not.toBe(first.traceHash)
  })
})
