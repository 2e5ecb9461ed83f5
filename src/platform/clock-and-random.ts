import { randomBytes, randomFillSync } from 'node:crypto'
import type { Clock } from '../util/clock.js'
import type { Random } from '../util/random.js'

/** Node takes a longer wait, of some 25 days, for one of a millisecond. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1

/** This machine's time. Timers do not keep the process alive. */
export const realClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, fn) {
    // A timer that is due already would run in the same turn of the event loop: what gives way to others has to wait for the next.
    if (delayMs <= 0) {
      const immediate = setImmediate(fn)
      immediate.unref()
      return { cancel: () => clearImmediate(immediate) }
    }
    let timer: NodeJS.Timeout
    const wait = (leftMs: number) => {
      const isLong = leftMs > TIMEOUT_MS_MAX
      timer = setTimeout(isLong ? () => wait(leftMs - TIMEOUT_MS_MAX) : fn, isLong ? TIMEOUT_MS_MAX : leftMs)
      timer.unref()
    }
    wait(delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Bytes fetched from the system at once: ids take a few each, and a call for each would cost more than they do. */
const POOL_BYTES = 4096

/** The system's randomness, fit for keys. */
class SystemRandom implements Random {
  readonly #pool = Buffer.alloc(POOL_BYTES)
  #used = POOL_BYTES

  bytes(length: number): Buffer {
    if (length > 64) return randomBytes(length)
    if (this.#used + length > POOL_BYTES) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    const bytes = Buffer.from(this.#pool.subarray(this.#used, this.#used + length))
    this.#pool.fill(0, this.#used, this.#used + length)
    this.#used += length
    return bytes
  }

  float(): number {
    return this.bytes(6).readUIntBE(0, 6) / 2 ** 48
  }
}

export const systemRandom: Random = new SystemRandom()
