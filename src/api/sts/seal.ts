import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { Random } from '../../util/random.js'

const FORMAT = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
const BASE64URL = /^[A-Za-z0-9_-]+$/

/**
 * Texts that only nodes with the same key can make and read: base64url of format version (1 byte), nonce (12), AES-256-GCM of
 * the text, tag (16).
 */
export class Seal {
  /** @param key 32 bytes */
  constructor(
    private readonly key: Buffer,
    private readonly random: Random,
  ) {}

  /** @param context is authenticated with the text: what is sealed for one context is good in no other */
  close(text: string, context: string): string {
    const nonce = this.random.bytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.key, nonce)
    cipher.setAAD(Buffer.from(context))
    const sealed = [Buffer.from([FORMAT]), nonce, cipher.update(text, 'utf8'), cipher.final()]
    return Buffer.concat([...sealed, cipher.getAuthTag()]).toString('base64url')
  }

  /** @throws Error if it is nothing that was sealed with this key for this context */
  open(sealed: string, context: string): string {
    const bytes = Buffer.from(sealed, 'base64url')
    const end = bytes.length - TAG_BYTES
    const isWhole = BASE64URL.test(sealed) && bytes.toString('base64url') === sealed
    if (!isWhole || bytes[0] !== FORMAT || end <= 1 + NONCE_BYTES) throw new Error('not a sealed text')
    const decipher = createDecipheriv('aes-256-gcm', this.key, bytes.subarray(1, 1 + NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(end))
    return decipher.update(bytes.subarray(1 + NONCE_BYTES, end), undefined, 'utf8') + decipher.final('utf8')
  }
}
