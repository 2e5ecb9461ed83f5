/** The properties of the way from one node to another. */
export interface PathProfile {
  /** The shortest time one way. */
  latencyMs: number
  /** The mean of the exponentially distributed delay that is added to each message. */
  jitterMs: number
  /** Share of the calls that fail with PeerUnreachable: half before they reach the peer, half on the way back. */
  lossShare: number
  bytesPerMs: number
}

export const LOCAL_PATH: PathProfile = { latencyMs: 0.2, jitterMs: 0.1, lossShare: 0, bytesPerMs: 100_000 }

/** The ends of a link give it up after this silence, in milliseconds. */
export const SILENCE_MS = 8000
/** TCP sends again bytes that were not acknowledged: first after this time, in milliseconds, then doubling. */
export const RETRANSMIT_MS = 200
export const RETRANSMIT_MS_MAX = 3000
/** A dial that gets no answer at all fails after this, in milliseconds. */
export const DIAL_TIMEOUT_MS = 5000
