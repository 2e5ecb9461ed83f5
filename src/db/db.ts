/** Names of the ordered trees; declared at open, so that a typo fails at the start. */
export type TreeName = string

export interface Entry {
  key: Buffer
  value: Buffer
}

export interface RangeOptions {
  /** First key, inclusive (with `reverse`: the upper bound, exclusive is `end`). Absent: from the first. */
  start?: Buffer
  /** End of the range, exclusive. Absent: to the last. */
  end?: Buffer
  /** Walk from the high end to the low one; bounds keep their meaning: start <= key < end. */
  reverse?: boolean
  limit?: number
}

/** The most bytes of a key. */
export const KEY_BYTES_MAX = 1900

/** Reads the trees. Keys are 1 to KEY_BYTES_MAX bytes and ordered bytewise; values may be empty. Longer keys and bounds may be asked for. */
export interface Reader {
  /** The value, a copy that the caller owns; undefined if absent. */
  get(tree: TreeName, key: Buffer): Buffer | undefined
  /** Like `get`, but the buffer is valid only until the next read in this process or await. For hot paths. */
  peek(tree: TreeName, key: Buffer): Buffer | undefined
  has(tree: TreeName, key: Buffer): boolean
  /** Entries in order. Must be consumed before the caller yields to the event loop. */
  range(tree: TreeName, options?: RangeOptions): Iterable<Entry>
  /**
   * Like `range`, without copies: `visit` gets buffers that are valid only until it returns, and ends the walk by
   * returning false. It must not read from the store meanwhile.
   */
  scan(tree: TreeName, options: RangeOptions, visit: (key: Buffer, value: Buffer) => boolean): void
  /** Keys in order, without reading values. Same rule as `range`. */
  keys(tree: TreeName, options?: RangeOptions): Iterable<Buffer>
  /** Number of entries of a whole tree, in constant time. */
  count(tree: TreeName): number
}

/**
 * What one function may read and write before it leaves the rest of a long work to another transaction, in bytes of values:
 * about 10 ms. See Tx.bytes.
 */
export const TRANSACTION_BYTES_MAX = 4 << 20

/** Reads and writes inside of a transaction; reads see the writes before them. */
export interface Tx extends Reader {
  /** Bytes of the values that this function has got, peeked and put until now. */
  readonly bytes: number
  put(tree: TreeName, key: Buffer, value: Buffer): void
  /**
   * Like `put`, also on a full disk, from the room that is kept for deletions: for the few bytes of its own records
   * without which a node cannot start.
   */
  putRecord(tree: TreeName, key: Buffer, value: Buffer): void
  /** Absent keys are no error. */
  delete(tree: TreeName, key: Buffer): void
  /** Calls `fn` after the transaction is durable, before its promise resolves. */
  onCommit(fn: () => void): void
}

/**
 * An ordered key-value store with snapshots and atomic, durable transactions. Outside of a transaction
 * reads see the newest committed state. Implementations: LMDB (db/lmdb.ts), memory with crashes (testing/).
 */
export interface Db extends Reader {
  /**
   * Runs `fn` in a write transaction, alone, and resolves with its result once the writes are durable.
   * Transactions that wait at the same time share one commit and one fsync. `fn` is synchronous and **may run
   * more than once** (a neighbour of the batch threw and the batch started over): it must not change anything
   * outside of `tx` except through its result and `onCommit`. If it throws, its writes are undone and the
   * promise rejects with its error.
   * @param steps about how many times 50 µs `fn` takes, beside what the bytes take that it reads and writes: a commit takes so
   * many functions as one turn of the event loop may run
   * @throws CarportError StorageFull when the disk is full; Closed after close().
   */
  transact<T>(fn: (tx: Tx) => T, steps?: number): Promise<T>
  /**
   * Names the state that reads outside of transactions see now. While the name is the same, so is every read (it may
   * change without need). Undefined inside of a transaction. Left out where a store cannot tell.
   */
  viewId?(): number | undefined
  /** Writes a consistent copy of the whole store into `folder`, which must be empty. */
  snapshot(folder: string): Promise<void>
  /** Waits for running transactions, then closes. */
  close(): Promise<void>
}
