/** Operations that began in the same epoch. */
export interface Epoch {
  count: number
  onEmpty: (() => void) | undefined
}

/**
 * Counts operations in flight by epochs, so that a caller can wait for those that began before a moment without
 * waiting for those that began after it. Entering and leaving cost an addition.
 */
export class InFlight {
  #epoch: Epoch = { count: 0, onEmpty: undefined }
  #older: Promise<void> = Promise.resolve()

  enter(): Epoch {
    this.#epoch.count++
    return this.#epoch
  }

  /** Ends an operation. Call it once for each `enter`, with the epoch that `enter` returned. */
  leave(epoch: Epoch): void {
    if (--epoch.count === 0) epoch.onEmpty?.()
  }

  /** Resolves when every operation that entered before this call has left. */
  drain(): Promise<void> {
    const epoch = this.#epoch
    if (epoch.count > 0) {
      this.#epoch = { count: 0, onEmpty: undefined }
      const emptied = new Promise<void>((resolve) => {
        epoch.onEmpty = resolve
      })
      this.#older = this.#older.then(() => emptied)
    }
    return this.#older
  }
}
