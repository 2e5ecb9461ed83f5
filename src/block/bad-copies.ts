import type { FileStat } from './disk.js'

const COPIES_MAX = 8192

/**
 * Files that are no good copies of their blocks and could not be set aside, since their disk takes no changes. They count
 * as absent: otherwise their blocks would not be fetched again.
 */
export class BadCopies {
  /** The files as they were found, by path, the longest known first. */
  readonly #files = new Map<string, FileStat>()

  /** Takes note of one; beyond some thousands the oldest are forgotten, and found again when they are read. */
  add(path: string, found: FileStat): void {
    this.#files.delete(path)
    if (this.#files.size >= COPIES_MAX) this.#files.delete(this.#files.keys().next().value!)
    this.#files.set(path, found)
  }

  /** Forgets a file that was written anew. */
  delete(path: string): void {
    this.#files.delete(path)
  }

  /** Whether the path is known at all: then its file must be looked at to tell whether it is the same one. */
  mayHave(path: string): boolean {
    return this.#files.has(path)
  }

  /** Whether the file at the path, as it is now, is a bad one. */
  has(path: string, now: FileStat): boolean {
    const file = this.#files.get(path)
    return file !== undefined && file.size === now.size && file.mtimeMs === now.mtimeMs
  }
}
