import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'
import { assert } from '../../util/assert.js'
import { CarportError } from '../../util/errors.js'
import { AUTHENTICATED, type CipherFormat, IV_BYTES } from './ciphers.js'
import type { BlockOpener, BlockSealer, PartInfo } from './refs.js'

/**
 * The ciphers of contents. A content that was uploaded at once is one stream; one that is made of parts has a stream for
 * each, with an IV of its own. No block reaches from one part into the next, since blocks of a part are stored before
 * anyone knows what follows them.
 *
 * Format 2 (AUTHENTICATED): each block is sealed by AES-256-GCM (NIST SP 800-38D) with a key of its stream's own, which is
 * HMAC-SHA-256 of the IV under the data key, so that a block's offset in the stream can be its nonce. The part's number and
 * whether the block is the stream's last are additional data. A block in another place, of another part or version, of
 * another length, or a stream that was cut off does not open. The tag follows the ciphertext. What parts a content is made
 * of, and how long it is, stand in its row, which is not authenticated.
 *
 * Without a format: AES-256-CTR over the stream, as the first release wrote it; new contents are never written so.
 */

const TAG_BYTES = 16
const NONCE_BYTES = 12
const KEYSTREAM_BLOCK_BYTES = 16
/** Sealed at a time: larger outputs of the cipher are large pieces of garbage. */
const PIECE_BYTES = 64 * 1024
/** Stands for the part's number in contents without parts. */
const NO_PART = 0

/** One IV's part of a content. */
interface Stream {
  start: number
  size: number
  part: number
  iv: Buffer
}

/**
 * Seals a content, or one of its parts, from its first byte on.
 * @param iv 16 bytes that no other stream under this key has
 * @param part its number, 1 to 10 000; absent if it is no part
 */
export function contentSealer(format: CipherFormat, key: Buffer, iv: Buffer, part = NO_PART): BlockSealer {
  if (format !== AUTHENTICATED) {
    return { overheadBytes: 0, seal: (plain, offset) => applyKeystream(key, iv, plain, offset) }
  }
  const streamKey = streamKeyOf(key, iv)
  return {
    overheadBytes: TAG_BYTES,
    seal(plain, offset, isLast, allocate = Buffer.allocUnsafeSlow) {
      const sealed = allocate(plain.length + TAG_BYTES)
      const cipher = createCipheriv('aes-256-gcm', streamKey, nonceOf(offset)).setAAD(placeOf(part, isLast))
      for (let at = 0; at < plain.length; at += PIECE_BYTES) {
        cipher.update(plain.subarray(at, at + PIECE_BYTES)).copy(sealed, at)
      }
      cipher.final()
      cipher.getAuthTag().copy(sealed, plain.length)
      return sealed
    },
  }
}

/** Opens a content of `size` bytes that has one IV from its first byte to its last. */
export function contentOpener(format: CipherFormat, key: Buffer, iv: Buffer, size: number): BlockOpener {
  return opener(format, key, [{ start: 0, size, part: NO_PART, iv }], size)
}

/**
 * Opens a content that is made of parts.
 * @throws CarportError Corrupted when a part has no IV, or parts are not in order
 */
export function partsOpener(format: CipherFormat, key: Buffer, parts: readonly PartInfo[]): BlockOpener {
  const streams: Stream[] = []
  let start = 0
  let before = NO_PART
  for (const { number, size, iv } of parts) {
    if (!iv || iv.length !== IV_BYTES) throw new CarportError('Corrupted', 'an encrypted part has no IV')
    if (number <= before) throw new CarportError('Corrupted', 'the parts of a content are not in order')
    before = number
    if (size > 0) streams.push({ start, size, part: number, iv })
    start += size
  }
  return opener(format, key, streams, start)
}

function opener(format: CipherFormat, key: Buffer, streams: readonly Stream[], size: number): BlockOpener {
  const overheadBytes = format === AUTHENTICATED ? TAG_BYTES : 0
  let lastKey: { iv: Buffer; key: Buffer } | undefined
  const keyOf = (iv: Buffer) => {
    if (lastKey?.iv !== iv) lastKey = { iv, key: streamKeyOf(key, iv) }
    return lastKey.key
  }
  return {
    overheadBytes,
    open(sealed, offset) {
      const length = sealed.length - overheadBytes
      const stream = streams[lastNotAfter(streams, offset)]
      if (!stream || length < 0 || offset + length > size) {
        throw new CarportError('Corrupted', 'a block is outside of its content')
      }
      const { iv, part } = stream
      const at = offset - stream.start
      if (format !== AUTHENTICATED) return applyKeystream(key, iv, sealed, at)
      return openBlock(keyOf(iv), sealed, at, placeOf(part, at + length === stream.size))
    },
  }
}

function openBlock(key: Buffer, sealed: Buffer, offset: number, place: Buffer): Buffer {
  const tagAt = sealed.length - TAG_BYTES
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(offset), { authTagLength: TAG_BYTES })
  decipher.setAAD(place).setAuthTag(sealed.subarray(tagAt))
  const plain = decipher.update(sealed.subarray(0, tagAt))
  try {
    decipher.final()
  } catch (cause) {
    throw new CarportError('Corrupted', 'an encrypted block does not authenticate', { cause })
  }
  return plain
}

function streamKeyOf(key: Buffer, iv: Buffer): Buffer {
  return createHmac('sha256', key).update('carport aes-256-gcm\0').update(iv).digest()
}

/** Offset in the stream, big-endian. */
function nonceOf(offset: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES)
  nonce.writeBigUInt64BE(BigInt(offset), NONCE_BYTES - 8)
  return nonce
}

/** The additional data: number of the part (4, big-endian), whether the block is the stream's last (1). */
function placeOf(part: number, isLast: boolean): Buffer {
  const place = Buffer.alloc(5)
  place.writeUInt32BE(part)
  place[4] = isLast ? 1 : 0
  return place
}

/** Index of the last of the streams that begins at `offset` or before; -1 if there is none. */
function lastNotAfter(streams: readonly Stream[], offset: number): number {
  let low = 0
  let high = streams.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (streams[middle]!.start <= offset) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** Counter mode (NIST SP 800-38A, 6.5) from any byte on: `offset` is that of `data` in the stream. */
function applyKeystream(key: Buffer, iv: Buffer, data: Buffer, offset: number): Buffer {
  assert(Number.isSafeInteger(offset) && offset >= 0, 'an offset in a stream is a whole number')
  const cipher = createCipheriv('aes-256-ctr', key, counterAt(iv, Math.floor(offset / KEYSTREAM_BLOCK_BYTES)))
  const skip = offset % KEYSTREAM_BLOCK_BYTES
  if (skip > 0) cipher.update(Buffer.alloc(skip))
  return cipher.update(data)
}

/** The counter block `blocks` after `iv`: addition modulo 2^128, big-endian. */
function counterAt(iv: Buffer, blocks: number): Buffer {
  const counter = Buffer.from(iv)
  let carry = blocks
  for (let at = 12; at >= 0 && carry > 0; at -= 4) {
    const sum = counter.readUInt32BE(at) + carry
    counter.writeUInt32BE(sum % 0x1_0000_0000, at)
    carry = Math.floor(sum / 0x1_0000_0000)
  }
  return counter
}
