import { assert } from './assert.js'
import { Fifo } from './fifo.js'

/** Lets a fixed number of tasks run at the same time; the others wait for their turn, first come, first served. */
export class Semaphore {
  #free: number
  readonly #waiting = new Fifo<() => void>()

  constructor(limit: number) {
    assert(limit >= 1, 'a semaphore lets at least one task run')
    this.#free = limit
  }

  /** Tasks that wait. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** Runs `task` when it is its turn. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    const waiting = this.acquire()
    if (waiting) await waiting
    try {
      return await task()
    } finally {
      this.release()
    }
  }

  /** Takes a place at once (undefined) or when it is the caller's turn. */
  acquire(): Promise<void> | undefined {
    if (this.#free === 0) return new Promise((resolve) => this.#waiting.push(resolve))
    this.#free--
    return undefined
  }

  /** Gives a place back: it goes to the next in line, so that nobody comes between. */
  release(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#free++
  }
}
