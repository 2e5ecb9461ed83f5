import { closeSync, fstatSync, openSync, writeSync } from 'node:fs'

/** The store's page, on every machine, so that a store can be moved between them. */
export const PAGE_BYTES = 4096
const ZEROS = Buffer.alloc(2 ** 20)
/** What is allocated at a time: zeroes written in one go, about two milliseconds. */
const GROW_BYTES = 4 * 2 ** 20
/** Room that only deletes may use, and what LMDB itself needs for its list of free pages. */
const RESERVE_BYTES = 8 * 2 ** 20
/** Pages copied by one write to a tree, at the worst: one on each of its levels, one split, the tree's own record. */
const COPIED_BYTES = 8 * PAGE_BYTES

/**
 * Allocates the data file ahead of LMDB's last page, so that LMDB never meets a full disk: a failed page write
 * leaves its memory damaged (seen as heap corruption in the transaction after it), and the process would die.
 * Zeroes are written, not a hole made, so that a later write of the page needs no new block. That also spares
 * most fsyncs a change of the file's metadata. File systems that copy on write give no such guarantee.
 *
 * All methods run inside of the write transaction, whose lock keeps other processes from extending the file.
 */
export class LmdbRoom {
  readonly #fd: number
  #allocatedBytes = 0
  /** Bytes from LMDB's last page to the end of the file, less what the running batch may have taken. */
  #leftBytes = 0

  /** @param lastPage the number of the last page in use by the newest commit */
  constructor(
    path: string,
    private readonly lastPage: () => number,
  ) {
    this.#fd = openSync(path, 'r+')
  }

  /** Starts the account of a batch. */
  begin(): void {
    const usedBytes = (this.lastPage() + 1) * PAGE_BYTES
    if (this.#allocatedBytes < usedBytes + RESERVE_BYTES + GROW_BYTES)
      this.#allocatedBytes = fstatSync(this.#fd).size
    this.#leftBytes = this.#allocatedBytes - usedBytes
  }

  /**
   * Accounts for a put of a value of `bytes`, and allocates if the reserve would be touched.
   * @throws the error of the file system, ENOSPC and the like.
   */
  takeForPut(bytes: number): void {
    const needed = bytes + COPIED_BYTES
    while (this.#leftBytes - needed < RESERVE_BYTES) this.#grow()
    this.#leftBytes -= needed
  }

  /** Accounts for a delete, which may use the reserve. @throws like takeForPut when that is used up as well. */
  takeForDelete(): void {
    while (this.#leftBytes < COPIED_BYTES) this.#grow()
    this.#leftBytes -= COPIED_BYTES
  }

  close(): void {
    closeSync(this.#fd)
  }

  #grow(): void {
    // From the file's end, never before it: LMDB's pages of this transaction may already be written there.
    let end = fstatSync(this.#fd).size
    const start = end
    try {
      while (end < start + GROW_BYTES) end += writeSync(this.#fd, ZEROS, 0, ZEROS.length, end)
    } finally {
      this.#allocatedBytes = end
      this.#leftBytes += end - start
    }
  }
}
