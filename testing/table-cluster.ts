/**
 * A cluster of nodes with nothing but tables, for their tests: real quorum calls over the fake network, a placement
 * that tests set, and a strict in-memory Db that outlives a node's restart.
 */
import * as sortedBTree from 'sorted-btree'
import type { Placement } from '../src/cluster/cluster.js'
import { Quorum } from '../src/cluster/quorum.js'
import type { Db, Entry, RangeOptions, Tx } from '../src/db/db.js'
import type { NodeId } from '../src/net/transport.js'
import type { TableSchema } from '../src/table/schema.js'
import type { Table, TableEnv } from '../src/table/table.js'
import { TableSet, type TableSetOptions } from '../src/table/tables.js'
import { Hlc } from '../src/util/clock.js'
import { silentLog } from '../src/util/log.js'
import { FakeNet, type FakeNode, ManualClock, SeededRandom } from './cluster-fakes.js'

type Tree = import('sorted-btree').default<string, Buffer>
// The package is CommonJS: under Node its class is the default export's default, under a bundler the default.
const outer = sortedBTree.default as unknown as { default?: new () => Tree }
const BTree = outer.default ?? (outer as unknown as new () => Tree)

/**
 * A sorted Db that takes the contract at its word: what `peek` gave is overwritten at the next read, every
 * transaction function runs twice, and unknown trees throw.
 */
export class StrictDb implements Db {
  #trees: Map<string, Tree>
  #scratch: Buffer[] = []
  closed = false

  constructor(names: readonly string[]) {
    this.#trees = new Map(names.map((name) => [name, new BTree()]))
  }

  get(tree: string, key: Buffer): Buffer | undefined {
    this.#spoil()
    return copyOf(this.#tree(tree).get(key.toString('latin1')))
  }

  peek(tree: string, key: Buffer): Buffer | undefined {
    const value = this.get(tree, key)
    if (value) this.#scratch.push(value)
    return value
  }

  has(tree: string, key: Buffer): boolean {
    return this.#tree(tree).has(key.toString('latin1'))
  }

  *range(tree: string, options: RangeOptions = {}): Generator<Entry> {
    const start = options.start?.toString('latin1')
    const end = options.end?.toString('latin1')
    const found: [string, Buffer][] = []
    const snapshot = this.#tree(tree).clone()
    const limit = options.limit ?? Number.POSITIVE_INFINITY
    if (options.reverse) {
      for (const pair of snapshot.entriesReversed(end)) {
        if (end !== undefined && pair[0] >= end) continue
        if ((start !== undefined && pair[0] < start) || found.length >= limit) break
        found.push(pair as [string, Buffer])
      }
    } else {
      for (const pair of snapshot.entries(start)) {
        if ((end !== undefined && pair[0] >= end) || found.length >= limit) break
        found.push(pair as [string, Buffer])
      }
    }
    for (const [key, value] of found) {
      this.#spoil()
      yield { key: Buffer.from(key, 'latin1'), value: Buffer.from(value) }
    }
  }

  *keys(tree: string, options?: RangeOptions): Generator<Buffer> {
    for (const { key } of this.range(tree, options)) yield key
  }

  count(tree: string): number {
    return this.#tree(tree).size
  }

  async transact<T>(fn: (tx: Tx) => T): Promise<T> {
    await undefined
    const before = new Map([...this.#trees].map(([name, tree]) => [name, tree.clone()]))
    try {
      fn(this.#tx([]))
    } finally {
      this.#trees = new Map([...before].map(([name, tree]) => [name, tree.clone()]))
    }
    const commits: (() => void)[] = []
    try {
      const result = fn(this.#tx(commits))
      for (const commit of commits) commit()
      return result
    } catch (error) {
      this.#trees = before
      throw error
    }
  }

  async snapshot(): Promise<void> {
    throw new Error('not a part of this fake')
  }

  async close(): Promise<void> {
    this.closed = true
  }

  #tx(commits: (() => void)[]): Tx {
    return {
      get: (tree, key) => this.get(tree, key),
      peek: (tree, key) => this.peek(tree, key),
      has: (tree, key) => this.has(tree, key),
      range: (tree, options) => this.range(tree, options),
      keys: (tree, options) => this.keys(tree, options),
      count: (tree) => this.count(tree),
      put: (tree, key, value) => {
        if (key.length < 1 || key.length > 1900) throw new Error(`key of ${key.length} bytes`)
        this.#tree(tree).set(key.toString('latin1'), Buffer.from(value))
      },
      delete: (tree, key) => void this.#tree(tree).delete(key.toString('latin1')),
      onCommit: (fn) => void commits.push(fn),
    }
  }

  #tree(name: string): Tree {
    const tree = this.#trees.get(name)
    if (!tree) throw new Error(`no tree ${name}`)
    return tree
  }

  #spoil(): void {
    for (const buffer of this.#scratch) buffer.fill(0xee)
    this.#scratch = []
  }
}

function copyOf(value: Buffer | undefined): Buffer | undefined {
  return value && Buffer.from(value)
}

/** A placement that a test sets: the sets of every partition, one per live layout version. */
export class StaticPlacement implements Placement {
  writeQuorum = 2
  readQuorum = 2
  layoutVersion = 1
  ackedVersion = 1
  readonly synced = new Map<string, number>()
  readonly #listeners = new Set<() => void>()
  #nodes: readonly NodeId[] = []
  #setsOf: (partition: number) => readonly (readonly NodeId[])[] = () => []
  #readFrom = 0

  constructor(private readonly self: NodeId) {}

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
  readonly db: StrictDb
  readonly transport: FakeNode
  readonly placement: StaticPlacement
  readonly tables: TableSet
  readonly table: Table<E>
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

  constructor(
    private readonly schemaOf: (node: number) => TableSchema<E>,
    trees: readonly string[],
    private readonly options: ClusterOptions,
  ) {
    this.random = new SeededRandom(options.seed ?? 1)
    for (let i = 0; i < options.nodes; i++) this.nodes.push(this.#build(i, new StrictDb(trees)))
    const ids = this.ids()
    for (const node of this.nodes) node.placement.set(ids, 1, () => [ids.slice(0, 3)])
    for (const node of this.nodes) this.connect(node.id)
  }

  ids(): NodeId[] {
    return this.nodes.map(({ id }) => id)
  }

  #build(i: number, db: StrictDb): TableNode<E> {
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
    return { id: transport.self, db, transport, placement, tables, table: tables.add(this.schemaOf(i)) }
  }

  /** Links of a node to all others that are up and not cut off from it. */
  connect(id: NodeId): void {
    for (const other of this.net.nodes.keys()) {
      if (other !== id && !this.net.isCut(id, other)) this.net.link(id, other)
    }
  }

  /** Ends a node's process; its data stays. */
  async kill(i: number): Promise<void> {
    const node = this.nodes[i]!
    this.net.kill(node.id)
    await this.run(node.tables.stop())
  }

  /** A new process on the data of the one that was killed. */
  revive(i: number): TableNode<E> {
    const old = this.nodes[i]!
    const node = this.#build(i, old.db)
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
