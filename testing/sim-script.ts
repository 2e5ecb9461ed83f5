import type { Clock } from '../src/util/clock.js'
import { sleep } from '../src/util/clock.js'

/** Something that a run does to the cluster: an operation of a client, a fault, a change of the layout. */
export interface ScriptEvent {
  id: string
  /** When it began, in ms of virtual time. */
  atMs: number
}

/**
 * What happened in a run, and when; and in a run that repeats a part of another one, what is to happen again. An event
 * begins at the time at which it began in the other run, or as soon after it as its predecessor is through.
 */
export class Script {
  readonly events: ScriptEvent[] = []
  readonly #kept: ReadonlyMap<string, number> | undefined
  readonly #last = new Map<string, number>()

  /** @param kept the events that happen; all that come up unless given */
  constructor(kept?: readonly ScriptEvent[]) {
    if (!kept) return
    this.#kept = new Map(kept.map(({ id, atMs }) => [id, atMs]))
    for (const { id } of kept) this.#last.set(actorOf(id), indexOf(id))
  }

  /** Waits until the event begins. Resolves with whether it does; at once if it is left out. */
  async wait(clock: Clock, id: string, delayMs: number): Promise<boolean> {
    if (this.#kept) {
      const atMs = this.#kept.get(id)
      if (atMs === undefined) {
        // Nothing more to come from this actor: time must go on nevertheless.
        if (indexOf(id) > (this.#last.get(actorOf(id)) ?? -1)) await sleep(clock, 1000)
        return false
      }
      const leftMs = atMs - clock.monotonicMs()
      if (leftMs > 0) await sleep(clock, leftMs)
    } else await sleep(clock, delayMs)
    this.events.push({ id, atMs: clock.monotonicMs() })
    return true
  }

  /** Whether an event happens that follows from another one, now. */
  happens(clock: Clock, id: string): boolean {
    if (this.#kept && !this.#kept.has(id)) return false
    this.events.push({ id, atMs: clock.monotonicMs() })
    return true
  }
}

function actorOf(id: string): string {
  return id.slice(0, id.lastIndexOf('/'))
}

function indexOf(id: string): number {
  return Number(id.slice(id.lastIndexOf('/') + 1))
}
