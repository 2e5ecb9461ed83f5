import type { NodeId } from '../net/transport.js'
import type { Hlc } from '../util/clock.js'
import type { Log } from '../util/log.js'

/** Tells the log what keeps this node from serving: once when it begins, and once when it is over. */
export class SelfLog {
  /** What the log was told last; undefined before the first layout. */
  #hasRole: boolean | undefined
  #clockIsOff = false

  constructor(
    private readonly hlc: Hlc,
    private readonly log: Log,
  ) {}

  /** @param layoutVersion 0 before the first layout, when no node has a role */
  role(hasRole: boolean, layoutVersion: number): void {
    if (layoutVersion === 0 || hasRole === this.#hasRole) return
    if (!hasRole) {
      const fields = { version: layoutVersion }
      this.log.warn(fields, 'this node has no role in the layout: it answers requests with 503')
    } else if (this.#hasRole === false) this.log.info({}, 'this node has a role in the layout')
    this.#hasRole = hasRole
  }

  /** As `peerClock`, where the round trip is not known: better than nothing until it is. */
  peerClockHeard(peer: NodeId, clockMs: number | null): void {
    if (!this.hlc.peers.knows(peer)) this.peerClock(peer, clockMs, 0)
  }

  /**
   * A peer's wall clock showed `clockMs` half of a round trip ago.
   * @param clockMs null if the peer did not tell
   */
  peerClock(peer: NodeId, clockMs: number | null, roundTripMs: number): void {
    const { peers } = this.hlc
    // A reply that took long says little; the next one may be faster.
    if (clockMs === null || roundTripMs > peers.maxDriftMs / 2) return
    peers.note(peer, clockMs + roundTripMs / 2)
    const isOff = peers.isOff()
    if (isOff === this.#clockIsOff) return
    this.#clockIsOff = isOff
    if (isOff) this.log.error({ offMs: Math.round(peers.offMs()) }, peers.doubt() ?? 'the clock is off')
    else this.log.info({}, 'the clock of this node agrees with those of the other nodes again')
  }
}
