import { mergeLwwFields } from '../../crdt/lww.js'
import type { Reader, Tx } from '../../db/db.js'
import { ballotTimeUs } from '../../table/ballot.js'
import type { ConditionalRows, TableSchema } from '../../table/schema.js'
import { md5 } from '../content/hashing.js'
import type { EnqueueRefs, Referrer } from '../content/referrer.js'
import { hashesOf } from '../content/refs.js'
import {
  bucketPartition,
  isNullSlot,
  keyAtStart,
  NULL_SLOT,
  terminatedKey,
  versionSortKey,
} from '../sort-keys.js'
import { compareOrder, isBaseOf, isOfChain, isOfPlace, isSameRow } from './chain.js'
import { decodeHead, encodeHead, headId } from './codec.js'
import { countCurrent, countNoncurrent, type VersionCopies } from './counting.js'
import { plainVersion, type VersionRecord } from './record.js'

/** The other parts of the node that the object tables' hooks call, all within the row's transaction. */
export interface ContentHooks extends VersionCopies {
  /** The row now references (or no longer references) these blocks. */
  enqueueRefs: EnqueueRefs
  /** The list rows of that owner are no longer needed; they are deleted in the background. */
  purgeLists(tx: Tx, bucket: Buffer, owner: Buffer): void
  /** What this node shows as a key's current row. @throws CarportError Corrupted */
  current(reader: Reader, bucket: Buffer, key: Buffer): VersionRecord | undefined
  /** Resolves when this node shows something else of a key, whose stored row it does not show. */
  nextShown(bucket: Buffer, key: Buffer): Promise<void>
  /** Merges a noncurrent version into this node's copy of the version table. */
  updateNoncurrent(tx: Tx, record: VersionRecord): void
  /** A conditional row was replaced by another one of its place: see Contests. */
  replaced?(tx: Tx, row: VersionRecord): void
  /** A conditional row becomes a noncurrent version, though it may never have taken effect: see Contests. */
  doubted?(tx: Tx, row: VersionRecord): void
  /** A conditional row became a noncurrent version, or one went. */
  placed?(tx: Tx, version: VersionRecord): void
  unplaced?(tx: Tx, version: VersionRecord): void
  /** That upload is completed. */
  endUpload(tx: Tx, bucket: Buffer, key: Buffer, uploadId: Buffer): void
  /** The row of a key changed: for event notifications and the like. */
  changed?(tx: Tx, before: VersionRecord | undefined, after: VersionRecord): void
  /** A version came as a noncurrent one, by `updateNoncurrent` or without having been the current one here. */
  noncurrentCame?(tx: Tx, version: VersionRecord): void
  /** A noncurrent version is gone, deleted by a request or cleared by `updateNoncurrent`. */
  noncurrentDeleted?(tx: Tx, version: VersionRecord): void
}

const shared = {
  placement: 'sharded' as const,
  partitionKeyBytes: 16,
  partition: bucketPartition,
  partitionKey: (v: VersionRecord) => v.bucket,
  encode: (v: VersionRecord) => ({
    head: encodeHead(v),
    ...(v.content.kind === 'inline' && v.body && { body: v.body }),
  }),
  decode: decodeHead,
  isTombstone: (v: VersionRecord) => v.state === 'tombstone',
  contentId: headId,
  timeUs: (v: VersionRecord) => v.timeUs,
  bodyMatches: (v: VersionRecord, body: Buffer) =>
    v.encryption !== undefined || v.etagParts > 0 || md5(body).equals(v.etag),
}

/**
 * The object table: one row per key, its current version whole. Rows merge by the maximum of (time, generation, id).
 *
 * A version that is replaced but must stay (bucket versioning) moves to the version table in the transaction that
 * replaces it, on every replica that held it. Both tables have the same replicas, and a version was acknowledged by a
 * write quorum, so every read quorum finds it in one table or the other, at all times.
 * A replica that has not heard of the replacement still shows the version as current, though: reads of noncurrent
 * versions say which row is the current one, and the replica adds what that one replaces (`moving`).
 */
export function objectTable(hooks: ContentHooks): TableSchema<VersionRecord> {
  return {
    ...shared,
    name: 'object',
    sortKey: (v) => v.key,
    merge(current, incoming) {
      const order = compareOrder(incoming, current)
      const [later, earlier] = order > 0 ? [incoming, current] : [current, incoming]
      if (order !== 0 && !isSameRow(later, earlier)) return later
      const mutable = mergeLwwFields(later.mutable, earlier.mutable)
      return mutable === later.mutable ? later : { ...plainVersion(later), mutable }
    },
    hiddenBy: (incoming, merged) =>
      compareOrder(merged, incoming) > 0 && !isSameRow(merged, incoming) ? merged.timeUs : 0,
    conditional: conditionalRows(hooks),
    onUpdate(tx, before, after) {
      countCurrent(tx, hooks, before, after)
      if (!after) return
      const isNewVersion = !before?.id.equals(after.id)
      if (isNewVersion && before && before.state !== 'tombstone') {
        if (isContested(before, after)) hooks.replaced?.(tx, before)
        else if (staysAsNoncurrent(before, after)) {
          if (isInDoubt(before, after)) hooks.doubted?.(tx, before)
          hooks.updateNoncurrent(tx, noncurrentOf(before))
        } else release(tx, hooks, before)
      }
      // Deleted for good, and nothing before it to become current again: the tombstone has the version's id.
      if (!isNewVersion && before?.state === 'object' && after.state === 'tombstone')
        release(tx, hooks, before)
      if (isNewVersion) {
        acquire(tx, hooks, after)
        if (after.isNull) clearNullSlot(tx, hooks, after)
        // A completion on a condition may lose yet: then its upload goes on.
        if (after.completes && !after.chain) hooks.endUpload(tx, after.bucket, after.key, after.completes)
        for (const id of after.withdraws ?? []) {
          const tombstone = tombstoneOf(after, id)
          hooks.updateNoncurrent(tx, after.chain ? { ...tombstone, withdraws: [id] } : tombstone)
        }
      }
      hooks.changed?.(tx, before, after)
    },
  }
}

/** What conditional writes need to know of rows of the object table. */
function conditionalRows(hooks: ContentHooks): ConditionalRows<VersionRecord> {
  return {
    ballotOf: (v) => v.chain?.ballot,
    idOf: (v) => v.id,
    compare: compareOrder,
    isSame: isSameRow,
    underBallot: (v, ballot) => (v.chain ? { ...plainVersion(v), chain: { ...v.chain, ballot } } : v),
    fateOf(proposal, base) {
      if (isSameRow(proposal, base)) return 'chosen'
      if (!isOfChain(proposal, base)) return undefined
      if (base.generation < proposal.generation) return 'open'
      if (base.generation === proposal.generation) return 'dead'
      const is = isBaseOf(proposal, base)
      return is === 'unknown' ? is : is === 'yes' ? 'chosen' : 'dead'
    },
    voted(tx, row, stored) {
      if (row.state === 'tombstone' || isOfChain(row, stored)) return
      if (staysAsNoncurrent(row, stored)) hooks.updateNoncurrent(tx, noncurrentOf(row))
      // It came first, and was replaced at once.
      hooks.changed?.(tx, undefined, row)
    },
  }
}

/** The version table: noncurrent versions by key, newest first. A deleted version id never comes back. */
export function versionTable(hooks: () => ContentHooks): TableSchema<VersionRecord> {
  return {
    ...shared,
    name: 'version',
    sortKey: (v) => versionSortKey(v.key, v.id, v.isNull),
    source: {
      table: 'object',
      sortKey: keyAtStart,
      prefix: terminatedKey,
      mayMove: (row, v) => {
        const { state, id } = row as VersionRecord
        return state !== 'tombstone' && id.equals(v.id)
      },
    },
    moving(reader, bucket, sortKey, replacedBy) {
      const here = hooks().current(reader, bucket, keyAtStart(sortKey))
      if (!here || here.state === 'tombstone' || here.id.equals(replacedBy)) return undefined
      return noncurrentOf(here)
    },
    undecided(reader, bucket, sortKey) {
      if (!isNullSlot(sortKey)) return undefined
      const key = keyAtStart(sortKey)
      const stored = hooks().currentStored(reader, bucket, key)
      // A null version that is not shown yet has taken away the one before it.
      if (!stored?.isNull || hooks().current(reader, bucket, key)?.id.equals(stored.id)) return undefined
      return hooks().nextShown(bucket, key)
    },
    merge(current, incoming) {
      if (!current.id.equals(incoming.id)) {
        // Of two that were judged on one base, as in the object table.
        if (isOfPlace(current, incoming)) return laterPlaced(current, incoming)
        // Only null versions share a slot. Ids begin with their time, so the greater one is the later.
        return Buffer.compare(incoming.id, current.id) > 0 ? incoming : current
      }
      const gone = current.state === 'tombstone'
      if (gone !== (incoming.state === 'tombstone')) return gone ? current : incoming
      // Tombstones of one version may have different times; all replicas must end with the same one.
      if (gone) {
        const order = compareOrder(incoming, current)
        return order > 0 || (order === 0 && incoming.withdraws && !current.withdraws) ? incoming : current
      }
      const mutable = mergeLwwFields(current.mutable, incoming.mutable)
      const placed = laterPlaced(current, incoming)
      if (mutable === current.mutable && placed === current) return current
      const { generation, chain } = placed
      return { ...plainVersion(current), mutable, generation, ...(chain && { chain }) }
    },
    onUpdate(tx, before, after) {
      const live = (v: VersionRecord | undefined) => v !== undefined && v.state !== 'tombstone'
      countNoncurrent(tx, hooks(), before, after)
      const isHere = (v: VersionRecord | undefined) => v?.chain !== undefined && live(v)
      if (isHere(before) && !(isHere(after) && before!.id.equals(after!.id))) hooks().unplaced?.(tx, before!)
      if (isHere(after) && !before?.id.equals(after!.id)) hooks().placed?.(tx, after!)
      if (!after) return
      const isNewVersion = !before?.id.equals(after.id)
      if (before && live(before) && (isNewVersion || !live(after))) release(tx, hooks(), before)
      // A version that never took effect is not deleted: it was none.
      if (before && live(before) && !isNewVersion && !live(after) && !after.withdraws)
        hooks().noncurrentDeleted?.(tx, before)
      if (live(after) && isNewVersion) {
        acquire(tx, hooks(), after)
        // One that was written on a condition was current on those that voted for it, which have told of it.
        if (!after.chain) hooks().noncurrentCame?.(tx, after)
        // It comes late, from a replica that has not heard yet of the null version that replaced it.
        const current = after.isNull ? hooks().currentStored(tx, after.bucket, after.key) : undefined
        if (current?.isNull) clearNullSlot(tx, hooks(), current)
      }
      // See withdrawnOf.
      if (!live(after) && !live(before)) release(tx, hooks(), after)
    },
  }
}

/** Whether both were judged on one base, so that it is not known yet which of them took effect, if any. */
function isContested(before: VersionRecord, after: VersionRecord): boolean {
  return isOfChain(before, after) && isOfPlace(before, after)
}

/** Whether `after` follows `before` at such a distance that it does not tell whether that took effect. */
function isInDoubt(before: VersionRecord, after: VersionRecord): boolean {
  return before.chain !== undefined && isOfChain(before, after) && isBaseOf(before, after) === 'unknown'
}

/** Whether `before`, replaced by `after`, becomes a noncurrent version rather than going away. */
function staysAsNoncurrent(before: VersionRecord, after: VersionRecord): boolean {
  if (before.isNull && after.isNull) return false
  if (isOfChain(before, after)) {
    if (after.chain?.deletes && after.generation === before.generation + 1) return false
    // Beyond what the lineage tells, it is kept: better a version too much than one that was acknowledged too few.
    if (isBaseOf(before, after) === 'no') return false
  } else if (isDeletionOf(before, after)) return false
  return !after.withdraws?.some((id) => id.equals(before.id))
}

/**
 * Whether `after` shows the predecessor of `before`, which was deleted for good, or nothing: as written by earlier versions
 * of this program, in a later generation of the same time without a chain.
 */
export function isDeletionOf(before: VersionRecord, after: VersionRecord): boolean {
  return !after.chain && before.timeUs === after.timeUs && before.generation < after.generation
}

/**
 * A version as the version table keeps it: the same bytes on every replica that moves it there, however often, but for the
 * ballot of one that was written on a condition.
 */
export function noncurrentOf(v: VersionRecord): VersionRecord {
  const { withdraws: _, completes: __, chain, ...plain } = plainVersion(v)
  // One that became current again has another place.
  if (!chain || chain.deletes) return { ...plain, timeUs: v.createdUs, generation: 0 }
  return { ...plain, timeUs: v.createdUs, chain }
}

/** The one of two noncurrent versions of one place, or of two copies of one, that has the later ballot. */
function laterPlaced(a: VersionRecord, b: VersionRecord): VersionRecord {
  if (!b.chain || !a.chain) return b.chain ? b : a
  return Buffer.compare(b.chain.ballot, a.chain.ballot) > 0 ? b : a
}

/** The tombstone that replaces a version in the version table when it is deleted for good. */
export function tombstoneOf(
  of: { bucket: Buffer; key: Buffer; isNull: boolean; timeUs: number },
  id: Buffer,
): VersionRecord {
  return {
    bucket: of.bucket,
    key: of.key,
    state: 'tombstone',
    isNull: of.isNull,
    timeUs: of.timeUs,
    generation: 0,
    id,
    createdUs: of.timeUs,
    size: 0,
    etag: NO_ETAG,
    etagParts: 0,
    owner: '',
    headers: {},
    metadata: {},
    content: { kind: 'none' },
    mutable: {},
    body: undefined,
  }
}

const NO_ETAG = Buffer.alloc(16)

/**
 * The tombstone of a version that never was current, though replicas may have it: it keeps it from becoming a noncurrent
 * version, and releases its content. In a slot of its own, also for null versions.
 */
export function withdrawnOf(v: VersionRecord): VersionRecord {
  const tombstone = tombstoneOf(
    { ...v, bucket: v.bucket, key: v.key, isNull: false, timeUs: v.createdUs },
    v.id,
  )
  const content = v.content.kind === 'inline' ? tombstone.content : v.content
  return { ...tombstone, content, withdraws: [v.id] }
}

/**
 * A new null version replaces the noncurrent one, if there is any: also where the current one is a null version, since one that became
 * current again is there still, and one that a reader of an earlier current version has found on its way was written there.
 */
function clearNullSlot(tx: Tx, hooks: ContentHooks, after: VersionRecord): void {
  const old = hooks.noncurrent(tx, after.bucket, versionSortKey(after.key, NULL_SLOT, true))
  // A conditional row has the time of its base.
  const atUs = after.chain ? Math.max(after.timeUs, ballotTimeUs(after.chain.ballot)) : after.timeUs
  if (!old || old.state === 'tombstone' || old.timeUs >= atUs) return
  // It became current again by the deletion of its successor: one version in both tables, with one set of blocks.
  if (old.id.equals(after.id)) return
  hooks.updateNoncurrent(
    tx,
    tombstoneOf({ ...old, bucket: old.bucket, key: old.key, isNull: true, timeUs: old.timeUs }, old.id),
  )
}

/** The version as the owner of its blocks. */
export function referrerOf({ bucket, id, key, isNull }: VersionRecord): Referrer {
  return { kind: 'version', bucket, id, key, isNull }
}

function acquire(tx: Tx, hooks: ContentHooks, v: VersionRecord): void {
  if (v.content.kind === 'blocks') {
    hooks.enqueueRefs(tx, referrerOf(v), hashesOf(v.content.blocks), false)
  }
}

function release(tx: Tx, hooks: ContentHooks, v: VersionRecord): void {
  if (v.content.kind === 'blocks') {
    hooks.enqueueRefs(tx, referrerOf(v), hashesOf(v.content.blocks), true)
  }
  if (v.content.kind === 'lists' || (v.partCount ?? 0) > (v.parts?.length ?? 0))
    hooks.purgeLists(tx, v.bucket, v.id)
}
