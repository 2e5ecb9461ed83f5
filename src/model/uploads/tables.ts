import { Packr } from 'msgpackr'
import type { Tx } from '../../db/db.js'
import type { TableSchema } from '../../table/schema.js'
import { assert } from '../../util/assert.js'
import { CarportError } from '../../util/errors.js'
import { type Format, looksLikeMsgpack, versioned } from '../../util/format.js'
import { count } from '../buckets/counters.js'
import type { ContentEncryption } from '../content/ciphers.js'
import { type Content, hashesOf } from '../content/refs.js'
import { bucketPartition, uploadSortKey } from '../sort-keys.js'
import type { ChecksumAlgorithm, Mutable, StorageClass } from '../versions/record.js'
import type { ContentHooks } from '../versions/tables.js'

/** A multipart upload, as CreateMultipartUpload described it. Deleted when it is completed or aborted. */
export interface UploadRow {
  bucket: Buffer
  key: Buffer
  /** 16 bytes: time in µs, then random, like a version id. */
  id: Buffer
  deleted: boolean
  timeUs: number
  owner: string
  headers: Record<string, string>
  metadata: Record<string, string>
  checksumAlgorithm?: ChecksumAlgorithm
  checksumType?: 'FULL_OBJECT' | 'COMPOSITE'
  /** The class that the object will have; absent for STANDARD. */
  storageClass?: StorageClass
  /** Of all parts, each of which has its own IV. */
  encryption?: ContentEncryption
  mutable: Mutable
}

/** A part of an upload; a later one of the same number replaces it. */
export interface PartRow {
  bucket: Buffer
  key: Buffer
  uploadId: Buffer
  number: number
  deleted: boolean
  /** Owns the part's blocks and lists. 16 bytes, ordered by time. */
  id: Buffer
  timeUs: number
  size: number
  etag: Buffer
  checksumAlgorithm?: ChecksumAlgorithm
  checksum?: Buffer
  /** CRC-64/NVME of a part of an upload that was begun without an algorithm: that of the whole is made of them. */
  crc64?: Buffer
  /** Of an encrypted part. */
  iv?: Buffer
  content: Content
}

const packr = new Packr({ useRecords: false, variableMapSize: true })

const UPLOAD = rowFormat<UploadRow>('upload row', ['bucket', 'key', 'id'])
const PART = rowFormat<PartRow>('part row', ['bucket', 'key', 'uploadId', 'id', 'etag'])

function rowFormat<T>(kind: string, buffers: readonly string[]): Format<T> {
  const decode = (payload: Buffer) => unpackMap<T>(payload, buffers)
  return versioned<T>(kind, {
    encode: (row) => packr.pack(row),
    writes: 'unmarked',
    versions: { 1: decode },
    unmarked: { is: looksLikeMsgpack, decode },
  })
}

/** Reads msgpack that must be a map with these fields as Buffers. */
function unpackMap<T>(head: Buffer, buffers: readonly string[]): T {
  const value = packr.unpack(head) as Record<string, unknown> | null
  if (typeof value !== 'object' || value === null || !buffers.every((name) => Buffer.isBuffer(value[name]))) {
    throw new CarportError('Corrupted', 'malformed upload row')
  }
  return value as T
}

const shared = {
  placement: 'sharded' as const,
  partitionKeyBytes: 16,
  partition: bucketPartition,
  partitionKey: (row: { bucket: Buffer }) => row.bucket,
  isTombstone: (row: { deleted: boolean }) => row.deleted,
  timeUs: (row: { timeUs: number }) => row.timeUs,
}

/** @param purgeParts called in the transaction that deletes an upload: its parts go in the background. */
export function uploadTable(
  purgeParts: (tx: Tx, bucket: Buffer, uploadId: Buffer) => void,
): TableSchema<UploadRow> {
  return {
    ...shared,
    name: 'upload',
    sortKey: (row) => uploadSortKey(row.key, row.id),
    encode: (row) => ({ head: UPLOAD.encode(row) }),
    decode: UPLOAD.decode,
    // All deletions of an upload make the same row, see deletedUpload.
    merge: (current, incoming) => (incoming.deleted && !current.deleted ? incoming : current),
    onUpdate(tx, before, after) {
      const row = after ?? before!
      const change =
        Number(after !== undefined && !after.deleted) - Number(before !== undefined && !before.deleted)
      if (change !== 0) count(tx, row.bucket, { uploads: change })
      if (after?.deleted && !before?.deleted) purgeParts(tx, after.bucket, after.id)
    },
  }
}

/** The tombstone of an upload that was completed or aborted: the same bytes on every replica, since copies are compared. */
export function deletedUpload(upload: Pick<UploadRow, 'bucket' | 'key' | 'id'>): UploadRow {
  const { bucket, key, id } = upload
  return { bucket, key, id, deleted: true, timeUs: 0, owner: '', headers: {}, metadata: {}, mutable: {} }
}

/** The tombstone of a part whose upload ended: the same bytes whoever deletes it, since copies are compared. */
export function deletedPart({ bucket, key, uploadId, number, id, timeUs }: PartRow): PartRow {
  const content: Content = { kind: 'none' }
  return { bucket, key, uploadId, number, deleted: true, id, timeUs, size: 0, etag: NO_ETAG, content }
}

const NO_ETAG = Buffer.alloc(16)

/** Sort key of a part: upload, number. */
export function partSortKey(uploadId: Buffer, number: number): Buffer {
  assert(uploadId.length === 16, 'an upload id has 16 bytes')
  const sortKey = Buffer.allocUnsafe(18)
  uploadId.copy(sortKey)
  sortKey.writeUInt16BE(number, 16)
  return sortKey
}

export function partTable(hooks: () => ContentHooks): TableSchema<PartRow> {
  const release = (tx: Tx, row: PartRow) => {
    if (row.content.kind === 'blocks')
      hooks().enqueueRefs(tx, { kind: 'part', ...row }, hashesOf(row.content.blocks), true)
    if (row.content.kind === 'lists') hooks().purgeLists(tx, row.bucket, row.id)
  }
  return {
    ...shared,
    name: 'part',
    sortKey: (row) => partSortKey(row.uploadId, row.number),
    // The order of fields is part of the encoding: content comes last, however the row was made.
    encode: ({ content, ...row }) => ({ head: PART.encode({ ...row, content }) }),
    decode: PART.decode,
    merge(current, incoming) {
      if (current.deleted !== incoming.deleted) return current.deleted ? current : incoming
      const later = incoming.timeUs - current.timeUs || Buffer.compare(incoming.id, current.id)
      return later > 0 ? incoming : current
    },
    hiddenBy: (incoming, merged) =>
      !incoming.deleted && !merged.deleted && !merged.id.equals(incoming.id) ? merged.timeUs : 0,
    onUpdate(tx, before, after) {
      const live = (row: PartRow | undefined) => Number(row !== undefined && !row.deleted)
      const size = (row: PartRow | undefined) => (row && !row.deleted ? row.size : 0)
      if (size(after) !== size(before) || live(after) !== live(before)) {
        const change = { uploadBytes: size(after) - size(before), parts: live(after) - live(before) }
        count(tx, (after ?? before!).bucket, change)
      }
      if (!after) return
      const isNew = !before?.id.equals(after.id)
      if (before && !before.deleted && (isNew || after.deleted)) release(tx, before)
      if (isNew && !after.deleted && after.content.kind === 'blocks') {
        hooks().enqueueRefs(tx, { kind: 'part', ...after }, hashesOf(after.content.blocks), false)
      }
    },
  }
}
