import { crc32c } from '../util/crc32c.js'
import { HASH_BYTES } from './row-keys.js'

/*
 * A value of a table's head tree: the head under a seal, which vouches for the row's key, head and body.
 *
 *   0  1  0xc1
 *   1  4  CRC-32C over the row key and everything from byte 5 on, big endian
 *   5  4  CRC-32C of the body, big endian; 0: the row has no body (a body whose checksum is 0 has 1 here)
 *   9     the head
 *
 * A value that was found damaged gives way to a mark of it, which keeps what was found, for whoever wants to look into it:
 *
 *   0  1  0x3e: no bit of it is that of 0xc1
 *   1  1  flags: bit 0 = no other replica could help, see `LocalTable.giveUp`
 *   2 16  the row hash that the index had; zeroes if it had none
 *  18  4  CRC-32C over the row key and bytes 0..17, big endian
 *  22     the damaged value
 *
 * Values of before these forms are bare heads. None of them begins with either byte: heads begin with a format number below
 * 32, or with a map or an array of MessagePack, in which 0xc1 is never used. The index vouches for bare heads.
 */
const SEALED = 0xc1
const MARKED = 0x3e
const SEAL_BYTES = 9
const BODY_CHECKSUM_AT = 5
const MARK_CHECKSUM_AT = 2 + HASH_BYTES
const MARK_BYTES = MARK_CHECKSUM_AT + 4
const FLAG_GIVEN_UP = 1
const NO_HASH = Buffer.alloc(HASH_BYTES)

/** A head under its seal, as it is stored. */
export function seal(rowKey: Buffer, head: Buffer, body: Buffer | undefined): Buffer {
  const value = Buffer.allocUnsafe(SEAL_BYTES + head.length)
  value[0] = SEALED
  value.writeUInt32BE(body ? bodyChecksum(body) : 0, BODY_CHECKSUM_AT)
  value.set(head, SEAL_BYTES)
  value.writeUInt32BE(checksum(rowKey, value), 1)
  return value
}

/** Whether a stored value is, or pretends to be, under a seal. */
export function isSealed(value: Buffer): boolean {
  return value[0] === SEALED
}

/** The head of a sealed value, not copied; undefined if the seal does not hold under this key. */
export function unseal(rowKey: Buffer, value: Buffer): Buffer | undefined {
  if (value.length < SEAL_BYTES || value.readUInt32BE(1) !== checksum(rowKey, value)) return undefined
  return value.subarray(SEAL_BYTES)
}

/** The head in a value that was verified, sealed or bare; not copied. */
export function headOf(value: Buffer): Buffer {
  return isSealed(value) ? value.subarray(SEAL_BYTES) : value
}

/** Whether a row has a body, by its sealed value. */
export function sealedBody(value: Buffer): boolean {
  return value.readUInt32BE(BODY_CHECKSUM_AT) !== 0
}

/** Whether the body that was found is the one that the seal, which holds, speaks of. */
export function bodyHolds(value: Buffer, body: Buffer | undefined): boolean {
  return value.readUInt32BE(BODY_CHECKSUM_AT) === (body ? bodyChecksum(body) : 0)
}

function checksum(rowKey: Buffer, value: Buffer): number {
  return crc32c(value, BODY_CHECKSUM_AT, crc32c(rowKey))
}

function bodyChecksum(body: Buffer): number {
  return crc32c(body) || 1
}

/** What is known of a row whose value was damaged. */
export interface Mark {
  /** The hash of the row that was here, by the index; undefined if that had none. */
  readonly rowHash: Buffer | undefined
  /** Whether every other replica was asked, and too few were intact to tell what was here. */
  readonly givenUp: boolean
}

/** The mark in place of a damaged value; `value` is empty where the row's own place was lost. */
export function markDamaged(rowKey: Buffer, mark: Mark, value: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(MARK_BYTES + value.length)
  bytes[0] = MARKED
  bytes[1] = mark.givenUp ? FLAG_GIVEN_UP : 0
  bytes.set(mark.rowHash ?? NO_HASH, 2)
  bytes.writeUInt32BE(markChecksum(rowKey, bytes), MARK_CHECKSUM_AT)
  bytes.set(value, MARK_BYTES)
  return bytes
}

/** The mark that a stored value is; undefined if it is none, or was damaged itself. */
export function readMark(rowKey: Buffer, value: Buffer): Mark | undefined {
  if (value[0] !== MARKED || value.length < MARK_BYTES) return undefined
  if (value.readUInt32BE(MARK_CHECKSUM_AT) !== markChecksum(rowKey, value)) return undefined
  const rowHash = Buffer.from(value.subarray(2, MARK_CHECKSUM_AT))
  return {
    rowHash: rowHash.equals(NO_HASH) ? undefined : rowHash,
    givenUp: (value[1]! & FLAG_GIVEN_UP) !== 0,
  }
}

/** What a mark keeps of the damaged value. */
export function markedValue(mark: Buffer): Buffer {
  return mark.subarray(MARK_BYTES)
}

function markChecksum(rowKey: Buffer, mark: Buffer): number {
  return crc32c(mark.subarray(0, MARK_CHECKSUM_AT), 0, crc32c(rowKey))
}
