import type { Clock } from '../util/clock.js'

/** How long a folder that failed is tried after the others, in ms. */
const REST_MS = 30_000

/** Remembers the data folders whose last write failed for another reason than want of room. */
export class FailingFolders {
  /** When each of them failed, by its index. */
  readonly #failedMs = new Map<number, number>()

  /** @param onChange told with the error when a folder begins to fail, and without one when it takes a write again */
  constructor(
    private readonly paths: readonly string[],
    private readonly clock: Clock,
    private readonly onChange: (folder: string, error?: unknown) => void = () => {},
  ) {}

  /** Their paths. */
  list(): string[] {
    return [...this.#failedMs.keys()].map((index) => this.paths[index]!)
  }

  /** Takes note that a folder failed, with the error. */
  failed(index: number, error: unknown): void {
    const isNew = !this.#failedMs.has(index)
    this.#failedMs.set(index, this.clock.monotonicMs())
    if (isNew) this.onChange(this.paths[index]!, error)
  }

  /** Takes note that a folder took a write. */
  works(index: number): void {
    if (this.#failedMs.delete(index)) this.onChange(this.paths[index]!)
  }

  /** Folders in the order in which to try them: those that failed a moment ago come last, since none may be better. */
  inTurn(indexes: readonly number[]): readonly number[] {
    if (this.#failedMs.size === 0) return indexes
    const nowMs = this.clock.monotonicMs()
    const rests = (index: number) => nowMs - (this.#failedMs.get(index) ?? Number.NEGATIVE_INFINITY) < REST_MS
    return [...indexes.filter((index) => !rests(index)), ...indexes.filter(rests)]
  }
}
