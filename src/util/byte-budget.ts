import { assert } from './assert.js'
import type { CarportError } from './errors.js'

interface Waiter {
  bytes: number
  resolve: () => void
  reject: (error: unknown) => void
}

/** Bounds the bytes held in memory at once. When it is used up, callers wait for their turn, first come, first served. */
export class ByteBudget {
  #usedBytes = 0
  readonly #waiters: Waiter[] = []
  #closed: CarportError | undefined

  constructor(
    readonly limitBytes: number,
    /** Called when a caller starts to wait: holders of bytes that they can do without give them back. */
    private readonly onShortage: () => void = () => {},
  ) {}

  get usedBytes(): number {
    return this.#usedBytes
  }

  get waiting(): number {
    return this.#waiters.length
  }

  /**
   * Takes `bytes` at once (undefined) or when they are free. More than the whole budget is granted when nothing
   * else is held, so that one oversized block does not wait for ever.
   */
  acquire(bytes: number): Promise<void> | undefined {
    assert(bytes >= 0, 'a budget gives no negative amounts')
    if (this.#closed) return Promise.reject(this.#closed)
    if (this.#waiters.length === 0 && this.#fits(bytes)) {
      this.#usedBytes += bytes
      return undefined
    }
    const promise = new Promise<void>((resolve, reject) => this.#waiters.push({ bytes, resolve, reject }))
    this.onShortage()
    return promise
  }

  /**
   * Takes `bytes` if no more than `share` of the budget (0 to 1) is then taken, and nobody waits. Returns whether it did:
   * for memory that is useful, but not needed.
   */
  tryAcquire(bytes: number, share = 1): boolean {
    if (this.#closed || this.isBeyond(share, bytes)) return false
    this.#usedBytes += bytes
    return true
  }

  /** Whether more than `share` of the budget (0 to 1) is taken, with `bytes` more, or somebody waits. */
  isBeyond(share: number, bytes = 0): boolean {
    return this.#waiters.length > 0 || this.#usedBytes + bytes > this.limitBytes * share
  }

  /** Corrects an amount that was taken, without waiting. */
  adjust(bytes: number): void {
    this.release(-bytes)
  }

  release(bytes: number): void {
    assert(bytes <= this.#usedBytes, 'no more is given back to a budget than was taken')
    this.#usedBytes -= bytes
    while (this.#waiters.length > 0 && this.#fits(this.#waiters[0]!.bytes)) {
      const waiter = this.#waiters.shift()!
      this.#usedBytes += waiter.bytes
      waiter.resolve()
    }
    if (this.#waiters.length > 0) this.onShortage()
  }

  /** Refuses the waiting callers and all later ones. */
  close(error: CarportError): void {
    this.#closed = error
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error)
  }

  #fits(bytes: number): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + bytes <= this.limitBytes
  }
}
