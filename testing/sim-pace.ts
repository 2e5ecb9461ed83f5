import type { SeededRandom } from './seeded-random.js'

/** A time in which clients work, in ms of virtual time since the start. */
export interface Spell {
  startMs: number
  endMs: number
}

/**
 * When clients work: one spell, or several with rests between them, in which only the cluster's own work goes on, graces
 * and tombstones pass, and nodes may stay away for long.
 */
export class Pace {
  /** @param spells in the order of time, at least one */
  constructor(readonly spells: readonly Spell[]) {}

  /** One spell of `loadMs` that begins now. */
  static atOnce(nowMs: number, loadMs: number): Pace {
    return new Pace([{ startMs: nowMs, endMs: nowMs + loadMs }])
  }

  /**
   * Spells of `loadMs` together over a time of `lifeMs` that begins now: of drawn lengths, the first at once, the last at
   * the end.
   */
  static drawn(random: SeededRandom, nowMs: number, loadMs: number, lifeMs: number): Pace {
    const count = 2 + random.below(SPELLS_MAX - 1)
    const lengths = shares(random, count).map((share) => share * loadMs)
    const rests = shares(random, count - 1).map((share) => share * Math.max(0, lifeMs - loadMs))
    let atMs = nowMs
    return new Pace(
      lengths.map((lengthMs, i) => {
        const startMs = atMs
        const endMs = startMs + lengthMs
        atMs = endMs + (rests[i] ?? 0)
        return { startMs, endMs }
      }),
    )
  }

  /** When the last spell ends. */
  get endMs(): number {
    return this.spells.at(-1)!.endMs
  }

  isLoad(nowMs: number): boolean {
    return this.spells.some(({ startMs, endMs }) => nowMs >= startMs && nowMs < endMs)
  }

  /** How long it takes from `nowMs` until so much time of load has passed, in ms. */
  untilLoad(nowMs: number, loadMs: number): number {
    let leftMs = loadMs
    let atMs = nowMs
    for (const { startMs, endMs } of this.spells) {
      if (endMs <= atMs) continue
      atMs = Math.max(atMs, startMs)
      if (atMs + leftMs < endMs) break
      leftMs -= endMs - atMs
      atMs = endMs
    }
    return atMs + leftMs - nowMs
  }
}

const SPELLS_MAX = 8

/** Numbers whose sum is 1, each at least a tenth of its even share. */
function shares(random: SeededRandom, count: number): number[] {
  const drawn = Array.from({ length: count }, () => 0.1 + random.exponential(1))
  const sum = drawn.reduce((a, b) => a + b, 0)
  return drawn.map((share) => share / sum)
}
