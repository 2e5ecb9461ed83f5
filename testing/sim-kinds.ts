/** What each kind of run draws from its seed; see SCENARIO_KINDS. */
import type { SeededRandom } from './seeded-random.js'
import { commits, gaps, popped, promised, repaired, retagged, stacked, suspended } from './sim-gaps.js'
import { ALL_ACTS, ALL_OPERATIONS, busy, COLD_KEYS, KEYS, upgrade, VERSIONED_KEYS } from './sim-kind-parts.js'
import {
  duels,
  emptied,
  LAYOUT_CHANGE,
  layout,
  moving,
  outdated,
  skipped,
  unheard,
} from './sim-layout-kinds.js'
import { dripping, outrun, recreated, unheardOf } from './sim-loss-kinds.js'
import { type Act, type Profile, type ScenarioKind, SYNC_INTERVAL_MS } from './sim-profile.js'
import { swarm } from './sim-swarm.js'

/** The share of the runs of a kind that have a node without capacity. */
const GATEWAY_SHARES: Partial<Record<ScenarioKind, number>> = { tags: 0.5, events: 0.5, swarm: 0.25 }

/** Draws what a seed of that kind has. */
export function drawProfile(kind: ScenarioKind, random: SeededRandom, replicationFactor?: number): Profile {
  const profile = drawOf(kind, random)
  return replicationFactor === undefined ? profile : { ...profile, replicationFactor }
}

function drawOf(kind: ScenarioKind, random: SeededRandom): Profile {
  const base: Profile = {
    blockBytes: random.pick([4096, 32 * 1024]),
    nodes: 5,
    earlierNodes: 0,
    gateways: random.fork('gateway').chance(GATEWAY_SHARES[kind] ?? 0) ? 1 : 0,
    zones: random.pick([3, 5]),
    ...{ replicationFactor: 3, consistencyMode: 'consistent' },
    clockSkewMs: random.pick([5, 200, 3000]),
    path: {
      latencyMs: random.pick([2, 20, 50]),
      jitterMs: 5,
      lossShare: random.pick([0, 0.005]),
      bytesPerMs: 10_000,
    },
    tombstoneDelayMs: 120_000,
    commitDelayMs: [0.2, 5],
    ...{ acts: ALL_ACTS, everyMs: 3000, lastsMs: 20_000, outageMs: [0, 0], downMax: 2 },
    ...{ strikeShare: 0, writeStrikeShare: 0, earlyReadStrikeShare: 0, deletionStrikeShare: 0 },
    ...{ promiseStrikeShare: 0, promiseStrikesAll: false, referenceStrikeShare: 0 },
    ...{ judgeShare: 0.5, judgeMs: 0 },
    ...{ changesLayout: 'no', operations: ALL_OPERATIONS, syncSoonMs: 2000, freshEveryMs: 0 },
    layoutChange: LAYOUT_CHANGE,
    ...{ tellsEvents: false, hasLifecycle: false, keys: KEYS, versionedKeys: VERSIONED_KEYS, loadFactor: 1 },
    thinkMs: random.pick([20, 150, 400]),
    ...{ lookEveryMs: 500, versionedShare: 0.2 },
    syncIntervalMs: random.fork('comparisons').pick([SYNC_INTERVAL_MS, 300_000, 300_000, 600_000]),
    ...{ restEveryMs: random.fork('rests').pick([0, 5 * 60_000]), restLastsMs: 30 * 60_000 },
  }
  switch (kind) {
    case 'faults':
      return base
    case 'layout':
      return { ...base, ...layout(base, random) }
    case 'power':
      return { ...base, ...power(random) }
    case 'outage':
      return { ...base, ...outage(random) }
    case 'late':
      return { ...base, ...late() }
    case 'dripping':
      return { ...base, ...dripping() }
    case 'returning':
      return { ...base, ...returning(base) }
    case 'recreated':
      return { ...base, ...recreated(base) }
    case 'unheard-of':
      return { ...base, ...unheardOf() }
    case 'wiped':
      return { ...base, ...wiped(random) }
    case 'outrun':
      return { ...base, ...outrun() }
    case 'busy':
      return { ...base, ...busy(random) }
    case 'stacked':
      return { ...base, ...busy(random), ...stacked() }
    case 'overtaking':
      return { ...base, ...overtaking(random) }
    case 'gaps':
      return { ...base, ...gaps(random) }
    case 'retagged':
      return { ...base, ...gaps(random), ...retagged() }
    case 'popped':
      return { ...base, ...gaps(random), ...popped() }
    case 'suspended':
      return { ...base, ...(random.chance(0.5) ? gaps(random) : busy(random)), ...suspended() }
    case 'promised':
      return { ...base, ...gaps(random), ...promised() }
    case 'repaired':
      return { ...base, ...gaps(random), ...repaired() }
    case 'commits':
      return { ...base, ...commits() }
    case 'images':
      return { ...base, ...images() }
    case 'emptied':
      return { ...base, ...emptied() }
    case 'unheard':
      return { ...base, ...unheard() }
    case 'conditional':
      return { ...base, ...conditional(random) }
    case 'duels':
      return { ...base, ...conditional(random), ...duels(random) }
    case 'moving':
      return { ...base, ...conditional(random), ...moving(random) }
    case 'skipped':
      return { ...base, ...skipped() }
    case 'outdated':
      return { ...base, ...outdated() }
    case 'listings':
      return { ...base, ...listings(random) }
    case 'disks':
      return { ...base, ...disks(random) }
    case 'control':
      return { ...base, ...control(random) }
    case 'copies':
      return { ...base, ...copies(random) }
    case 'tags':
      return { ...base, ...tags(random) }
    case 'events':
      return { ...base, ...events(random) }
    case 'lifecycle':
      return { ...base, ...lifecycle(random) }
    case 'modes':
      return { ...base, ...modes(random) }
    case 'upgrade':
      return { ...base, ...upgrade(random) }
    case 'degraded':
      return { ...base, ...degraded() }
    case 'swarm':
      return { ...base, ...swarm(random) }
  }
}

function power(random: SeededRandom): Partial<Profile> {
  const acts: Act[] = ['power-off', 'blackout', 'partition', 'slow', 'lossy', 'kill']
  // All read one key on slow disks. It is written rarely: what a read shows before a disk has it follows a value that was acknowledged.
  if (random.chance(0.5)) {
    return {
      ...{ acts: ['blackout', 'slow'], everyMs: 10_000, lastsMs: 2000, thinkMs: 20 },
      ...{ strikeShare: 0.001, writeStrikeShare: 0.05, earlyReadStrikeShare: 0.3 },
      ...{ commitDelayMs: [50, 500], keys: KEYS.slice(0, 1), versionedKeys: VERSIONED_KEYS.slice(0, 1) },
      operations: { put: 0.06, get: 0.2, head: 0.72, delete: 0.02 },
    }
  }
  return {
    ...{ acts, strikeShare: random.pick([0.002, 0.01]), lastsMs: 5000, thinkMs: random.pick([20, 100]) },
    // On slow disks an answer may be quicker than what it promises, if nothing waits for them.
    commitDelayMs: random.pick([
      [0.2, 5],
      [5, 100],
    ]),
  }
}

/** Nodes are away for longer than tombstones, missed writes and blocks without references are kept. */
function outage(random: SeededRandom): Partial<Profile> {
  return {
    acts: ['outage', 'partition', 'partition', 'kill', 'one-way'],
    ...{ everyMs: 15_000, lastsMs: 30_000, outageMs: [60_000, 180_000], downMax: 1 },
    ...{ tombstoneDelayMs: 20_000, loadFactor: 6, thinkMs: random.pick([700, 2000]) },
    keys: [...KEYS, ...COLD_KEYS],
    operations: { put: 0.3, get: 0.25, delete: 0.35, list: 0.1 },
  }
}

/**
 * The node with the rows is away while the references of some are still in its queue, for longer than the claims of those who
 * wrote their blocks last: these restart meanwhile.
 */
function late(): Partial<Profile> {
  return {
    ...{ acts: ['outage', 'kill'], everyMs: 10_000, lastsMs: 3000, outageMs: [120_000, 240_000], downMax: 3 },
    ...{ replicationFactor: 1, loadFactor: 6, operations: { put: 1 }, freshEveryMs: 1, thinkMs: 1000 },
  }
}

/** Each key is written once or twice, and deleted soon after: before a database goes back to when it was written. */
function returning({ path }: Profile): Partial<Profile> {
  return {
    ...{ acts: ['save', 'restore', 'restore', 'one-way'], everyMs: 6000, lastsMs: 2000, downMax: 1 },
    path: { ...path, latencyMs: 5 },
    ...{ tombstoneDelayMs: 20_000, loadFactor: 5, thinkMs: 1500, freshEveryMs: 500 },
    operations: { put: 0.5, delete: 0.5 },
  }
}

/** Often one replica alone has what was acknowledged, and must be asked. */
function wiped(random: SeededRandom): Partial<Profile> {
  return {
    acts: ['wipe', 'lone-copy', 'lone-copy', 'lone-copy', 'lone-copy', 'partition', 'kill', 'slow'],
    ...{ everyMs: 3000, lastsMs: 4000, downMax: 1, syncSoonMs: 500, thinkMs: random.pick([20, 100]) },
  }
}

/**
 * A write reaches one replica before a later one and another replica after it, some read it in between, and an answer that would
 * have told of that is lost.
 */
function overtaking(random: SeededRandom): Partial<Profile> {
  return {
    ...{ acts: ['lossy', 'lossy', 'lossy', 'slow'], everyMs: 500, lastsMs: 10_000 },
    path: { latencyMs: 1, jitterMs: random.pick([20, 60]), lossShare: 0, bytesPerMs: 10_000 },
    ...{ keys: KEYS.slice(0, 1), versionedKeys: VERSIONED_KEYS.slice(0, 1), thinkMs: 10 },
    operations: { put: 0.3, head: 0.7 },
  }
}

/** Clients go on for minutes, since an image is older than what its node tells apart. */
function images(): Partial<Profile> {
  return {
    ...{ acts: ['restore'], everyMs: 15_000, lastsMs: 1000, downMax: 1 },
    ...{ replicationFactor: 2, loadFactor: 6, thinkMs: 1000 },
    operations: { put: 0.4, get: 0.4, delete: 0.1, list: 0.1 },
  }
}

/**
 * Few keys, so that several write one at the same time. Some take long between the two phases: meanwhile others are promised
 * later ballots, replicas forget what they can, and copies move.
 */
function conditional(random: SeededRandom): Partial<Profile> {
  const judgeMs = random.pick([0, 50, 500, 5000])
  const isVersioned = random.fork('versions').chance(0.5)
  return {
    acts: random.pick([
      ALL_ACTS,
      ['slow', 'lossy', 'partition', 'one-way', 'kill', 'power-off', 'clock'],
      ['slow', 'lossy', 'one-way'],
    ]),
    ...{ everyMs: random.pick([1000, 3000]), lastsMs: random.pick([3000, 20_000]) },
    ...{ judgeMs, promiseStrikeShare: random.pick([0, 0.01, 0.05]), lookEveryMs: 25 },
    changesLayout: random.pick<Profile['changesLayout']>(['no', 'no', 'once', 'moves']),
    ...{ keys: KEYS.slice(0, random.pick([1, 3])), thinkMs: random.pick([20, 80, 300]) },
    ...(isVersioned && { versionedShare: 0.9, versionedKeys: VERSIONED_KEYS.slice(0, 1) }),
    operations: {
      put: isVersioned ? 0.2 : 0.08,
      get: 0.15,
      head: 0.1,
      delete: 0.05,
      list: 0.02,
      multipart: 0.02,
      conditional: 0.6,
    },
  }
}

/**
 * Nodes die while their messages are under way, and hardly any read of a single key brings replicas into line. Or paths are
 * cut so that nodes meet different replicas, and deletions end with one of them.
 */
function listings(random: SeededRandom): Partial<Profile> {
  const thinkMs = random.pick([20, 80])
  if (random.fork('cut paths').chance(0.5)) {
    return {
      ...{
        acts: ['cut-paths', 'cut-paths', 'slow', 'one-way'],
        everyMs: 1500,
        lastsMs: 8000,
        loadFactor: 0.5,
      },
      ...{
        deletionStrikeShare: 0.5,
        syncSoonMs: 10_000,
        thinkMs,
        keys: [...KEYS, ...COLD_KEYS.slice(0, 10)],
      },
      operations: { put: 0.1, delete: 0.15, list: 0.1, brief: 0.65 },
    }
  }
  return {
    ...{ acts: ['slow', 'slow', 'slow', 'kill', 'kill', 'one-way', 'lossy'], everyMs: 700, lastsMs: 3000 },
    ...{ thinkMs, loadFactor: 0.5 },
    operations: { put: 0.3, delete: 0.35, list: 0.35 },
  }
}

/** A copy that rots needs all others, so no database is lost where bits flip. */
function disks(random: SeededRandom): Partial<Profile> {
  return {
    acts: random.pick<Act[]>([
      ['rot', 'rot', 'rot', 'slow-disk', 'full', 'kill', 'partition'],
      ['restore', 'restore', 'slow-disk', 'full', 'kill'],
      ['slow-disk', 'slow-disk', 'full', 'power-off', 'blackout', 'one-way'],
    ]),
    ...{ everyMs: random.pick([1000, 4000]), downMax: 1, thinkMs: random.pick([50, 300]) },
  }
}

/**
 * Names and permissions; slow paths, since votes of several meet there. In every other seed nodes forget what they voted: with their
 * database, or since it goes back.
 */
function control(random: SeededRandom): Partial<Profile> {
  const acts = random.pick<readonly Act[]>([
    ALL_ACTS,
    ['slow', 'lossy', 'partition', 'one-way', 'kill'],
    ['partition'],
  ])
  const losses = random.fork('losses').pick<Act[]>([[], [], ['wipe', 'wipe'], ['save', 'restore', 'restore']])
  return {
    acts: [...acts, ...losses],
    path: { latencyMs: random.pick([5, 20]), jitterMs: 15, lossShare: 0, bytesPerMs: 10_000 },
    ...{ everyMs: random.pick([1000, 5000]), lastsMs: random.pick([3000, 15_000]) },
    ...{ changesLayout: random.chance(0.25) ? 'once' : 'no', thinkMs: random.pick([40, 200]) },
    operations: { control: 0.9, put: 0.05, get: 0.05 },
  }
}

/** Few keys, so that what a copy was made from is overwritten or deleted soon. */
function copies(random: SeededRandom): Partial<Profile> {
  return {
    acts: random.pick([ALL_ACTS, ['slow', 'lossy', 'partition', 'one-way', 'kill', 'power-off']]),
    ...{ everyMs: random.pick([1000, 3000]), lastsMs: random.pick([5000, 20_000]) },
    ...{ keys: KEYS.slice(0, random.pick([2, 4])), thinkMs: random.pick([20, 150]) },
    changesLayout: random.chance(0.25) ? 'once' : 'no',
    operations: {
      ...{ put: 0.2, copy: 0.3, get: 0.15, delete: 0.15, multipart: 0.05, list: 0.03 },
      ...{ 'get-version': 0.06, 'delete-version': 0.06 },
    },
  }
}

/** Versions come and go on few keys, so that their tags change while they do. */
function tags(random: SeededRandom): Partial<Profile> {
  return {
    acts: random.pick<Act[]>([
      ['slow', 'slow', 'lossy', 'lossy', 'partition', 'one-way', 'kill'],
      ['slow', 'lossy', 'one-way'],
      [...ALL_ACTS],
    ]),
    ...{ everyMs: random.pick([500, 2000]), lastsMs: random.pick([3000, 15_000]) },
    ...{ keys: KEYS.slice(0, 1), versionedKeys: VERSIONED_KEYS.slice(0, 1), thinkMs: random.pick([20, 80]) },
    operations: { tags: 0.5, stack: 0.25, put: 0.15, get: 0.03, delete: 0.02, 'delete-version': 0.05 },
  }
}

/** Nodes die while they tell, and those that tell in their place know only a part. */
function events(random: SeededRandom): Partial<Profile> {
  // Many writes on one base, of which one wins.
  const contends = random.fork('contends').chance(0.5)
  return {
    ...{ acts: random.pick<Act[]>([[...ALL_ACTS], ['kill', 'kill', 'power-off', 'partition', 'slow']]) },
    ...{ everyMs: random.pick([1000, 3000]), lastsMs: random.pick([3000, 30_000]), tellsEvents: true },
    ...{ keys: KEYS.slice(0, contends ? 1 : 4), thinkMs: random.pick([80, 300]), loadFactor: 0.5 },
    operations: contends
      ? { conditional: 0.7, put: 0.1, delete: 0.1, get: 0.1 }
      : { put: 0.4, delete: 0.3, get: 0.1, multipart: 0.05, conditional: 0.1, copy: 0.05 },
  }
}

/** Objects end while they are written again, and nodes die while they end them. */
function lifecycle(random: SeededRandom): Partial<Profile> {
  return {
    acts: random.pick<Act[]>([[...ALL_ACTS], ['kill', 'power-off', 'partition', 'slow', 'lossy']]),
    ...{ everyMs: random.pick([1000, 5000]), lastsMs: random.pick([5000, 30_000]), hasLifecycle: true },
    ...{ thinkMs: random.pick([150, 600]), loadFactor: 3, keys: KEYS.slice(0, 1) },
    operations: { life: 0.9, put: 0.05, get: 0.05 },
  }
}

/** Clocks are far apart, so that only what replicas have tells which of two writes is the later one. */
function modes(random: SeededRandom): Partial<Profile> {
  return {
    acts: random.pick<Act[]>([[...ALL_ACTS], ['slow', 'lossy', 'partition', 'one-way', 'kill', 'clock']]),
    ...{ everyMs: random.pick([1000, 3000]), lastsMs: random.pick([3000, 20_000]) },
    ...{ clockSkewMs: random.pick([200, 3000]), thinkMs: random.pick([80, 300]) },
    ...{ consistencyMode: random.pick(['degraded', 'degraded', 'dangerous']), keys: KEYS.slice(0, 3) },
    replicationFactor: random.pick([2, 3, 3, 5]),
    operations: { put: 0.35, get: 0.2, head: 0.1, delete: 0.15, list: 0.1, 'delete-many': 0.05 },
  }
}

/** A replica misses what others write, and the one node that reaches it asks it for the time of what it writes right after that. */
function degraded(): Partial<Profile> {
  return {
    ...{ consistencyMode: 'degraded', acts: ['part-views'], everyMs: 500, lastsMs: 6000, clockSkewMs: 3000 },
    ...{ operations: { rewrite: 1 }, freshEveryMs: 1, syncSoonMs: 10_000, thinkMs: 1000, versionedShare: 0 },
  }
}
