/** Content that passes from one task to another, chunk by chunk: the giver waits until the taker has taken the one before. */
export class Handoff {
  #chunk: Buffer | undefined
  #isEnded = false
  #isClosed = false
  #failure: { error: unknown } | undefined
  #wakeTaker: (() => void) | undefined
  #wakeGiver: (() => void) | undefined

  /** Resolves when there is room for the next chunk; at once, with nothing done, when nobody takes any more. */
  async give(chunk: Buffer): Promise<void> {
    while (this.#chunk && !this.#isClosed)
      await new Promise<void>((resolve) => {
        this.#wakeGiver = resolve
      })
    if (this.#isClosed) return
    this.#chunk = chunk
    this.#wakeTaker?.()
  }

  /** Nothing more comes. */
  end(): void {
    this.#isEnded = true
    this.#wakeTaker?.()
  }

  /** Nothing more comes, and what came is not whole: the taker gets the error. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#wakeTaker?.()
  }

  /** Nothing more is taken. */
  close(): void {
    this.#isClosed = true
    this.#chunk = undefined
    this.#wakeGiver?.()
  }

  async *take(): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const chunk = this.#chunk
        if (this.#failure) throw this.#failure.error
        if (chunk) {
          this.#chunk = undefined
          this.#wakeGiver?.()
          yield chunk
        } else if (this.#isEnded) return
        else
          await new Promise<void>((resolve) => {
            this.#wakeTaker = resolve
          })
      }
    } finally {
      this.close()
    }
  }
}
