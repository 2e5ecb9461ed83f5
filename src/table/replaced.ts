import type { Clock } from '../util/clock.js'

/** How long rows are remembered, in ms: a write is given up by its writer before (CALL_TIMEOUT_MS of table.ts). */
const WINDOW_MS = 15_000
const ROWS_MAX = 50_000

/**
 * Remembers for a short while which rows were this node's copy before later ones replaced them. It can be asked about
 * rows whose write began while this process was running, and is not older than the window.
 */
export class ReplacedRows {
  /** By row hash (latin1), in the order of time. */
  readonly #atMs = new Map<string, number>()
  #forgottenAtMs = Number.NEGATIVE_INFINITY

  constructor(
    private readonly clock: Clock,
    private readonly rowsMax = ROWS_MAX,
  ) {}

  add(rowHash: Buffer): void {
    const nowMs = this.clock.monotonicMs()
    const id = rowHash.toString('latin1')
    this.#atMs.delete(id)
    this.#atMs.set(id, nowMs)
    for (const [old, atMs] of this.#atMs) {
      const isOld = nowMs - atMs > WINDOW_MS
      if (!isOld && this.#atMs.size <= this.rowsMax) break
      if (!isOld) this.#forgottenAtMs = atMs
      this.#atMs.delete(old)
    }
  }

  /** Whether the row was here; undefined if that may have been forgotten. */
  has(rowHash: Buffer): boolean | undefined {
    if (this.#atMs.has(rowHash.toString('latin1'))) return true
    return this.clock.monotonicMs() - this.#forgottenAtMs > WINDOW_MS ? false : undefined
  }
}
