/** Kinds of runs in which the layout changes, and how it does; see sim-kinds.ts. */
import type { SeededRandom } from './seeded-random.js'
import { ALL_ACTS, COLD_KEYS, KEYS, VERSIONED_KEYS } from './sim-kind-parts.js'
import type { Profile } from './sim-profile.js'

/** The change of a layout that says nothing of its own. */
export const LAYOUT_CHANGE: Profile['layoutChange'] = {
  ...{ nodes: 1, atOnce: false, discards: false, lagMs: 0 },
  ...{ rivals: false, allowsMissing: true },
}

/** How a layout changes, where it does. */
export function layoutChange(random: SeededRandom): Profile['layoutChange'] {
  return {
    nodes: random.pick([1, 2, 3]),
    atOnce: random.chance(0.5),
    discards: random.chance(0.5),
    lagMs: random.pick([0, 5000, 10_000]),
    rivals: random.fork('rivals').chance(1 / 3),
    allowsMissing: random.fork('missing').chance(0.5),
  }
}

/**
 * Most replicas of a bucket change together, and copying takes its time: what is not waited for is missed. Where there is one
 * copy of everything, no other one makes up for what was missed.
 */
export function layout(base: Profile, random: SeededRandom): Partial<Profile> {
  return {
    ...{ changesLayout: 'once', replicationFactor: random.pick([1, 1, 2, 3, 3]) },
    acts: random.pick([ALL_ACTS, ['slow', 'slow', 'lossy', 'partition', 'kill']]),
    path: { ...base.path, bytesPerMs: random.pick([10_000, 300]) },
    layoutChange: layoutChange(random),
  }
}

/** Only what was written before can be lost, so each key is written once, and read in the end. */
export function skipped(): Partial<Profile> {
  return {
    ...{ changesLayout: 'skips', replicationFactor: 1, acts: ['slow'], loadFactor: 0.5 },
    ...{ operations: { put: 1 }, freshEveryMs: 1, thinkMs: 1000 },
  }
}

/** Clients go on at the node that the others take for dead, and nothing else happens. */
export function outdated(): Partial<Profile> {
  return {
    ...{ changesLayout: 'outdates', replicationFactor: 3, acts: ['slow'], thinkMs: 100, loadFactor: 1 },
    operations: { put: 0.3, get: 0.5, delete: 0.1, list: 0.1 },
  }
}

/** Blocks cannot be fetched at once from nodes that go, and are lost with these unless they are waited for. */
export function emptied(): Partial<Profile> {
  return {
    ...{ changesLayout: 'once', replicationFactor: 1, acts: ['partition', 'one-way', 'kill', 'lossy'] },
    ...{ everyMs: 1500, lastsMs: 6000, thinkMs: 100, keys: [...KEYS, ...COLD_KEYS] },
    layoutChange: { ...LAYOUT_CHANGE, nodes: 3, atOnce: true, discards: true },
    operations: { put: 0.5, get: 0.5 },
  }
}

/**
 * Nodes that have no copies, and stay, go on writing to replicas that go. What they write to these after they were copied is missed by
 * those who read from the new ones, until the old ones hand over.
 */
export function unheard(): Partial<Profile> {
  return {
    ...{
      changesLayout: 'once',
      gateways: 2,
      replicationFactor: 1,
      acts: ['slow'],
      everyMs: 10_000,
      lastsMs: 500,
    },
    ...{
      loadFactor: 1,
      syncSoonMs: 5000,
      thinkMs: 200,
      versionedShare: 0.5,
      keys: [...KEYS, ...COLD_KEYS],
    },
    layoutChange: { ...LAYOUT_CHANGE, nodes: 3, atOnce: true, discards: true, lagMs: 40_000 },
    operations: { put: 0.7, get: 0.3 },
  }
}

/**
 * Two writers of one key who were both promised something before a move meet again after it, if nobody else has written
 * that key meanwhile: so the key changes from time to time.
 */
export function moving(random: SeededRandom): Partial<Profile> {
  return {
    ...{ acts: ['slow', 'one-way'], everyMs: random.pick([10_000, 60_000]), lastsMs: 5000 },
    // A move is as quick as it can be, so that a write that takes its time may outlast it.
    path: { latencyMs: random.pick([1, 5]), jitterMs: 2, lossShare: 0, bytesPerMs: 10_000 },
    ...{ syncSoonMs: random.pick([100, 1000]), promiseStrikeShare: 0, changesLayout: 'moves' },
    ...{ judgeShare: 1, judgeMs: random.pick([4000, 10_000]), freshEveryMs: random.pick([0, 2000, 4000]) },
    ...{ keys: KEYS.slice(0, 1), versionedKeys: VERSIONED_KEYS.slice(0, 1), thinkMs: 500, loadFactor: 2 },
    operations: { get: 0.2, conditional: 0.8 },
  }
}

/** The same with two writers for each of many keys, where hardly anything holds up a move. */
export function duels(random: SeededRandom): Partial<Profile> {
  return {
    ...{ acts: ['slow'], everyMs: 60_000, lastsMs: 100, syncSoonMs: 1000, promiseStrikeShare: 0 },
    path: { latencyMs: random.pick([1, 5]), jitterMs: 2, lossShare: 0, bytesPerMs: 10_000 },
    ...{ changesLayout: 'moves', judgeShare: 1, judgeMs: 15_000, thinkMs: 500, gateways: 2 },
    ...{ keys: KEYS.slice(0, 1), versionedKeys: VERSIONED_KEYS.slice(0, 1) },
    operations: { get: 0.1, duel: 0.9 },
  }
}
