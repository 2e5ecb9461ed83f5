/** Memory that an entry takes beside its content, in bytes, roughly. */
const ENTRY_BYTES = 1024

/** Small pages in memory, the least recently used of which go first. */
export class PageCache<P extends { readonly size: number }> {
  readonly #pages = new Map<string, P>()
  #bytes = 0

  /** @param bytesMax for all pages together; with 0 none is kept */
  constructor(private readonly bytesMax: number) {}

  /** Of all pages kept, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  get(key: string): P | undefined {
    const page = this.#pages.get(key)
    if (page) {
      this.#pages.delete(key)
      this.#pages.set(key, page)
    }
    return page
  }

  /** Whether a page of that size is worth to be kept. */
  takes(size: number): boolean {
    return size + ENTRY_BYTES <= this.bytesMax / 8
  }

  set(key: string, page: P): void {
    this.delete(key)
    if (!this.takes(page.size)) return
    this.#pages.set(key, page)
    this.#bytes += page.size + ENTRY_BYTES
    for (const oldest of this.#pages.keys()) {
      if (this.#bytes <= this.bytesMax) break
      this.delete(oldest)
    }
  }

  delete(key: string): void {
    const page = this.#pages.get(key)
    if (!page) return
    this.#pages.delete(key)
    this.#bytes -= page.size + ENTRY_BYTES
  }
}
