import type { Db, Reader, Tx } from '../db/db.js'
import type { Backoff } from '../util/backoff.js'

/** hash → attempts (4), time of the last in ms (8), message (UTF-8) */
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

  /** Returns the number of attempts, this one included. */
  record(tx: Tx, hash: Buffer, nowMs: number, message: string): number {
    const attempts = (this.get(tx, hash)?.attempts ?? 0) + 1
    const head = Buffer.alloc(12)
    head.writeUInt32BE(attempts, 0)
    head.writeDoubleBE(nowMs, 4)
    tx.put(ERRORS, hash, Buffer.concat([head, Buffer.from(message).subarray(0, MESSAGE_BYTES_MAX)]))
    return attempts
  }

  clear(tx: Tx, hash: Buffer): void {
    if (tx.has(ERRORS, hash)) tx.delete(ERRORS, hash)
  }

  get(reader: Reader, hash: Buffer): ResyncError | undefined {
    const value = reader.get(ERRORS, hash)
    return value && decode(hash, value)
  }

  list(limit: number): ResyncError[] {
    const errors: ResyncError[] = []
    for (const { key, value } of this.db.range(ERRORS, { limit }))
      errors.push(decode(Buffer.from(key), value))
    return errors
  }

  get count(): number {
    return this.db.count(ERRORS)
  }
}

function decode(hash: Buffer, value: Buffer): ResyncError {
  return {
    hash,
    attempts: value.readUInt32BE(0),
    lastTryMs: value.readDoubleBE(4),
    message: value.toString('utf8', 12),
  }
}
