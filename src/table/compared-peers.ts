import type { NodeId } from '../net/transport.js'
import type { TableEnv } from './table.js'

/**
 * Knows with which peers this node was compared since something happened that may have left the copies different: a
 * write that did not reach a replica, or a link that was down.
 */
export class ComparedPeers {
  /** In monotonic ms. */
  readonly #differsSinceMs = new Map<NodeId, number>()
  /** When the last comparison that went through began. */
  readonly #comparedMs = new Map<NodeId, number>()

  constructor(private readonly env: Pick<TableEnv, 'clock' | 'placement' | 'transport'>) {}

  /** Something happened that the copies here and on that node may differ by. */
  mayDiffer(node: NodeId): void {
    this.#differsSinceMs.set(node, this.env.clock.monotonicMs())
  }

  /** A comparison of everything that this node shares with another went through, and began at `startMs`. */
  note(node: NodeId, startMs: number): void {
    this.#comparedMs.set(node, startMs)
  }

  /** Nodes of the layout that are up, and may still differ. */
  open(): NodeId[] {
    const { placement, transport } = this.env
    return placement.allNodes().filter((node) => {
      if (node === transport.self || !transport.isConnected(node)) return false
      const sinceMs = this.#differsSinceMs.get(node)
      return sinceMs !== undefined && sinceMs >= this.#lastMs(node)
    })
  }

  /** Those of them with which the last comparison is longer ago than `gapMs`. */
  waiting(gapMs: number): NodeId[] {
    const nowMs = this.env.clock.monotonicMs()
    return this.open().filter((node) => nowMs - this.#lastMs(node) >= gapMs)
  }

  #lastMs(node: NodeId): number {
    return this.#comparedMs.get(node) ?? Number.NEGATIVE_INFINITY
  }
}
