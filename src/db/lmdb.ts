import { mkdirSync, readdirSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ABORT, open, type RootDatabase } from 'lmdb'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Db, TreeName, Tx } from './db.js'
import { checkLmdbFile } from './lmdb-check.js'
import { translate, translateCommit } from './lmdb-errors.js'
import { type Handles, LmdbReader, openForScans, type Store } from './lmdb-reader.js'
import { LmdbRoom, PAGE_BYTES } from './lmdb-room.js'
import { LmdbTx } from './lmdb-tx.js'

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
  /**
   * Is told when a commit can be seen here, though the disk failed to keep it: this store then takes no more writes, and
   * the process has to end. See LmdbDb.#breakDown.
   */
  onBroken?: (cause: unknown) => void
}

const MAP_SIZE_BYTES = 2 ** 40
/** How long committed data may stay in the page cache with `fsync` off, in milliseconds. */
const LAZY_SYNC_MS = 5000
/** Bounds how long one batch keeps the event loop busy: a step costs about 50 µs. */
export const BATCH_STEPS_MAX = 256
/** Bytes of values that are read or written in one step. */
export const STEP_BYTES = 32 << 10

interface RootInternals {
  env: { info(): { lastPageNumber: number; lastTxnId: number } }
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
  /** Why no more writes are taken. */
  #broken: CarportError | undefined
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
    if (this.#broken) return Promise.reject(this.#broken)
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
    const before = this.#lastCommit()
    try {
      const outcome = await this.#root.childTransaction(() => {
        batch ??= this.#takeBatch()
        return this.#runJobs(batch) ? undefined : ABORT
      })
      if (this.#tx.failure !== undefined) throw this.#tx.failure
      if (outcome !== ABORT && this.#options.fsync) await this.#root.flushed
      if (outcome === ABORT) return await this.#retry(batch!)
    } catch (error) {
      const cause = await translateCommit(error)
      if (this.#lastCommit() !== before) this.#breakDown(cause)
      return await this.#fail(batch ?? this.#takeBatch(), cause)
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
    if (!this.#broken && batch.length > 1 && error instanceof CarportError && error.code === 'StorageFull') {
      for (const job of batch) await this.#commit([job])
      return
    }
    for (const job of batch) job.reject(error)
  }

  /** The number of the newest commit that reads see. */
  #lastCommit(): number {
    return (this.#root as unknown as RootInternals).env.info().lastTxnId
  }

  /**
   * Ends all writes. LMDB shows a commit before it syncs it, so one whose sync failed is seen, and the next ones would stand on it.
   * The system tells of such a failure once, and takes the pages for written: the next sync succeeds, and what is acknowledged
   * after it may never reach the disk. Only a process that opens the file anew sees what is really there.
   */
  #breakDown(cause: unknown): void {
    this.#broken = new CarportError('Closed', 'the disk failed to keep a commit of the database', { cause })
    for (const job of this.#queue.splice(0)) job.reject(this.#broken)
    this.#options.onBroken?.(cause)
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

/** Makes a file durable, or the names in a folder. @throws the error of the file system */
export async function syncPath(path: string): Promise<void> {
  const file = await openFile(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
