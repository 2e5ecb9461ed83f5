import { mergeLwwFields } from '../../crdt/lww.js'
import type { Reader, Tx } from '../../db/db.js'
import type { TableSchema } from '../../table/schema.js'
import { type BucketCounts, count } from '../buckets/counters.js'
import { md5 } from '../content/hashing.js'
import { blockOwner, hashesOf } from '../content/refs.js'
import { bucketPartition, keyAtStart, NULL_SLOT, terminatedKey, versionSortKey } from '../sort-keys.js'
import { decodeHead, encodeHead } from './codec.js'
import { compareOrder, plainVersion, type VersionRecord } from './record.js'

/** The other parts of the node that the object tables' hooks call, all within the row's transaction. */
export interface ContentHooks {
  /** The version or part now references (or no longer references) these blocks. */
  enqueueRefs(tx: Tx, owner: Buffer, hashes: readonly Buffer[], deleted: boolean): void
  /** The list rows of that owner are no longer needed; they are deleted in the background. */
  purgeLists(tx: Tx, bucket: Buffer, owner: Buffer): void
  /** This node's copy of a noncurrent version. */
  noncurrent(tx: Tx, bucket: Buffer, sortKey: Buffer): VersionRecord | undefined
  /** This node's copy of a key's current row. */
  current(reader: Reader, bucket: Buffer, key: Buffer): VersionRecord | undefined
  /** Merges a noncurrent version into this node's copy of the version table. */
  updateNoncurrent(tx: Tx, record: VersionRecord): void
  /** That upload is completed. */
  endUpload(tx: Tx, bucket: Buffer, key: Buffer, uploadId: Buffer): void
  /** The row of a key changed: for event notifications and the like. */
  changed?(tx: Tx, before: VersionRecord | undefined, after: VersionRecord): void
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
      if (order !== 0) return order > 0 ? incoming : current
      const mutable = mergeLwwFields(current.mutable, incoming.mutable)
      return mutable === current.mutable ? current : { ...plainVersion(current), mutable }
    },
    hiddenBy: (incoming, merged) => (compareOrder(merged, incoming) > 0 ? merged.timeUs : 0),
    onUpdate(tx, before, after) {
      countObject(tx, before, after)
      if (!after) return
      const isNewVersion = !before?.id.equals(after.id)
      if (isNewVersion && before && before.state !== 'tombstone') {
        if (staysAsNoncurrent(before, after)) hooks.updateNoncurrent(tx, noncurrentOf(before))
        else release(tx, hooks, before)
      }
      // Deleted for good, and nothing before it to become current again: the tombstone has the version's id.
      if (!isNewVersion && before?.state === 'object' && after.state === 'tombstone')
        release(tx, hooks, before)
      if (isNewVersion) {
        acquire(tx, hooks, after)
        if (after.isNull && before && mayLeaveNullBehind(before)) clearNullSlot(tx, hooks, after)
        if (after.completes) hooks.endUpload(tx, after.bucket, after.key, after.completes)
        for (const id of after.withdraws ?? []) hooks.updateNoncurrent(tx, tombstoneOf(after, id))
      }
      hooks.changed?.(tx, before, after)
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
    merge(current, incoming) {
      if (!current.id.equals(incoming.id)) {
        // Only null versions share a slot. Ids begin with their time, so the greater one is the later.
        return Buffer.compare(incoming.id, current.id) > 0 ? incoming : current
      }
      const gone = current.state === 'tombstone'
      if (gone !== (incoming.state === 'tombstone')) return gone ? current : incoming
      // Tombstones of one version may have different times; all replicas must end with the same one.
      if (gone) return compareOrder(incoming, current) > 0 ? incoming : current
      const mutable = mergeLwwFields(current.mutable, incoming.mutable)
      return mutable === current.mutable ? current : { ...plainVersion(current), mutable }
    },
    onUpdate(tx, before, after) {
      const live = (v: VersionRecord | undefined) => v !== undefined && v.state !== 'tombstone'
      const bucket = (after ?? before!).bucket
      count(tx, bucket, {
        noncurrent: Number(live(after)) - Number(live(before)),
        bytes: (live(after) ? after!.size : 0) - (live(before) ? before!.size : 0),
      })
      if (!after) return
      const isNewVersion = !before?.id.equals(after.id)
      if (before && live(before) && (isNewVersion || !live(after))) release(tx, hooks(), before)
      if (before && live(before) && !isNewVersion && !live(after)) hooks().noncurrentDeleted?.(tx, before)
      if (live(after) && isNewVersion) acquire(tx, hooks(), after)
    },
  }
}

/** Whether `before`, replaced by `after`, becomes a noncurrent version rather than going away. */
function staysAsNoncurrent(before: VersionRecord, after: VersionRecord): boolean {
  if (before.isNull && after.isNull) return false
  // A later generation of the same time is the deletion of `before`: the row then shows its predecessor.
  if (before.timeUs === after.timeUs && before.generation < after.generation) return false
  return !after.withdraws?.some((id) => id.equals(before.id))
}

/** A version as the version table keeps it: the same bytes on every replica that moves it there, however often. */
export function noncurrentOf(v: VersionRecord): VersionRecord {
  const { withdraws: _, completes: __, ...plain } = plainVersion(v)
  return { ...plain, timeUs: v.createdUs, generation: 0 }
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

/** Whether the version table may have a null version when this current one is replaced. */
function mayLeaveNullBehind(before: VersionRecord): boolean {
  // One that became current again by a deletion (a later generation) is in the version table still.
  return !before.isNull || before.generation > 0
}

/** A new null version replaces the noncurrent one, if there is any. */
function clearNullSlot(tx: Tx, hooks: ContentHooks, after: VersionRecord): void {
  const old = hooks.noncurrent(tx, after.bucket, versionSortKey(after.key, NULL_SLOT, true))
  if (!old || old.state === 'tombstone' || old.timeUs >= after.timeUs) return
  // It became current again by the deletion of its successor: one version in both tables, with one set of blocks.
  if (old.id.equals(after.id)) return
  hooks.updateNoncurrent(
    tx,
    tombstoneOf({ ...old, bucket: old.bucket, key: old.key, isNull: true, timeUs: old.timeUs }, old.id),
  )
}

function acquire(tx: Tx, hooks: ContentHooks, v: VersionRecord): void {
  if (v.content.kind === 'blocks') {
    hooks.enqueueRefs(tx, blockOwner(v.id), hashesOf(v.content.blocks), false)
  }
}

function release(tx: Tx, hooks: ContentHooks, v: VersionRecord): void {
  if (v.content.kind === 'blocks') {
    hooks.enqueueRefs(tx, blockOwner(v.id), hashesOf(v.content.blocks), true)
  }
  if (v.content.kind === 'lists' || (v.partCount ?? 0) > (v.parts?.length ?? 0))
    hooks.purgeLists(tx, v.bucket, v.id)
}

function countObject(tx: Tx, before: VersionRecord | undefined, after: VersionRecord | undefined): void {
  const was = before?.state === 'object'
  const is = after?.state === 'object'
  const change: Partial<BucketCounts> = {
    objects: Number(is) - Number(was),
    bytes: (is ? after.size : 0) - (was ? before.size : 0),
    markers: Number(after?.state === 'marker') - Number(before?.state === 'marker'),
  }
  if (change.objects !== 0 || change.bytes !== 0 || change.markers !== 0)
    count(tx, (after ?? before!).bucket, change)
}
