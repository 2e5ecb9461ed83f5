import type { SeededRandom } from './seeded-random.js'
import { ALL_ACTS, ALL_OPERATIONS, COLD_KEYS, KEYS } from './sim-kind-parts.js'
import { layoutChange } from './sim-layout-kinds.js'
import type { Act, Operations, Profile } from './sim-profile.js'

/** Acts after which a node lacks, or may lack, what it had acknowledged. */
const LOSSES: readonly Act[] = ['wipe', 'restore', 'lone-copy', 'rot']
/** Of the seeds with three copies or more whose layout changes, the share in which a newcomer dies and is not waited for. */
const SKIP_SHARE = 0.2

/** Half of all faults and operations are left out, so that those that are there meet in ways of their own. */
export function swarm(random: SeededRandom): Partial<Profile> {
  const drawn = <T>(all: readonly T[]) => {
    const some = all.filter(() => random.chance(0.5))
    return some.length > 0 ? some : [random.pick(all)]
  }
  // A copy that rots needs all others, so no database is lost or goes back where bits flip.
  const losses = random.pick<Act[]>([[], [], ['wipe'], ['restore', 'restore'], ['wipe', 'restore'], ['rot']])
  const acts = [...drawn<Act>([...ALL_ACTS, 'outage', 'slow-disk', 'full']), ...losses]
  // Those that are aimed wait for a moment in which nothing else is broken.
  if (random.fork('cut paths').chance(0.3)) acts.push('cut-paths')
  if (losses.includes('wipe') && random.fork('lone copy').chance(0.5)) acts.push('lone-copy')
  const operations: Operations = { ...ALL_OPERATIONS, stack: 0.15, control: 0.1, conditional: 0.2 }
  const optional = [
    'delete',
    'list',
    'multipart',
    'get-version',
    'delete-version',
    'stack',
    'control',
    'conditional',
  ] as const
  for (const name of optional) if (random.chance(0.5)) delete operations[name]
  if (random.fork('copies').chance(0.5)) operations.copy = 0.1
  if (random.fork('many').chance(0.5)) operations['delete-many'] = 0.06
  if (random.fork('list versions').chance(0.5)) operations['list-versions'] = 0.03
  if (random.fork('tags').chance(0.5)) operations.tags = 0.1
  if (random.fork('nulls').chance(0.5)) operations.nulls = 0.1
  const hasLifecycle = random.fork('lifecycle').chance(0.35)
  if (hasLifecycle) operations.life = 0.15
  const changes = random.chance(0.3)
  const change = layoutChange(random)
  const replicationFactor = random.pick([1, 2, 3, 3, 3, 4, 5])
  // The newcomer that nobody waits for is the only copy that may lack anything: every quorum of the others makes up for it.
  const skips = changes && replicationFactor >= 3 && random.fork('skips').chance(SKIP_SHARE)
  const changesLayout = skips ? 'skips' : changes ? 'once' : 'no'
  // What a node has not told yet is lost if it leaves and is thrown away, so nobody is told of anything then.
  const mayLose = changesLayout === 'once' && change.discards
  // Nodes of the first release keep no account of what a copy may lack.
  const mayUpgrade = changesLayout === 'no' && losses.length === 0
  const upgrades = random.fork('upgrade')
  const earlierNodes = mayUpgrade && upgrades.chance(0.4) ? upgrades.pick([1, 2]) : 0
  // The first release has no K2V, which nodes refuse while one of it is there.
  if (earlierNodes === 0 && random.fork('k2v').chance(0.4)) operations.k2v = 0.15
  return {
    ...{ operations, changesLayout, layoutChange: change, hasLifecycle, replicationFactor },
    acts: skips ? acts.filter((act) => !LOSSES.includes(act)) : acts,
    earlierNodes,
    tellsEvents: !mayLose && random.fork('events').chance(0.5),
    everyMs: random.pick([1000, 3000, 10_000]),
    lastsMs: random.pick([5000, 20_000, 60_000]),
    outageMs: [60_000, 180_000],
    downMax: random.pick([1, 2]),
    strikeShare: random.pick([0, 0, 0.005]),
    earlyReadStrikeShare: random.fork('early reads').pick([0, 0, 0.02]),
    tombstoneDelayMs: random.pick([20_000, 120_000]),
    keys: random.chance(0.2) ? [...KEYS, ...COLD_KEYS] : KEYS.slice(0, random.pick([1, 3, 6])),
    commitDelayMs: random.chance(0.2) ? [5, 100] : [0.2, 5],
    thinkMs: random.pick([20, 150, 400, 1500]),
    loadFactor: random.pick([0.5, 1, 3]),
  }
}
