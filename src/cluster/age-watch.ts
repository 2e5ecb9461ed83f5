import type { NodeId } from '../net/transport.js'
import type { Clock } from '../util/clock.js'
import type { Log } from '../util/log.js'
import { encodeAge, parseAge } from './database-age.js'
import type { LayoutManager } from './layout-manager.js'

/**
 * Time between two steps of the database's age (see DatabaseAge), in ms: an image of it that is younger, and of the same start of
 * the node, is taken for the database of now.
 */
const RAISE_EVERY_MS = 60_000

/** Exchanges the ages of databases with the peers, in the nodes' status, and acts when the own one went back in time. */
export class AgeWatch {
  #raisedAtMs = 0
  #renewing = false
  readonly #wentBackListeners: (() => void)[] = []

  constructor(
    private readonly options: {
      layout: LayoutManager
      clock: Clock
      log: Log
      /** Tells all peers soon that something changed here. */
      news: () => void
    },
  ) {}

  start(): void {
    this.#raisedAtMs = this.options.clock.monotonicMs()
  }

  /** Calls `fn` when a peer turns out to remember a later state of this node's database than the one that is here. */
  onWentBack(fn: () => void): void {
    this.#wentBackListeners.push(fn)
  }

  /** What a status for that peer says of ages. */
  told(node: NodeId): { age: unknown; yourAge: unknown } {
    const { age } = this.options.layout
    const remembered = age.remembered(node)
    return { age: encodeAge(age.own()), yourAge: remembered ? encodeAge(remembered) : null }
  }

  /** Remembers how old a peer's database is, and hears from it whether the own one went back in time. */
  heard(from: NodeId, told: { age?: unknown; yourAge?: unknown }): void {
    const { layout, log, news } = this.options
    const theirs = parseAge(told.age)
    if (theirs) layout.age.hear(from, theirs)
    const remembered = parseAge(told.yourAge)
    if (!remembered || !layout.age.wentBack(remembered)) {
      layout.confirm(from)
      return
    }
    if (this.#renewing) return
    this.#renewing = true
    // First what follows from it, so that a crash in between does not hide it.
    for (const fn of this.#wentBackListeners) fn()
    layout.age
      .renew(remembered)
      .catch((error: unknown) => {
        log.error({ error: String(error) }, "could not store the new age of this node's database")
      })
      .finally(() => {
        this.#renewing = false
        layout.confirm(from)
        news()
      })
  }

  /** From time to time the database gets older, so that an image of it from before is told apart. */
  raise(): void {
    const { clock, layout, log } = this.options
    if (clock.monotonicMs() - this.#raisedAtMs < RAISE_EVERY_MS) return
    this.#raisedAtMs = clock.monotonicMs()
    layout.age.raise().catch((error: unknown) => {
      log.warn({ error: String(error) }, "could not store the age of this node's database")
    })
  }
}
