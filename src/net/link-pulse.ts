import type { Clock, Timer } from '../util/clock.js'

/** The longest time between two pings. */
const PING_INTERVAL_MS_MAX = 2000
/** How long a peer may send nothing, while it is pinged, until the link is given up. */
const SILENT_MS_MAX = 6000
/** Intervals without a byte from the peer, each with a ping of ours, that make it silent: at least so many. */
const SILENT_INTERVALS_MIN = 3
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

  readonly #intervalMs: number
  readonly #silentIntervalsMax: number

  /** @param timeoutMs after how long without a byte the peer is silent */
  constructor(clock: Clock, host: PulseHost, timeoutMs = SILENT_MS_MAX) {
    this.#clock = clock
    this.#host = host
    this.#intervalMs = Math.min(PING_INTERVAL_MS_MAX, timeoutMs / SILENT_INTERVALS_MIN)
    this.#silentIntervalsMax = Math.max(SILENT_INTERVALS_MIN, Math.round(timeoutMs / this.#intervalMs))
  }

  /** Sends the first ping; the others follow at intervals. */
  start(): void {
    const payload = Buffer.allocUnsafe(8)
    payload.writeDoubleBE(this.#clock.monotonicMs())
    this.#host.ping(payload)
    this.#timer = this.#clock.after(this.#intervalMs, () => this.#onInterval())
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
    if (this.#silentIntervals < this.#silentIntervalsMax) this.start()
    else this.#host.onSilent()
  }
}
