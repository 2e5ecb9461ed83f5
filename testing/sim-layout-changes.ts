import type { LayoutVersion } from '../src/cluster/layout/types.js'
import type { RoleChange } from '../src/cluster/layout-manager.js'
import type { Bucket } from '../src/model/buckets/buckets.js'
import { bucketPartition } from '../src/model/sort-keys.js'
import { CarportError } from '../src/util/errors.js'
import type { SeededRandom } from './seeded-random.js'
import { roleOf, type SimCluster, type SimNode } from './sim-cluster.js'
import type { Coverage } from './sim-coverage.js'
import type { Pace } from './sim-pace.js'
import type { Profile } from './sim-profile.js'
import { applyAsRivals } from './sim-rivals.js'

/** Where copies move again and again: how many nodes have no role, and the time between two moves, in ms, on average. */
const SPARE_NODES = 2
const MOVE_EVERY_MS = 5_000
/**
 * How often it is tried to go on without dead nodes: a layout waits some minutes for a block that its node cannot find anywhere, since
 * the write that it was for came to nothing.
 */
const SKIP_RETRIES = 1800
/** Time between two looks at the progress of a change, in ms. */
const LOOK_MS = 100
/** How long a replica is cut off from those that take writes, and how long the node that was skipped reaches it alone, in ms. */
const MISSES_MS = 10_000
const ALONE_MS = 200
/** Time between two looks of its clients, which have waited for it, at all keys. */
const READS_EVERY_MS = 2
/** Time after which an administrator looks whether a change has become what everyone knows, in ms. */
const LOOK_AGAIN_MS = 5000

export interface LayoutChangesOptions {
  cluster: SimCluster
  random: SeededRandom
  profile: Pick<Profile, 'changesLayout' | 'layoutChange'>
  coverage: Coverage
  /** A bucket whose replicas change. */
  bucket: Bucket
  loadMs: number
  pace: Pace
  /** Reads the hot keys once at a node, which may refuse it. */
  readsAt(node: SimNode): Promise<void>
}

/** What administrators do to the layout while clients work. */
export class LayoutChanges {
  constructor(private readonly options: LayoutChangesOptions) {}

  /** Resolves when the changes that the profile has are made; they may still be in progress. */
  run(): Promise<void> {
    switch (this.options.profile.changesLayout) {
      case 'moves':
        return this.#moveCopies()
      case 'skips':
        return this.#skipNewcomer()
      case 'outdates':
        return this.#outdateMember()
      case 'once':
        return this.#replaceNodes()
      case 'no':
        return Promise.resolve()
    }
  }

  /** Nodes join and get roles, and as many others lose theirs, while everything goes on. */
  async #replaceNodes(): Promise<void> {
    const { cluster, loadMs, pace, profile } = this.options
    const { clock } = cluster
    const { nodes, atOnce, discards, lagMs, rivals } = profile.layoutChange
    const everyMs = loadMs / 3
    await clock.sleep(pace.untilLoad(clock.monotonicMs(), everyMs / 2))
    const newcomers: SimNode[] = []
    // Each of two rivals gives a role to one at least.
    const count = rivals ? Math.max(2, nodes) : nodes
    while (newcomers.length < count) newcomers.push(await cluster.grow())
    const leavers = this.#leavers(nodes)
    const joins = newcomers.map((node) => ({ node: node.id, role: roleOf(node) }))
    const leaves = leavers.map((node) => ({ node: node.id, role: null }))
    if (!atOnce) {
      await (rivals ? this.#applyAsRivals(joins, []) : this.#applyRoles(joins))
      await clock.sleep(pace.untilLoad(clock.monotonicMs(), everyMs))
    }
    // Those without capacity stay, and the old layout with them. Of those that go, the last one is the least likely to be a replica of
    // the bucket: it goes on writing to those that are.
    const gateways = cluster.nodes.slice(cluster.options.nodes, cluster.nodes.length - newcomers.length)
    const late = lagMs === 0 ? [] : gateways.length > 0 ? gateways : leavers.slice(-1)
    for (const node of late) this.#slowDown(node, lagMs)
    if (atOnce && rivals) await this.#applyAsRivals(joins, leaves)
    else await this.#applyRoles(atOnce ? [...joins, ...leaves] : leaves, late)
    if (discards) for (const leaver of leavers) await this.#discard(leaver)
  }

  /**
   * Two administrators apply a part of the change each, under one number; one of the two layouts stays. Whoever sees then that
   * something is missing applies it again, until the change is through: before, an earlier rival may still come up.
   */
  async #applyAsRivals(joins: readonly RoleChange[], leaves: readonly RoleChange[]): Promise<void> {
    const { cluster, coverage, profile } = this.options
    const random = this.options.random.fork('rivals')
    const [first, ...others] = joins as [RoleChange, ...RoleChange[]]
    // A single node that goes is replaced by both of them.
    const left = leaves.slice(0, 1)
    const right = leaves.length > 1 ? leaves.slice(1) : left
    const onLost = (newcomers: readonly SimNode[]) => {
      if (profile.layoutChange.lagMs > 0 && newcomers.length > 0)
        this.#slowDown(random.pick(newcomers), profile.layoutChange.lagMs)
    }
    await applyAsRivals({
      ...{ cluster, random, coverage, onLost },
      changes: [
        [first, ...left],
        [...others, ...right],
      ],
    })
    await cluster.clock.sleep(random.pick([0, 5000, 20_000]))
    const roles = [...joins, ...leaves]
    const isThrough = ({ core }: SimNode) => {
      const { versions } = core!.cluster.layout.history
      return versions.length === 1 && missingIn(versions[0]!, roles).length === 0
    }
    do {
      await this.#applyRoles(roles)
      await cluster.clock.sleep(LOOK_AGAIN_MS)
    } while (!cluster.readyNodes().every(isThrough))
  }

  /** The nodes that go, replicas of the bucket first: they stay up until their data is elsewhere. */
  #leavers(count: number): SimNode[] {
    const { cluster, random, bucket } = this.options
    // Node 0 stays, since the checks ask it.
    const [first, ...others] = cluster.nodes.slice(0, 5) as [SimNode, ...SimNode[]]
    const replicas = first.core?.cluster.layout.storageSet(bucketPartition(bucket.id)) ?? []
    const drawn: SimNode[] = []
    while (others.length > 0) drawn.push(...others.splice(random.below(others.length), 1))
    const isReplica = ({ id }: SimNode) => replicas.includes(id)
    return [...drawn.filter(isReplica), ...drawn.filter((node) => !isReplica(node))].slice(0, count)
  }

  /** The disk of a node gets slow: it stores, and so uses, a new layout late. */
  #slowDown({ machine }: SimNode, lagMs: number): void {
    const { cluster, coverage } = this.options
    const db = machine.platform?.db
    if (!db) return
    const over = coverage.fault('slow disk')
    db.slowMs = lagMs
    cluster.clock.after(lagMs, () => {
      db.slowMs = 0
      over()
    })
  }

  /** @param late nodes that are not asked for it */
  async #applyRoles(roles: readonly RoleChange[], late: readonly SimNode[] = []): Promise<void> {
    const { cluster, random } = this.options
    await cluster.retried(random, async (by) => {
      if (late.includes(by))
        throw new CarportError('LayoutNotReady', 'this node is to hear of the change late')
      const newest = by.core!.cluster.layout.history.versions.at(-1)
      // An administrator sees that a newcomer does not know the cluster's layout yet, and does not make another first one there.
      if (!newest) throw new CarportError('LayoutNotReady', 'this node has not heard of the layout')
      // An attempt whose node died may have taken effect.
      const missing = missingIn(newest, roles)
      if (missing.length > 0) await cluster.changeLayout(missing, by)
    })
  }

  /**
   * Takes database and disk from a node once the layout needs it no more: an administrator may throw it away then. Where it had the only
   * copy, nobody else knows which blocks its last writes have freed: there it has told that, too.
   */
  async #discard(leaver: SimNode): Promise<void> {
    const { cluster } = this.options
    const hasToTell = () =>
      cluster.options.replicationFactor === 1 && leaver.core?.blocks.refs.ends() !== undefined
    const isNeeded = ({ core }: SimNode) =>
      core === undefined || core.cluster.layout.history.versions.some(({ roles }) => roles.has(leaver.id))
    while (!leaver.ready || cluster.nodes.some(isNeeded) || hasToTell()) await cluster.clock.sleep(LOOK_MS)
    cluster.crash(leaver, 'machine')
    leaver.machine.discard()
    await cluster.boot(leaver)
  }

  /** Two more nodes come; then up to two of the bucket's replicas change places with those, again and again. */
  async #moveCopies(): Promise<void> {
    const { cluster, random, bucket, pace } = this.options
    const { clock } = cluster
    for (let i = 0; i < SPARE_NODES; i++) await cluster.grow()
    while (clock.monotonicMs() < pace.endMs) {
      await clock.sleep(pace.untilLoad(clock.monotonicMs(), random.exponential(MOVE_EVERY_MS)))
      await cluster.retried(random, async (by) => {
        const { history, view } = by.core!.cluster.layout
        const newest = history.versions.at(-1)!
        // One change at a time, as administrators do it.
        if (history.versions.length > 1) return
        // Node 0 stays, since the checks ask it.
        const replicas = view
          .storageSet(bucketPartition(bucket.id))
          .filter((node) => node !== cluster.nodes[0]!.id)
        const spare = cluster.nodes.filter((node) => !newest.roles.get(node.id))
        const at = random.below(replicas.length)
        const leaving = [...replicas.slice(at), ...replicas.slice(0, at)].slice(0, spare.length)
        await cluster.changeLayout(
          [
            ...leaving.map((node) => ({ node, role: null })),
            ...spare.map((node) => ({ node: node.id, role: roleOf(node) })),
          ],
          by,
        )
      })
    }
  }

  /**
   * A newcomer takes the place of a node and dies before it has copied anything; the administrator does not wait for it, or only
   * for its data. When it is back, the data is where it was: on the other replicas, or on the node that has left, which hands it
   * over.
   */
  async #skipNewcomer(): Promise<void> {
    const { cluster, random, loadMs, pace, profile } = this.options
    const { clock } = cluster
    await clock.sleep(pace.untilLoad(clock.monotonicMs(), loadMs / 3))
    const newcomer = await cluster.grow()
    const [leaver] = this.#leavers(1) as [SimNode]
    await this.#applyRoles([
      { node: newcomer.id, role: roleOf(newcomer) },
      { node: leaver.id, role: null },
    ])
    // Where something else has brought it down, that brings it up again, too.
    while (!newcomer.ready) await clock.sleep(LOOK_MS)
    cluster.crash(newcomer, random.pick(['process', 'machine']))
    const { allowsMissing } = profile.layoutChange
    const skip = async (by: SimNode) => {
      const { version, history } = by.core!.cluster.layout.view
      if (history.versions.length === 1) return
      await by.core!.cluster.skipDeadNodes({ version, allowMissingData: allowsMissing })
      // Without data, the change is through only when the newcomer is back.
      if (allowsMissing) throw new Error('the change is not through yet')
    }
    await cluster.retried(random, skip, SKIP_RETRIES)
    await clock.sleep(random.float() * 10_000)
    await cluster.boot(newcomer)
  }

  /**
   * A replica is cut off from all others, which go on without it as if it were dead. When they have left its layout, it reaches
   * one of them that has just missed what was written, and later the others. Its clients try again at once.
   */
  async #outdateMember(): Promise<void> {
    const { cluster, random, loadMs, pace } = this.options
    const { clock, network } = cluster
    await clock.sleep(pace.untilLoad(clock.monotonicMs(), loadMs / 4))
    const successor = await cluster.grow()
    const [member, first] = this.#leavers(2) as [SimNode, SimNode]
    const others = cluster.nodes.filter((node) => node !== member && node !== first).map(({ id }) => id)
    const reachFirst = network.partition([member.id], [first.id])
    const reachAll = network.partition([member.id], others)
    const roles = [
      { node: successor.id, role: roleOf(successor) },
      { node: member.id, role: null },
    ]
    await this.#applyRoles(roles, [member])
    const skip = async (by: SimNode) => {
      if (by === member) throw new CarportError('LayoutNotReady', 'this node is taken for dead')
      const { version, history } = by.core!.cluster.layout.view
      if (history.versions.length === 1) return
      await by.core!.cluster.skipDeadNodes({ version, allowMissingData: false })
      throw new Error('the change is not through yet')
    }
    await cluster.retried(random, skip, SKIP_RETRIES)
    const meetAgain = network.partition([first.id], others)
    await clock.sleep(MISSES_MS)
    const linked = new Promise<void>((resolve) => {
      const stop = member.core!.cluster.peering.onLink(({ up }) => {
        if (!up) return
        stop()
        resolve()
      })
    })
    reachFirst()
    await linked
    const untilMs = clock.monotonicMs() + ALONE_MS
    while (clock.monotonicMs() < untilMs) {
      void this.options.readsAt(member)
      await clock.sleep(READS_EVERY_MS)
    }
    meetAgain()
    reachAll()
    while (member.core?.cluster.layout.view.mayCoordinate !== false) await clock.sleep(LOOK_MS)
  }
}

/** The changes that a layout lacks. */
function missingIn({ roles }: LayoutVersion, wanted: readonly RoleChange[]): RoleChange[] {
  return wanted.filter(({ node, role }) => roles.has(node) !== (role !== null))
}
