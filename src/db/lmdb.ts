import { mkdirSync, readdirSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ABORT, open, type RootDatabase } from 'lmdb'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import { type Db, KEY_BYTES_MAX, type TreeName, type Tx } from './db.js'
import { checkLmdbFile } from './lmdb-check.js'
import { translate, translateCommit } from './lmdb-errors.js'
import { type Handles, LmdbReader, openForScans, type Store } from './lmdb-reader.js'
import { LmdbRoom, PAGE_BYTES } from './lmdb-room.js'

export interface LmdbOptions {
  /** Folder of the store; made if absent. */
  path: string
  /** Every tree that will be used. */
  trees: readonly TreeName[]
  /** Resolve transactions only when they are on the disk. Without it an OS crash may lose or damage the store. */
  fsync: boolean
  /** Address space reserved for the store, in bytes: an upper bound of its size. Default 1 TiB, which costs nothing. */
  mapSizeBytes?: number
  clock: Clock
  log: Log
}

const MAP_SIZE_BYTES = 2 ** 40
/** How long committed data may stay in the page cache with `fsync` off, in milliseconds. */
const LAZY_SYNC_MS = 5000
/** Bounds how long one batch keeps the event loop busy: a step costs about 50 µs. */
export const BATCH_STEPS_MAX = 256
/** Bytes of values that are read or written in one step. */
export const STEP_BYTES = 32 << 10

interface RootInternals {
  env: { info(): { lastPageNumber: number } }
  sync(callback: (error?: Error) => void): void
}
/**
 * Opens, or creates, an LMDB store.
 * @throws CarportError Corrupted when the files are no store of this kind; other errors as the system names them.
 */
export async function openLmdb(options: LmdbOptions): Promise<Db> {
  mkdirSync(options.path, { recursive: true })
  checkLmdbFile(options.path)
  const stores = new Map<TreeName, Store>()
  try {
    const root = open<Buffer, Buffer>({
      path: options.path,
      noSubdir: false,
      pageSize: PAGE_BYTES,
      maxDbs: options.trees.length + 1,
      mapSize: options.mapSizeBytes ?? MAP_SIZE_BYTES,
      noSync: !options.fsync,
      // This class makes the batches: lmdb-js's own leave a rejected promise unhandled when a commit fails.
      eventTurnBatching: false,
      cache: false,
      encoding: 'binary',
      keyEncoding: 'binary',
    })
    const scanned = new Map<TreeName, Store>()
    for (const name of options.trees) {
      stores.set(
        name,
        root.openDB({ name, cache: false, encoding: 'binary', keyEncoding: 'binary' }) as Store,
      )
      scanned.set(name, openForScans(root, name))
    }
    const { env } = root as unknown as RootInternals
    const room = new LmdbRoom(join(options.path, 'data.mdb'), () => env.info().lastPageNumber)
    return new LmdbDb(root, { stores, scanned }, room, options)
  } catch (error) {
    throw translate(error)
  }
}

class LmdbTx extends LmdbReader implements Tx {
  active = false
  bytes = 0
  /** Whether the running function wrote something. */
  dirty = false
  /** The store's own failure during the running batch, which no function may swallow. */
  failure: unknown
  callbacks: (() => void)[] | undefined

  constructor(
    handles: Handles,
    private readonly room: LmdbRoom,
  ) {
    super(handles)
  }

  override get(tree: TreeName, key: Buffer): Buffer | undefined {
    const value = super.get(tree, key)
    if (value) this.bytes += value.length
    return value
  }

  override peek(tree: TreeName, key: Buffer): Buffer | undefined {
    const value = super.peek(tree, key)
    if (value) this.bytes += value.length
    return value
  }

  put(tree: TreeName, key: Buffer, value: Buffer): void {
    this.#put(tree, key, value, () => this.room.takeForPut(value.length))
  }

  putRecord(tree: TreeName, key: Buffer, value: Buffer): void {
    this.#put(tree, key, value, () => this.room.takeForRecord(value.length))
  }

  #put(tree: TreeName, key: Buffer, value: Buffer, takeRoom: () => void): void {
    const store = this.writable(tree)
    this.bytes += value.length
    if (key.length === 0 || key.length > KEY_BYTES_MAX) {
      throw new CarportError('InvalidArgument', `a key has 1 to ${KEY_BYTES_MAX} bytes, not ${key.length}`)
    }
    try {
      takeRoom()
    } catch (error) {
      throw translate(error)
    }
    try {
      store.put(key, value)
    } catch (error) {
      this.failure = error
      throw error
    }
  }

  delete(tree: TreeName, key: Buffer): void {
    const store = this.writable(tree)
    if (key.length === 0 || key.length > KEY_BYTES_MAX) return
    try {
      this.room.takeForDelete()
    } catch (error) {
      throw translate(error)
    }
    try {
      store.remove(key)
    } catch (error) {
      this.failure = error
      throw error
    }
  }

  onCommit(fn: () => void): void {
    this.callbacks ??= []
    this.callbacks.push(fn)
  }

  private writable(tree: TreeName): Store {
    // Outside of its transaction lmdb-js would take the write for an asynchronous one of its own.
    if (!this.active) throw new Error('the transaction is over')
    this.dirty = true
    return this.store(tree)
  }
}

interface Job {
  fn: (tx: Tx) => unknown
  steps: number
  resolve: (value: unknown) => void
  reject: (error: unknown) => void
  result: unknown
  /** The value that `fn` threw, boxed, since it can be any value. */
  thrown: { error: unknown } | undefined
  callbacks: (() => void)[] | undefined
}

class LmdbDb extends LmdbReader implements Db {
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #options: LmdbOptions
  readonly #room: LmdbRoom
  readonly #tx: LmdbTx
  #queue: Job[] = []
  #running: Promise<void> | undefined
  #closed = false
  #lazySync: Timer | undefined
  readonly #anyStore: Store | undefined
  #views = 0

  constructor(root: RootDatabase<Buffer, Buffer>, handles: Handles, room: LmdbRoom, options: LmdbOptions) {
    super(handles)
    const stores = [...handles.stores.values(), ...handles.scanned.values()]
    this.#anyStore = stores[0]
    // lmdb-js reads in transactions of its own, which last for a turn or two, and ends them when something is committed.
    for (const store of stores) store.addListener('begin-transaction', () => this.#views++)
    this.#root = root
    this.#room = room
    this.#options = options
    this.#tx = new LmdbTx(handles, room)
  }

  transact<T>(fn: (tx: Tx) => T, steps = 1): Promise<T> {
    if (this.#closed) return Promise.reject(new CarportError('Closed', 'the database is closed'))
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({
        fn,
        steps,
        resolve: resolve as (value: unknown) => void,
        reject,
        result: undefined,
        thrown: undefined,
        callbacks: undefined,
      })
      this.#running ??= this.#run()
    })
  }

  viewId(): number | undefined {
    if (this.#tx.active) return undefined
    this.#anyStore?.ensureReadTxn()
    return this.#views
  }

  async snapshot(folder: string): Promise<void> {
    mkdirSync(folder, { recursive: true })
    if (readdirSync(folder).length > 0) {
      throw new CarportError('InvalidArgument', `the snapshot's folder ${folder} is not empty`)
    }
    try {
      await this.#root.backup(folder, false)
      await syncPath(join(folder, 'data.mdb'))
      await syncPath(folder)
    } catch (error) {
      throw translate(error)
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#running
    this.#lazySync?.cancel()
    if (!this.#options.fsync) await this.#sync()
    await this.#root.close()
    await this.#room.close()
  }

  /**
   * Commits batches one after another until nothing waits. A batch takes all jobs that are queued when its transaction
   * begins, so that calls made in one turn, or during the previous fsync, share a commit. Batches do not overlap:
   * a second one could only begin during the fsync of the first, and would shut out jobs that arrive after it.
   */
  async #run(): Promise<void> {
    while (this.#queue.length > 0) await this.#commit(undefined)
    this.#running = undefined
  }

  /** Runs `jobs`, or else all that are queued when the transaction begins, and settles their promises. */
  async #commit(jobs: Job[] | undefined): Promise<void> {
    let batch = jobs
    try {
      const outcome = await this.#root.childTransaction(() => {
        batch ??= this.#takeBatch()
        return this.#runJobs(batch) ? undefined : ABORT
      })
      if (this.#tx.failure !== undefined) throw this.#tx.failure
      if (outcome !== ABORT && this.#options.fsync) await this.#root.flushed
      if (outcome === ABORT) return await this.#retry(batch!)
    } catch (error) {
      return await this.#fail(batch ?? this.#takeBatch(), await translateCommit(error))
    }
    if (!this.#options.fsync) this.#syncLater()
    for (const job of batch!) this.#settle(job)
  }

  #takeBatch(): Job[] {
    let steps = 0
    let count = 0
    while (count < this.#queue.length) {
      steps += this.#queue[count]!.steps
      if (steps > BATCH_STEPS_MAX && count > 0) return this.#queue.splice(0, count)
      count++
    }
    const batch = this.#queue
    this.#queue = []
    return batch
  }

  /**
   * Runs the functions, and leaves the last ones to the next batch if those before have read and written much. Returns false
   * if the transaction must be undone: one threw after it wrote, or the store failed.
   */
  #runJobs(batch: Job[]): boolean {
    const tx = this.#tx
    let steps = 0
    tx.active = true
    tx.failure = undefined
    try {
      this.#room.begin()
      for (const [i, job] of batch.entries()) {
        if (steps > BATCH_STEPS_MAX) {
          this.#queue.unshift(...batch.splice(i))
          return true
        }
        tx.bytes = 0
        tx.dirty = false
        tx.callbacks = undefined
        job.thrown = undefined
        try {
          job.result = job.fn(tx)
          if (job.result instanceof Promise) throw new TypeError('a transaction function must be synchronous')
          job.callbacks = tx.callbacks
        } catch (error) {
          job.thrown = { error }
          if (tx.dirty) return false
        }
        if (tx.failure !== undefined) return false
        steps += job.steps + tx.bytes / STEP_BYTES
      }
      return true
    } finally {
      tx.active = false
    }
  }

  /** Handles a function that threw: rejects its promise, and lets the others of the batch run again. */
  async #retry(batch: Job[]): Promise<void> {
    const others = batch.filter((job) => job.thrown === undefined)
    for (const job of batch) if (job.thrown) job.reject(job.thrown.error)
    if (others.length > 0) await this.#commit(others)
  }

  /** Handles a store that failed. If it is full, each function gets its own try, so that small ones and deletes pass. */
  async #fail(batch: Job[], error: unknown): Promise<void> {
    if (batch.length > 1 && error instanceof CarportError && error.code === 'StorageFull') {
      for (const job of batch) await this.#commit([job])
      return
    }
    for (const job of batch) job.reject(error)
  }

  #settle(job: Job): void {
    if (job.thrown) {
      job.reject(job.thrown.error)
      return
    }
    if (job.callbacks) {
      for (const fn of job.callbacks) {
        try {
          fn()
        } catch (error) {
          this.#options.log.error({ err: error }, 'a callback after a commit failed')
        }
      }
    }
    job.resolve(job.result)
  }

  #syncLater(): void {
    this.#lazySync ??= this.#options.clock.after(LAZY_SYNC_MS, () => {
      this.#lazySync = undefined
      if (!this.#closed) void this.#sync()
    })
  }

  #sync(): Promise<void> {
    return new Promise((resolve) => {
      ;(this.#root as unknown as RootInternals).sync((error) => {
        if (error) this.#options.log.error({ err: error }, 'the database could not be flushed to the disk')
        resolve()
      })
    })
  }
}

async function syncPath(path: string): Promise<void> {
  const file = await openFile(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
