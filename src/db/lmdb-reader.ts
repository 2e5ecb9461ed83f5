import type { Database, RootDatabase, RangeOptions as StoreRangeOptions } from 'lmdb'
import { type Entry, KEY_BYTES_MAX, type RangeOptions, type Reader, type TreeName } from './db.js'

/** The parts of lmdb-js that its type declarations leave out. */
interface StoreInternals {
  /** Bytes of the value that getBinaryFast() returned last. */
  lastSize: number
  ensureReadTxn(): void
  addListener(event: 'begin-transaction', listener: () => void): unknown
  db: { stat(): { entryCount: number } }
}
export type Store = Database<Buffer, Buffer> & StoreInternals

/** Opens the same tree once more, for walks in lmdb-js's own buffers, which copy neither keys nor values. */
export function openForScans(root: RootDatabase<Buffer, Buffer>, name: TreeName): Store {
  const store = root.openDB({
    name,
    cache: false,
    keyEncoding: 'binary',
    encoder: {
      encode: (value: Buffer) => value,
      decode: (shared: Uint8Array, bytes: number) => Buffer.from(shared.buffer, shared.byteOffset, bytes),
    },
  } as never) as unknown as Store & { readKey(shared: Uint8Array, start: number, end: number): Buffer }
  store.readKey = (shared, start, end) => Buffer.from(shared.buffer, shared.byteOffset + start, end - start)
  return store
}

/** Handles of all trees: one for reads and writes, one for scans. */
export interface Handles {
  stores: ReadonlyMap<TreeName, Store>
  scanned: ReadonlyMap<TreeName, Store>
}

/** Reads see the running write transaction inside of one, else the newest commit: lmdb-js switches by itself. */
export class LmdbReader implements Reader {
  constructor(protected readonly handles: Handles) {}

  get(tree: TreeName, key: Buffer): Buffer | undefined {
    const store = this.store(tree)
    const shared = sharedValue(store, key)
    if (shared === undefined) return undefined
    const copy = allocate(store.lastSize)
    copy.set(new Uint8Array(shared.buffer, shared.byteOffset, store.lastSize))
    return copy
  }

  peek(tree: TreeName, key: Buffer): Buffer | undefined {
    const store = this.store(tree)
    const shared = sharedValue(store, key)
    // The shared buffer only pretends its length, and native functions would see all of it: hence a view of its own.
    return shared && Buffer.from(shared.buffer, shared.byteOffset, store.lastSize)
  }

  has(tree: TreeName, key: Buffer): boolean {
    return sharedValue(this.store(tree), key) !== undefined
  }

  range(tree: TreeName, options?: RangeOptions): Iterable<Entry> {
    const bounds = storeRange(options)
    return bounds ? (this.store(tree).getRange(bounds) as Iterable<Entry>) : []
  }

  scan(tree: TreeName, options: RangeOptions, visit: (key: Buffer, value: Buffer) => boolean): void {
    const bounds = storeRange(options)
    if (!bounds) return
    const store = this.handles.scanned.get(tree)
    if (store === undefined) throw undeclared(tree)
    for (const { key, value } of store.getRange(bounds)) if (!visit(key, value)) return
  }

  keys(tree: TreeName, options?: RangeOptions): Iterable<Buffer> {
    const bounds = storeRange(options)
    return bounds ? this.store(tree).getKeys(bounds) : []
  }

  count(tree: TreeName): number {
    const store = this.store(tree)
    store.ensureReadTxn()
    return store.db.stat().entryCount
  }

  protected store(tree: TreeName): Store {
    const store = this.handles.stores.get(tree)
    if (store === undefined) throw undeclared(tree)
    return store
  }
}

/** `Buffer.allocUnsafe` makes an ArrayBuffer of its own from this length on, which costs more than the copy into it. */
const SLICED_BYTES_MIN = Buffer.poolSize >>> 1
/** A value pins the slab that it was cut from: short ones, which may stay for long, pin no more than Node's pool. */
const SLICED_BYTES_MAX = 8 * 1024
const SLAB_BYTES = 64 * 1024

let slab = Buffer.alloc(0)

/** Uninitialized memory, which bodies of small objects share with others. */
function allocate(bytes: number): Buffer {
  if (bytes < SLICED_BYTES_MIN || bytes > SLICED_BYTES_MAX) return Buffer.allocUnsafe(bytes)
  if (slab.length < bytes) slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
  const cut = slab.subarray(0, bytes)
  slab = slab.subarray(bytes)
  return cut
}

/** No key is that long, and lmdb-js would throw. */
function sharedValue(store: Store, key: Buffer) {
  return key.length > KEY_BYTES_MAX ? undefined : store.getBinaryFast(key)
}

/**
 * A bound that is longer than any key, cut to one byte more than a key has: no key lies between the two. lmdb-js would throw in the
 * middle of a walk, and leave a cursor open that keeps the pages of its time for ever.
 */
function cut(bound: Buffer): Buffer {
  return bound.length > KEY_BYTES_MAX ? bound.subarray(0, KEY_BYTES_MAX + 1) : bound
}

function undeclared(tree: TreeName): Error {
  return new Error(`tree ${tree} was not declared when the store was opened`)
}

/**
 * Translates bounds: lmdb-js walks backwards from `start` (inclusive) to `end` (exclusive); ours keep their meaning.
 * Returns undefined for a range that cannot hold a key.
 */
function storeRange(options: RangeOptions | undefined): StoreRangeOptions | undefined {
  const { reverse, limit } = options ?? {}
  const start = options?.start && cut(options.start)
  const end = options?.end && cut(options.end)
  if (end?.length === 0 || limit === 0) return undefined
  if (start && end && start.compare(end) >= 0) return undefined
  const bounds: StoreRangeOptions = {}
  if (limit !== undefined) bounds.limit = limit
  if (reverse) {
    bounds.reverse = true
    bounds.inclusiveEnd = true
    if (end) {
      bounds.start = end
      bounds.exclusiveStart = true
    }
    if (start?.length) bounds.end = start
  } else {
    if (start?.length) bounds.start = start
    if (end) bounds.end = end
  }
  return bounds
}
