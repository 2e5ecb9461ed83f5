import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto'
import { CarportError } from '../../util/errors.js'
import type { Random } from '../../util/random.js'
import type { BlockCipher, PartInfo } from './refs.js'

/**
 * How the content of a version is encrypted: AES-256 in counter mode with a data key of the version's own.
 * SSE-C derives that key from the client's, which is never stored; SSE-S3 stores it wrapped by a master key.
 * Integrity comes from the blocks, whose names are SHA-256 of what is stored, not from the cipher.
 */
export type ContentEncryption = CustomerKeyEncryption | MasterKeyEncryption

export interface CustomerKeyEncryption {
  kind: 'SSE-C'
  /** 16 random bytes, from which together with the client's key data key and verifier are derived. */
  salt: Buffer
  /** HMAC-SHA-256 that only who has the same key can compute, 32 bytes. */
  verifier: Buffer
  /** Of the content; absent if the content is made of parts, which have their own. */
  iv?: Buffer
}

export interface MasterKeyEncryption {
  kind: 'SSE-S3'
  /** Which master key wrapped it; see MasterKeys. */
  keyId: Buffer
  /** The data key in AES-256-GCM: nonce (12), ciphertext (32), tag (16). */
  wrapped: Buffer
  iv?: Buffer
}

export const KEY_BYTES = 32
export const IV_BYTES = 16
const SALT_BYTES = 16
const KEY_ID_BYTES = 8
const NONCE_BYTES = 12
const TAG_BYTES = 16
const WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES

/** Checks what a row says of its encryption. @throws CarportError Corrupted */
export function decodeContentEncryption(value: unknown): ContentEncryption | undefined {
  if (value === undefined || value === null) return undefined
  const { kind, iv, ...rest } = value as Record<string, unknown>
  const has = (name: string, bytes: number) => isBytes(rest[name], bytes)
  if (iv === undefined || isBytes(iv, IV_BYTES)) {
    if (kind === 'SSE-C' && has('salt', SALT_BYTES) && has('verifier', 32)) return value as ContentEncryption
    if (kind === 'SSE-S3' && has('keyId', KEY_ID_BYTES) && has('wrapped', WRAPPED_BYTES)) {
      return value as ContentEncryption
    }
  }
  throw new CarportError('Corrupted', 'malformed encryption of a row')
}

function isBytes(value: unknown, length: number): boolean {
  return Buffer.isBuffer(value) && value.length === length
}

function derive(key: Buffer, purpose: string, salt: Buffer): Buffer {
  return createHmac('sha256', key).update(`carport sse-c ${purpose}\0`).update(salt).digest()
}

/** A new encryption under a client's key, without IV, and its data key. */
export function newCustomerKeyEncryption(
  key: Buffer,
  random: Random,
): { encryption: CustomerKeyEncryption; dataKey: Buffer } {
  const salt = random.bytes(SALT_BYTES)
  return {
    encryption: { kind: 'SSE-C', salt, verifier: derive(key, 'verify', salt) },
    dataKey: derive(key, 'data', salt),
  }
}

/** The data key of an encryption under a client's key; undefined if that is another key. */
export function customerDataKey({ salt, verifier }: CustomerKeyEncryption, key: Buffer): Buffer | undefined {
  return timingSafeEqual(derive(key, 'verify', salt), verifier) ? derive(key, 'data', salt) : undefined
}

/**
 * The cluster's master keys, which wrap the data keys of SSE-S3. The first wraps new ones; the others still unwrap, so
 * that a key can be replaced. Wrapped keys are bound to their bucket.
 */
export class MasterKeys {
  readonly #keys: readonly { id: Buffer; key: Buffer }[]

  /** @param keys 32 bytes each, newest first */
  constructor(keys: readonly Buffer[]) {
    this.#keys = keys.map((key) => ({
      id: createHmac('sha256', key).update('carport sse-s3 key id').digest().subarray(0, KEY_ID_BYTES),
      key: Buffer.from(key),
    }))
  }

  /** Whether there is any. */
  get available(): boolean {
    return this.#keys.length > 0
  }

  /** Wraps a data key, a new one unless told. @returns undefined if there is no master key */
  wrap(
    bucket: Buffer,
    random: Random,
    dataKey: Buffer = random.bytes(KEY_BYTES),
  ): { encryption: MasterKeyEncryption; dataKey: Buffer } | undefined {
    const [current] = this.#keys
    if (!current) return undefined
    const nonce = random.bytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', current.key, nonce).setAAD(bucket)
    const sealed = [nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]
    return {
      encryption: { kind: 'SSE-S3', keyId: current.id, wrapped: Buffer.concat(sealed) },
      dataKey,
    }
  }

  /** @throws CarportError Corrupted if none of the master keys wrapped it, or it was changed */
  unwrap(bucket: Buffer, { keyId, wrapped }: MasterKeyEncryption): Buffer {
    const master = this.#keys.find(({ id }) => id.equals(keyId))
    if (!master) {
      throw new CarportError(
        'Corrupted',
        `the data key is wrapped by the master key ${keyId.toString('hex')}, which sse_master_key_file does not have`,
      )
    }
    const tagAt = WRAPPED_BYTES - TAG_BYTES
    const decipher = createDecipheriv('aes-256-gcm', master.key, wrapped.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(bucket).setAuthTag(wrapped.subarray(tagAt))
    try {
      return Buffer.concat([decipher.update(wrapped.subarray(NONCE_BYTES, tagAt)), decipher.final()])
    } catch (cause) {
      throw new CarportError('Corrupted', 'a wrapped data key does not authenticate', { cause })
    }
  }
}

/** The cipher of a content that has one IV from its first byte to its last. */
export function contentCipher(key: Buffer, iv: Buffer): BlockCipher {
  const apply = (data: Buffer, offset: number) => applyKeystream(key, iv, data, offset)
  return { seal: apply, open: apply }
}

/**
 * The cipher of a content that is made of parts, each with an IV of its own. No block reaches from one part into the
 * next, since blocks of a part are stored before anyone knows what follows them.
 * @throws CarportError Corrupted when a part has no IV
 */
export function partsCipher(key: Buffer, parts: readonly PartInfo[]): BlockCipher {
  const starts: number[] = []
  const ivs: Buffer[] = []
  let start = 0
  for (const { size, iv } of parts) {
    if (!iv || iv.length !== IV_BYTES) throw new CarportError('Corrupted', 'an encrypted part has no IV')
    if (size > 0) {
      starts.push(start)
      ivs.push(iv)
    }
    start += size
  }
  const apply = (data: Buffer, offset: number) => {
    const part = lastNotAfter(starts, offset)
    if (part < 0 || offset + data.length > start)
      throw new CarportError('Corrupted', 'a block is outside of all parts')
    return applyKeystream(key, ivs[part]!, data, offset - starts[part]!)
  }
  return { seal: apply, open: apply }
}

/** Index of the last of the ascending `starts` that is at most `offset`; -1 if there is none. */
function lastNotAfter(starts: readonly number[], offset: number): number {
  let low = 0
  let high = starts.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (starts[middle]! <= offset) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** Counter mode (NIST SP 800-38A, 6.5) from any byte on: `offset` is that of `data` in the stream. */
function applyKeystream(key: Buffer, iv: Buffer, data: Buffer, offset: number): Buffer {
  const cipher = createCipheriv('aes-256-ctr', key, counterAt(iv, Math.floor(offset / 16)))
  const skip = offset % 16
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

/** Stands for the MD5 of a plain content in the ETags of SSE-C, which must not tell what the content is. 16 bytes. */
export function keyedEtag(dataKey: Buffer, md5: Buffer): Buffer {
  return createHmac('sha256', dataKey).update('carport etag\0').update(md5).digest().subarray(0, 16)
}
