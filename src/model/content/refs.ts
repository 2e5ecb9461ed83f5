import { assert } from '../../util/assert.js'
import { CarportError } from '../../util/errors.js'
import { readUint53, writeUint53 } from '../../util/uint53.js'

/** 16 bytes: creation time in µs (8, big-endian), then 8 random bytes. Unique, and ordered by time. */
export type VersionId = Buffer

/** One block of an object's content: SHA-256 of its stored bytes, and the number of bytes of content that it holds. */
export interface BlockPointer {
  hash: Buffer
  size: number
}

/** Where the content of a version is. Every block and list is owned by the version's id. */
export type Content =
  | { kind: 'none' } // delete markers, tombstones
  | { kind: 'inline' } // in the row's body
  | { kind: 'blocks'; blocks: Buffer } // packed BlockPointers, at most MAX_ROW_BLOCKS
  | { kind: 'lists'; chunkBytes: number[] } // rows of the list table: content bytes covered by each

/** A part of a completed multipart upload, as GetObject?partNumber and GetObjectAttributes show it. */
export interface PartInfo {
  number: number
  size: number
  checksum?: Buffer
  /** Initialization vector of an encrypted part. */
  iv?: Buffer
}

/** A part as rows keep it: number, size, and where there are any, checksum and IV. */
export type PartTuple = [number: number, size: number, checksum?: Buffer | null, iv?: Buffer]

/** Encrypts the blocks of one content. */
export interface BlockSealer {
  /** By how much it makes a block longer. */
  readonly overheadBytes: number
  /**
   * @param offset of the block's first byte in the content; no offset twice
   * @param isLast whether the content ends with this block
   * @param allocate where the memory for the sealed block comes from
   */
  seal(plain: Buffer, offset: number, isLast: boolean, allocate?: (bytes: number) => Buffer): Buffer
}

/** Decrypts the blocks of one content. */
export interface BlockOpener {
  /** By how much a sealed block is longer. */
  readonly overheadBytes: number
  /** @throws CarportError Corrupted if it is not the block that was sealed for that place, where the format can tell */
  open(sealed: Buffer, offset: number): Buffer
}

/** Most block pointers in an object's own row; a longer content has rows of the list table. */
export const MAX_ROW_BLOCKS = 64
/** Most parts in an object's own row; more are kept in rows of the list table. */
export const MAX_ROW_PARTS = 64
/** Block pointers in a row of the list table, but in its last one of a content. */
export const LIST_ROW_BLOCKS = 1024
/** A packed BlockPointer: SHA-256 (32), size (4, big-endian). */
export const BLOCK_POINTER_BYTES = 36
const HASH_BYTES = 32

const VERSION_ID_BYTES = 16
/** Length of the random part of an id. */
export const NONCE_BYTES = 8

/**
 * The owner of blocks, as the block layer knows it, for a version or part: its id without the time, which is not known
 * yet when the first block is stored. An id is never used twice, and a write that starts over takes another one.
 * @param id a whole id, or its random part
 * @throws CarportError Internal for a buffer of another length
 */
export function blockOwner(id: Buffer): Buffer {
  assert(id.length === VERSION_ID_BYTES || id.length === NONCE_BYTES, 'an owner is an id or its random part')
  const owner = Buffer.alloc(VERSION_ID_BYTES)
  id.copy(owner, VERSION_ID_BYTES - NONCE_BYTES, id.length - NONCE_BYTES)
  return owner
}

/**
 * Makes a version id for a write at `timeUs`; `random` is 8 bytes.
 * @throws CarportError Internal for a random part of another length
 */
export function versionId(timeUs: number, random: Buffer): VersionId {
  assert(random.length === NONCE_BYTES, 'the random part of a version id has 8 bytes')
  const id = Buffer.allocUnsafe(VERSION_ID_BYTES)
  writeUint53(id, timeUs, 0)
  random.copy(id, VERSION_ID_BYTES - NONCE_BYTES)
  return id
}

/** The time (HLC µs) with which a version id begins. */
export function timeOfId(id: VersionId): number {
  return readUint53(id, 0)
}

/** The id that comes right before another one in the order of ids. */
export function idBefore(id: VersionId): VersionId {
  const before = Buffer.from(id)
  for (let i = before.length - 1; i >= 0; i--) {
    before[i] = (before[i]! - 1) & 0xff
    if (before[i] !== 0xff) break
  }
  return before
}

/**
 * Packs block pointers for Content and list rows.
 * @throws CarportError Internal for a hash that is not a SHA-256, which would shift all pointers after it
 */
export function packBlocks(blocks: readonly BlockPointer[]): Buffer {
  const packed = Buffer.allocUnsafe(blocks.length * BLOCK_POINTER_BYTES)
  let at = 0
  for (const { hash, size } of blocks) {
    assert(hash.length === HASH_BYTES, 'a block is named by a SHA-256')
    at += hash.copy(packed, at)
    at = packed.writeUInt32BE(size, at)
  }
  return packed
}

/**
 * Undoes packBlocks. The hashes are views of `packed`.
 * @throws CarportError Corrupted if `packed` is not a whole number of pointers
 */
export function unpackBlocks(packed: Buffer): BlockPointer[] {
  checkPacked(packed)
  const blocks: BlockPointer[] = []
  for (let at = 0; at < packed.length; at += BLOCK_POINTER_BYTES) {
    blocks.push({
      hash: packed.subarray(at, at + HASH_BYTES),
      size: packed.readUInt32BE(at + HASH_BYTES),
    })
  }
  return blocks
}

/** How many block pointers a content has; of one with lists, how many these have room for. */
export function pointersIn(content: Content): number {
  if (content.kind === 'blocks') return content.blocks.length / BLOCK_POINTER_BYTES
  return content.kind === 'lists' ? content.chunkBytes.length * LIST_ROW_BLOCKS : 0
}

/**
 * The hashes of packed block pointers, as views of `packed`.
 * @throws CarportError Corrupted as unpackBlocks
 */
export function hashesOf(packed: Buffer): Buffer[] {
  checkPacked(packed)
  const hashes: Buffer[] = []
  for (let at = 0; at < packed.length; at += BLOCK_POINTER_BYTES) {
    hashes.push(packed.subarray(at, at + HASH_BYTES))
  }
  return hashes
}

/** Pointers that were cut short must not read as a shorter content. */
function checkPacked(packed: Buffer): void {
  if (packed.length % BLOCK_POINTER_BYTES !== 0) {
    throw new CarportError('Corrupted', 'a list of blocks is cut short')
  }
}

export function packPart({ number, size, checksum, iv }: PartInfo): PartTuple {
  if (iv) return [number, size, checksum ?? null, iv]
  return checksum ? [number, size, checksum] : [number, size]
}

export function unpackPart([number, size, checksum, iv]: PartTuple): PartInfo {
  return { number, size, ...(checksum && { checksum }), ...(iv && { iv }) }
}
