import type { Reader, TreeName, Tx } from '../db/db.js'
import type { NodeId } from '../net/transport.js'
import { assert } from '../util/assert.js'
import { versioned } from '../util/format.js'
import { HASH_BYTES } from './format.js'

/** hash, owner → expiry, and who claimed it */
const CLAIMS: TreeName = 'block:claims'
export const CLAIM_TREES: readonly TreeName[] = [CLAIMS]

/** Length of an owner id, the sort key of block_ref, in bytes. */
export const OWNER_BYTES = 16
/** Length of the name of a process among those of its node. */
export const INCARNATION_BYTES = 8
/** First bytes of the node's id, then the process's incarnation. */
export const CLAIMANT_BYTES = 16
const NODE_BYTES = CLAIMANT_BYTES - INCARNATION_BYTES
const TIME_BYTES = 8

/** The process that writes a block for somebody. */
export interface Claimant {
  node: NodeId
  incarnation: Buffer
}

/** "A write on behalf of `owner`, whose reference has not arrived yet, needs this block." */
export interface Claim {
  hash: Buffer
  owner: Buffer
  /** When the claim expires, in ms since the epoch. */
  untilMs: number
  /** See `claimantId`; absent in claims that an earlier release made. */
  by: Buffer | undefined
}

/** 16 bytes that stand for a process. */
export function claimantId({ node, incarnation }: Claimant): Buffer {
  return Buffer.concat([Buffer.from(node.slice(0, 2 * NODE_BYTES), 'hex'), incarnation], CLAIMANT_BYTES)
}

/** The claims on a node's blocks. */
export class Claims {
  put(tx: Tx, { hash, owner, untilMs, by }: Claim): void {
    tx.put(CLAIMS, claimKey(hash, owner), FORMAT.encode({ untilMs, by }))
  }

  get(reader: Reader, hash: Buffer, owner: Buffer): Claim | undefined {
    const key = claimKey(hash, owner)
    const value = reader.get(CLAIMS, key)
    return value && decode(key, value)
  }

  /** Ends a claim. Returns whether there was one. */
  delete(tx: Tx, hash: Buffer, owner: Buffer): boolean {
    const key = claimKey(hash, owner)
    if (!tx.has(CLAIMS, key)) return false
    tx.delete(CLAIMS, key)
    return true
  }

  deleteAll(tx: Tx, hash: Buffer): void {
    for (const key of [...tx.keys(CLAIMS, rangeOf(hash))]) tx.delete(CLAIMS, key)
  }

  /** When the last claim of a block expires, in ms since the epoch; 0 if there is none. */
  untilMs(reader: Reader, hash: Buffer): number {
    let untilMs = 0
    for (const { value } of reader.range(CLAIMS, rangeOf(hash)))
      untilMs = Math.max(untilMs, FORMAT.decode(value).untilMs)
    return untilMs
  }

  /** Forgets expired claims of a block. Returns the result of `untilMs` for the others. */
  forgetExpired(tx: Tx, hash: Buffer, nowMs: number): number {
    const expired: Buffer[] = []
    let untilMs = 0
    for (const { key, value } of tx.range(CLAIMS, rangeOf(hash))) {
      const { untilMs: claimedUntilMs } = FORMAT.decode(value)
      if (claimedUntilMs <= nowMs) expired.push(Buffer.from(key))
      else untilMs = Math.max(untilMs, claimedUntilMs)
    }
    for (const key of expired) tx.delete(CLAIMS, key)
    return untilMs
  }

  /** Claims in the order of hash and owner, after those two (concatenated), of one partition if given. */
  page(reader: Reader, options: { partition?: number; after?: Buffer | undefined; limit: number }): Claim[] {
    const { partition, after, limit } = options
    let start = partition === undefined ? undefined : Buffer.of(partition)
    if (after) start = Buffer.concat([after, Buffer.alloc(1)])
    const end = partition === undefined || partition === 255 ? undefined : Buffer.of(partition + 1)
    const found: Claim[] = []
    for (const { key, value } of reader.range(CLAIMS, {
      ...(start && { start }),
      ...(end && { end }),
      limit,
    }))
      found.push(decode(key, value))
    return found
  }

  /** Whether another process of the claimant's node made the claim. */
  isOrphan({ by }: Claim, claimant: Claimant): boolean {
    const id = claimantId(claimant)
    if (!by) return false
    return by.subarray(0, NODE_BYTES).equals(id.subarray(0, NODE_BYTES)) && !by.equals(id)
  }

  count(reader: Reader): number {
    return reader.count(CLAIMS)
  }
}

type StoredClaim = Pick<Claim, 'untilMs' | 'by'>

const FORMAT = versioned<StoredClaim>('claim of a block', {
  encode: ({ untilMs, by }) => (by ? Buffer.concat([encodeTime(untilMs), by]) : encodeTime(untilMs)),
  writes: 1,
  versions: { 1: decodeFields },
  // The first release wrote the time alone.
  unmarked: { is: (stored) => stored.length === TIME_BYTES, decode: decodeFields },
})

/** [expiry 8][claimant 16, if known] */
function decodeFields(payload: Buffer): StoredClaim {
  const by =
    payload.length === TIME_BYTES + CLAIMANT_BYTES ? Buffer.from(payload.subarray(TIME_BYTES)) : undefined
  return { untilMs: decodeTime(payload), by }
}

function claimKey(hash: Buffer, owner: Buffer): Buffer {
  assert(hash.length === HASH_BYTES && owner.length === OWNER_BYTES, 'a claim is of a hash and an owner')
  return Buffer.concat([hash, owner], HASH_BYTES + OWNER_BYTES)
}

function rangeOf(hash: Buffer): { start: Buffer; end: Buffer } {
  return { start: hash, end: Buffer.concat([hash, Buffer.alloc(OWNER_BYTES + 1, 0xff)]) }
}

function decode(key: Buffer, value: Buffer): Claim {
  return {
    hash: Buffer.from(key.subarray(0, HASH_BYTES)),
    owner: Buffer.from(key.subarray(HASH_BYTES)),
    ...FORMAT.decode(value),
  }
}

/** Milliseconds as 8 bytes big endian, so that times sort. */
export function encodeTime(ms: number): Buffer {
  const bytes = Buffer.allocUnsafe(TIME_BYTES)
  const whole = Math.max(0, Math.ceil(ms))
  bytes.writeUInt32BE(Math.floor(whole / 2 ** 32), 0)
  bytes.writeUInt32BE(whole % 2 ** 32, 4)
  return bytes
}

export function decodeTime(bytes: Buffer): number {
  return bytes.readUInt32BE(0) * 2 ** 32 + bytes.readUInt32BE(4)
}
