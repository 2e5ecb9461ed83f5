/**
 * The transactions under way on the rows of one table. Their writes can be read before they are durable, and could be lost
 * after they were read, so answers wait for them. Transactions become durable in their order.
 */
export class WritesUnderWay {
  /** By row key (latin1), in the order of their beginning. */
  readonly #writing = new Map<string, Promise<unknown>>()

  /** Settles as `done`, the transaction that writes these rows. */
  async follow<T>(rowKeys: readonly Buffer[], done: Promise<T>): Promise<T> {
    const ids = rowKeys.map((key) => key.toString('latin1'))
    for (const id of ids) {
      // Delete it first, so that the entries stay in the order of the transactions.
      this.#writing.delete(id)
      this.#writing.set(id, done)
    }
    try {
      return await done
    } finally {
      for (const id of ids) if (this.#writing.get(id) === done) this.#writing.delete(id)
    }
  }

  /** Whether a row read now may not be durable yet. */
  covers(rowKey: Buffer): boolean {
    return this.#writing.size > 0 && this.#writing.has(rowKey.toString('latin1'))
  }

  /** Returns `answer` once the row that was read for it is durable. */
  after<T>(rowKey: Buffer, answer: T): T | Promise<T> {
    if (this.#writing.size === 0) return answer
    return settled(this.#writing.get(rowKey.toString('latin1')), answer)
  }

  /** Returns `answer` once all rows read for it, whose keys begin with `prefix`, are durable. */
  afterAll<T>(prefix: Buffer, answer: T): T | Promise<T> {
    if (this.#writing.size === 0) return answer
    const start = prefix.toString('latin1')
    let last: Promise<unknown> | undefined
    for (const [id, writing] of this.#writing) if (id.startsWith(start)) last = writing
    return settled(last, answer)
  }
}

function settled<T>(writing: Promise<unknown> | undefined, answer: T): T | Promise<T> {
  if (!writing) return answer
  return writing.then(
    () => answer,
    () => answer,
  )
}
