import { createHash } from 'node:crypto'
import { crc32c } from '@node-rs/crc32'
import { assert } from '../util/assert.js'
import { CarportError } from '../util/errors.js'
import type { Codec } from './codec.js'

/*
 * A block's file: a head, then the stored bytes (plain or one zstd frame).
 *
 *   0  3  "CPB"
 *   3  1  version, 2
 *   4  1  flags: bit 0 = zstd
 *   5  3  zero
 *   8  4  length of the plain content, big endian
 *  12  4  CRC-32C over bytes 0..11 as they are in version 1, and the stored bytes, big endian
 *  16 32  the block's hash: SHA-256 of the plain content
 *  48  4  CRC-32C over bytes 0..47, big endian
 *
 * Version 1, the first release's, ends at byte 16. A file of it cannot tell whose block it is, and its readers compute the
 * hash. In memory and between nodes a block has a head of version 1, since both sides know the hash from the request; a
 * reply to a node that asks for version 2 has that head, and so vouches for the hash.
 */
export const HEAD_BYTES = 16
export const FILE_HEAD_BYTES = 52
/** The newest version of the head. */
export const FILE_VERSION = 2
const VERSION = 1
const VERSION_AT = 3
const HASH_AT = 16
const HEAD_CHECKSUM_AT = 48
const FLAG_ZSTD = 1

/** The longest content of a block, in bytes, with room for what encryption adds; lengths from outside are checked. */
export const BLOCK_BYTES_MAX = (256 << 20) + 4096
/** Length of a hash (SHA-256) in bytes. */
export const HASH_BYTES = 32

/** A block as it is stored and sent. */
export interface StoredBlock {
  head: Buffer
  /** The bytes after the head. */
  payload: Buffer
  /** It was read from a file of the first release, which does not name its block; its hash was computed. */
  isUnnamed?: true
}

export interface BlockHead {
  compressed: boolean
  plainBytes: number
  crc: number
}

/** Makes the head for `payload`; computes its checksum. */
export function makeBlock(payload: Buffer, plainBytes: number, compressed: boolean): StoredBlock {
  assert(plainBytes >= 0 && plainBytes <= BLOCK_BYTES_MAX, 'a block has at most BLOCK_BYTES_MAX bytes')
  assert(compressed || payload.length === plainBytes, 'a block that is not compressed is its content')
  const head = Buffer.alloc(HEAD_BYTES)
  head.write('CPB', 0, 'latin1')
  head[VERSION_AT] = VERSION
  head[4] = compressed ? FLAG_ZSTD : 0
  head.writeUInt32BE(plainBytes, 8)
  head.writeUInt32BE(crc32c(payload, crc32c(head.subarray(0, 12))), 12)
  return { head, payload }
}

/** Decodes a head; undefined if the bytes are none. It does not verify the checksum. */
export function parseHead(head: Buffer): BlockHead | undefined {
  if (head.length < HEAD_BYTES) return undefined
  if (head[0] !== 0x43 || head[1] !== 0x50 || head[2] !== 0x42 || head[VERSION_AT] !== VERSION)
    return undefined
  if (head[4]! > FLAG_ZSTD) return undefined
  const plainBytes = head.readUInt32BE(8)
  if (plainBytes > BLOCK_BYTES_MAX) return undefined
  return { compressed: head[4] === FLAG_ZSTD, plainBytes, crc: head.readUInt32BE(12) }
}

/** Whether `makeBlock` made this head and payload, as far as the checksum can tell. */
export function isIntact(block: StoredBlock): boolean {
  const parsed = parseHead(block.head)
  if (!parsed) return false
  if (!parsed.compressed && parsed.plainBytes !== block.payload.length) return false
  return crc32c(block.payload, crc32c(block.head.subarray(0, 12))) === parsed.crc
}

/** The head of a block's file, version 2, made from the block's own. */
export function fileHead(block: Pick<StoredBlock, 'head'>, hash: Buffer): Buffer {
  const head = Buffer.allocUnsafe(FILE_HEAD_BYTES)
  block.head.copy(head)
  head[VERSION_AT] = FILE_VERSION
  hash.copy(head, HASH_AT)
  head.writeUInt32BE(crc32c(head.subarray(0, HEAD_CHECKSUM_AT)), HEAD_CHECKSUM_AT)
  return head
}

/**
 * What the beginning of a file, at least FILE_HEAD_BYTES of it if it has so many, says of its block. `isNamed` tells that
 * the head names `hash`; otherwise it names nothing, and the hash must be computed.
 * @throws CarportError Corrupted if these bytes are no head, or name another block
 */
export function parseFileHead(
  file: Buffer,
  hash: Buffer,
): { head: Buffer; headBytes: number; isNamed: boolean } {
  if (file[VERSION_AT] !== FILE_VERSION) {
    const head = file.subarray(0, HEAD_BYTES)
    if (!parseHead(head)) throw new CarportError('Corrupted', 'the block has no head')
    return { head, headBytes: HEAD_BYTES, isNamed: false }
  }
  const isHead =
    file.length >= FILE_HEAD_BYTES &&
    file.readUInt32BE(HEAD_CHECKSUM_AT) === crc32c(file.subarray(0, HEAD_CHECKSUM_AT))
  if (!isHead) throw new CarportError('Corrupted', "the block's head does not match its checksum")
  if (!file.subarray(HASH_AT, HEAD_CHECKSUM_AT).equals(hash)) {
    throw new CarportError('Corrupted', 'the file holds another block than its name says')
  }
  const head = Buffer.from(file.subarray(0, HEAD_BYTES))
  head[VERSION_AT] = VERSION
  return { head, headBytes: FILE_HEAD_BYTES, isNamed: true }
}

/**
 * Splits a file's content; the payload is not copied.
 * @throws CarportError Corrupted if a checksum does not hold, or the file names another block
 */
export function parseFile(file: Buffer, hash: Buffer): { block: StoredBlock; isNamed: boolean } {
  const { head, headBytes, isNamed } = parseFileHead(file, hash)
  const block = { head, payload: file.subarray(headBytes) }
  if (!isIntact(block)) throw new CarportError('Corrupted', 'the block does not match its checksum')
  return { block, isNamed }
}

/**
 * The plain content of a block that `isIntact`. Without compression it is the payload itself, not a copy.
 * @throws CarportError Corrupted if it does not decompress to the length in the head.
 */
export function plainContent(block: StoredBlock, codec: Codec): Buffer | Promise<Buffer> {
  const { compressed, plainBytes } = parseHead(block.head)!
  return compressed ? decompress(block.payload, plainBytes, codec) : block.payload
}

async function decompress(payload: Buffer, plainBytes: number, codec: Codec): Promise<Buffer> {
  let plain: Buffer
  try {
    plain = await codec.decompress(payload, plainBytes)
  } catch (error) {
    throw new CarportError('Corrupted', 'the block does not decompress', { cause: error })
  }
  if (plain.length !== plainBytes) {
    throw new CarportError('Corrupted', `the block has ${plain.length} bytes instead of ${plainBytes}`)
  }
  return plain
}

/** Whether a block's plain content has the hash in its name. Costs about 0.6 ms per MiB. */
export async function matchesHash(block: StoredBlock, hash: Buffer, codec: Codec): Promise<boolean> {
  try {
    const plain = await plainContent(block, codec)
    return createHash('sha256').update(plain).digest().equals(hash)
  } catch {
    return false
  }
}
