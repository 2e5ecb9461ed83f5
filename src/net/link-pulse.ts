import type { Clock, Timer } from '../util/clock.js'

const PING_INTERVAL_MS = 2000
/** Intervals without a byte from the peer, each with a ping of ours, after which the link is given up. */
const SILENT_INTERVALS_MAX = 3
/** Weight of a new sample in the smoothed round-trip time (RFC 6298). */
const RTT_GAIN = 1 / 8

export interface PulseHost {
  /** Sends a ping; the peer sends its payload back in a pong. */
  ping(payload: Buffer): void
  /** Called once, when the peer has been silent for too long. */
  onSilent(): void
}

/** Pings the peer of a link: measures the round-trip time, and finds out when the peer does not answer any more. */
export class LinkPulse {
  /** Smoothed, in milliseconds. */
  rttMs: number | undefined
  readonly #clock: Clock
  readonly #host: PulseHost
  #timer: Timer | undefined
  #stopped = false
  #heard = true
  #silentIntervals = 0

  constructor(clock: Clock, host: PulseHost) {
    this.#clock = clock
    this.#host = host
  }

  /** Sends the first ping; the others follow at intervals. */
  start(): void {
    const payload = Buffer.allocUnsafe(8)
    payload.writeDoubleBE(this.#clock.monotonicMs())
    this.#host.ping(payload)
    this.#timer = this.#clock.after(PING_INTERVAL_MS, () => this.#onInterval())
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  /** Something came from the peer. */
  heard(): void {
    this.#heard = true
  }

  onPong(payload: Buffer): void {
    const sampleMs = this.#clock.monotonicMs() - payload.readDoubleBE(0)
    // A payload that this side never sent can yield anything; NaN and negative times are dropped.
    if (!(sampleMs >= 0)) return
    this.rttMs = this.rttMs === undefined ? sampleMs : this.rttMs + (sampleMs - this.rttMs) * RTT_GAIN
  }

  #onInterval(): void {
    if (this.#stopped) return
    // Silence is counted in timers, not in time: a pause of this process is not the peer's fault.
    this.#silentIntervals = this.#heard ? 0 : this.#silentIntervals + 1
    this.#heard = false
    if (this.#silentIntervals < SILENT_INTERVALS_MAX) this.start()
    else this.#host.onSilent()
  }
}
