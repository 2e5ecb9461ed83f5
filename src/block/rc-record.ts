import { versioned } from '../util/format.js'

/** What a node knows of a block that it stores, should store, or stored a moment ago. */
export interface RcRecord {
  /** Live rows of the block_ref table in this node's copy. */
  count: number
  /** The file is believed to be there: set after (or while) it is written, cleared when it is found missing. */
  present: boolean
  /** The deleter is between its decision and the removal of the file. */
  deleting: boolean
  /** At zero references the block may be deleted from this time on (ms since the epoch), claims aside. */
  keepUntilMs: number
  /** The block's place in the resync queue: when it is looked at next; 0 if it is not queued. */
  dueMs: number
}

const BYTES = 21

export function newRecord(): RcRecord {
  return { count: 0, present: false, deleting: false, keepUntilMs: 0, dueMs: 0 }
}

const FORMAT = versioned<RcRecord>('record of a block', {
  encode: encodeFields,
  writes: 1,
  versions: { 1: decodeFields },
  // The first release wrote the fields alone.
  unmarked: { is: (stored) => stored.length === BYTES, decode: decodeFields },
})

export const encodeRecord = FORMAT.encode
/** @throws CarportError Corrupted */
export const decodeRecord = FORMAT.decode

/** [flags u8][count u32][kept until f64 ms][due f64 ms] */
function encodeFields(record: RcRecord): Buffer {
  const bytes = Buffer.allocUnsafe(BYTES)
  bytes[0] = (record.present ? 1 : 0) | (record.deleting ? 2 : 0)
  bytes.writeUInt32BE(record.count, 1)
  bytes.writeDoubleBE(record.keepUntilMs, 5)
  bytes.writeDoubleBE(record.dueMs, 13)
  return bytes
}

function decodeFields(bytes: Buffer): RcRecord {
  return {
    present: (bytes[0]! & 1) !== 0,
    deleting: (bytes[0]! & 2) !== 0,
    count: bytes.readUInt32BE(1),
    keepUntilMs: bytes.readDoubleBE(5),
    dueMs: bytes.readDoubleBE(13),
  }
}

export type Verdict =
  /** Referenced and there: nothing to do. */
  | { kind: 'keep' }
  /** Referenced, or claimed until then, and absent: another replica has it. */
  | { kind: 'fetch'; untilMs: number }
  /** Not referenced, but to be kept until then. */
  | { kind: 'wait'; untilMs: number }
  /** Not referenced, past every grace: the file goes, and then the record. */
  | { kind: 'delete' }
  /** Not referenced and no file: only the record is left. */
  | { kind: 'forget' }

/**
 * What to do about a block. `claimedUntilMs` is the latest expiry of its claims (writes whose references have not
 * arrived yet), 0 if there are none; `exists` says whether its file is on this node.
 */
export function judge(record: RcRecord, claimedUntilMs: number, exists: boolean, nowMs: number): Verdict {
  if (record.count > 0)
    return exists ? { kind: 'keep' } : { kind: 'fetch', untilMs: Number.POSITIVE_INFINITY }
  const untilMs = Math.max(record.keepUntilMs, claimedUntilMs)
  if (claimedUntilMs > nowMs && !exists) return { kind: 'fetch', untilMs: claimedUntilMs }
  if (untilMs > nowMs) return { kind: 'wait', untilMs }
  return { kind: exists ? 'delete' : 'forget' }
}
