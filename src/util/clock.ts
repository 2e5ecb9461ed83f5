import { CarportError } from './errors.js'

/** A pending timer. `cancel` is idempotent and may be called after it fired. */
export interface Timer {
  cancel(): void
}

/**
 * The only source of time below src/platform, which has the real one; testing/ has a simulated one.
 */
export interface Clock {
  /** Wall-clock time in milliseconds since the epoch. It may jump. */
  nowMs(): number
  /** Milliseconds from an arbitrary start; never goes back. Use it for time-outs and durations. */
  monotonicMs(): number
  /**
   * Calls `fn` once, after at least `delayMs`, and never in the turn of the event loop in which it was asked to: with 0, others have
   * their turn before. A pending timer does not keep a process alive.
   */
  after(delayMs: number, fn: () => void): Timer
  /**
   * Why the wall clock is not to be relied on now, so that nothing may be deleted by its age; undefined if it is.
   * Left out where nobody can tell.
   */
  doubt?(): string | undefined
}

/** Resolves after `delayMs`, or rejects with the signal's reason as soon as `signal` aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const onAbort = () => {
      timer.cancel()
      reject(signal!.reason)
    }
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** How far a clock may be off before it is not believed, unless the configuration says otherwise, in ms. */
export const MAX_CLOCK_DRIFT_MS = 60_000
/** How far counting events may carry a timestamp beyond the latest time that was followed, in µs. */
const COUNTED_US_MAX = 1e6
/** A peer that did not tell its time for so long does not count any more, in ms. */
const FORGET_AFTER_MS = 10 * 60_000

/**
 * What the peers' clocks say about the own one. Each peer's time is kept as its distance from the own monotonic clock,
 * which does not jump: when the own wall clock does, that is seen at once, without asking anybody.
 *
 * The measure is the median of the peers' clocks; of two middle ones, the one that is nearer to the own clock. With two
 * peers or more, a node that is off by more than `maxDriftMs` takes its own clock for the wrong one. With a single peer
 * nobody can tell which of the two is wrong: neither deletes anything by age then, and the one that is ahead stamps
 * nothing, since rows from the future do lasting harm and rows from the past do not. Without peers the own clock is
 * believed.
 */
export class PeerTime {
  /** The own clock, with its wall clock corrected while it is off: for what must not go wrong with it. */
  readonly clock: Clock
  /** Whether there are other nodes: nothing is deleted by age before one of them told its time. */
  expectsPeers: () => boolean = () => false
  /** Whether some node is about to tell its time: no row gets one before that, if none has yet. */
  awaitsPeers: () => boolean = () => false
  /** Peer → [its wall clock minus the own monotonic clock, when that was measured (monotonic)], in ms. */
  readonly #peers = new Map<string, readonly [baseMs: number, atMs: number]>()
  /** The two middle ones of these distances; one and the same for an odd number of peers. */
  #lowMs = 0
  #highMs = 0
  #oldestMs = Number.POSITIVE_INFINITY
  #computedAtMs = Number.NaN
  #computedMs = 0

  constructor(
    private readonly own: Clock,
    readonly maxDriftMs = MAX_CLOCK_DRIFT_MS,
  ) {
    this.clock = {
      nowMs: () => this.nowMs(),
      monotonicMs: () => own.monotonicMs(),
      after: (delayMs, fn) => own.after(delayMs, fn),
      doubt: () => this.doubt(),
    }
  }

  /** A peer's wall clock shows `wallMs` now, as well as that can be known. */
  note(peer: string, wallMs: number): void {
    const nowMs = this.own.monotonicMs()
    this.#peers.set(peer, [wallMs - nowMs, nowMs])
    this.#settle(nowMs)
  }

  /** Whether the peer told its time in the last minutes. */
  knows(peer: string): boolean {
    return this.#peers.has(peer)
  }

  /** What the own wall clock shows, right or wrong, in ms since the epoch: what peers are told. */
  ownMs(): number {
    return this.own.nowMs()
  }

  /** How far the own clock is ahead of its peers' (negative: behind), in ms; 0 while nothing is known of any. */
  offMs(): number {
    return this.#offAt(this.own.nowMs())
  }

  /** As `offMs`, computed once for each millisecond of the own wall clock: every message and row asks. */
  #offAt(ownMs: number): number {
    if (this.#peers.size === 0) return 0
    if (ownMs === this.#computedAtMs) return this.#computedMs
    const nowMs = this.own.monotonicMs()
    if (nowMs - this.#oldestMs > FORGET_AFTER_MS) this.#settle(nowMs)
    const baseMs = ownMs - nowMs
    let offMs = 0
    if (this.#peers.size > 0) {
      if (baseMs > this.#highMs) offMs = baseMs - this.#highMs
      else if (baseMs < this.#lowMs) offMs = baseMs - this.#lowMs
    }
    this.#computedAtMs = ownMs
    this.#computedMs = offMs
    return offMs
  }

  /** Whether the own clock is off by more than allowed, or the only peer's is. */
  isOff(): boolean {
    return Math.abs(this.offMs()) > this.maxDriftMs
  }

  /** The time in ms since the epoch by the own clock, or by the peers' where the own one is known to be wrong. */
  nowMs(): number {
    const ownMs = this.own.nowMs()
    if (this.#peers.size < 2) return ownMs
    const offMs = this.#offAt(ownMs)
    return Math.abs(offMs) > this.maxDriftMs ? ownMs - offMs : ownMs
  }

  /**
   * The latest time that a row may get now, in µs since the epoch: the bound after the median of all clocks. A single
   * peer that is ahead is not followed.
   */
  latestUs(): number {
    const ownMs = this.own.nowMs()
    const offMs = this.#offAt(ownMs)
    const aheadMs = this.#peers.size > 1 ? offMs : Math.max(offMs, 0)
    return (ownMs - aheadMs + this.maxDriftMs) * 1000
  }

  /** Why nothing may be deleted by its age now; undefined if it may. */
  doubt(): string | undefined {
    if (this.isOff()) return this.#describe()
    if (this.#peers.size === 0 && this.expectsPeers()) return 'no other node has told its time yet'
    return undefined
  }

  /** Why this node may not give rows a time now; undefined if it may. */
  stampDoubt(): string | undefined {
    const offMs = this.offMs()
    if (this.#peers.size === 0) return this.awaitsPeers() ? 'no other node has told its time yet' : undefined
    const isWrong = this.#peers.size === 1 ? offMs > this.maxDriftMs : Math.abs(offMs) > this.maxDriftMs
    return isWrong ? this.#describe() : undefined
  }

  /** @throws CarportError ClockSkew if this node may not give rows a time now */
  checkMayStamp(): void {
    const doubt = this.stampDoubt()
    if (doubt !== undefined) throw new CarportError('ClockSkew', doubt)
  }

  #describe(): string {
    const offMs = this.offMs()
    const seconds = Math.round(Math.abs(offMs) / 1000)
    const direction = offMs > 0 ? 'ahead of' : 'behind'
    return `the clock of this node is ${seconds} s ${direction} those of the other nodes: set it right`
  }

  #settle(nowMs: number): void {
    this.#computedAtMs = Number.NaN
    this.#oldestMs = Number.POSITIVE_INFINITY
    for (const [peer, [, atMs]] of this.#peers) {
      if (nowMs - atMs > FORGET_AFTER_MS) this.#peers.delete(peer)
      else this.#oldestMs = Math.min(this.#oldestMs, atMs)
    }
    const bases = [...this.#peers.values()].map(([baseMs]) => baseMs).sort((a, b) => a - b)
    this.#lowMs = bases[Math.floor((bases.length - 1) / 2)] ?? 0
    this.#highMs = bases[Math.floor(bases.length / 2)] ?? 0
  }
}

/**
 * Hybrid logical clock (Kulkarni et al., 2014) folded into one integer: microseconds since the epoch,
 * moved ahead of the wall clock when events come faster or a peer is ahead. Fits a double until 2255.
 */
export class Hlc {
  #lastUs = 0

  /** @param peers what bounds how far a peer's time, or the own wall clock, is followed */
  constructor(
    clock: Clock,
    readonly peers = new PeerTime(clock),
  ) {}

  /**
   * A timestamp in microseconds, greater than every one returned or observed before on this node; unless those turn
   * out to be farther ahead than clocks may be, since the own clock was wrong: then time goes back.
   */
  now(): number {
    const wallUs = this.peers.nowMs() * 1000
    const isBehind = wallUs > this.#lastUs
    const isAhead = this.#lastUs - wallUs > COUNTED_US_MAX
    const isTooFar = isAhead && this.#lastUs > this.peers.latestUs() + COUNTED_US_MAX
    this.#lastUs = isBehind || isTooFar ? Math.floor(wallUs) : this.#lastUs + 1
    return this.#lastUs
  }

  /** Takes note of a peer's timestamp, unless it is so far ahead that the peer's clock must be wrong. */
  observe(peerUs: number): void {
    if (peerUs > this.#lastUs && peerUs <= this.peers.latestUs()) this.#lastUs = peerUs
  }

  /**
   * A timestamp greater than `us`, however far ahead that is: what a writer takes when it lost to a later row. Only
   * rows that a wrong clock stamped are farther ahead than clocks may be; what replaces one follows it at once.
   */
  after(us: number): number {
    const now = this.now()
    if (now > us) return now
    this.observe(us)
    return us + 1
  }
}
