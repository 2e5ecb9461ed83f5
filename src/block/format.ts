import { createHash } from 'node:crypto'
import { crc32c } from '@node-rs/crc32'
import { assert } from '../util/assert.js'
import { CarportError } from '../util/errors.js'
import type { Codec } from './codec.js'

/*
 * A block's file, and its form between nodes: a head of 16 bytes, then the stored bytes (plain or one zstd frame).
 *
 *   0  3  "CPB"
 *   3  1  version, 1
 *   4  1  flags: bit 0 = zstd
 *   5  3  zero
 *   8  4  length of the plain content, big endian
 *  12  4  CRC-32C over bytes 0..11 and the stored bytes, big endian
 */
export const HEAD_BYTES = 16
const VERSION = 1
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
  head[3] = VERSION
  head[4] = compressed ? FLAG_ZSTD : 0
  head.writeUInt32BE(plainBytes, 8)
  head.writeUInt32BE(crc32c(payload, crc32c(head.subarray(0, 12))), 12)
  return { head, payload }
}

/** Decodes a head; undefined if the bytes are none. It does not verify the checksum. */
export function parseHead(head: Buffer): BlockHead | undefined {
  if (head.length < HEAD_BYTES) return undefined
  if (head[0] !== 0x43 || head[1] !== 0x50 || head[2] !== 0x42 || head[3] !== VERSION) return undefined
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

/** Splits a file's content, without copying. @throws CarportError Corrupted if the checksum does not hold. */
export function parseBlock(file: Buffer): StoredBlock {
  const block = { head: file.subarray(0, HEAD_BYTES), payload: file.subarray(HEAD_BYTES) }
  if (!isIntact(block)) throw new CarportError('Corrupted', 'the block does not match its checksum')
  return block
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
