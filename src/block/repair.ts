import { PARTITION_COUNT } from '../cluster/layout/partitions.js'
import type { Reader, Tx } from '../db/db.js'
import { type Clock, sleep } from '../util/clock.js'
import { eachLimited } from '../util/limited.js'
import type { BlockRefTable } from './block-ref.js'
import type { DataDirs } from './data-dirs.js'
import type { Disk } from './disk.js'
import { HASH_BYTES } from './format.js'
import type { LocalBlocks } from './local-blocks.js'
import { ResyncErrors } from './resync-errors.js'
import { FOLDERS, readFolder } from './walk.js'

/** The number of blocks that one transaction handles. */
const BATCH = 200
/** Blocks whose files are looked for at the same time. */
const LOOKS_IN_FLIGHT = 8

export interface RepairProgress {
  checked: number
  changed: number
  /** The share that is done, 0 to 1. */
  done: number
}

export interface RepairOptions {
  signal?: AbortSignal
  onProgress?: (progress: RepairProgress) => void
}

/** Repairs that an operator starts. Each can be stopped by its signal and started again from the beginning. */
export class Repair {
  constructor(
    private readonly local: LocalBlocks,
    private readonly disk: Disk,
    private readonly dirs: DataDirs,
    private readonly table: BlockRefTable,
    private readonly clock: Clock,
  ) {}

  /**
   * Moves blocks to the data folders they belong to, after folders were added, removed or resized.
   * @throws the first error of a disk, after all other blocks were moved
   */
  async rebalance(options: RepairOptions = {}): Promise<RepairProgress> {
    const progress: RepairProgress = { checked: 0, changed: 0, done: 0 }
    const failures: unknown[] = []
    const failed = (error: unknown) => {
      if (failures.length === 0) failures.push(error)
      return false
    }
    for (let folder = 0; folder < FOLDERS; folder++) {
      const { hashes } = await readFolder(this.disk, this.dirs, folder, (_path, error) => failed(error))
      for (const hash of hashes) {
        options.signal?.throwIfAborted()
        progress.checked++
        if (await this.local.rebalance(hash).catch(failed)) progress.changed++
      }
      progress.done = folder / FOLDERS
      options.onProgress?.(progress)
    }
    if (failures.length > 0) throw failures[0]
    progress.done = 1
    return progress
  }

  /** Counts the rows of block_ref again and corrects the counters that differ. */
  async verifyCounters(options: RepairOptions = {}): Promise<RepairProgress> {
    const progress: RepairProgress = { checked: 0, changed: 0, done: 0 }
    for (let partition = 0; partition < PARTITION_COUNT; partition++) {
      let after: Buffer | undefined
      for (;;) {
        options.signal?.throwIfAborted()
        const hashes = this.#hashes(partition, after)
        if (hashes.length === 0) break
        after = hashes.at(-1)!
        progress.checked += hashes.length
        progress.changed += await this.#recount(hashes)
        // The database's writers take turns, but this loop would otherwise never let timers run.
        await sleep(this.clock, 1, options.signal)
      }
      progress.done = (partition + 1) / PARTITION_COUNT
      options.onProgress?.(progress)
    }
    return progress
  }

  /**
   * Looks for the file of every block that this node should have, and queues those that lack it to be fetched, with the blocks
   * that nothing refers to (`repair blocks`). The number of blocks that are missing is known when this has ended.
   */
  resyncAll(options: RepairOptions = {}): Promise<RepairProgress> {
    const { counts } = this.local
    const look = (hashes: readonly Buffer[]) =>
      eachLimited(hashes, LOOKS_IN_FLIGHT, (hash) => this.local.verifyPresence(hash))
    return this.#eachRecord(options, look, (tx, hashes) => {
      const nowMs = this.clock.nowMs()
      const unsettled = hashes.filter((hash) => {
        const record = counts.get(tx, hash)
        return record !== undefined && record.present !== record.count > 0
      })
      for (const hash of unsettled) counts.enqueue(tx, hash, nowMs)
      return unsettled.length
    })
  }

  /**
   * Empties the queue of blocks to be fetched and forgets which could not be (`repair clear-resync-queue`). Blocks that
   * are missing are not looked for after this, until `resyncAll` queues them again.
   */
  clearQueue(options: RepairOptions = {}): Promise<RepairProgress> {
    const { db, counts } = this.local
    const errors = new ResyncErrors(db)
    return this.#eachRecord(options, undefined, (tx, hashes) => {
      let changed = 0
      for (const hash of hashes) {
        if (!counts.unqueueReferenced(tx, hash)) continue
        errors.clear(tx, hash)
        changed++
      }
      return changed
    })
  }

  /**
   * Walks over the records of all blocks, a batch at a time.
   * @param look done before the transaction of each batch
   * @param change done in that transaction; returns how many records it changed
   */
  async #eachRecord(
    options: RepairOptions,
    look: ((hashes: readonly Buffer[]) => Promise<void>) | undefined,
    change: (tx: Tx, hashes: readonly Buffer[]) => number,
  ): Promise<RepairProgress> {
    const { db, counts } = this.local
    const progress: RepairProgress = { checked: 0, changed: 0, done: 0 }
    let after: Buffer | undefined
    for (;;) {
      options.signal?.throwIfAborted()
      const hashes = counts.hashes(db, { limit: BATCH, ...(after && { after }) })
      if (hashes.length === 0) break
      after = hashes.at(-1)!
      if (look) await look(hashes)
      progress.changed += await db.transact((tx) => change(tx, hashes))
      progress.checked += hashes.length
      progress.done = after[0]! / PARTITION_COUNT
      options.onProgress?.(progress)
    }
    progress.done = 1
    return progress
  }

  async #recount(hashes: readonly Buffer[]): Promise<number> {
    const { db, counts } = this.local
    return db.transact((tx) => {
      let changed = 0
      for (const hash of hashes) {
        let count = 0
        for (const row of this.table.local.range(tx, hash, {})) if (!row.deleted) count++
        if (counts.repair(tx, hash, count) !== count) changed++
      }
      return changed
    })
  }

  /** The next hashes of a partition that have a counter or a row, in order. */
  #hashes(partition: number, after: Buffer | undefined): Buffer[] {
    const { db, counts } = this.local
    const counted = counts.hashes(db, { partition, limit: BATCH, ...(after && { after }) })
    const referenced = this.#referenced(db, partition, after)
    // A list that was cut short tells nothing of hashes beyond its end.
    let all = [...counted, ...referenced.hashes].sort(Buffer.compare)
    if (counted.length === BATCH) all = upTo(all, counted.at(-1)!)
    if (referenced.cut) all = upTo(all, referenced.hashes.at(-1)!)
    return all.filter((hash, i) => i === 0 || !hash.equals(all[i - 1]!))
  }

  #referenced(
    reader: Reader,
    partition: number,
    after: Buffer | undefined,
  ): { hashes: Buffer[]; cut: boolean } {
    const hashes: Buffer[] = []
    let keys = 0
    const tree = this.table.local.trees.head
    const end = partition < 255 ? { end: Buffer.of(partition + 1) } : {}
    let start = Buffer.of(partition)
    if (after) start = Buffer.concat([start, after, Buffer.alloc(17, 0xff)])
    for (const key of reader.keys(tree, { start, ...end, limit: BATCH })) {
      keys++
      const hash = Buffer.from(key.subarray(1, 1 + HASH_BYTES))
      if (!hashes.at(-1)?.equals(hash)) hashes.push(hash)
    }
    return { hashes, cut: keys === BATCH }
  }
}

function upTo(hashes: Buffer[], last: Buffer): Buffer[] {
  return hashes.filter((hash) => hash.compare(last) <= 0)
}
