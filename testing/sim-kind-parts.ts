/** What several kinds of runs draw from; see sim-kinds.ts. */
import type { SeededRandom } from './seeded-random.js'
import type { Act, Operations, Profile } from './sim-profile.js'

export const KEYS = ['a', 'b', 'b/c', 'b/d', 'e', 'f']
/** Keys that are left alone for longer than the tombstone of one stays. */
export const COLD_KEYS = Array.from({ length: 40 }, (_, i) => `g/${i}`)
export const VERSIONED_KEYS = ['v', 'v/w', 'x']

export const ALL_ACTS: readonly Act[] = [
  ...['partition', 'partition', 'one-way', 'slow', 'lossy', 'kill', 'kill', 'power-off', 'power-off'],
  ...['clock', 'blackout'],
] as Act[]

export const ALL_OPERATIONS: Operations = {
  put: 0.32,
  get: 0.25,
  head: 0.13,
  delete: 0.12,
  list: 0.05,
  multipart: 0.05,
  'get-version': 0.05,
  'delete-version': 0.03,
}

/** Nodes of the first release are upgraded. It has no conditional writes; names and permissions need a majority of new nodes. */
export function upgrade(random: SeededRandom): Partial<Profile> {
  return {
    earlierNodes: random.pick([1, 2]),
    replicationFactor: random.pick([2, 3, 3, 5]),
    ...{ acts: [...ALL_ACTS, 'slow-disk', 'outage'], outageMs: [60_000, 180_000] },
    operations: {
      ...ALL_OPERATIONS,
      ...{ stack: 0.1, control: 0.05, copy: 0.05, tags: 0.05, 'delete-many': 0.05, 'list-versions': 0.03 },
    },
  }
}

export function busy(random: SeededRandom): Partial<Profile> {
  return {
    acts: ['slow', 'lossy', 'partition', 'one-way', 'kill', 'clock'],
    clockSkewMs: random.pick([200, 3000]),
    ...{ thinkMs: random.pick([10, 40]), keys: KEYS.slice(0, 2), loadFactor: 0.5 },
    operations: { put: 0.3, get: 0.2, head: 0.1, delete: 0.1, stack: 0.3 },
  }
}
