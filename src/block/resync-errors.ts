import type { Db, Reader, Tx } from '../db/db.js'
import { successor } from '../table/row-keys.js'
import type { Backoff } from '../util/backoff.js'
import { versioned } from '../util/format.js'

/** hash → the failure */
const ERRORS = 'block:errors'
export const ERROR_TREES: readonly string[] = [ERRORS]

/** The waits after failed attempts at one block. */
export const RESYNC_BACKOFF: Backoff = { baseMs: 60_000, maxMs: 3_600_000 }
const MESSAGE_BYTES_MAX = 300

export interface ResyncError {
  hash: Buffer
  attempts: number
  lastTryMs: number
  message: string
}

/** Blocks that could not be brought to where they should be, with the number of attempts so far. */
export class ResyncErrors {
  constructor(private readonly db: Db) {}

  /** Notes a failed attempt. Returns the number of attempts so far. */
  record(tx: Tx, hash: Buffer, nowMs: number, message: string): number {
    const attempts = (this.get(tx, hash)?.attempts ?? 0) + 1
    tx.put(ERRORS, hash, FORMAT.encode({ attempts, lastTryMs: nowMs, message }))
    return attempts
  }

  clear(tx: Tx, hash: Buffer): void {
    if (tx.has(ERRORS, hash)) tx.delete(ERRORS, hash)
  }

  get(reader: Reader, hash: Buffer): ResyncError | undefined {
    const value = reader.get(ERRORS, hash)
    return value && { hash, ...FORMAT.decode(value) }
  }

  /** Failures in the order of their hashes, behind `after`. */
  list(limit: number, after?: Buffer): ResyncError[] {
    const errors: ResyncError[] = []
    for (const { key, value } of this.db.range(ERRORS, { limit, ...(after && { start: successor(after) }) }))
      errors.push({ hash: Buffer.from(key), ...FORMAT.decode(value) })
    return errors
  }

  get count(): number {
    return this.db.count(ERRORS)
  }
}

type StoredError = Omit<ResyncError, 'hash'>

const FORMAT = versioned<StoredError>('failure of a block', {
  encode({ attempts, lastTryMs, message }) {
    const head = Buffer.alloc(12)
    head.writeUInt32BE(attempts, 0)
    head.writeDoubleBE(lastTryMs, 4)
    return Buffer.concat([head, Buffer.from(message).subarray(0, MESSAGE_BYTES_MAX)])
  },
  writes: 1,
  versions: { 1: decode },
  // The first release began with the number of attempts, whose first byte is zero.
  unmarked: { is: (stored) => stored[0] === 0, decode },
})

/** [attempts u32][time of the last f64 ms][message UTF-8] */
function decode(payload: Buffer): StoredError {
  return {
    attempts: payload.readUInt32BE(0),
    lastTryMs: payload.readDoubleBE(4),
    message: payload.toString('utf8', 12),
  }
}
