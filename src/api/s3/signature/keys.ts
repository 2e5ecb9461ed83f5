import { createHmac, hash } from 'node:crypto'

const scratch = Buffer.allocUnsafe(4096)

/** SHA-256 as lower-case hex of a string whose characters are bytes (latin1, as node:http gives headers). */
export function sha256HexOfLatin1(text: string): string {
  if (text.length > scratch.length) return hash('sha256', Buffer.from(text, 'latin1'))
  return hash('sha256', scratch.subarray(0, scratch.write(text, 0, 'latin1')))
}

const BLOCK = 64
const MESSAGE_MAX = 960

/**
 * HMAC-SHA256 (RFC 2104) with a key used many times: the padded key is kept, and both hashes run in one shot,
 * which takes half the time of a createHmac object.
 */
export class HmacKey {
  readonly #inner = Buffer.alloc(BLOCK + MESSAGE_MAX)
  readonly #outer = Buffer.alloc(BLOCK + 32)

  /** `key`: at most 64 bytes. */
  constructor(private readonly key: Buffer) {
    if (key.length > BLOCK) throw new RangeError('HMAC key longer than a block')
    for (let i = 0; i < BLOCK; i++) {
      const byte = i < key.length ? key[i]! : 0
      this.#inner[i] = byte ^ 0x36
      this.#outer[i] = byte ^ 0x5c
    }
  }

  /** Lower-case hex of the HMAC of a string whose characters are bytes. */
  hex(message: string): string {
    if (message.length > MESSAGE_MAX)
      return createHmac('sha256', this.key).update(message, 'latin1').digest('hex')
    const end = BLOCK + this.#inner.write(message, BLOCK, 'latin1')
    this.#outer.write(hash('sha256', this.#inner.subarray(0, end), 'binary'), BLOCK, 'latin1')
    return hash('sha256', this.#outer)
  }
}

const hmac = (key: string | Buffer, message: string) => createHmac('sha256', key).update(message).digest()

/** Signature V4's signing key: HMACs chained over date, region, service and the terminator. */
export function deriveSigningKey(secret: string, date: string, region: string, service: string): Buffer {
  return hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), service), 'aws4_request')
}

/** Signing keys by credential (key id and scope); the oldest leave when there are too many. */
export class SigningKeyCache {
  readonly #entries = new Map<string, { secret: string; key: HmacKey }>()

  constructor(private readonly sizeMax = 1024) {}

  /**
   * Finds or derives a key.
   * @param credential `keyId/date/region/service/aws4_request`, which repeats the other arguments
   */
  get(credential: string, secret: string, date: string, region: string, service: string): HmacKey {
    const entry = this.#entries.get(credential)
    if (entry !== undefined && entry.secret === secret) return entry.key
    const key = new HmacKey(deriveSigningKey(secret, date, region, service))
    if (this.#entries.size >= this.sizeMax) {
      const oldest = this.#entries.keys().next()
      if (!oldest.done) this.#entries.delete(oldest.value)
    }
    this.#entries.set(credential, { secret, key })
    return key
  }
}

/** Whether two strings are equal, in a time that depends on their lengths only. */
export function equalConstantTime(a: string, b: string): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i)
  return difference === 0
}
