/** Kinds of runs in which nodes lose, or go back from, what they or others have acted on. */
import { KEYS } from './sim-kind-parts.js'
import type { Profile } from './sim-profile.js'

/** Most are left alone for longer than the tombstone of one stays. */
const MANY_KEYS = Array.from({ length: 200 }, (_, i) => `h/${i}`)

/** Databases go back to plain rows of which nothing is left, of keys that were created anew on a condition, which stands before all others. */
export function recreated({ path }: Profile): Partial<Profile> {
  return {
    ...{ acts: ['save', 'restore', 'restore'], everyMs: 6000, lastsMs: 2000, downMax: 1 },
    path: { ...path, latencyMs: 5 },
    ...{ tombstoneDelayMs: 20_000, loadFactor: 5, thinkMs: 800, keys: MANY_KEYS, versionedShare: 0 },
    operations: { put: 0.2, delete: 0.4, conditional: 0.4 },
  }
}

/** Hardly anybody reads what a node alone has, and copies are compared long after it acted on that. */
export function unheardOf(): Partial<Profile> {
  return {
    ...{ acts: ['lone-change'], everyMs: 4000, lastsMs: 2000, downMax: 1, syncSoonMs: 10_000 },
    ...{ loadFactor: 2, thinkMs: 300, freshEveryMs: 100, versionedShare: 0 },
    operations: { put: 0.7, delete: 0.3 },
  }
}

/** Clients send one half of a body, and the other one when blocks that nobody claims are gone. */
export function dripping(): Partial<Profile> {
  return {
    ...{ acts: ['slow'], everyMs: 20_000, lastsMs: 2000, loadFactor: 5, thinkMs: 1000, versionedShare: 0 },
    operations: { drip: 0.8, get: 0.2 },
  }
}

/** The replica that has what was acknowledged is out of reach, and clocks are so far apart that those who lack it write with earlier times. */
export function outrun(): Partial<Profile> {
  return {
    ...{
      acts: ['lone-copy'],
      everyMs: 1000,
      lastsMs: 1000,
      downMax: 1,
      syncSoonMs: 500,
      clockSkewMs: 20_000,
    },
    // A node without a copy that meets both sides would tell the time.
    ...{ nodes: 3, zones: 3, loadFactor: 2 },
    ...{ keys: KEYS.slice(0, 3), versionedShare: 0, thinkMs: 200, operations: { put: 0.5, head: 0.5 } },
  }
}
