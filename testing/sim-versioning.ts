/** How long versions are enabled, or suspended, before that changes, in ms. */
const PHASE_MS = 400

/**
 * Versions of a key are enabled and suspended in turns, and nobody writes it while that changes: of writes of both that meet,
 * the one with an id may be taken for one that replaced the other.
 */
export class VersioningTurns {
  #state: 'enabled' | 'suspended' = 'suspended'
  #changesAtMs = PHASE_MS
  #writing = 0

  /** What versions are; 'changing' while those who began to write before are waited for. */
  at(atMs: number): 'enabled' | 'suspended' | 'changing' {
    if (atMs < this.#changesAtMs) return this.#state
    if (this.#writing > 0) return 'changing'
    this.#state = this.#state === 'enabled' ? 'suspended' : 'enabled'
    this.#changesAtMs = atMs + PHASE_MS
    return this.#state
  }

  /** Runs a write, whose end a change waits for. */
  async write(run: () => Promise<void>): Promise<void> {
    this.#writing++
    try {
      await run()
    } finally {
      this.#writing--
    }
  }
}
