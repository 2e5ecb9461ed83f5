import type { NodeId } from '../../net/transport.js'
import type { TableEnv } from '../../table/table.js'
import { errorCode } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import type { Origin } from './causality.js'
import type { K2vItem } from './item.js'
import { RemoteWatches } from './remote-watches.js'
import type { Commit, Watches } from './watches.js'

/** After a look that failed, in ms. */
const LOOK_AGAIN_MS = 1_000
/** Reads at the same time. */
const AT_ONCE = 16
/** Items that changed in a partition key while nobody looked: with more, each poll looks for itself. */
const FIRED_MAX = 200

/** One who waits. */
export interface Waiting {
  /** Looks at items of the topic that have changed; may end the wait. `covered`: see SeenMarker. */
  judge(items: readonly K2vItem[], covered: ReadonlyMap<Origin, number>): void
  /** Looks at everything; may end the wait. Commits may have gone by untold before. */
  look(): Promise<void>
  /** Commits may go by untold from now on, until the next `look`. */
  unsure(): void
}

/** All who wait for the same topic on this node. */
export interface Group {
  readonly topic: string
  readonly partition: number
  readonly read: (sortKey: Buffer) => Promise<K2vItem | undefined>
  readonly waiting: Set<Waiting>
  /** Replicas that are asked to tell of commits, and those that have promised to. */
  readonly nodes: Set<NodeId>
  readonly armed: Set<NodeId>
  /** Whether a quorum has been armed before: who is armed later may have missed something. */
  wasReady: boolean
  onReady: (() => void)[]
  /** By sort key (latin1). */
  fired: Map<string, Buffer>
  covered: Map<Origin, number>
  looksAtAll: boolean
  isLooking: boolean
}

/**
 * Who waits on this node, by topic. Each topic is watched on all replicas, and all waits for it share that. When a commit is told,
 * the item is read by quorum once, so that nobody is told what a later read would not show.
 */
export class PollGroups {
  readonly #groups = new Map<string, Group>()
  readonly #remotes = new Map<NodeId, RemoteWatches>()
  #stopped = false

  constructor(
    private readonly env: TableEnv,
    private readonly watches: Watches,
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
  join(
    topic: { name: string; partition: number; read: Group['read'] },
    waiting: Waiting,
  ): { group: Group; leave: () => void } {
    let group = this.#groups.get(topic.name)
    if (!group) {
      group = {
        topic: topic.name,
        ...{ partition: topic.partition, read: topic.read },
        ...{ waiting: new Set(), nodes: new Set(), armed: new Set(), wasReady: false, onReady: [] },
        ...{ fired: new Map(), covered: new Map(), looksAtAll: false, isLooking: false },
      }
      this.#groups.set(topic.name, group)
      this.#follow(group)
    }
    group.waiting.add(waiting)
    const joined = group
    return { group, leave: () => this.#leave(joined, waiting) }
  }

  /** Resolves once a read quorum tells of commits. */
  ready(group: Group): Promise<void> | undefined {
    if (this.isReady(group)) {
      group.wasReady = true
      return undefined
    }
    return new Promise((resolve) => group.onReady.push(resolve))
  }

  isReady({ partition, armed }: Group): boolean {
    const { placement } = this.env
    const nodes = placement.readSet(partition)
    return nodes.length > 0 && nodes.filter((node) => armed.has(node)).length >= placement.readQuorum
  }

  stop(): void {
    this.#stopped = true
    for (const group of [...this.#groups.values()]) {
      for (const waiting of [...group.waiting]) this.#leave(group, waiting)
    }
  }

  #leave(group: Group, waiting: Waiting): void {
    group.waiting.delete(waiting)
    if (group.waiting.size > 0 || this.#groups.get(group.topic) !== group) return
    this.#groups.delete(group.topic)
    for (const node of [...group.nodes]) this.#unwatch(group, node)
  }

  /** Watches the topic on those replicas that there are now. */
  #follow(group: Group): void {
    const nodes = this.env.placement.storageSet(group.partition)
    for (const node of [...group.nodes]) if (!nodes.includes(node)) this.#unwatch(group, node)
    for (const node of nodes) if (!group.nodes.has(node)) this.#watch(group, node)
  }

  #watch(group: Group, node: NodeId): void {
    group.nodes.add(node)
    if (node === this.env.transport.self) {
      this.watches.add(group.topic, this.#watcherOf(group))
      this.#armed(group.topic, node)
      return
    }
    let remote = this.#remotes.get(node)
    if (!remote) {
      remote = new RemoteWatches(this.env, node, {
        onArmed: (topic, from) => this.#armed(topic, from),
        onLost: (topic, from) => this.#lost(topic, from),
        onCommit: (topic, commit) => this.#committed(topic, commit),
      })
      this.#remotes.set(node, remote)
    }
    remote.add(group.topic)
  }

  #unwatch(group: Group, node: NodeId): void {
    group.nodes.delete(node)
    group.armed.delete(node)
    if (node === this.env.transport.self) {
      this.watches.remove(group.topic, this.#watcherOf(group))
      this.#watchers.delete(group)
      return
    }
    const remote = this.#remotes.get(node)
    remote?.remove(group.topic)
    if (remote?.size === 0) this.#remotes.delete(node)
  }

  readonly #watchers = new Map<Group, (commit: Commit) => void>()

  #watcherOf(group: Group): (commit: Commit) => void {
    let watcher = this.#watchers.get(group)
    if (!watcher) {
      watcher = (commit) => this.#committed(group.topic, commit)
      this.#watchers.set(group, watcher)
    }
    return watcher
  }

  #armed(topic: string, node: NodeId): void {
    const group = this.#groups.get(topic)
    if (!group?.nodes.has(node)) return
    group.armed.add(node)
    if (group.wasReady) {
      group.looksAtAll = true
      void this.#look(group)
    }
    if (!this.isReady(group)) return
    group.wasReady = true
    for (const tell of group.onReady.splice(0)) tell()
  }

  #lost(topic: string, node: NodeId): void {
    const group = this.#groups.get(topic)
    if (!group) return
    group.armed.delete(node)
    for (const waiting of group.waiting) waiting.unsure()
  }

  #committed(topic: string, { sortKey, own }: Commit): void {
    const group = this.#groups.get(topic)
    if (!group) return
    group.fired.set(sortKey.toString('latin1'), sortKey)
    if (own) group.covered.set(own[0], Math.max(own[1], group.covered.get(own[0]) ?? 0))
    if (group.fired.size > FIRED_MAX) group.looksAtAll = true
    void this.#look(group)
  }

  /** Looks at what was told, until nothing is left. Does not reject. */
  async #look(group: Group): Promise<void> {
    if (group.isLooking) return
    group.isLooking = true
    try {
      while (group.waiting.size > 0 && !this.#stopped && (group.looksAtAll || group.fired.size > 0)) {
        const { fired, covered, looksAtAll } = group
        group.fired = new Map()
        group.covered = new Map()
        group.looksAtAll = false
        try {
          if (looksAtAll) await eachAtOnce(group.waiting, (waiting) => waiting.look())
          else await this.#judge(group, [...fired.values()], covered)
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

  async #judge(group: Group, sortKeys: Buffer[], covered: Map<Origin, number>): Promise<void> {
    const items: K2vItem[] = []
    await eachAtOnce(sortKeys, async (sortKey) => {
      const item = await group.read(sortKey)
      if (item) items.push(item)
    })
    for (const waiting of [...group.waiting]) waiting.judge(items, covered)
  }
}

function eachAtOnce<T>(items: Iterable<T>, fn: (item: T) => Promise<void>): Promise<void> {
  return eachLimited([...items], AT_ONCE, fn)
}
