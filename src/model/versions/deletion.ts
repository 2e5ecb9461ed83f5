import type { Table } from '../../table/table.js'
import { type Backoff, backoffMs } from '../../util/backoff.js'
import { type Clock, type Hlc, sleep } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import type { Random } from '../../util/random.js'
import { idBefore, timeOfId, type VersionId } from '../content/refs.js'
import { noncurrentCopy } from './noncurrent.js'
import type { Promotions } from './promotion.js'
import type { MutableChange, VersionRecord } from './record.js'
import { live, MAX_ATTEMPTS, matches, selectorOf, tooManyAttempts, type VersionSelector } from './selector.js'
import { tombstoneOf } from './tables.js'

/** Says whether object lock forbids to delete a version. */
export interface DeletionGuard {
  /** Throws if it does. It may be called several times. */
  check(version: VersionRecord): void
  /**
   * Whether locks may be set in this bucket meanwhile, so that the deletion has to announce itself. One of a version that
   * ever had a lock does so whatever this says: the node may not know yet that the bucket has locks.
   */
  announces: boolean
}

/** The part of the store of versions that a deletion needs; Objects tells what each method does. */
export interface VersionStore {
  get(
    bucket: Buffer,
    key: Buffer,
    selector?: VersionSelector,
    options?: { body?: boolean },
  ): Promise<VersionRecord | undefined>
  update(
    bucket: Buffer,
    key: Buffer,
    selector: VersionSelector,
    change: (version: VersionRecord) => MutableChange,
    timeOf?: (version: VersionRecord) => number,
  ): Promise<VersionRecord | undefined>
  /** The row of a key, tombstones included, without its body. */
  current(bucket: Buffer, key: Buffer): Promise<VersionRecord | undefined>
}

interface Target {
  bucket: Buffer
  key: Buffer
  selector: 'null' | VersionId
  guard: DeletionGuard | undefined
}

interface LockTarget {
  bucket: Buffer
  key: Buffer
  selector: VersionSelector
}

type LockChange = (version: VersionRecord) => MutableChange

/** How often a change of a lock that met another one begins anew, and its waits. */
const LOCK_TRIES_MAX = 6
const LOCK_BACKOFF: Backoff = { baseMs: 50, maxMs: 2_000, jitter: 1 }
const INTENT_BYTES = 8

/** How long after it was announced a deletion may begin to take effect, in µs. */
const BEGIN_US_MAX = 20e6
/** How long an announced deletion keeps locks from being changed, in µs: a deletion that died is forgotten then. */
const ANNOUNCED_US = 60e6

/**
 * Deletion of single versions for good.
 *
 * A guard looks at retention and legal hold, which a client may be about to set. Neither side can lock the other out, so
 * each writes before it reads (as in Dekker's algorithm): a guarded deletion announces itself in the version's row on a
 * write quorum, then reads the row from a read quorum and asks the guard, then deletes. A setter of a lock writes it,
 * then reads the row, and reports success only if no deletion is announced there. As quorums intersect, at least one of
 * the two sees the other. If both do, both fail, with Conflict or the guard's error, and nothing is deleted.
 *
 * Where nobody has set a lock yet, as far as this node and the version's row know, the guard only sees the row that is
 * deleted, and nothing is announced.
 *
 * Whether a retention may be changed depends on the one before it. So two changes of a lock at the same time must not both take
 * effect: a setter writes its intent, then reads and judges the version, then writes the lock, then reads again, and reports
 * success only if its intent is still the last one. The other one wrote its intent after that, and judges the lock as it is now.
 * A lock has the time of its intent, which is after that of every lock before. So one that was judged before a later intent was
 * known loses to the lock of that one, however late it arrives and whatever the clocks say.
 *
 * What remains: a deletion that reached less than a write quorum, and so failed, is not undone. If a lock is set later,
 * through a quorum that does not know of it and after ANNOUNCED_US, the deletion wins nevertheless. And an announcement
 * is overlooked if clocks differ by more than ANNOUNCED_US less BEGIN_US_MAX.
 */
export class VersionDeletion {
  constructor(
    private readonly deps: {
      objects: Table<VersionRecord>
      versions: Table<VersionRecord>
      hlc: Hlc
      clock: Clock
      random: Random
      store: VersionStore
      promotions: Promotions
    },
  ) {}

  /** See Objects.deleteVersion. */
  async deleteVersion(target: Target): Promise<VersionRecord | undefined> {
    const { bucket, key } = target
    let { selector, guard } = target
    const { objects, versions, hlc, store, promotions } = this.deps
    let announces = guard?.announces === true
    if (guard && announces) {
      const version = await store.get(bucket, key, selector, { body: false })
      if (!version) return this.#bury(target, undefined)
      guard.check(version)
      if (version.state === 'marker') guard = undefined // Delete markers cannot be locked.
    }
    let deleted: VersionRecord | undefined
    let announcedUs = 0
    let began = false
    const isStale = () => hlc.now() - announcedUs > BEGIN_US_MAX
    /** Whether the deletion may take effect. Once a replica may have carried it out, all must, whatever the guard says. */
    const begin = (version: VersionRecord) => {
      if (guard && !began) {
        guard.check(version)
        announces ||= hadLock(version)
        if (announces && isStale()) return false
      }
      began = true
      return true
    }
    for (let i = 0; i < MAX_ATTEMPTS; i++) {
      if (guard && announces && !began && isStale()) {
        announcedUs = hlc.now()
        if (!(await this.#announce(target, guard))) return this.#bury(target, undefined)
      }
      const current = await store.current(bucket, key)
      /** Another null version that replaced the one that is deleted has made an end of it, and stays. */
      const isOther = (version: VersionRecord) => deleted !== undefined && !version.id.equals(deleted.id)
      if (!current || !matches(current, selector)) {
        const place = { bucket, key, selector }
        const old = live(await noncurrentCopy(versions, place, current, { body: false }))
        if (!old) return this.#bury(target, deleted)
        if (isOther(old)) return deleted
        if (!begin(old)) continue
        deleted ??= old
        await versions.insert(tombstoneOf({ bucket, key, isNull: old.isNull, timeUs: old.timeUs }, old.id))
        // Write before reading: this deletion, or one of the current version that promoted this one, sees the other.
        const now = await objects.get(bucket, key, { body: false })
        if (now && now.state !== 'tombstone' && now.id.equals(old.id)) {
          selector = selectorOf(old)
          continue
        }
        return deleted
      }
      if (isOther(current)) return deleted
      const successor = await promotions.successorOf(current)
      if (!begin(current)) continue
      deleted ??= current
      // Replicas that missed what came between may still have one that this one has overwritten among the noncurrent ones.
      if (current.isNull)
        await versions.insert(
          tombstoneOf({ bucket, key, isNull: true, timeUs: current.createdUs }, idBefore(current.id)),
        )
      if (!(await successor.take())) continue
      await versions.insert(
        tombstoneOf({ bucket, key, isNull: current.isNull, timeUs: current.createdUs }, current.id),
      )
      // The predecessor may have been deleted or changed meanwhile.
      if (successor.isLive) await promotions.settle(bucket, key)
      return deleted
    }
    throw tooManyAttempts()
  }

  /**
   * Keeps a version from coming back that a quorum does not have: a deletion that was overtaken, or never ended, has taken it away
   * where it was the current one, and may have left it elsewhere.
   * @param deleted the version, if it was found before
   */
  async #bury(
    { bucket, key, selector }: Target,
    deleted: VersionRecord | undefined,
  ): Promise<typeof deleted> {
    const { versions, hlc } = this.deps
    const id = deleted?.id ?? selector
    // Which null version it would be is not known; and of a version with an id of the future there is nothing yet.
    if (id === 'null' || (!deleted && timeOfId(id) > hlc.now())) return undefined
    const isNull = deleted?.isNull === true
    const timeUs = deleted?.createdUs ?? timeOfId(id)
    await versions.insert(tombstoneOf({ bucket, key, isNull, timeUs }, id))
    return deleted
  }

  /** See Objects.updateLock. */
  async updateLock(target: LockTarget, change: LockChange): Promise<VersionRecord | undefined> {
    const { clock, random } = this.deps
    for (let i = 0; ; i++) {
      const changed = await this.#tryLock(target, change)
      if (changed !== 'contested') return changed
      if (i === LOCK_TRIES_MAX)
        throw new CarportError('Conflict', 'others are changing the lock of the version')
      await sleep(clock, backoffMs(LOCK_BACKOFF, i, random))
    }
  }

  async #tryLock({ bucket, key, selector }: LockTarget, change: LockChange) {
    const { store, random, hlc } = this.deps
    const intent = random.bytes(INTENT_BYTES).toString('hex')
    const isMine = ({ mutable }: VersionRecord) => mutable.lockIntent?.[1] === intent
    const announce = (version: VersionRecord) => {
      this.#refuseWhileDeleted(version)
      // What it may not change is refused before anything is written.
      change(version)
      return { lockIntent: intent }
    }
    const told = await store.update(bucket, key, selector, announce, (version) =>
      hlc.after(lockedUs(version)),
    )
    if (!told) return undefined
    const same = selectorOf(told)
    let isContested = false
    const judge = (version: VersionRecord) => {
      if (!version.id.equals(told.id)) throw underDeletion()
      this.#refuseWhileDeleted(version)
      isContested ||= !isMine(version)
      return isContested ? {} : change(version)
    }
    const [intentUs] = told.mutable.lockIntent!
    const changed = await store.update(bucket, key, same, judge, () => intentUs)
    if (!changed) throw underDeletion()
    const now = await store.get(bucket, key, same, { body: false })
    if (!now?.id.equals(changed.id)) throw underDeletion()
    this.#refuseWhileDeleted(now)
    return isContested || !isMine(now) || !isLockedAs(now, changed) ? 'contested' : changed
  }

  /**
   * Announces the deletion and asks the guard before and after.
   * @returns false if there is no such version
   */
  async #announce({ bucket, key, selector }: Target, guard: DeletionGuard): Promise<boolean> {
    const { store } = this.deps
    const announced = await store.update(bucket, key, selector, (version) => {
      guard.check(version)
      return { deletion: true }
    })
    if (!announced) return false
    const now = await store.get(bucket, key, selector, { body: false })
    if (!now) return false
    try {
      guard.check(now)
    } catch (error) {
      await store.update(bucket, key, selector, () => ({ deletion: false }))
      throw error
    }
    return true
  }

  #refuseWhileDeleted({ mutable: { deletion } }: VersionRecord): void {
    if (deletion?.[1] && this.deps.hlc.now() - deletion[0] < ANNOUNCED_US) throw underDeletion()
  }
}

/** Whether a lock was ever set: it may be set again at any time. */
function hadLock({ mutable }: VersionRecord): boolean {
  return mutable.legalHold !== undefined || mutable.retention !== undefined
}

/** The latest time of what says how a version is locked, or about to be; 0 if nothing does. */
function lockedUs({ mutable: { lockIntent, retention, legalHold } }: VersionRecord): number {
  return Math.max(0, ...[lockIntent, retention, legalHold].map((register) => register?.[0] ?? 0))
}

/** Whether both have the same lock, which was set at the same time. */
function isLockedAs({ mutable: a }: VersionRecord, { mutable: b }: VersionRecord): boolean {
  return a.retention?.[0] === b.retention?.[0] && a.legalHold?.[0] === b.legalHold?.[0]
}

function underDeletion(): CarportError {
  return new CarportError('Conflict', 'the version is being deleted')
}
