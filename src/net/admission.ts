import { isIPv6 } from 'node:net'
import type { Clock } from '../util/clock.js'

/** New connections that may begin per second, and at once after a quiet time. */
interface Rate {
  perS: number
  burst: number
}

/** The share of an address at which a peer is known to be. */
const KNOWN: Rate = { perS: 100, burst: 256 }
/** The share of any other address, and of all of those together. */
const UNKNOWN: Rate = { perS: 10, burst: 64 }
const ALL_UNKNOWN: Rate = { perS: 200, burst: 256 }
/** How many addresses of each kind are remembered. */
const ADDRESSES_MAX = 4096

interface Bucket {
  tokens: number
  atMs: number
}

/**
 * Decides which new connections are worth a TLS handshake, which costs about a millisecond of processor time. Each
 * address has a share. Those of addresses from which a peer has proven itself, or to which this node dials, are
 * larger, and strangers cannot use them up.
 */
export class Admission {
  readonly #known = new Set<string>()
  readonly #shares = new Map<string, Bucket>()
  readonly #total: Bucket

  constructor(private readonly clock: Clock) {
    this.#total = { tokens: ALL_UNKNOWN.burst, atMs: clock.monotonicMs() }
  }

  /** Remembers that a peer is at this address. */
  know(host: string): void {
    const address = addressOf(host)
    this.#known.delete(address)
    this.#known.add(address)
    if (this.#known.size > ADDRESSES_MAX) this.#known.delete(this.#known.values().next().value!)
  }

  isKnown(host: string): boolean {
    return this.#known.has(addressOf(host))
  }

  /** Whether a connection from there may begin its handshake now. */
  admits(host: string): boolean {
    const address = addressOf(host)
    const isKnown = this.#known.has(address)
    const rate = isKnown ? KNOWN : UNKNOWN
    const nowMs = this.clock.monotonicMs()
    const share = this.#shares.get(address) ?? { tokens: rate.burst, atMs: nowMs }
    // The most recent address stands last, so that the one that was quiet for longest is forgotten first.
    this.#shares.delete(address)
    this.#shares.set(address, share)
    if (this.#shares.size > ADDRESSES_MAX) this.#shares.delete(this.#shares.keys().next().value!)
    refill(share, nowMs, rate)
    if (share.tokens < 1) return false
    if (!isKnown) {
      refill(this.#total, nowMs, ALL_UNKNOWN)
      if (this.#total.tokens < 1) return false
      this.#total.tokens--
    }
    share.tokens--
    return true
  }
}

function refill(bucket: Bucket, nowMs: number, { perS, burst }: Rate): void {
  bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * perS)
  bucket.atMs = nowMs
}

/** The part of an address that counts as one: of IPv6 the network of 64 bits, since its owner has all addresses in it. */
export function addressOf(host: string): string {
  if (!isIPv6(host)) return host
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)
  if (mapped) return mapped[1]!
  const [left = '', right] = host.split('%')[0]!.split('::')
  const first = left === '' ? [] : left.split(':')
  const last = right === undefined || right === '' ? [] : right.split(':')
  const zeros = right === undefined ? 0 : 8 - first.length - last.length
  const groups = [...first, ...Array<string>(Math.max(0, zeros)).fill('0'), ...last]
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}
