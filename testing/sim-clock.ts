import type { Clock, Timer } from '../src/util/clock.js'

interface SimEvent {
  readonly timeMs: number
  readonly sequence: number
  /** The function to call; undefined once cancelled. */
  fn: (() => void) | undefined
}

export interface SimClockOptions {
  /**
   * Whether promises are waited for without a turn of the real event loop, which is several times as fast. Only for programs
   * that use neither `setImmediate` nor streams of Node.
   */
  isQuick?: boolean
}

/** So many quick steps after each other: then the real event loop has its turn, for what is printed and for signals. */
const QUICK_STEPS = 1000

/**
 * Virtual time. Events run in the order of (time, sequence of creation), and before the next one all promises that
 * can go on do so: a program that takes time, randomness and I/O from the simulator runs the same way each time.
 * Code that waits for real I/O or for a thread (zlib's and zstd's asynchronous functions) breaks this.
 */
export class SimClock implements Clock {
  #elapsedMs = 0
  #sequence = 0
  #quickSteps = 0
  #pending = 0
  readonly #queue = new EventQueue()

  constructor(
    private readonly epochMs = Date.UTC(2026, 0, 1),
    private readonly options: SimClockOptions = {},
  ) {}

  nowMs(): number {
    return this.epochMs + this.#elapsedMs
  }

  monotonicMs(): number {
    return this.#elapsedMs
  }

  after(delayMs: number, fn: () => void): Timer {
    const event: SimEvent = {
      timeMs: this.#elapsedMs + Math.max(0, delayMs),
      sequence: this.#sequence++,
      fn,
    }
    this.#queue.push(event)
    this.#pending++
    return {
      cancel: () => {
        if (event.fn) this.#pending--
        event.fn = undefined
      },
    }
  }

  /** How many timers wait; those that were cancelled do not count. */
  get pending(): number {
    return this.#pending
  }

  /** Resolves after `delayMs` of virtual time. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve))
  }

  /** The clock of one node, off from this one by `offsetMs`. */
  skewed(offsetMs: number): SimNodeClock {
    return new SimNodeClock(this, offsetMs)
  }

  /** Lets all promises go on that can, without moving the time. */
  settle(): Promise<void> {
    if (this.options.isQuick && ++this.#quickSteps % QUICK_STEPS !== 0) {
      // Node runs ticks once no microtask is left.
      return new Promise((resolve) => process.nextTick(resolve))
    }
    // A barrier of the real event loop: its callback comes when no microtask is left.
    return new Promise((resolve) => setImmediate(resolve))
  }

  /** Runs the events of the next `durationMs`, and leaves the clock at their end. */
  async run(durationMs: number): Promise<void> {
    const untilMs = this.#elapsedMs + durationMs
    await this.settle()
    while (await this.#step(untilMs)) {}
    this.#elapsedMs = untilMs
  }

  /**
   * Runs events until `promise` settles, and gives its result.
   * @throws the promise's error; an Error if it did not settle within `limitMs` of virtual time.
   */
  async runUntil<T>(promise: Promise<T>, limitMs: number): Promise<T> {
    let settled = false
    const done = () => {
      settled = true
    }
    promise.then(done, done)
    const untilMs = this.#elapsedMs + limitMs
    await this.settle()
    while (!settled) {
      if (!(await this.#step(untilMs))) throw new Error(`not settled within ${limitMs} ms of virtual time`)
    }
    return promise
  }

  /** Runs one event if one is due by `untilMs`. */
  async #step(untilMs: number): Promise<boolean> {
    let event = this.#queue.first()
    while (event && event.fn === undefined) {
      this.#queue.pop()
      event = this.#queue.first()
    }
    if (!event || event.timeMs > untilMs) return false
    this.#queue.pop()
    this.#elapsedMs = event.timeMs
    const { fn } = event
    event.fn = undefined
    this.#pending--
    fn!()
    await this.settle()
    return true
  }
}

/** One node's view of the time. Its wall clock may be wrong and jump; durations are true. */
export class SimNodeClock implements Clock {
  #stopped = false

  constructor(
    private readonly clock: SimClock,
    /** Wall clock minus true time, in milliseconds. May be changed at any moment. */
    public offsetMs: number,
  ) {}

  nowMs(): number {
    return this.clock.nowMs() + this.offsetMs
  }

  monotonicMs(): number {
    return this.clock.monotonicMs()
  }

  after(delayMs: number, fn: () => void): Timer {
    if (this.#stopped) return { cancel() {} }
    return this.clock.after(delayMs, () => {
      if (!this.#stopped) fn()
    })
  }

  /** Stops the clock of a node that crashed: no timer made with it fires any more. */
  stop(): void {
    this.#stopped = true
  }
}

/** A priority queue: a binary heap. */
class EventQueue {
  readonly #heap: SimEvent[] = []

  first(): SimEvent | undefined {
    return this.#heap[0]
  }

  push(event: SimEvent): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = event
  }

  pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (!last || heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.sequence < b.sequence)
}
