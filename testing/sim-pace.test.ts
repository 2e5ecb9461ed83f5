import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SeededRandom } from './seeded-random.js'
import { Pace } from './sim-pace.js'

const pace = new Pace([
  { startMs: 100, endMs: 110 },
  { startMs: 200, endMs: 230 },
])

describe('the pace of a run', () => {
  it('knows when clients work', () => {
    expect([99, 100, 109, 110, 199, 200, 229, 230].map((ms) => pace.isLoad(ms))).toEqual([
      ...[false, true, true, false, false, true, true, false],
    ])
    expect(pace.endMs).toBe(230)
  })

  it.each([
    [100, 5, 5],
    [100, 10, 100],
    [105, 6, 96],
    [105, 34, 124],
    [105, 36, 126],
    [110, 0, 90],
    [0, 4, 104],
    [300, 7, 7],
  ])('counts only time of load: from %i on, %i ms of it take %i ms', (nowMs, loadMs, takes) => {
    expect(pace.untilLoad(nowMs, loadMs)).toBe(takes)
  })

  it('of one spell is as if there were none', () => {
    const { spells } = Pace.atOnce(5, 20)
    expect(spells).toEqual([{ startMs: 5, endMs: 25 }])
    expect(Pace.atOnce(5, 20).untilLoad(6, 100)).toBe(100)
  })

  it('is drawn so that spells have the load together and rests the remainder', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1000, max: 1e6 }), fc.nat(1e7), (seed, loadMs, restMs) => {
        const { spells, endMs } = Pace.drawn(new SeededRandom(seed), 7, loadMs, loadMs + restMs)
        expect(spells[0]!.startMs).toBe(7)
        expect(endMs).toBeCloseTo(7 + loadMs + restMs, 3)
        expect(spells.reduce((sum, { startMs, endMs }) => sum + endMs - startMs, 0)).toBeCloseTo(loadMs, 3)
        for (const [i, spell] of spells.entries()) {
          expect(spell.endMs).toBeGreaterThan(spell.startMs)
          if (i > 0) expect(spell.startMs).toBeGreaterThanOrEqual(spells[i - 1]!.endMs)
        }
      }),
    )
  })
})
