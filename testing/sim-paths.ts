/** How messages go from one node to another. */
export interface PathProfile {
  /** One way, the shortest. */
  latencyMs: number
  /** Mean of what is added to each message, exponentially distributed. */
  jitterMs: number
  /** Share of the calls that fail with PeerUnreachable: half before they reach the peer, half on the way back. */
  lossShare: number
  bytesPerMs: number
}

export const LOCAL_PATH: PathProfile = { latencyMs: 0.2, jitterMs: 0.1, lossShare: 0, bytesPerMs: 100_000 }

/** A link that hears nothing for so long is given up by its ends. */
export const SILENCE_MS = 8000
/** TCP sends again what was not acknowledged; the first time after this, in milliseconds, then doubling. */
export const RETRANSMIT_MS = 200
export const RETRANSMIT_MS_MAX = 3000
/** A dial that gets no answer at all fails after this, in milliseconds. */
export const DIAL_TIMEOUT_MS = 5000
