import type { NodeId } from '../../net/transport.js'
import type { TableEnv } from '../../table/table.js'
import { type Backoff, backoffMs } from '../../util/backoff.js'
import { sleep } from '../../util/clock.js'
import { errorCode } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import { Semaphore } from '../../util/semaphore.js'
import { EMPTY_CLOCK, isNewer, joinClocks, type Origin, type VectorClock } from './causality.js'
import { clockOf, type K2vItem } from './item.js'
import { RemoteWatches } from './remote-watches.js'
import type { K2vStore } from './store.js'
import { type Commit, partsOfTopic, type Watcher, type Watches } from './watches.js'

/** After a look that failed, in ms. */
const LOOK_AGAIN_MS = 1_000
/** Looks that came too early: how long the next ones wait, and how many there are. */
const EARLY: Backoff = { baseMs: 50, maxMs: 5_000 }
const EARLY_MAX = 20
/** Reads of one group, and of all, at the same time: when a node comes back, there may be thousands of groups that look. */
const AT_ONCE = 16
export const ALL_AT_ONCE = 64
/** Polls that are told of a change in one turn of the event loop. */
export const JUDGED_IN_TURN = 50
/** Items that changed in a partition key while nobody looked: with more, each poll looks for itself. */
const FIRED_MAX = 200

const NONE: readonly never[] = []
/** Lists of nodes that groups share. */
const LISTS_MAX = 1000

/** One who waits. */
export interface Waiting {
  /** What it costs to judge, in multiples of the least. */
  readonly cost: number
  /** Looks at items of the topic that have changed; may end the wait. `covered`: see SeenMarker. */
  judge(items: readonly K2vItem[], covered: ReadonlyMap<Origin, number>): void
  /**
   * Looks at everything; may end the wait. Commits may have gone by untold before. Resolves with whether it has seen all: not
   * if a replica has something that a quorum does not show yet.
   */
  look(): Promise<boolean>
  /** Commits may go by untold from now on, until the next `look`. */
  unsure(): void
}

/** Those who wait for the same topic: mostly one, for whom a set would take 170 bytes. */
class WaitingSet {
  #one: Waiting | undefined
  #more: Set<Waiting> | undefined

  get size(): number {
    return this.#more ? this.#more.size : this.#one ? 1 : 0
  }

  has(waiting: Waiting): boolean {
    return this.#one === waiting || this.#more?.has(waiting) === true
  }

  add(waiting: Waiting): void {
    if (this.#more) this.#more.add(waiting)
    else if (!this.#one) this.#one = waiting
    else {
      this.#more = new Set([this.#one, waiting])
      this.#one = undefined
    }
  }

  delete(waiting: Waiting): void {
    if (this.#one === waiting) this.#one = undefined
    else this.#more?.delete(waiting)
  }

  /** Those who wait now. */
  all(): Waiting[] {
    return this.#more ? [...this.#more] : this.#one ? [this.#one] : []
  }
}

/** All who wait for the same topic on this node. There are thousands of which nothing is told: they have no maps and no closures. */
export class Group implements Watcher {
  readonly waiting = new WaitingSet()
  /** Replicas that are asked to tell of commits, and those that have promised to. */
  nodes: readonly NodeId[] = NONE
  armed: readonly NodeId[] = NONE
  /** Whether a quorum has been armed before: who is armed later may have missed something. */
  wasReady = false
  onReady: readonly (() => void)[] = NONE
  /** What was told of, by sort key (latin1). */
  fired: Map<string, Fired> | undefined = undefined
  covered: Map<Origin, number> | undefined = undefined
  looksAtAll = false
  isLooking = false
  /** Looks one after the other that came too early. */
  early = 0

  constructor(
    readonly topic: string,
    readonly partition: number,
    private readonly groups: PollGroups,
  ) {}

  /** Hears of commits on this node. */
  committed(commit: Commit): void {
    this.groups.committed(this.topic, commit)
  }
}

/** An item with what a replica knows of it. */
interface Fired {
  readonly sortKey: Buffer
  readonly clock: VectorClock
}

/**
 * Who waits on this node, by topic. Each topic is watched on all replicas, and all waits for it share that. When a commit is told,
 * the item is read by quorum once, so that nobody is told what a later read would not show.
 */
export class PollGroups {
  readonly #groups = new Map<string, Group>()
  readonly #slots = new Semaphore(ALL_AT_ONCE)
  readonly #remotes = new Map<NodeId, RemoteWatches>()
  readonly #lists = new Map<string, readonly NodeId[]>()
  #stopped = false

  constructor(
    private readonly env: TableEnv,
    private readonly watches: Watches,
    private readonly store: Pick<K2vStore, 'read'>,
  ) {
    env.placement.onChange(() => {
      for (const group of this.#groups.values()) this.#follow(group)
    })
  }

  /** Topics that somebody waits for. */
  get size(): number {
    return this.#groups.size
  }

  /** Adds one who waits. Commits from when `ready` resolves on are told. */
  join(topic: string, partition: number, waiting: Waiting): Group {
    let group = this.#groups.get(topic)
    if (!group) {
      group = new Group(topic, partition, this)
      this.#groups.set(topic, group)
      this.#follow(group)
    }
    group.waiting.add(waiting)
    return group
  }

  /** The item that a group is about, or of a group of a whole partition key, the one with that sort key. */
  readOf({ topic }: Group, sortKey?: Buffer): Promise<K2vItem | undefined> {
    const { bucket, ...key } = partsOfTopic(topic)
    return this.store.read(bucket, sortKey ? { ...key, sortKey } : key)
  }

  /** Resolves once a read quorum tells of commits. */
  ready(group: Group): Promise<void> | undefined {
    if (this.isReady(group)) {
      group.wasReady = true
      return undefined
    }
    return new Promise((resolve) => {
      group.onReady = [...group.onReady, resolve]
    })
  }

  isReady({ partition, armed }: Group): boolean {
    const { placement } = this.env
    const nodes = placement.readSet(partition)
    return nodes.length > 0 && nodes.filter((node) => armed.includes(node)).length >= placement.readQuorum
  }

  stop(): void {
    this.#stopped = true
    for (const group of [...this.#groups.values()]) {
      for (const waiting of group.waiting.all()) this.leave(group, waiting)
    }
  }

  /** The wait is over. */
  leave(group: Group, waiting: Waiting): void {
    group.waiting.delete(waiting)
    if (group.waiting.size > 0 || this.#groups.get(group.topic) !== group) return
    this.#groups.delete(group.topic)
    for (const node of group.nodes) this.#unwatch(group, node)
  }

  /** Watches the topic on those replicas that there are now. */
  #follow(group: Group): void {
    const nodes = this.env.placement.storageSet(group.partition)
    for (const node of group.nodes) if (!nodes.includes(node)) this.#unwatch(group, node)
    for (const node of nodes) if (!group.nodes.includes(node)) this.#watch(group, node)
  }

  #watch(group: Group, node: NodeId): void {
    group.nodes = this.#shared([...group.nodes, node])
    if (node === this.env.transport.self) {
      this.watches.add(group.topic, group)
      this.#armed(group.topic, node)
      return
    }
    let remote = this.#remotes.get(node)
    if (!remote) {
      remote = new RemoteWatches(this.env, node, {
        onArmed: (topic, from) => this.#armed(topic, from),
        onLost: (topic, from) => this.#lost(topic, from),
        onCommit: (topic, commit) => this.committed(topic, commit),
      })
      this.#remotes.set(node, remote)
    }
    remote.add(group.topic)
  }

  #unwatch(group: Group, node: NodeId): void {
    group.nodes = without(group.nodes, node)
    group.armed = without(group.armed, node)
    if (node === this.env.transport.self) {
      this.watches.remove(group.topic, group)
      return
    }
    const remote = this.#remotes.get(node)
    remote?.remove(group.topic)
    if (remote?.size === 0) this.#remotes.delete(node)
  }

  /** Such a list, of which there are few, once. */
  #shared(nodes: readonly NodeId[]): readonly NodeId[] {
    const name = nodes.join()
    const known = this.#lists.get(name)
    if (known) return known
    if (this.#lists.size >= LISTS_MAX) this.#lists.clear()
    this.#lists.set(name, nodes)
    return nodes
  }

  #armed(topic: string, node: NodeId): void {
    const group = this.#groups.get(topic)
    if (!group?.nodes.includes(node)) return
    group.armed = this.#shared([...without(group.armed, node), node])
    if (group.wasReady) {
      group.looksAtAll = true
      void this.#look(group)
    }
    if (!this.isReady(group)) return
    group.wasReady = true
    const { onReady } = group
    group.onReady = NONE
    for (const tell of onReady) tell()
  }

  #lost(topic: string, node: NodeId): void {
    const group = this.#groups.get(topic)
    if (!group) return
    group.armed = without(group.armed, node)
    for (const waiting of group.waiting.all()) waiting.unsure()
  }

  /** A replica has told of a commit. */
  committed(topic: string, { sortKey, clock, own }: Commit): void {
    const group = this.#groups.get(topic)
    if (!group) return
    fire(group, { sortKey, clock })
    if (own) {
      group.covered ??= new Map()
      group.covered.set(own[0], Math.max(own[1], group.covered.get(own[0]) ?? 0))
    }
    if (group.fired!.size > FIRED_MAX) group.looksAtAll = true
    void this.#look(group)
  }

  /** Looks at what was told, until nothing is left. Does not reject. */
  async #look(group: Group): Promise<void> {
    if (group.isLooking) return
    group.isLooking = true
    try {
      while (group.waiting.size > 0 && !this.#stopped && (group.looksAtAll || group.fired)) {
        const { fired, covered, looksAtAll } = group
        group.fired = undefined
        group.covered = undefined
        group.looksAtAll = false
        try {
          if (looksAtAll) {
            await eachAtOnce(group.waiting.all(), (waiting) =>
              this.#slots.run(() => this.lookOf(group, waiting)),
            )
          } else if (fired) await this.#judge(group, [...fired.values()], covered ?? new Map())
        } catch (error) {
          // Nobody may miss what was told: all look, once that is possible.
          group.looksAtAll = true
          if (errorCode(error) === 'Closed') return
          this.env.log.debug({ error }, 'a poll could not look at what has changed, to be tried again')
          await new Promise<void>((resolve) => this.env.clock.after(LOOK_AGAIN_MS, resolve))
        }
      }
    } finally {
      group.isLooking = false
    }
  }

  /** Lets one of a group look at everything, and once more later if it came too early. */
  async lookOf(group: Group, waiting: Waiting): Promise<void> {
    if (await waiting.look()) return
    this.#later(group, () => {
      group.looksAtAll = true
    })
  }

  async #judge(group: Group, fired: Fired[], covered: Map<Origin, number>): Promise<void> {
    const items: K2vItem[] = []
    const early: Fired[] = []
    await eachAtOnce(fired, async (each) => {
      const item = await this.#slots.run(() => this.readOf(group, each.sortKey))
      if (item) items.push(item)
      if (isNewer(each.clock, item ? clockOf(item) : EMPTY_CLOCK)) early.push(each)
    })
    if (early.length === 0) group.early = 0
    else this.#later(group, () => early.forEach((each) => void fire(group, each)))
    let judged = 0
    for (const waiting of group.waiting.all()) {
      // Each of those who are told begins its answer in the same turn.
      if (judged >= JUDGED_IN_TURN) {
        await sleep(this.env.clock, 0)
        judged = 0
      }
      judged += waiting.cost
      if (group.waiting.has(waiting)) waiting.judge(items, early.length > 0 ? new Map() : covered)
    }
    if (early.length > 0) for (const waiting of group.waiting.all()) waiting.unsure()
  }

  /**
   * A replica told of a write that a quorum does not have yet: looks again after a while, which gets longer. If it does not
   * come at all, it has failed, and comes some day by anti-entropy, which is told again.
   */
  #later(group: Group, prepare: () => void): void {
    if (group.early >= EARLY_MAX) {
      group.early = 0
      return
    }
    this.env.clock.after(backoffMs(EARLY, group.early++, this.env.random), () => {
      if (this.#groups.get(group.topic) !== group) return
      prepare()
      void this.#look(group)
    })
  }
}

function fire(group: Group, { sortKey, clock }: Fired): void {
  const name = sortKey.toString('latin1')
  group.fired ??= new Map()
  const known = group.fired.get(name)
  group.fired.set(name, { sortKey, clock: known ? joinClocks(known.clock, clock) : clock })
}

function without(nodes: readonly NodeId[], node: NodeId): readonly NodeId[] {
  return nodes.includes(node) ? nodes.filter((other) => other !== node) : nodes
}

function eachAtOnce<T>(items: Iterable<T>, fn: (item: T) => Promise<void>): Promise<void> {
  return eachLimited([...items], AT_ONCE, fn)
}
