import type { Clock } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { NodeId } from './transport.js'

/** How long a call waits for a link that is being made anew, in ms. */
export const LINK_WAIT_MS = 500
/** How long after the loss of a link, or after the first dial to a node, a new one is expected, in ms. */
const EXPECTED_MS = 5_000

/**
 * Lets calls wait for links that are about to come back: after a short interruption, or while a node starts, a call
 * takes a moment longer instead of failing. Calls to a node that is away for longer fail at once.
 */
export class LinkWaits {
  /** Node → until when a link to it is expected, monotonic ms. */
  readonly #expected = new Map<NodeId, number>()
  readonly #waiting = new Map<NodeId, Set<(error?: unknown) => void>>()

  constructor(private readonly clock: Clock) {}

  /** The last link to a node broke. */
  lost(node: NodeId): void {
    this.#expected.set(node, this.clock.monotonicMs() + EXPECTED_MS)
  }

  /** A dial to a node begins: the first one is waited for, those after it belong to a node that is away. */
  dialing(node: NodeId): void {
    if (!this.#expected.has(node)) this.lost(node)
  }

  /** A link to a node came up. */
  linked(node: NodeId): void {
    this.#expected.delete(node)
    for (const end of [...(this.#waiting.get(node) ?? [])]) end()
  }

  /** Ends all waits with an error. */
  close(error: unknown): void {
    for (const ends of [...this.#waiting.values()]) for (const end of [...ends]) end(error)
  }

  /** Whether a call to the node, which has no link now, shall wait. */
  isExpected(node: NodeId): boolean {
    const untilMs = this.#expected.get(node)
    return untilMs !== undefined && this.clock.monotonicMs() < untilMs
  }

  /**
   * Resolves when there is a link to the node, with the ms that it took.
   * @throws CarportError PeerUnreachable if there is none after LINK_WAIT_MS or `maxMs`; what the signal aborts with
   */
  wait(node: NodeId, maxMs: number, signal?: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const startMs = this.clock.monotonicMs()
      const ends = this.#waiting.get(node) ?? new Set()
      this.#waiting.set(node, ends)
      const onAbort = () => end(signal?.reason)
      const end = (error?: unknown) => {
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
        ends.delete(end)
        if (ends.size === 0) this.#waiting.delete(node)
        if (error === undefined) resolve(this.clock.monotonicMs() - startMs)
        else reject(error)
      }
      ends.add(end)
      const timer = this.clock.after(Math.min(LINK_WAIT_MS, maxMs), () => end(noLink(node)))
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }
}

/** What a call to a node fails with to which there is no link. */
export function noLink(node: NodeId): CarportError {
  return new CarportError('PeerUnreachable', `no link to node ${node.slice(0, 16)}`)
}
