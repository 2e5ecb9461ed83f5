import { createRequire } from 'node:module'
import type sortedBTree from 'sorted-btree'
import type { Db, Entry, RangeOptions, TreeName, Tx } from '../src/db/db.js'
import type { Clock, Timer } from '../src/util/clock.js'
import { CarportError } from '../src/util/errors.js'
import type { Random } from '../src/util/random.js'

// The package is CommonJS with a `default` export, which loaders and type checkers resolve differently.
const { default: SortedTree } = createRequire(import.meta.url)('sorted-btree') as typeof sortedBTree

export interface MemoryDbOptions {
  trees: readonly TreeName[]
  /** With a clock, a commit becomes durable, and its promises resolve, only after a delay; without, at once. */
  clock?: Clock
  /** Draws the delays, repeats batches now and then, and decides whether a commit under way survives a crash. */
  random?: Random
  /** The shortest and longest time from a commit to its durability, in milliseconds. Default 0.2 to 5. */
  commitDelayMs?: readonly [number, number]
}

/**
 * Keys as latin1 strings: their order as strings is the order of their bytes. Clones share nodes until written, and what was
 * committed is never written to: a batch writes to clones.
 */
type Tree = sortedBTree.default<string, Buffer>
type State = ReadonlyMap<TreeName, Tree>

interface Job {
  fn: (tx: Tx) => unknown
  resolve: (value: unknown) => void
  reject: (error: unknown) => void
  result: unknown
  thrown: { error: unknown } | undefined
  callbacks: (() => void)[]
}

const KEY_BYTES_MAX = 1900
/** Share of the batches that run twice, as they may when a neighbour throws. */
const REPEAT_SHARE = 0.05
/** The byte that fills a peeked buffer once it is no longer valid. */
const STALE_BYTE = 0xa5

/**
 * Db in memory with the batches and the crash behaviour of a real one: commits are visible at once and durable
 * later; `crash()` ends this object for good and `reopen()` gives the store that a restarted node would find.
 * Deterministic: it uses promises, `clock` and `random` only. Buffers from `peek` are overwritten at the next read
 * or await, so that code that keeps one is found out.
 */
export class MemoryDb implements Db {
  /** While true every put fails with StorageFull; deletes pass. */
  full = false
  /** How much longer each commit takes until it is durable, in ms; of a store with a clock. */
  slowMs = 0
  /** The folders written by snapshot(), for `MemoryDb.fromSnapshot`. */
  readonly snapshots = new Map<string, State>()

  readonly #options: MemoryDbOptions
  /** The newest committed state, which reads see. */
  #committed: State
  /** The durable state, which a crash leaves. */
  #durable: State
  /** Trees written by the batch that runs right now. */
  #working: Map<TreeName, Tree> | undefined
  #queue: Job[] = []
  #running: Promise<void> | undefined
  #commitTimer: Timer | undefined
  #status: 'open' | 'closed' | 'crashed' = 'open'
  #peeked: Buffer | undefined

  constructor(options: MemoryDbOptions, state?: State) {
    this.#options = options
    this.#committed = new Map(
      options.trees.map((name) => [
        name,
        state?.get(name)?.clone() ?? new SortedTree<string, Buffer>(undefined, compareStrings),
      ]),
    )
    this.#durable = this.#committed
  }

  /** Opens the snapshot `folder` of `db`. */
  static fromSnapshot(db: MemoryDb, folder: string): MemoryDb {
    const state = db.snapshots.get(folder)
    if (!state) throw new Error(`no snapshot in ${folder}`)
    return new MemoryDb(db.#options, state)
  }

  get(tree: TreeName, key: Buffer): Buffer | undefined {
    const value = this.#tree(tree).get(key.toString('latin1'))
    return value && Buffer.from(value)
  }

  peek(tree: TreeName, key: Buffer): Buffer | undefined {
    const value = this.#tree(tree).get(key.toString('latin1'))
    if (!value) return undefined
    const copy = Buffer.from(value)
    this.#peeked = copy
    queueMicrotask(() => {
      if (this.#peeked === copy) this.#spoilPeeked()
    })
    return copy
  }

  has(tree: TreeName, key: Buffer): boolean {
    return this.#tree(tree).has(key.toString('latin1'))
  }

  *range(tree: TreeName, options?: RangeOptions): Iterable<Entry> {
    for (const [key, value] of this.#walk(tree, options)) {
      yield { key: Buffer.from(key, 'latin1'), value: Buffer.from(value) }
    }
  }

  scan(tree: TreeName, options: RangeOptions, visit: (key: Buffer, value: Buffer) => boolean): void {
    for (const [latin1, value] of this.#walk(tree, options)) {
      const key = Buffer.from(latin1, 'latin1')
      const copy = Buffer.from(value)
      const goOn = visit(key, copy)
      // Code that keeps a lent buffer finds other bytes in it.
      key.fill(0xdb)
      copy.fill(0xdb)
      if (!goOn) return
    }
  }

  *keys(tree: TreeName, options?: RangeOptions): Iterable<Buffer> {
    for (const [key] of this.#walk(tree, options)) yield Buffer.from(key, 'latin1')
  }

  count(tree: TreeName): number {
    return this.#tree(tree).size
  }

  transact<T>(fn: (tx: Tx) => T): Promise<T> {
    if (this.#status === 'crashed') return new Promise(() => {})
    if (this.#status === 'closed') return Promise.reject(new CarportError('Closed', 'the database is closed'))
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({
        fn,
        resolve: resolve as (value: unknown) => void,
        reject,
        result: undefined,
        thrown: undefined,
        callbacks: [],
      })
      this.#running ??= this.#run()
    })
  }

  async snapshot(folder: string): Promise<void> {
    if (this.snapshots.has(folder)) {
      throw new CarportError('InvalidArgument', `the snapshot's folder ${folder} is not empty`)
    }
    this.snapshots.set(folder, this.#committed)
  }

  /** Flips one bit of a stored value, which the medium has so from then on. */
  flipBit(tree: TreeName, key: Buffer, random: Random): void {
    const latin1 = key.toString('latin1')
    const value = this.#committed.get(tree)?.get(latin1)
    if (!value || value.length === 0) return
    const bit = Math.floor(random.float() * 8 * value.length)
    const flipped = Buffer.from(value)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    const withFlipped = (state: State): State => {
      // A value that is not durable yet is another one there.
      if (!state.get(tree)?.get(latin1)?.equals(value)) return state
      const changed = state.get(tree)!.clone()
      changed.set(latin1, flipped)
      return new Map(state).set(tree, changed)
    }
    const isDurable = this.#durable === this.#committed
    this.#committed = withFlipped(this.#committed)
    this.#durable = isDurable ? this.#committed : withFlipped(this.#durable)
  }

  async close(): Promise<void> {
    if (this.#status !== 'open') return
    this.#status = 'closed'
    await this.#running
  }

  /**
   * Ends the process: promises of its transactions never settle, and reads throw from now on. A commit that was not
   * yet durable is lost or survives whole: nobody was promised either.
   */
  crash(): void {
    if (this.#status === 'crashed') return
    this.#status = 'crashed'
    this.#commitTimer?.cancel()
    this.#queue = []
    if (this.#options.random && this.#options.random.float() < 0.5) this.#durable = this.#committed
  }

  /** Gives the store of a node restarted after `crash()` or `close()`: a new object with the surviving state. */
  reopen(): MemoryDb {
    if (this.#status === 'open') throw new Error('the database is still open')
    return new MemoryDb(this.#options, this.#status === 'closed' ? this.#committed : this.#durable)
  }

  async #run(): Promise<void> {
    await Promise.resolve()
    while (this.#queue.length > 0 && this.#status !== 'crashed') {
      let batch = this.#queue
      this.#queue = []
      const { random } = this.#options
      if (random && random.float() < REPEAT_SHARE) this.#runJobs(batch)
      while (!this.#runJobs(batch)) {
        for (const job of batch) if (job.thrown) job.reject(job.thrown.error)
        batch = batch.filter((job) => !job.thrown)
      }
      this.#commit()
      const image = this.#committed
      await this.#flush()
      if (this.#isCrashed()) return
      this.#durable = image
      for (const job of batch) {
        if (job.thrown) job.reject(job.thrown.error)
        else {
          for (const fn of job.callbacks) fn()
          job.resolve(job.result)
        }
      }
    }
    this.#running = undefined
  }

  #isCrashed(): boolean {
    return this.#status === 'crashed'
  }

  /** Runs the batch on copies of the trees. False if one threw after it wrote, and the rest must run again. */
  #runJobs(batch: Job[]): boolean {
    const working = new Map<TreeName, Tree>()
    this.#working = working
    try {
      for (const job of batch) {
        job.thrown = undefined
        const tx = new MemoryTx(this, (name) => this.#writable(working, name))
        try {
          job.result = job.fn(tx)
          if (job.result instanceof Promise) throw new TypeError('a transaction function must be synchronous')
          job.callbacks = tx.callbacks
        } catch (error) {
          job.thrown = { error }
          if (tx.dirty) return false
        } finally {
          tx.active = false
        }
      }
      return true
    } finally {
      this.#working = undefined
      this.#result = working
    }
  }

  /** The trees written by the last run of a batch. */
  #result = new Map<TreeName, Tree>()

  #commit(): void {
    if (this.#result.size === 0) return
    const next = new Map(this.#committed)
    for (const [name, tree] of this.#result) next.set(name, tree)
    this.#committed = next
  }

  #flush(): Promise<void> {
    const { clock, random, commitDelayMs } = this.#options
    if (!clock) return Promise.resolve()
    const [min, max] = commitDelayMs ?? [0.2, 5]
    return new Promise((resolve) => {
      const delayMs = min + (max - min) * (random?.float() ?? 0)
      this.#commitTimer = clock.after(delayMs + this.slowMs, resolve)
    })
  }

  #writable(working: Map<TreeName, Tree>, name: TreeName): Tree {
    let tree = working.get(name)
    if (!tree) {
      tree = this.#tree(name).clone()
      working.set(name, tree)
    }
    return tree
  }

  #tree(name: TreeName): Tree {
    if (this.#status === 'crashed') throw new CarportError('Closed', 'the node crashed')
    if (this.#peeked) this.#spoilPeeked()
    const tree = this.#working?.get(name) ?? this.#committed.get(name)
    if (!tree) throw new Error(`tree ${name} was not declared when the store was opened`)
    return tree
  }

  #spoilPeeked(): void {
    this.#peeked?.fill(STALE_BYTE)
    this.#peeked = undefined
  }

  /** Looks up each step anew, so that the walk survives writes to the tree between two steps. */
  *#walk(name: TreeName, options: RangeOptions = {}): Iterable<readonly [string, Buffer]> {
    const start = options.start?.toString('latin1')
    const end = options.end?.toString('latin1')
    let left = options.limit ?? Number.POSITIVE_INFINITY
    let last: string | undefined
    while (left-- > 0) {
      const tree = this.#tree(name)
      let pair: [string, Buffer] | undefined
      if (options.reverse) {
        pair = tree.nextLowerPair(last ?? end)
        if (pair && start !== undefined && pair[0] < start) return
      } else {
        pair = last === undefined ? atOrAfter(tree, start) : tree.nextHigherPair(last)
        if (pair && end !== undefined && pair[0] >= end) return
      }
      if (!pair) return
      last = pair[0]
      yield pair
    }
  }
}

class MemoryTx implements Tx {
  active = true
  bytes = 0
  dirty = false
  readonly callbacks: (() => void)[] = []

  constructor(
    private readonly db: MemoryDb,
    private readonly writable: (name: TreeName) => Tree,
  ) {}

  get(tree: TreeName, key: Buffer) {
    return this.#counted(this.db.get(tree, key))
  }
  peek(tree: TreeName, key: Buffer) {
    return this.#counted(this.db.peek(tree, key))
  }
  has(tree: TreeName, key: Buffer) {
    return this.db.has(tree, key)
  }
  range(tree: TreeName, options?: RangeOptions) {
    return this.db.range(tree, options)
  }
  scan(tree: TreeName, options: RangeOptions, visit: (key: Buffer, value: Buffer) => boolean) {
    this.db.scan(tree, options, visit)
  }
  keys(tree: TreeName, options?: RangeOptions) {
    return this.db.keys(tree, options)
  }
  count(tree: TreeName) {
    return this.db.count(tree)
  }

  put(tree: TreeName, key: Buffer, value: Buffer): void {
    if (this.db.full) throw new CarportError('StorageFull', 'the disk of the metadata is full')
    this.putRecord(tree, key, value)
  }

  putRecord(tree: TreeName, key: Buffer, value: Buffer): void {
    this.#begin()
    if (key.length === 0 || key.length > KEY_BYTES_MAX) {
      throw new CarportError('InvalidArgument', `a key has 1 to ${KEY_BYTES_MAX} bytes, not ${key.length}`)
    }
    this.bytes += value.length
    this.writable(tree).set(key.toString('latin1'), Buffer.from(value))
  }

  delete(tree: TreeName, key: Buffer): void {
    this.#begin()
    this.writable(tree).delete(key.toString('latin1'))
  }

  onCommit(fn: () => void): void {
    this.callbacks.push(fn)
  }

  #counted(value: Buffer | undefined): Buffer | undefined {
    this.bytes += value?.length ?? 0
    return value
  }

  #begin(): void {
    if (!this.active) throw new Error('the transaction is over')
    this.dirty = true
  }
}

function compareStrings(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function atOrAfter(tree: Tree, start: string | undefined): [string, Buffer] | undefined {
  if (start === undefined) return tree.nextHigherPair(undefined)
  const value = tree.get(start)
  return value ? [start, value] : tree.nextHigherPair(start)
}
