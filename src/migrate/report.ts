/** How many names of a kind are told; all are counted. */
const NAMES_MAX = 1000

/** Names, each told once, with a bound on how many are kept. */
export class Names {
  readonly #known = new Set<string>()
  #more = 0

  add(text: string): void {
    if (this.#known.has(text)) return
    if (this.#known.size < NAMES_MAX) this.#known.add(text)
    else this.#more++
  }

  get count(): number {
    return this.#known.size + this.#more
  }

  /** The names, and last how many more there are. */
  lines(): string[] {
    return [...this.#known, ...(this.#more > 0 ? [`… and ${this.#more} more`] : [])]
  }
}

/** What a run did, counted while it runs. */
export class Report {
  /** Objects, versions and delete markers. */
  found = 0
  foundBytes = 0
  /** Those that a run before has copied, or that were there. */
  unchanged = 0
  toCopy = 0
  toCopyBytes = 0
  copied = 0
  copiedBytes = 0
  /** Bytes of copies under way, too. */
  movedBytes = 0
  removed = 0
  verified = 0
  /** Gone from the source, still at the destination. */
  gone = new Names()
  notCarried = new Names()
  failed = new Names()
  differences = new Names()
}
