import type { NodeId } from '../net/transport.js'
import type { Clock } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { LayoutManager } from './layout-manager.js'
import type { NodeStatus } from './node-status.js'

/** How many nodes have a change of the layout already; the others get it when they are back. */
export interface PushReport {
  reached: number
  /** Connected peers, without the own node. */
  connected: number
}

/** News that come within this time of each other are told together. */
export const STATUS_DELAY_MS = 100

export interface LayoutGossipOptions {
  layout: LayoutManager
  replicationFactor: number
  clock: Clock
  random: Random
  log: Log
  connected(): readonly NodeId[]
  /** The digest of the layout that a peer told last. */
  digestOf(node: NodeId): string | undefined
  /** Resolves to undefined if the peer did not answer. */
  call(node: NodeId, method: string, body: unknown): Promise<{ body: unknown } | undefined>
}

/**
 * Brings the layout to the peers: pushes a change to all of them, and exchanges layouts with a peer whose status
 * shows another one. Peers with another replication factor are left out.
 */
export class LayoutGossip {
  readonly #options: LayoutGossipOptions
  /** Peers whose replication factor differs, with the factor that was logged. */
  readonly #refused = new Map<NodeId, number>()
  readonly #reconciling = new Set<NodeId>()
  #running = false

  constructor(options: LayoutGossipOptions) {
    this.#options = options
  }

  start(): void {
    this.#running = true
  }

  stop(): void {
    this.#running = false
  }

  /** Sends the layout to all connected nodes. */
  async push(): Promise<PushReport> {
    const { layout, connected, call } = this.#options
    const nodes = connected().filter((node) => !this.#refused.has(node))
    const body = layout.encoded()
    const replies = await Promise.all(nodes.map((node) => call(node, 'cluster/push-layout', body)))
    return { reached: replies.filter((reply) => reply !== undefined).length, connected: nodes.length }
  }

  /** Takes a peer's status, and exchanges layouts with the peer soon if theirs differs. */
  heard(node: NodeId, status: NodeStatus): void {
    if (!this.#acceptsFactor(node, status.replicationFactor)) return
    if (status.layoutDigest !== this.#options.layout.digest) this.#reconcileSoon(node)
  }

  /** @throws CarportError InvalidArgument if the peer is known to have another replication factor */
  checkFactor(node: NodeId): void {
    if (this.#refused.has(node)) {
      throw new CarportError(
        'InvalidArgument',
        'layout invalid: replication_factor differs between the nodes',
      )
    }
  }

  /** A peer of another replication factor keeps its link, but no layout goes from one to the other. */
  #acceptsFactor(node: NodeId, theirs: number): boolean {
    const ours = this.#options.replicationFactor
    if (theirs === ours) {
      this.#refused.delete(node)
      return true
    }
    if (this.#refused.get(node) !== theirs) {
      this.#refused.set(node, theirs)
      this.#options.log.error(
        { peer: node, replicationFactor: ours, peerReplicationFactor: theirs },
        `layout invalid: a peer is configured with replication_factor = ${theirs}, this node with ${ours}; its layout is refused`,
      )
    }
    return false
  }

  /**
   * Exchanges layouts with a peer after a short wait: usually the node where the change was made is telling all
   * nodes at this very moment.
   */
  #reconcileSoon(node: NodeId): void {
    if (this.#reconciling.has(node) || !this.#running) return
    this.#reconciling.add(node)
    const delayMs = STATUS_DELAY_MS * this.#options.random.float()
    this.#options.clock.after(delayMs, () => {
      void this.#reconcile(node).finally(() => this.#reconciling.delete(node))
    })
  }

  async #reconcile(node: NodeId): Promise<void> {
    const { layout, digestOf, call, log } = this.#options
    if (!this.#running || digestOf(node) === layout.digest) return
    const reply = await call(node, 'cluster/get-layout', null)
    if (!reply) return
    try {
      const theirs = await layout.merge(reply.body)
      if (theirs !== layout.digest) await call(node, 'cluster/push-layout', layout.encoded())
    } catch (error) {
      log.warn({ peer: node, error: String(error) }, 'the layout of a peer cannot be merged')
    }
  }
}
