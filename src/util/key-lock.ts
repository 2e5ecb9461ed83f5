/** Mutual exclusion by key within this process; waiters of one key go in order. */
export class KeyLock {
  readonly #tails = new Map<string, { last: Promise<unknown>; size: number }>()

  /** How many run or wait. */
  size(key: string): number {
    return this.#tails.get(key)?.size ?? 0
  }

  async run<T>(key: string, fn: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key)
    const mine = before ? before.last.then(fn, fn) : fn()
    const tail = before ?? { last: mine, size: 0 }
    tail.last = mine
    tail.size++
    this.#tails.set(key, tail)
    try {
      return await mine
    } finally {
      if (--tail.size === 0) this.#tails.delete(key)
    }
  }
}
