import { PARTITION_COUNT } from '../cluster/layout/partitions.js'
import type { Placement, QuorumCaller } from '../cluster/placement.js'
import { Priority } from '../net/transport.js'
import { backoffMs } from '../util/backoff.js'
import { sleep } from '../util/clock.js'
import { CarportError, errorCode, messageOf } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { Service } from '../util/service.js'
import { sharedAbortController } from '../util/shared-abort.js'
import { Worker, type WorkerStats } from '../util/worker.js'
import type { Compression } from './compression.js'
import { DeleteHolds, type DeleteHoldsParts } from './delete-holds.js'
import { fetchBlock } from './fetch.js'
import { matchesHash } from './format.js'
import { checkLastWrites } from './last-writes.js'
import { offerBlock } from './offer.js'
import { RESYNC_BACKOFF, type ResyncError, ResyncErrors } from './resync-errors.js'
import { RoomWaits } from './room-waits.js'

/** The number of unreferenced blocks looked at at a time, since their transactions share commits. */
const DELETE_BATCH = 32
const WORKERS_MAX = 8
/** How long a worker rests if the database did not even take that a block failed, in ms. */
const UNRECORDED_REST_MS = 10_000
/** Blocks queued by one transaction of the walk that follows a layout change. */
const WALK_BATCH = 500

/** The name of the block layer in `Placement.markSynced`. */
export const BLOCKS_SYNC_NAME = 'blocks'
/** A block that so many attempts did not bring here does not keep older layouts alive any longer. */
const SYNC_ATTEMPTS = 5

export interface ResyncSettings {
  /** Blocks looked at concurrently: 1 to 8. */
  workers: number
  /** Rest after each block, as a multiple of the time that it took. */
  tranquility: number
}

export interface ResyncParts extends DeleteHoldsParts {
  placement: Placement
  caller: QuorumCaller
  compression: Compression
  random: Random
  log: Log
  /** The longest time between two looks at the queue, in ms: the clock that says what is due may be set meanwhile. */
  pollMs: number
  settings?: Partial<ResyncSettings>
}

export interface ResyncErrorInfo extends ResyncError {
  refCount: number
  /** When it is tried next, ms since the epoch. */
  nextTryMs: number
}

/**
 * Brings this node's blocks in line with its reference counts: fetches blocks that are referenced and absent, deletes
 * unreferenced ones after their grace. The durable queue of `RefCounts` drives it.
 */
export class Resync implements Service {
  readonly name = 'block-resync'
  readonly #workers: readonly Worker[]
  readonly #errors: ResyncErrors
  readonly #roomWaits = new RoomWaits()
  readonly #holds: DeleteHolds
  readonly #settings: ResyncSettings
  readonly #busy = new Set<string>()
  #abort = sharedAbortController()
  #unsubscribe: (() => void) | undefined
  /** Told how long each look at what was due took, in ms. */
  onLooked: ((tookMs: number) => void) | undefined
  #own: ReadonlySet<number> = new Set()
  #walk: Promise<void> = Promise.resolve()
  /** The version to tell the layout once all blocks that were due at `atMs` are done. */
  #syncing: { ackedVersion: number; atMs: number } | undefined
  readonly #counters = { fetched: 0, fetchedBytes: 0, deleted: 0, offered: 0, failures: 0 }

  constructor(private readonly parts: ResyncParts) {
    const queueLength = () => parts.local.counts.sizes(parts.local.db).queued
    this.#workers = Array.from({ length: WORKERS_MAX }, (_, index) => {
      const name = `${this.name} ${index + 1}`
      return new Worker(name, parts, (signal) => this.#work(index, signal), { queueLength })
    })
    this.#errors = new ResyncErrors(parts.local.db)
    this.#holds = new DeleteHolds(parts)
    parts.local.counts.onUnwanted = (tx, hash) => this.#errors.clear(tx, hash)
    this.#settings = { workers: 1, tranquility: 2, ...parts.settings }
  }

  async start(): Promise<void> {
    const { local, placement, clock, log } = this.parts
    this.#abort = sharedAbortController()
    this.#holds.start()
    this.#own = new Set(placement.ownPartitions())
    this.#unsubscribe = placement.onChange(() => this.#onLayoutChange())
    local.counts.onDue = () => this.#wake()
    local.store.onWritten = () => this.#onWritten()
    const rest = await checkLastWrites({ local, clock, log, signal: this.#abort.signal })
    if (rest) this.#inBackground(rest, 'blocks that were written last cannot be checked')
    for (const worker of this.#workers) worker.start()
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    this.parts.local.counts.onDue = () => {}
    this.parts.local.store.onWritten = () => {}
    this.parts.local.counts.armedForMs = Number.POSITIVE_INFINITY
    this.#abort.abort(new CarportError('Closed', 'the node is shutting down'))
    await Promise.all(this.#workers.map((worker) => worker.stop()))
    await this.#walk
  }

  #wake(): void {
    for (const worker of this.#workers) worker.wake()
  }

  /** How each worker fares, the active ones first. */
  workerStats(): WorkerStats[] {
    return this.#workers.map((worker) => worker.stats())
  }

  get settings(): Readonly<ResyncSettings> {
    return this.#settings
  }

  /** @throws CarportError InvalidArgument */
  configure(settings: Partial<ResyncSettings>): void {
    const { workers = this.#settings.workers, tranquility = this.#settings.tranquility } = settings
    if (!Number.isInteger(workers) || workers < 1 || workers > WORKERS_MAX) {
      throw new CarportError('InvalidArgument', 'the number of resync workers must be 1 to 8')
    }
    if (!(tranquility >= 0 && tranquility <= 1000)) {
      throw new CarportError('InvalidArgument', 'the resync tranquility must be 0 to 1000')
    }
    Object.assign(this.#settings, { workers, tranquility })
    this.#wake()
  }

  /** See BlockManager.refsSynced. */
  refsSynced(ackedVersion: number): void {
    this.#syncing = { ackedVersion, atMs: this.parts.clock.nowMs() }
    this.#wake()
  }

  /** Blocks wanted by the rows of before `refsSynced` were due then: when none of them is left, they are here. */
  #reportSynced(): void {
    const { local, placement } = this.parts
    if (!this.#syncing || this.#busy.size > 0) return
    const { ackedVersion, atMs } = this.#syncing
    if ((local.counts.nextDueMs(local.db) ?? Number.POSITIVE_INFINITY) <= atMs) return
    if (this.#errors.list(1000).some(({ attempts }) => attempts < SYNC_ATTEMPTS)) return
    this.#syncing = undefined
    placement.markSynced(BLOCKS_SYNC_NAME, ackedVersion)
  }

  /** Blocks that could not be brought to where they should be, in the order of their hashes, behind `after`. */
  listErrors(limit = 1000, after?: Buffer): ResyncErrorInfo[] {
    const { db, counts } = this.parts.local
    return this.#errors.list(limit, after).map((error) => {
      const record = counts.get(db, error.hash)
      return { ...error, refCount: record?.count ?? 0, nextTryMs: record?.dueMs ?? 0 }
    })
  }

  /** Queues blocks to be looked at right away, whatever their backoff. */
  async retryNow(hashes: readonly Buffer[]): Promise<void> {
    if (hashes.length === 0) return
    const { db, counts } = this.parts.local
    await db.transact((tx) => {
      const nowMs = this.parts.clock.nowMs()
      for (const hash of hashes) if (counts.get(tx, hash)) counts.enqueue(tx, hash, nowMs, true)
    })
  }

  /** Numbers since the start, and lengths as of now; `fetchedBytes` as they are on the disk. */
  stats() {
    const { db, counts } = this.parts.local
    return {
      queued: counts.sizes(db).queued,
      errors: this.#errors.count,
      busy: this.#busy.size,
      ...this.#counters,
    }
  }

  /** Looks at the next due block, or several unreferenced ones; returns how long the worker rests, in ms. */
  async #work(index: number, signal: AbortSignal): Promise<number> {
    const { clock, log } = this.parts
    if (index >= this.#settings.workers) return Number.POSITIVE_INFINITY
    const hashes = this.#take()
    if (hashes.length === 0) {
      this.#reportSynced()
      return this.#idleMs()
    }
    const startMs = clock.monotonicMs()
    let isUnrecorded = false
    await Promise.all(
      hashes.map((hash) =>
        this.#look(hash)
          .catch((error) => (signal.aborted ? undefined : this.#failed(hash, error)))
          .catch((error) => {
            isUnrecorded = true
            log.error({ error }, 'resync cannot record a failure')
          })
          .finally(() => this.#busy.delete(hash.toString('hex'))),
      ),
    )
    const tookMs = clock.monotonicMs() - startMs
    this.onLooked?.(tookMs)
    // This rest spares the disk. It is not the wait after the run, which a wake-up would end. What could not be recorded, since
    // the database takes nothing, is due again at once.
    const restMs = Math.max(tookMs * this.#settings.tranquility, isUnrecorded ? UNRECORDED_REST_MS : 0)
    if (restMs > 0) await sleep(clock, restMs, signal).catch(() => {})
    return 0
  }

  /** The next due block, or several if they are unreferenced. Marks them busy. */
  #take(): Buffer[] {
    const { local, clock } = this.parts
    const taken: Buffer[] = []
    for (const { hash } of local.counts.due(local.db, clock.nowMs(), DELETE_BATCH + this.#busy.size)) {
      const key = hash.toString('hex')
      if (this.#busy.has(key)) continue
      const referenced = (local.counts.get(local.db, hash)?.count ?? 0) > 0
      if (referenced && taken.length > 0) break
      this.#busy.add(key)
      taken.push(hash)
      if (referenced || taken.length === DELETE_BATCH) break
    }
    return taken
  }

  #idleMs(): number {
    const { local, clock, pollMs } = this.parts
    const nowMs = clock.nowMs()
    const nextMs = local.counts.nextDueMs(local.db) ?? Number.POSITIVE_INFINITY
    // Due already, but busy with another worker: that one looks again when it is done.
    const waitMs = nextMs <= nowMs ? pollMs : Math.min(nextMs - nowMs, pollMs)
    local.counts.armedForMs = nowMs + waitMs
    return waitMs
  }

  /** Fetches, keeps or deletes one block, and takes it from the queue or gives it a new time. */
  async #look(hash: Buffer): Promise<void> {
    const { local } = this.parts
    const { db, counts } = local
    const exists = await local.store.has(hash)
    const verdict = counts.judge(db, hash, exists)
    switch (verdict.kind) {
      case 'keep':
        return this.#settled(hash)
      case 'fetch':
        return verdict.untilMs === Number.POSITIVE_INFINITY
          ? this.#fetch(hash)
          : this.#fetchClaimed(hash, verdict.untilMs)
      case 'wait':
        await db.transact((tx) => {
          const now = counts.judge(tx, hash, exists)
          if (now.kind === 'wait') counts.enqueue(tx, hash, now.untilMs, true)
          if (counts.get(tx, hash)?.present !== exists) counts.setPresent(tx, hash, exists)
        })
        return
      case 'forget':
        await db.transact((tx) => {
          counts.forget(tx, hash)
          this.#errors.clear(tx, hash)
        })
        return
      case 'delete':
        return this.#delete(hash)
    }
  }

  async #settled(hash: Buffer): Promise<void> {
    const { db, counts } = this.parts.local
    await db.transact((tx) => {
      counts.settle(tx, hash)
      this.#errors.clear(tx, hash)
    })
  }

  async #fetch(hash: Buffer): Promise<void> {
    const { local, placement, caller, clock, compression } = this.parts
    const partition = hash[0]!
    const nodes = new Set([...placement.readSet(partition), ...placement.storageSet(partition)])
    nodes.delete(caller.self)
    const block = await fetchBlock(caller, clock, caller.nearestFirst([...nodes]), hash, {
      priority: Priority.background,
      signal: this.#abort.signal,
      matches: (candidate) => matchesHash(candidate, hash, compression),
      thorough: true,
    })
    await local.putFetched(hash, block)
    this.#counters.fetched++
    this.#counters.fetchedBytes += block.payload.length
    await this.retryNow(this.#roomWaits.stored(hash))
    if (this.#errors.get(local.db, hash)) await local.db.transact((tx) => this.#errors.clear(tx, hash))
  }

  #onWritten(): void {
    const hash = this.#roomWaits.wrote(this.parts.clock.monotonicMs())
    if (!hash) return
    this.retryNow([hash]).catch((error) => this.parts.log.error({ error }, 'a block cannot be queued'))
  }

  /** Fetches a block that only claims want: an upload under way may need it, or was given up, so its absence is no fault. */
  async #fetchClaimed(hash: Buffer, untilMs: number): Promise<void> {
    const { db, counts } = this.parts.local
    try {
      await this.#fetch(hash)
    } catch (error) {
      if (errorCode(error) !== 'BlockMissing') throw error
      await db.transact((tx) => {
        counts.setPresent(tx, hash, false)
        counts.enqueue(tx, hash, untilMs, true)
        this.#errors.clear(tx, hash)
      })
    }
  }

  async #delete(hash: Buffer): Promise<void> {
    const { local, placement, caller } = this.parts
    const { db, counts } = local
    const holdMs = this.#holds.holdMs(hash)
    if (holdMs > 0) {
      const dueMs = this.parts.clock.nowMs() + holdMs
      await db.transact((tx) => counts.enqueue(tx, hash, dueMs, true))
      return
    }
    const stored = placement.storageSet(hash[0]!)
    if (stored.length === 0)
      throw new CarportError('LayoutNotReady', 'no cluster layout has been applied yet')
    if (!stored.includes(caller.self)) {
      this.#counters.offered += await offerBlock(this.parts, hash, this.#abort.signal)
    }
    if (await local.delete(hash)) this.#counters.deleted++
    if (this.#errors.get(db, hash)) await db.transact((tx) => this.#errors.clear(tx, hash))
  }

  async #failed(hash: Buffer, error: unknown): Promise<void> {
    const { local, clock, random, log } = this.parts
    this.#counters.failures++
    this.#roomWaits.failed(hash, error)
    const message = messageOf(error)
    const attempts = await local.db.transact((tx) => {
      const isFault = local.counts.isHereOrWanted(tx, hash)
      const count = isFault ? this.#errors.record(tx, hash, clock.nowMs(), message) : 1
      local.counts.enqueue(tx, hash, clock.nowMs() + backoffMs(RESYNC_BACKOFF, count - 1, random), true)
      return count
    })
    log.warn({ block: hash.toString('hex'), attempts, error: message }, 'resync of a block failed')
  }

  #onLayoutChange(): void {
    const own = new Set(this.parts.placement.ownPartitions())
    const changed: number[] = []
    for (let partition = 0; partition < PARTITION_COUNT; partition++) {
      if (own.has(partition) !== this.#own.has(partition)) changed.push(partition)
    }
    this.#own = own
    if (changed.length === 0) return
    this.#inBackground(
      () => this.#enqueuePartitions(changed),
      'blocks cannot be queued after a layout change',
    )
  }

  /** Does one thing after the other. */
  #inBackground(run: () => Promise<void>, failure: string): void {
    this.#walk = this.#walk.then(run).catch((error: unknown) => {
      if (!this.#abort.signal.aborted) this.parts.log.error({ error }, failure)
    })
  }

  /** Queues the blocks of the partitions that this node knows of and does not have in order. */
  async #enqueuePartitions(partitions: readonly number[]): Promise<void> {
    const { db, counts } = this.parts.local
    for (const partition of partitions) {
      let after: Buffer | undefined
      while (!this.#abort.signal.aborted) {
        const hashes = counts.hashes(db, { partition, limit: WALK_BATCH, ...(after && { after }) })
        if (hashes.length === 0) break
        after = hashes.at(-1)!
        const nowMs = this.parts.clock.nowMs()
        await db.transact((tx) => {
          for (const hash of hashes) {
            const record = counts.get(tx, hash)
            if (record && record.present !== record.count > 0) counts.enqueue(tx, hash, nowMs)
          }
        })
      }
    }
  }
}
