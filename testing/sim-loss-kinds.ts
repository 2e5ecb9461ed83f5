/** Kinds of runs in which nodes lose, or go back from, what they or others have acted on. */
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
