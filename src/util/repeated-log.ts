import type { Clock, Timer } from './clock.js'
import type { Log } from './log.js'

/** Time between a line and the summary of those like it since, in ms. */
const SUMMARY_MS = 10_000
/** Kinds of lines that are told apart at one time; further ones are summed up together. */
const KINDS_MAX = 32

type Fields = Readonly<Record<string, string | number | undefined>>

/**
 * Logs what may happen very often: the first of a kind at once, the ones that follow within ten seconds by one line with their number,
 * so that a flood of connections or of refused requests does not become a flood of lines.
 */
export class RepeatedLog {
  readonly #kinds = new Map<string, { kind: Fields; count: number }>()
  #timer: Timer | undefined

  /** @param summary the message of the line that tells of many; its fields are those of the kind that most of them were of */
  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly summary: string,
  ) {}

  /**
   * @param kind what makes it one of a kind
   * @param details shown with the first one alone
   */
  add(kind: Fields, details: Readonly<Record<string, unknown>>, message: string): void {
    const name = Object.values(kind).join(' ')
    const known = this.#kinds.get(name)
    if (known) {
      known.count++
      return
    }
    if (this.#kinds.size >= KINDS_MAX) {
      const rest = this.#kinds.get('') ?? { kind: {}, count: 0 }
      rest.count++
      this.#kinds.set('', rest)
    } else {
      this.#kinds.set(name, { kind, count: 0 })
      this.log.warn({ ...kind, ...details }, message)
    }
    this.#timer ??= this.clock.after(SUMMARY_MS, () => this.flush())
  }

  /** Writes a line for what was counted, and starts anew. */
  flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const repeated = [...this.#kinds.values()].filter(({ count }) => count > 0)
    this.#kinds.clear()
    if (repeated.length === 0) return
    repeated.sort((a, b) => b.count - a.count)
    const count = repeated.reduce((sum, kind) => sum + kind.count, 0)
    this.log.warn({ count, kinds: repeated.length, ...repeated[0]!.kind }, this.summary)
  }
}
