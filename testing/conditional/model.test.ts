import { describe, expect, it } from 'vitest'
import { runModel } from './model.js'
import { FLAWS, type Flaw } from './rows.js'

/** `HISTORIES=100000 npx vitest run testing/conditional` runs as many as a change of the protocol should. */
const HISTORIES = Number(process.env.HISTORIES ?? 4_000)
const TIMEOUT_MS = 30 * 60_000

/** For each mistake, a run that shows it. */
const SEEDS: Record<Flaw, number> = {
  'promise not durable': 157,
  'promise dropped early': 157,
  'accept without check': 11,
  'push that bypasses promises': 615,
  'epoch that spans one phase': 12682,
  'own finished attempt taken for another': 4,
  'base that no quorum has': 52,
  'version of a losing proposal kept': 2742,
  'version of a base dropped': 17,
  'refused proposal not withdrawn': 1190,
  'fate by what one quorum had': 958,
  'row under another ballot counts as taken': 116613,
}

describe('the model of conditional writes', () => {
  it('answers every client as one register would, and keeps just the versions that were current', {
    timeout: TIMEOUT_MS,
  }, () => {
    const counts: Record<string, number> = {}
    for (let seed = 1; seed <= HISTORIES; seed++) {
      const { ops, problem } = runModel(seed)
      if (problem) expect.fail(`${problem}: run ${seed}\n${ops.map((op) => JSON.stringify(op)).join('\n')}`)
      for (const { outcome } of ops)
        counts[outcome?.kind ?? 'open'] = (counts[outcome?.kind ?? 'open'] ?? 0) + 1
    }
    // The runs are of use only if most operations get an answer, and all kinds of them come up.
    expect(counts.done).toBeGreaterThan(HISTORIES)
    expect(counts.value).toBeGreaterThan(HISTORIES)
    for (const kind of ['refused', 'conflict', 'unknown', 'open']) expect(counts[kind]).toBeGreaterThan(0)
  })

  it.each(FLAWS)('finds a mistake: %s', (flaw) => {
    const seed = SEEDS[flaw]
    expect(runModel(seed).problem).toBeUndefined()
    expect(runModel(seed, flaw).problem).toBeDefined()
  })
})
