import { pack, unpack } from 'msgpackr'
import type { Tx } from '../../db/db.js'
import { CarportError } from '../../util/errors.js'

/** A row that refers to blocks: where to look later whether it still does. Its `id` owns the blocks (see blockOwner). */
export type Referrer =
  | { kind: 'version'; bucket: Buffer; id: Buffer; key: Buffer; isNull: boolean }
  | { kind: 'part'; bucket: Buffer; id: Buffer; uploadId: Buffer; number: number }
  | { kind: 'list'; bucket: Buffer; id: Buffer; index: number }

/** See ReferenceQueue.enqueue: called in the row's transaction with the blocks that it starts or ceases to reference. */
export type EnqueueRefs = (tx: Tx, of: Referrer, hashes: readonly Buffer[], deleted: boolean) => void

const VERSION = 0
const PART = 1
const LIST = 2

/** The referrer as the queue of references keeps it. */
export function encodeReferrer(referrer: Referrer): Buffer {
  const { bucket, id } = referrer
  switch (referrer.kind) {
    case 'version':
      return pack([VERSION, bucket, id, referrer.key, referrer.isNull])
    case 'part':
      return pack([PART, bucket, id, referrer.uploadId, referrer.number])
    case 'list':
      return pack([LIST, bucket, id, referrer.index])
  }
}

/** @throws CarportError Corrupted */
export function decodeReferrer(bytes: Buffer): Referrer {
  const value: unknown = unpack(bytes)
  if (Array.isArray(value) && Buffer.isBuffer(value[1]) && Buffer.isBuffer(value[2])) {
    const [kind, bucket, id, place, detail] = value
    if (kind === VERSION && Buffer.isBuffer(place))
      return { kind: 'version', bucket, id, key: place, isNull: detail === true }
    if (kind === PART && Buffer.isBuffer(place))
      return { kind: 'part', bucket, id, uploadId: place, number: Number(detail) }
    if (kind === LIST) return { kind: 'list', bucket, id, index: Number(place) }
  }
  throw new CarportError('Corrupted', 'a queued reference does not tell which row it is of')
}
