import type { Clock } from '../util/clock.js'
import type { CarriedReferences } from './carried-references.js'
import type { LocalBlocks } from './local-blocks.js'

/** How long deletions are put off while references cannot be carried, in ms. */
const HOLD_MS = 60_000

export interface DeleteHoldsParts {
  local: LocalBlocks
  clock: Clock
  /** Age of the oldest reference that this node has still to carry, in ms. */
  oldestRefMs: () => number
  /** What is known of references that other nodes have still to carry. */
  carried: Pick<CarriedReferences, 'waitMs'>
}

/** Puts off the deletion of blocks whose references may still come. */
export class DeleteHolds {
  #startedMs = 0

  constructor(private readonly parts: DeleteHoldsParts) {}

  start(): void {
    this.#startedMs = this.parts.clock.monotonicMs()
  }

  /**
   * How long a block that could be deleted has to stay, in ms; 0 if it need not. After a start, others may still have references
   * to carry from before an outage, and so may this node as long as its own queue does not move: a reference that comes later
   * finds nothing. While the clock is in doubt, nobody knows whether a grace is over.
   */
  holdMs(hash: Buffer): number {
    const { local, clock, oldestRefMs } = this.parts
    const graceMs = local.counts.graces.unreferencedMs
    const isEarly = clock.monotonicMs() - this.#startedMs < graceMs
    if (clock.doubt?.() !== undefined || isEarly || oldestRefMs() > graceMs / 2) return HOLD_MS
    return this.#holdForClaimsMs(hash)
  }

  /**
   * The same for the claims of the block, all of which have expired. One of them may be that of an acknowledged write whose
   * reference is in the queue of a node that is away.
   */
  #holdForClaimsMs(hash: Buffer): number {
    const { local, carried } = this.parts
    const claimedUntilMs = local.counts.claims.untilMs(local.db, hash)
    return claimedUntilMs === 0 ? 0 : carried.waitMs(claimedUntilMs)
  }
}
