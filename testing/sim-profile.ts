import type { SimClusterOptions } from './sim-cluster.js'

/** What may break. An act that stands several times comes up more often. */
export type Act =
  | 'partition'
  | 'one-way'
  | 'slow'
  | 'lossy'
  | 'kill'
  | 'power-off'
  | 'clock'
  | 'blackout'
  | 'outage'
  | 'wipe'
  | 'lone-copy'
  | 'lone-change'
  | 'cut-paths'
  | 'gaps'
  | 'part-views'
  | 'save'
  | 'restore'
  | 'slow-disk'
  | 'full'
  | 'rot'

/** The operations of clients, with the share of each; they need not add up to 1. */
export type Operations = Partial<Record<OperationName, number>>

export type OperationName =
  | 'put'
  | 'brief'
  | 'announce'
  | 'rewrite'
  | 'get'
  | 'head'
  | 'delete'
  | 'list'
  | 'list-versions'
  | 'multipart'
  | 'get-version'
  | 'delete-version'
  | 'delete-many'
  | 'stack'
  | 'pop'
  | 'nulls'
  | 'conditional'
  | 'duel'
  | 'control'
  | 'copy'
  | 'tags'
  | 'life'
  | 'k2v'
  | 'drip'

/**
 * - 'faults': five nodes stay, everything breaks; 'layout': up to three nodes come and as many go meanwhile, on slow paths
 *   now and then;
 * - 'power': power cuts, many of them right at an acknowledgement;
 * - 'outage': nodes are away for longer than every delay and grace;
 * - 'late': the same where there is one copy of everything, and nodes that took uploads restart meanwhile;
 * - 'dripping': bodies that take longer than blocks without references are kept;
 * - 'returning': databases go back to a state of before deletions that have left no trace since;
 * - 'recreated': the same with keys that were created anew on a condition;
 * - 'unheard-of': databases are lost with changes of which nobody else has heard, and which their nodes have acted on;
 * - 'wiped': databases are lost, one at a time, often while one other node alone has what was written last;
 * - 'outrun': the same with clocks that are far apart;
 * - 'busy': few keys, many writers, versions that come, go and are locked;
 * - 'stacked': the same, of versions alone;
 * - 'overtaking': one key, many writers, and messages that overtake each other or get lost;
 * - 'gaps': one key, many writers, and replicas that messages of some nodes reach late;
 * - 'retagged': the same with tags of versions that are replaced meanwhile;
 * - 'popped': the same with current versions that are deleted, so that earlier ones become current again;
 * - 'suspended': null versions that come and go among versions with ids, in one key or a few;
 * - 'promised': conditional writes that take long, while all replicas forget what they may;
 * - 'repaired': conditional writes that take long, while replicas that heard of different ones are compared all the time;
 * - 'commits': power cuts of the one node that has a row, where a commit takes seconds;
 * - 'images': databases go back to images of which their nodes know nothing, where a read asks one of two copies;
 * - 'emptied': one copy of everything, nodes go and lose what they had as soon as the layout needs them no more;
 * - 'unheard': the same, where nodes without capacity hear of the change late, and go on writing to those that go;
 * - 'conditional': writes on a condition beside plain ones, all faults, every third time over a change of the layout;
 * - 'moving': the same on one key, or on one after the other, whose copies move again and again, by writers that take as long
 *   as a move; 'duels': by two for each of many keys;
 * - 'skipped': a node joins and dies before it has copied, an administrator does not wait for it, and it comes back;
 * - 'outdated': a replica is cut off, replaced, and skipped as dead, but lives, and its clients go on; then it reaches one of the
 *   others that missed what was written last;
 * - 'listings': writes that reach some replicas only, and listings of them in pages;
 * - 'disks': disks are slow or full, bits flip in blocks and rows of one node, or databases go back to an earlier state;
 * - 'control': names and permissions that many want to change at the same time;
 * - 'copies': copies of objects beside deletions of what they were made from;
 * - 'tags': tags of versions that are replaced, and become current again, while they change;
 * - 'events': writes of which a target is told, which refuses some messages at first;
 * - 'lifecycle': objects, versions and uploads that rules end, of a day that is two minutes long;
 * - 'modes': reads of one replica, which may be old, and in some runs writes that one replica acknowledges;
 * - 'upgrade': some nodes begin as those of the first release, and are upgraded one after the other;
 * - 'degraded': reads of one replica while nodes that are cut off from different replicas write one after the other;
 * - 'swarm': each seed draws which of all that it has at all.
 */
export const SCENARIO_KINDS = [
  'faults',
  'layout',
  'power',
  'outage',
  'late',
  'dripping',
  'returning',
  'recreated',
  'unheard-of',
  'wiped',
  'outrun',
  'busy',
  'stacked',
  'overtaking',
  'gaps',
  'retagged',
  'popped',
  'suspended',
  'promised',
  'repaired',
  'commits',
  'images',
  'emptied',
  'unheard',
  'conditional',
  'moving',
  'duels',
  'skipped',
  'outdated',
  'listings',
  'disks',
  'control',
  'copies',
  'tags',
  'events',
  'lifecycle',
  'modes',
  'upgrade',
  'degraded',
  'swarm',
] as const
export type ScenarioKind = (typeof SCENARIO_KINDS)[number]

/** The part of a seed that makes the cluster. */
type ClusterProfile = Required<
  Pick<
    SimClusterOptions,
    | 'nodes'
    | 'gateways'
    | 'earlierNodes'
    | 'zones'
    | 'replicationFactor'
    | 'consistencyMode'
    | 'blockBytes'
    | 'clockSkewMs'
    | 'path'
    | 'commitDelayMs'
  >
>

/** What a seed has: drawn once, before the run. */
export interface Profile extends ClusterProfile {
  tombstoneDelayMs: number
  acts: readonly Act[]
  /** Time between two acts, in ms, on average. */
  everyMs: number
  /** How long a partition or a slow path lasts at most, and a node stays down, in ms. */
  lastsMs: number
  /** How long a node is away in an outage, in ms: longer than tombstones and graces last. */
  outageMs: readonly [number, number]
  /** How many nodes may be down at the same time, power cuts of the whole cluster aside. */
  downMax: number
  /** Share of the acknowledgements at which the power goes off, on one node or on all. */
  strikeShare: number
  /** The same at acknowledged writes, in addition. */
  writeStrikeShare: number
  /** Share of the reads of what was not acknowledged yet at which the power goes off on all nodes. */
  earlyReadStrikeShare: number
  /** Share of the deletions by nodes without a copy at which the node dies when one replica has heard of it. */
  deletionStrikeShare: number
  /** Share of the promises to conditional writes at which the node that gave one dies, for a moment. */
  promiseStrikeShare: number
  /** Whether all replicas of the bucket die then, so that they forget together what they may. */
  promiseStrikesAll: boolean
  /** Share of the messages with references to blocks at which the power goes off on the node that carries them. */
  referenceStrikeShare: number
  /** Share of the conditional writes that take their time between promises and row; and how long, in ms, on average. */
  judgeShare: number
  judgeMs: number
  /**
   * What becomes of the layout: 'once' nodes join and others leave; the copies of the first bucket move again and again; or a
   * newcomer dies before it has copied, and the others go on without it; or they go on without a replica that lives.
   */
  changesLayout: 'no' | 'once' | 'moves' | 'skips' | 'outdates'
  /**
   * How many nodes join and leave, whether in one change, whether those that left lose all that they have at once, and for how
   * long, in ms, one of these hears of the change late.
   */
  layoutChange: {
    nodes: number
    atOnce: boolean
    discards: boolean
    lagMs: number
    /** Whether two administrators who do not hear of each other apply a part of the change each, under one number. */
    rivals: boolean
    /** Whether a newcomer that died, and is not waited for, counts as one that has its data. */
    allowsMissing: boolean
  }
  /** How soon replicas are compared after something changed, in ms. */
  syncSoonMs: number
  /** How long all writes go to one and the same key that nobody used before, in ms; 0: they go to `keys`. Deletions come later. */
  freshEveryMs: number
  operations: Operations
  /** Whether a target is told of what happens in both buckets. */
  tellsEvents: boolean
  /** Whether both buckets have lifecycle rules. */
  hasLifecycle: boolean
  keys: readonly string[]
  versionedKeys: readonly string[]
  /** Share of the operations in the bucket that keeps versions. */
  versionedShare: number
  /** Time that a client thinks between two operations, in ms, on average. */
  thinkMs: number
  /** Time between two looks at a key on a node while clients work, in ms, on average. */
  lookEveryMs: number
  /** How long clients work, as a multiple of what the caller asks for. */
  loadFactor: number
  /** Time between two comparisons of all copies, in ms, in a run with rests. */
  syncIntervalMs: number
  /** Time between two faults while clients rest, in ms, on average; 0: nothing fails then. */
  restEveryMs: number
  /** The longest that such a fault lasts, in ms. */
  restLastsMs: number
}

/** Time between two comparisons of all copies in a run without rests, in ms. */
export const SYNC_INTERVAL_MS = 60_000
