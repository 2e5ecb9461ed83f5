/**
 * A cluster of nodes that hold only tables, for their tests: real quorum calls over the fake network, a placement
 * that tests set, and stores in memory whose commits take time and whose newest commits a crash may lose.
 */
import type { Placement } from '../src/cluster/placement.js'
import { Quorum } from '../src/cluster/quorum.js'
import type { NodeId } from '../src/net/transport.js'
import type { TableSchema } from '../src/table/schema.js'
import type { Table, TableEnv } from '../src/table/table.js'
import { TableSet, type TableSetOptions } from '../src/table/tables.js'
import { Hlc } from '../src/util/clock.js'
import { silentLog } from '../src/util/log.js'
import { FakeNet, type FakeNode, ManualClock, SeededRandom } from './cluster-fakes.js'
import { MemoryDb } from './memory-db.js'

/** A placement that a test sets: the sets of every partition, one per live layout version. */
export class StaticPlacement implements Placement {
  writeQuorum = 2
  readQuorum = 2
  layoutVersion = 0
  /** What tells the layout from another one of its number. */
  markFraction = 0
  writersMark = 1
  ackedVersion = 0
  completeUpTo = 1
  confirmed = true
  readonly synced = new Map<string, number>()
  readonly #listeners = new Set<() => void>()
  #nodes: readonly NodeId[] = []
  #setsOf: (partition: number) => readonly (readonly NodeId[])[] = () => []
  #readFrom = 0

  constructor(private readonly self: NodeId) {}

  get layoutMark(): number {
    return this.layoutVersion + this.markFraction
  }

  /** @param readFrom which of the sets is read from */
  set(
    nodes: readonly NodeId[],
    version: number,
    setsOf: (partition: number) => readonly (readonly NodeId[])[],
    readFrom = 0,
  ): void {
    this.#nodes = nodes
    this.layoutVersion = version
    this.ackedVersion = version
    this.#setsOf = setsOf
    this.#readFrom = readFrom
    for (const fn of this.#listeners) fn()
  }

  /** Called when a replica refuses a write of this node, since its layout is too old. */
  onOutdated: () => void = () => {}

  async catchUp(): Promise<void> {
    this.onOutdated()
  }

  get liveVersions(): { oldest: number; newest: number } {
    return {
      oldest: Math.max(0, this.layoutVersion - this.#setsOf(0).length + 1),
      newest: this.layoutVersion,
    }
  }

  holdsIn(version: number, partition: number | 'full'): boolean | undefined {
    if (partition === 'full') return this.#nodes.includes(this.self)
    return this.#setsOf(partition)[version - this.liveVersions.oldest]?.includes(this.self)
  }

  writeSets(partition: number): readonly (readonly NodeId[])[] {
    return this.#setsOf(partition)
  }

  readSet(partition: number): readonly NodeId[] {
    return this.#setsOf(partition)[this.#readFrom] ?? []
  }

  storageSet(partition: number): readonly NodeId[] {
    return [...new Set(this.#setsOf(partition).flat())]
  }

  ownPartitions(): readonly number[] {
    return Array.from({ length: 256 }, (_, i) => i).filter((p) => this.storageSet(p).includes(this.self))
  }

  allNodes(): readonly NodeId[] {
    return this.#nodes
  }

  controlSets(): readonly (readonly NodeId[])[] {
    return [this.#nodes]
  }

  controlReadSet(): readonly NodeId[] {
    return this.#nodes
  }

  onChange(fn: () => void): () => void {
    this.#listeners.add(fn)
    return () => this.#listeners.delete(fn)
  }

  markSynced(name: string, ackedVersion: number): void {
    this.synced.set(name, ackedVersion)
  }
}

export interface TableNode<E> {
  readonly id: NodeId
  readonly db: MemoryDb
  readonly transport: FakeNode
  readonly placement: StaticPlacement
  readonly tables: TableSet
  readonly table: Table<E>
  /** Resolves when the node's process ends. */
  readonly died: Promise<void>
}

export interface ClusterOptions extends TableSetOptions {
  nodes: number
  seed?: number
}

/** Nodes with one table. Links are up at the start; services run only when a test starts them. */
export class TableCluster<E> {
  readonly clock = new ManualClock()
  readonly net = new FakeNet(this.clock)
  readonly random: SeededRandom
  readonly nodes: TableNode<E>[] = []
  readonly #deaths = new Map<NodeId, () => void>()

  constructor(
    private readonly schemaOf: (node: number) => TableSchema<E>,
    trees: readonly string[],
    private readonly options: ClusterOptions,
  ) {
    this.random = new SeededRandom(options.seed ?? 1)
    for (let i = 0; i < options.nodes; i++)
      this.nodes.push(this.#build(i, new MemoryDb({ trees, clock: this.clock, random: this.random })))
    const ids = this.ids()
    for (const node of this.nodes) node.placement.set(ids, 1, () => [ids.slice(0, 3)])
    for (const node of this.nodes) this.connect(node.id)
  }

  ids(): NodeId[] {
    return this.nodes.map(({ id }) => id)
  }

  #build(i: number, db: MemoryDb): TableNode<E> {
    const transport = this.net.add(`node${i}`, { host: `node${i}`, port: 1 })
    const placement = new StaticPlacement(transport.self)
    const env: TableEnv = {
      db,
      transport,
      quorum: new Quorum(transport, this.clock),
      placement,
      clock: this.clock,
      random: this.random,
      hlc: new Hlc(this.clock),
      log: silentLog,
    }
    const tables = new TableSet(env, this.options)
    const table = tables.add(this.schemaOf(i))
    const died = new Promise<void>((resolve) => void this.#deaths.set(transport.self, resolve))
    return { id: transport.self, db, transport, placement, tables, table, died }
  }

  /** Links of a node to all others that are up and not cut off from it. */
  connect(id: NodeId): void {
    for (const other of this.net.nodes.keys()) {
      if (other !== id && !this.net.isCut(id, other)) this.net.link(id, other)
    }
  }

  /** Cuts a node's power: commits that are not durable yet may be lost, and its process is gone. */
  kill(i: number): void {
    const node = this.nodes[i]!
    this.net.kill(node.id)
    node.db.crash()
    this.#deaths.get(node.id)!()
  }

  /** Starts a new process on the state that the killed one left. */
  revive(i: number): TableNode<E> {
    const old = this.nodes[i]!
    const node = this.#build(i, old.db.reopen())
    const others = this.nodes.find((other) => other !== old)!.placement
    node.placement.set(others.allNodes(), others.layoutVersion, (p) => others.writeSets(p))
    this.nodes[i] = node
    this.connect(node.id)
    return node
  }

  /** Waits for a promise while the time goes on. */
  async run<T>(promise: Promise<T>, withinMs = 600_000): Promise<T> {
    let done = false
    const settled = promise.finally(() => {
      done = true
    })
    settled.catch(() => {})
    await this.clock.until(() => done, withinMs, 5)
    return settled
  }
}
