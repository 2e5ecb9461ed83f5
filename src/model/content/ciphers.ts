import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto'
import { CarportError } from '../../util/errors.js'
import type { Random } from '../../util/random.js'

/**
 * How the content of a version is encrypted: with a data key of the version's own, by the cipher that `format` says.
 * SSE-C derives that key from the client's, which is never stored; SSE-S3 stores it wrapped by a master key. The format
 * takes part in both, so that a row that lies about it gives no key.
 */
export type ContentEncryption = CustomerKeyEncryption | MasterKeyEncryption

/**
 * Absent: AES-256-CTR, as the first version wrote it, which does not notice changes. 2: AES-256-GCM for each block.
 * See block-ciphers.ts.
 */
export type CipherFormat = typeof AUTHENTICATED | undefined
export const AUTHENTICATED = 2

export interface CustomerKeyEncryption {
  format?: CipherFormat
  kind: 'SSE-C'
  /** 16 random bytes, from which together with the client's key data key and verifier are derived. */
  salt: Buffer
  /** HMAC-SHA-256 that only a holder of the same key can compute, 32 bytes. */
  verifier: Buffer
  /** Of the content; absent if the content is made of parts, which have their own. */
  iv?: Buffer
}

export interface MasterKeyEncryption {
  format?: CipherFormat
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

/** Checks the encryption that a row states. @throws CarportError Corrupted */
export function decodeContentEncryption(value: unknown): ContentEncryption | undefined {
  if (value === undefined || value === null) return undefined
  const { kind, format, iv, ...rest } = value as Record<string, unknown>
  const has = (name: string, bytes: number) => isBytes(rest[name], bytes)
  const isKnown = format === undefined || format === AUTHENTICATED
  if (isKnown && (iv === undefined || isBytes(iv, IV_BYTES))) {
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

function derive(key: Buffer, purpose: string, salt: Buffer, format: CipherFormat): Buffer {
  const use = format === undefined ? purpose : `${purpose} ${format}`
  return createHmac('sha256', key).update(`carport sse-c ${use}\0`).update(salt).digest()
}

/** A new encryption under a client's key, without IV, and its data key. */
export function newCustomerKeyEncryption(
  key: Buffer,
  random: Random,
): { encryption: CustomerKeyEncryption; dataKey: Buffer } {
  const salt = random.bytes(SALT_BYTES)
  const format = AUTHENTICATED
  return {
    encryption: { kind: 'SSE-C', format, salt, verifier: derive(key, 'verify', salt, format) },
    dataKey: derive(key, 'data', salt, format),
  }
}

/** The data key of an encryption under a client's key; undefined if that is another key. */
export function customerDataKey(
  { salt, verifier, format }: CustomerKeyEncryption,
  key: Buffer,
): Buffer | undefined {
  const isSame = timingSafeEqual(derive(key, 'verify', salt, format), verifier)
  return isSame ? derive(key, 'data', salt, format) : undefined
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

  /**
   * Wraps a data key: a new one, or that of a content which stays as it was sealed.
   * @returns undefined if there is no master key
   */
  wrap(
    bucket: Buffer,
    random: Random,
    kept?: { dataKey: Buffer; format: CipherFormat },
  ): { encryption: MasterKeyEncryption; dataKey: Buffer } | undefined {
    const [current] = this.#keys
    if (!current) return undefined
    const { dataKey, format } = kept ?? { dataKey: random.bytes(KEY_BYTES), format: AUTHENTICATED }
    const nonce = random.bytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', current.key, nonce).setAAD(boundTo(bucket, format))
    const wrapped = Buffer.concat([nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()])
    return {
      encryption: { kind: 'SSE-S3', ...(format && { format }), keyId: current.id, wrapped },
      dataKey,
    }
  }

  /** @throws CarportError Corrupted if none of the master keys wrapped it, or it was changed */
  unwrap(bucket: Buffer, { keyId, wrapped, format }: MasterKeyEncryption): Buffer {
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
    decipher.setAAD(boundTo(bucket, format)).setAuthTag(wrapped.subarray(tagAt))
    try {
      return Buffer.concat([decipher.update(wrapped.subarray(NONCE_BYTES, tagAt)), decipher.final()])
    } catch (cause) {
      throw new CarportError('Corrupted', 'a wrapped data key does not authenticate', { cause })
    }
  }
}

/** What a wrapped key is bound to: it unwraps for no other bucket, and for no other cipher. */
function boundTo(bucket: Buffer, format: CipherFormat): Buffer {
  return format === undefined ? bucket : Buffer.concat([bucket, Buffer.of(format)])
}

/** Stands for the MD5 of a plain content in the ETags of SSE-C, which must not tell what the content is. 16 bytes. */
export function keyedEtag(dataKey: Buffer, md5: Buffer): Buffer {
  return createHmac('sha256', dataKey).update('carport etag\0').update(md5).digest().subarray(0, 16)
}
