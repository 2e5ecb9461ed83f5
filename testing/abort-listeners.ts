/** Counts who listens for the end of which AbortSignal, so that a test can tell a leak from many operations at once. */
export class AbortListeners {
  readonly #live = new Map<AbortSignal, Set<unknown>>()
  readonly #prototype = EventTarget.prototype
  readonly #add = this.#prototype.addEventListener
  readonly #remove = this.#prototype.removeEventListener
  /** The most listeners that one signal had at a time. */
  most = 0

  /** Watches all signals from now on, until `stop`. */
  start(): this {
    const watch = this
    this.#prototype.addEventListener = function (
      this: EventTarget,
      ...args: Parameters<EventTarget['addEventListener']>
    ) {
      if (this instanceof AbortSignal && args[0] === 'abort') watch.#added(this, args[1])
      return watch.#add.apply(this, args)
    }
    this.#prototype.removeEventListener = function (
      this: EventTarget,
      ...args: Parameters<EventTarget['removeEventListener']>
    ) {
      if (this instanceof AbortSignal && args[0] === 'abort') watch.#live.get(this)?.delete(args[1])
      return watch.#remove.apply(this, args)
    }
    return this
  }

  stop(): void {
    this.#prototype.addEventListener = this.#add
    this.#prototype.removeEventListener = this.#remove
  }

  /** How many listeners the signals have that did not abort, the most first. */
  counts(): number[] {
    const counts = [...this.#live].map(([signal, listeners]) => (signal.aborted ? 0 : listeners.size))
    return counts.filter((count) => count > 0).sort((a, b) => b - a)
  }

  #added(signal: AbortSignal, listener: unknown): void {
    const listeners = this.#live.get(signal) ?? new Set()
    this.#live.set(signal, listeners.add(listener))
    this.most = Math.max(this.most, listeners.size)
  }
}
