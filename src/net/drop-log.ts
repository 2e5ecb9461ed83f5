import type { Clock, Timer } from '../util/clock.js'
import type { Log } from '../util/log.js'

/** Time between a line and the summary of the drops like it since, in ms. */
const SUMMARY_MS = 10_000
/** Kinds of drops that are told apart at one time; further ones are summed up together. */
const KINDS_MAX = 32

/**
 * Logs dropped connections: the first of a kind (an address and a reason) at once, the ones that follow within ten seconds
 * by one line with their number, so that a flood of connections does not become a flood of lines.
 */
export class DropLog {
  readonly #kinds = new Map<string, { host: string | undefined; reason: string; count: number }>()
  #timer: Timer | undefined

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  add(host: string | undefined, port: number | undefined, reason: string): void {
    const known = this.#kinds.get(`${host} ${reason}`)
    if (known) {
      known.count++
      return
    }
    if (this.#kinds.size >= KINDS_MAX) {
      const rest = this.#kinds.get('') ?? { host: undefined, reason: 'various', count: 0 }
      rest.count++
      this.#kinds.set('', rest)
    } else {
      this.#kinds.set(`${host} ${reason}`, { host, reason, count: 0 })
      this.log.warn({ host, port, reason }, 'RPC connection dropped')
    }
    this.#timer ??= this.clock.after(SUMMARY_MS, () => this.flush())
  }

  /** Writes a line for each kind that was counted, and starts anew. */
  flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const repeated = [...this.#kinds.values()].filter(({ count }) => count > 0)
    this.#kinds.clear()
    if (repeated.length === 0) return
    repeated.sort((a, b) => b.count - a.count)
    const [most] = repeated
    const count = repeated.reduce((sum, kind) => sum + kind.count, 0)
    this.log.warn(
      { count, kinds: repeated.length, host: most!.host, reason: most!.reason },
      'RPC connections dropped; host and reason are those of most of them',
    )
  }
}
