/** Kinds of runs in which messages of some nodes reach some of the replicas late, or rows the disk. */
import type { SeededRandom } from './seeded-random.js'
import { KEYS, VERSIONED_KEYS } from './sim-kind-parts.js'
import type { Profile } from './sim-profile.js'

/**
 * A write reaches one replica at once and another one late: meanwhile the first one is read, and the key is written by others, whose
 * messages reach other replicas first.
 */
export function gaps(random: SeededRandom): Partial<Profile> {
  return {
    ...{ acts: ['gaps'], everyMs: 400, lastsMs: 600 },
    path: { latencyMs: 1, jitterMs: random.pick([5, 40]), lossShare: 0, bytesPerMs: 10_000 },
    ...{ keys: KEYS.slice(0, 1), versionedKeys: VERSIONED_KEYS.slice(0, 1), versionedShare: 0 },
    ...{ thinkMs: 10, loadFactor: 0.5, operations: { announce: 0.5, put: 0.1, head: 0.4 } },
  }
}

/** Versions of one key are tagged by their ids and as the current one, while others replace them. */
export function retagged(): Partial<Profile> {
  return { versionedShare: 1, operations: { tags: 0.8, put: 0.2 } }
}

/** A version becomes current again beside writes of which some replicas have heard. */
export function popped(): Partial<Profile> {
  return { versionedShare: 1, operations: { pop: 1 } }
}

/** Clients race for the versions of few keys, and do nothing else. */
export function stacked(): Partial<Profile> {
  return { versionedShare: 1, operations: { put: 0.1, stack: 0.9 } }
}

/** Null versions are written, deleted and read, while versions with ids come before them and go. */
export function suspended(): Partial<Profile> {
  return { versionedShare: 1, operations: { nulls: 1 } }
}

/** What is not on the disk of the one node that has a row can be seen for seconds; others who go by it have it when it is lost. */
export function commits(): Partial<Profile> {
  return {
    ...{
      acts: ['slow'],
      commitDelayMs: [1000, 3000],
      replicationFactor: 1,
      referenceStrikeShare: 0.2,
      lastsMs: 500,
    },
    ...{ operations: { put: 1 }, versionedShare: 0, freshEveryMs: 1, thinkMs: 300, loadFactor: 2 },
  }
}

/** Some write after promises that all replicas have given to others since, and forgotten, were they not durable. */
export function promised(): Partial<Profile> {
  return {
    ...{ acts: ['slow'], everyMs: 10_000, judgeShare: 1, judgeMs: 1500 },
    ...{ promiseStrikeShare: 0.2, promiseStrikesAll: true, downMax: 1, thinkMs: 1500, loadFactor: 2 },
    operations: { put: 0.05, head: 0.05, conditional: 0.9 },
  }
}

/**
 * Some write after promises, of others that are compared all the while: what one replica alone has voted for reaches those who promised
 * something else meanwhile, and is read there.
 */
export function repaired(): Partial<Profile> {
  return {
    ...{ acts: ['gaps'], everyMs: 400, lastsMs: 600, syncSoonMs: 100 },
    ...{ judgeShare: 0.5, judgeMs: 300, thinkMs: 30, loadFactor: 1 },
    operations: { put: 0.02, head: 0.5, conditional: 0.48 },
  }
}
