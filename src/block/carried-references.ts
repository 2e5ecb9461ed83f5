import type { Placement, QuorumCaller } from '../cluster/placement.js'
import { type NodeId, Priority, type Transport } from '../net/transport.js'
import type { Clock } from '../util/clock.js'
import type { Log } from '../util/log.js'
import type { ReferenceQueue } from './reference-queue.js'
import { checkQueueEnds, checkReferences, METHODS } from './wire.js'

const TIMEOUT_MS = 10_000
/** The least time between two rounds of questions, in ms. */
const ASK_EVERY_MS = 2_000
/** How long a block waits while nodes are asked, and while one of them is away, in ms. */
const WAIT_MS = 5_000
const WAIT_AWAY_MS = 10 * 60_000

export interface CarriedReferencesParts {
  placement: Pick<Placement, 'allNodes'>
  caller: QuorumCaller
  clock: Clock
  log: Log
  transport: Pick<Transport, 'handle'>
  /** This node's own queue. */
  queue: Pick<ReferenceQueue, 'ends' | 'carryFor'>
}

/** A round: every node is asked until all has been carried that its queue held when it first answered. */
interface Round {
  startedMs: number
  /** The nodes of which that is not known yet, with the last entry that their queue had; undefined before the first answer. */
  left: Map<NodeId, Buffer | undefined>
}

/**
 * Knows since when no node has a block reference that is still to be carried. A claim that expired, or whose process is gone,
 * may be that of an acknowledged write whose reference is in the queue of a node that is away: only once every node of the
 * cluster has carried what its queue held after the claim's end is it known that none will come.
 */
export class CarriedReferences {
  #round: Round | undefined
  /** By this node's clock, in ms since the epoch: all references queued anywhere before have been carried. */
  #carriedUntilMs = 0
  #askedAtMs = Number.NEGATIVE_INFINITY
  #isAsking = false
  /** Whether a node did not answer the last time. */
  #isAnyAway = false

  constructor(private readonly parts: CarriedReferencesParts) {
    parts.transport.handle(METHODS.carrying, async () => ({
      body: parts.queue.ends() ?? { first: null, last: null },
    }))
    parts.transport.handle(METHODS.carry, async (body) => {
      await parts.queue.carryFor(checkReferences(body))
      return { body: null }
    })
  }

  /**
   * How long to wait, in ms, before asking again whether all references are carried that were queued anywhere at a time (by
   * this node's clock, ms since the epoch): 0 if they are. Otherwise the nodes are asked meanwhile.
   */
  waitMs(atMs: number): number {
    const { clock } = this.parts
    // A clock that was put back says nothing about what was before.
    if (clock.nowMs() < this.#carriedUntilMs) this.#carriedUntilMs = 0
    if (atMs < this.#carriedUntilMs) return 0
    if (!this.#isAsking && clock.monotonicMs() - this.#askedAtMs >= ASK_EVERY_MS) {
      this.#isAsking = true
      this.#askedAtMs = clock.monotonicMs()
      void this.#ask().finally(() => {
        this.#isAsking = false
      })
    }
    return this.#isAnyAway ? WAIT_AWAY_MS : WAIT_MS
  }

  async #ask(): Promise<void> {
    const { placement, caller, clock } = this.parts
    const nodes = new Set([caller.self, ...placement.allNodes()])
    this.#round ??= { startedMs: clock.nowMs(), left: new Map([...nodes].map((node) => [node, undefined])) }
    const { left, startedMs } = this.#round
    // What a node had that is no longer part of the cluster, it handed over.
    for (const node of left.keys()) if (!nodes.has(node)) left.delete(node)
    const answers = await Promise.all([...left.keys()].map((node) => this.#askNode(node, left)))
    this.#isAnyAway = answers.includes(false)
    if (left.size > 0) return
    this.#round = undefined
    this.#carriedUntilMs = startedMs
  }

  /** Returns whether the node answered. */
  async #askNode(node: NodeId, left: Round['left']): Promise<boolean> {
    const { caller, log } = this.parts
    const options = { timeoutMs: TIMEOUT_MS, priority: Priority.background }
    try {
      const { body } = await caller.call(node, METHODS.carrying, {}, options)
      const ends = checkQueueEnds(body)
      const last = left.get(node)
      if (!ends || (last && ends.first.compare(last) > 0)) left.delete(node)
      else if (!last) left.set(node, ends.last)
      return true
    } catch (error) {
      log.debug({ node, error }, 'a node could not be asked for references that it has still to carry')
      return false
    }
  }
}
