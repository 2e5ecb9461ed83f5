import type { NodeId } from '../net/transport.js'
import type { Clock } from '../util/clock.js'

/** How long a node counts as silent after it kept somebody waiting, in ms, unless it answers before. */
const SILENT_MS = 15_000

/** Nodes that kept a call waiting for longer than usual, and have not answered any since. */
export class SilentNodes {
  readonly #sinceMs = new Map<NodeId, number>()

  constructor(private readonly clock: Clock) {}

  add(node: NodeId): void {
    this.#sinceMs.set(node, this.clock.monotonicMs())
  }

  answered(node: NodeId): void {
    if (this.#sinceMs.size > 0) this.#sinceMs.delete(node)
  }

  has(node: NodeId): boolean {
    if (this.#sinceMs.size === 0) return false
    const sinceMs = this.#sinceMs.get(node)
    return sinceMs !== undefined && this.clock.monotonicMs() - sinceMs < SILENT_MS
  }
}
