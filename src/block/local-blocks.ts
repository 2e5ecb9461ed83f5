import type { Db } from '../db/db.js'
import { type Clock, sleep } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { KeyLock } from '../util/key-lock.js'
import type { Log } from '../util/log.js'
import type { StoredBlock } from './format.js'
import type { RefCounts } from './rc.js'
import type { BlockStore } from './store.js'

/** How long a claim waits for a deletion that has begun, in ms. */
const DELETER_WAIT_MS = 10_000
const DELETER_POLL_MS = 10
/** When a deletion that a crash interrupted is taken up again. */
const DELETE_RETRY_MS = 60_000

/**
 * The blocks of this node: keeps the files and the records of them in step.
 *
 * A write claims the block in the same moment in which it writes the file, and both are durable before it is
 * acknowledged. The deleter works in three steps: it marks the block in a transaction that finds neither
 * references nor claims; it removes the file; it forgets the block, unless a claim or reference came meanwhile. A
 * write that finds the mark waits until the deleter is done, and then writes the file. Writers and deleters of a
 * block also take turns by a lock; a claim does not take it, and relies on the mark alone.
 */
export class LocalBlocks {
  readonly #lock = new KeyLock()

  constructor(
    readonly db: Db,
    readonly store: BlockStore,
    readonly counts: RefCounts,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /**
   * Makes the block durable on this node and keeps it for `owner` to reference. Returns false if it was there.
   * @param by the process that stores it; see claimantId
   * @throws CarportError StorageFull
   */
  async put(hash: Buffer, owner: Buffer, block: StoredBlock, by?: Buffer): Promise<boolean> {
    if (this.counts.get(this.db, hash)?.present) {
      // Many writers of one content need not take turns: a claim keeps the deleter away from the file that is there.
      await this.claim([hash], owner, by)
      if (await this.store.hasDurably(hash)) return false
    }
    return this.#lock.run(hash.toString('hex'), () => this.#put(hash, owner, block, by))
  }

  async #put(hash: Buffer, owner: Buffer, block: StoredBlock, by?: Buffer): Promise<boolean> {
    if (this.counts.get(this.db, hash)) return this.#putKnown(hash, owner, block, by)
    // Refuse writes before the claim, so that they do not make the database grow.
    if (!(await this.store.hasRoom(hash, block.payload.length))) throw full()
    // No deleter can be at work on a block without a record, so claim and file need not wait for each other. If a crash
    // comes after the claim alone, the block's turn in the queue finds the file missing.
    const [written, claimed] = await Promise.allSettled([
      this.store.write(hash, block),
      this.db.transact((tx) => this.counts.claim(tx, hash, owner, true, by)),
    ])
    if (claimed.status === 'rejected') throw claimed.reason
    if (written.status === 'rejected') {
      await this.#giveUp(hash, owner)
      throw written.reason
    }
    return claimed.value ? true : this.#putKnown(hash, owner, block, by)
  }

  async #putKnown(hash: Buffer, owner: Buffer, block: StoredBlock, by?: Buffer): Promise<boolean> {
    await this.claim([hash], owner, by)
    const there = await this.store.hasDurably(hash)
    if (!there) {
      try {
        await this.store.write(hash, block)
      } catch (error) {
        await this.#giveUp(hash, owner)
        throw error
      }
    }
    if (!this.counts.get(this.db, hash)?.present) await this.db.transact((tx) => this.counts.settle(tx, hash))
    return !there
  }

  /**
   * Keeps blocks for `owner` to reference, and returns which of them this node believes to have. Waits while
   * one is being deleted. @throws CarportError Timeout
   */
  async claim(hashes: readonly Buffer[], owner: Buffer, by?: Buffer): Promise<boolean[]> {
    const untilMs = this.clock.monotonicMs() + DELETER_WAIT_MS
    for (;;) {
      const states = await this.db.transact((tx) =>
        hashes.map((hash) => {
          const claimed = this.counts.claim(tx, hash, owner, false, by)
          return claimed ? this.counts.get(tx, hash)!.present : undefined
        }),
      )
      if (!states.includes(undefined)) return states as boolean[]
      if (this.clock.monotonicMs() > untilMs) throw new CarportError('Timeout', 'a block is being deleted')
      await sleep(this.clock, DELETER_POLL_MS)
    }
  }

  /** Releases blocks that the owner will never reference: they may go after the short grace. */
  async release(hashes: readonly Buffer[], owner: Buffer): Promise<void> {
    await this.db.transact((tx) => {
      for (const hash of hashes) this.counts.renounced(tx, hash, owner)
    })
  }

  async #giveUp(hash: Buffer, owner: Buffer): Promise<void> {
    await this.db.transact((tx) => {
      this.counts.renounced(tx, hash, owner)
      this.counts.setPresent(tx, hash, false)
    })
  }

  /** Stores a block that a reference wants and another replica had. @throws CarportError StorageFull */
  putFetched(hash: Buffer, block: StoredBlock): Promise<void> {
    return this.#lock.run(hash.toString('hex'), async () => {
      if (!(await this.store.has(hash))) await this.store.write(hash, block)
      await this.db.transact((tx) => this.counts.settle(tx, hash))
    })
  }

  /**
   * The block, verified by its checksum. A corrupted copy is set aside and queued to be fetched again, and so is
   * one that is missing though it should be there.
   * @param plainBytes the length of the plain content, if known: makes reading cheaper
   */
  async read(hash: Buffer, plainBytes?: number): Promise<StoredBlock | undefined> {
    let corrupted = false
    const block = await this.store.read(hash, plainBytes, (path) => {
      corrupted = true
      this.log.warn(
        { path },
        'a block does not match its checksum or its name; it is set aside and fetched again',
      )
    })
    if (corrupted) await this.setAside(hash)
    else if (!block && this.counts.get(this.db, hash)?.present) await this.#noteAbsence(hash)
    return block
  }

  /**
   * Looks for the file of a block that is recorded as present; if it is gone, records that, and queues a fetch if the block is
   * referenced. Returns false for such a block, true for any other.
   */
  async verifyPresence(hash: Buffer): Promise<boolean> {
    if (!this.counts.get(this.db, hash)?.present || (await this.store.has(hash))) return true
    await this.#noteAbsence(hash)
    return this.counts.get(this.db, hash)?.present !== false
  }

  /** Sets bad copies aside (`all`: every copy), and queues the block if no good one is left. */
  setAside(hash: Buffer, all = false): Promise<void> {
    return this.#lock.run(hash.toString('hex'), async () => {
      if (all) await this.store.setAside(hash)
      else if (await this.store.quarantine(hash)) return
      await this.db.transact((tx) => this.counts.setPresent(tx, hash, false))
    })
  }

  /** Writes an intact block's file anew, in the newest form: those of the first release do not name their block. */
  rewrite(hash: Buffer, block: StoredBlock): Promise<void> {
    return this.#lock.run(hash.toString('hex'), async () => {
      // It may have been deleted meanwhile.
      if (await this.store.has(hash)) await this.store.write(hash, block)
    })
  }

  /** Deletes the block, unless it is needed after all. Returns whether it did. @throws the disk's error if a file stays */
  delete(hash: Buffer): Promise<boolean> {
    return this.#lock.run(hash.toString('hex'), async () => {
      if (!(await this.db.transact((tx) => this.counts.beginDelete(tx, hash, DELETE_RETRY_MS)))) return false
      try {
        await this.store.remove(hash)
      } catch (error) {
        const exists = await this.store.has(hash)
        await this.db.transact((tx) => this.counts.abandonDelete(tx, hash, exists))
        throw error
      }
      await this.db.transact((tx) => this.counts.endDelete(tx, hash))
      return true
    })
  }

  /** Moves the block to the folder it belongs to. Returns whether that was needed. */
  rebalance(hash: Buffer): Promise<boolean> {
    return this.#lock.run(hash.toString('hex'), () => this.store.rebalance(hash))
  }

  #noteAbsence(hash: Buffer): Promise<void> {
    return this.#lock.run(hash.toString('hex'), async () => {
      // A writer claims before its file is in place: look again, now that no writer can be in between.
      if (await this.store.has(hash)) return
      await this.db.transact((tx) => this.counts.setPresent(tx, hash, false))
    })
  }
}

function full(): CarportError {
  return new CarportError('StorageFull', 'no data folder has room for the block')
}
