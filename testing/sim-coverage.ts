import { GC_TREE, RETRY_TREE } from '../src/table/row-keys.js'
import type { SimCluster } from './sim-cluster.js'
import type { Pace } from './sim-pace.js'

/** Time between two looks at the nodes, in ms of virtual time. */
const LOOK_EVERY_MS = 2000
const LOOK_AT_REST_EVERY_MS = 60_000
/** The operations that write. */
export const WRITES: ReadonlySet<string> = new Set([
  'put',
  'push',
  'put-null',
  'delete-null',
  'delete',
  'complete',
  'pop',
  'lock',
  'delete-version',
  'delete-many',
  'create',
  'replace',
  'copy',
  'tag',
  'k2v-write',
])

/** Calls between nodes that show that something happened which a seed may well miss. */
const SEEN_IN_CALLS: readonly [call: RegExp, condition: string][] = [
  [/ table\/object\/hint /, 'a missed write was delivered later'],
  [/ table\/object\/(push|offer) /, 'anti-entropy found a row that a replica lacked'],
  [/ table\/object\/drop /, 'tombstones were collected on all replicas'],
  [/ table\/object\/(prepare|accept) /, 'a conditional write was voted on'],
  [/ decide\/accept /, 'a name or permission was voted on'],
  [/ block\/get /, 'a block was fetched from another node'],
  [/ block\/need /, 'a node was asked whether it needs a block'],
  [/ block\/release /, 'the claims of an upload were given back'],
  [/ unknown /, 'a node of the first release did not know a call'],
  [/ unknown table\/object\//, 'a node of the first release was compared, or voted, without knowing how'],
]

const SEEN_IN_NODES = [
  'a write was queued for a replica that missed it',
  'a tombstone waited while a node was away',
  'a copy was not whole yet',
  'a version became current again',
  'two layouts were live',
  'two layouts were live while something was broken',
  'two layouts of one number',
] as const

const WRITE_BACK = 'a read wrote a row back'

/** All conditions that a run may reach. */
export const CONDITIONS: readonly string[] = [
  ...new Set(SEEN_IN_CALLS.map(([, condition]) => condition)),
  ...SEEN_IN_NODES,
  WRITE_BACK,
]

/** What runs came across: which faults met which operations, and which conditions were reached at least once. */
export class Coverage {
  /** By fault, then by operation: how many operations ran while it lasted. */
  readonly met = new Map<string, Map<string, number>>()
  /** The condition, and in how many looks or calls it was seen. */
  readonly reached = new Map<string, number>()
  /** Calls that brought a row of an object to a replica on another node. */
  rowsSent = 0
  readonly #active = new Map<string, number>()
  readonly #running = new Map<string, number>()

  /** A fault begins. @returns to be called at its end */
  fault(name: string): () => void {
    add(this.#active, name, 1)
    return () => add(this.#active, name, -1)
  }

  /** An operation begins. @returns to be called at its end */
  operation(name: string): () => void {
    const met = new Set(this.#faults())
    add(this.#running, name, 1)
    return () => {
      add(this.#running, name, -1)
      for (const fault of this.#faults()) met.add(fault)
      for (const fault of met.size > 0 ? met : ['nothing']) {
        const row = this.met.get(fault) ?? new Map()
        this.met.set(fault, row)
        add(row, name, 1)
      }
    }
  }

  /** Gets each line of a run's trace. */
  traced(line: string): void {
    for (const [call, condition] of SEEN_IN_CALLS) if (call.test(line)) add(this.reached, condition, 1)
    if (!/ table\/(object|version)\/insert /.test(line)) return
    if (!line.includes(' answer to ')) this.rowsSent++
    const isWritten = [...this.#running].some(([name, count]) => count > 0 && WRITES.has(name))
    const isRead = [...this.#running].some(([, count]) => count > 0)
    if (isRead && !isWritten) add(this.reached, WRITE_BACK, 1)
  }

  /** Looks at the nodes until the last spell of load is over. */
  async watch(cluster: SimCluster, pace: Pace): Promise<void> {
    const { clock } = cluster
    while (clock.monotonicMs() < pace.endMs) {
      this.#look(cluster)
      await clock.sleep(pace.isLoad(clock.monotonicMs()) ? LOOK_EVERY_MS : LOOK_AT_REST_EVERY_MS)
    }
  }

  #look(cluster: SimCluster): void {
    this.lookAtLayouts(cluster)
    const isAway = cluster.nodes.some(({ ready }) => !ready)
    const reach = (condition: (typeof SEEN_IN_NODES)[number], isReached: boolean) => {
      if (isReached) add(this.reached, condition, 1)
    }
    for (const { core, ready, machine } of cluster.nodes) {
      if (!core || !ready) continue
      const { db } = machine.platform!
      reach('a write was queued for a replica that missed it', db.count(RETRY_TREE) > 0)
      reach('a tombstone waited while a node was away', isAway && db.count(GC_TREE) > 0)
      const { whole, total } = core.tables.standing.counts()
      reach('a copy was not whole yet', whole < total)
      const isMoving = core.cluster.layout.history.versions.length > 1
      reach('two layouts were live', isMoving)
      reach('two layouts were live while something was broken', isMoving && this.#faults().length > 0)
      const { local } = core.model.tables.object
      for (const { head } of local.walk(db, {})) {
        const { generation } = local.codec.decodeStored(head, () => undefined)
        reach('a version became current again', generation > 0)
      }
    }
  }

  /** Looks whether two nodes know different layouts of one number, of which neither has heard that it lost. */
  lookAtLayouts(cluster: SimCluster): void {
    const live = cluster.nodes.flatMap(({ core, ready }) =>
      ready ? core!.cluster.layout.history.versions : [],
    )
    const stamps = new Map(live.map(({ version, stamp }) => [version, stamp]))
    if (live.some(({ version, stamp }) => stamps.get(version) !== stamp))
      add(this.reached, 'two layouts of one number', 1)
  }

  /** Adds what another run came across. */
  addAll(other: Coverage): void {
    for (const [name, count] of other.reached) add(this.reached, name, count)
    for (const [fault, operations] of other.met) {
      const row = this.met.get(fault) ?? new Map()
      this.met.set(fault, row)
      for (const [name, count] of operations) add(row, name, count)
    }
  }

  #faults(): string[] {
    return [...this.#active].flatMap(([name, count]) => (count > 0 ? name : []))
  }
}

/** How often each fault met each operation, and which conditions were reached how often, as Markdown. */
export function describeCoverage({ met, reached }: Coverage): string {
  const operations = [...new Set([...met.values()].flatMap((row) => [...row.keys()]))].sort()
  const faults = [...met.keys()].sort()
  return [
    `| | ${operations.join(' | ')} |`,
    `|---|${operations.map(() => '--:|').join('')}`,
    ...faults.map(
      (fault) => `| ${fault} | ${operations.map((op) => met.get(fault)!.get(op) ?? 0).join(' | ')} |`,
    ),
    '',
    ...CONDITIONS.map((condition) => {
      const times = reached.get(condition) ?? 0
      return times > 0 ? `reached ${times} times: ${condition}` : `NEVER REACHED: ${condition}`
    }),
  ].join('\n')
}

function add(counts: Map<string, number>, name: string, change: number): void {
  counts.set(name, (counts.get(name) ?? 0) + change)
}
