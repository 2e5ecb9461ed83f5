import type { Clock, Timer } from './clock.js'

/** How exact deadlines are: they pass up to so much later, in ms. */
const TICK_MS = 250
/** Deadlines that pass in one turn of the event loop. */
const IN_TURN = 50

/** Something with a deadline; in one wheel at a time. */
export interface Due {
  /** Kept by the wheel. */
  tick: number
  /** Called once, when the time is over. */
  timeOver(): void
}

/**
 * Deadlines of very many waits, of seconds or minutes, by one timer: a timer for each would take 300 bytes. They are gathered by
 * quarters of a second.
 */
export class DeadlineWheel<T extends Due> {
  readonly #ticks = new Map<number, Set<T>>()
  #size = 0
  #timer: Timer | undefined
  #timerTick = 0

  constructor(private readonly clock: Clock) {}

  get size(): number {
    return this.#size
  }

  *[Symbol.iterator](): Generator<T> {
    for (const dues of this.#ticks.values()) yield* dues
  }

  add(due: T, delayMs: number): void {
    due.tick = Math.ceil((this.clock.monotonicMs() + delayMs) / TICK_MS)
    let dues = this.#ticks.get(due.tick)
    if (!dues) {
      dues = new Set()
      this.#ticks.set(due.tick, dues)
    }
    dues.add(due)
    this.#size++
    if (!this.#timer || due.tick < this.#timerTick) this.#arm(due.tick)
  }

  /** Returns whether it was there, and has not passed yet. */
  delete(due: T): boolean {
    const dues = this.#ticks.get(due.tick)
    if (!dues?.delete(due)) return false
    this.#size--
    if (dues.size === 0) this.#ticks.delete(due.tick)
    if (this.#size > 0) return true
    this.#timer?.cancel()
    this.#timer = undefined
    return true
  }

  #arm(tick: number): void {
    this.#timer?.cancel()
    this.#timerTick = tick
    const delayMs = Math.max(0, tick * TICK_MS - this.clock.monotonicMs())
    this.#timer = this.clock.after(delayMs, () => {
      this.#timer = undefined
      this.#pass()
    })
  }

  #pass(): void {
    const now = Math.floor(this.clock.monotonicMs() / TICK_MS)
    let left = IN_TURN
    let next = Number.POSITIVE_INFINITY
    for (const [tick, dues] of this.#ticks) {
      if (tick > now || left === 0) {
        next = Math.min(next, tick)
        continue
      }
      for (const due of dues) {
        if (left-- === 0) break
        this.delete(due)
        due.timeOver()
      }
      left = Math.max(0, left)
      if (this.#ticks.has(tick)) next = Math.min(next, tick)
    }
    if (this.#size > 0 && (!this.#timer || next < this.#timerTick)) this.#arm(next)
  }
}
