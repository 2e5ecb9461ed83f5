import { createHash } from 'node:crypto'
import type { Random } from '../src/util/random.js'

/** Pseudo-random numbers from a seed: sfc32 by Chris Doty-Humphrey, state from SHA-256 of the seed. Not for secrets. */
export class SeededRandom implements Random {
  readonly #seed: string
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number | string) {
    this.#seed = String(seed)
    const hash = createHash('sha256').update(this.#seed).digest()
    this.#a = hash.readInt32LE(0)
    this.#b = hash.readInt32LE(4)
    this.#c = hash.readInt32LE(8)
    for (let i = 0; i < 12; i++) this.uint32()
  }

  /** Makes a separate generator for a part of the program, whose numbers do not depend on draws of other parts. */
  fork(label: string): SeededRandom {
    return new SeededRandom(`${this.#seed}/${label}`)
  }

  uint32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  float(): number {
    return (this.uint32() * 2 ** 21 + (this.uint32() >>> 11)) / 2 ** 53
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length)
    let at = 0
    for (; at + 4 <= length; at += 4) bytes.writeUInt32LE(this.uint32(), at)
    for (; at < length; at++) bytes[at] = this.uint32() & 0xff
    return bytes
  }

  /** An integer of 0 to `end` - 1. */
  below(end: number): number {
    return Math.floor(this.float() * end)
  }

  chance(probability: number): boolean {
    return this.float() < probability
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('nothing to pick from')
    return items[this.below(items.length)]!
  }

  /** Exponentially distributed with that mean: the time to the next event of a Poisson process. */
  exponential(mean: number): number {
    return -Math.log(1 - this.float()) * mean
  }
}
