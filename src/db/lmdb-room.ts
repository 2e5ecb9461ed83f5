import { closeSync, fstatSync, openSync, write, writeSync } from 'node:fs'

/** The size of a page: the same on every machine, so that a store can be moved between them. */
export const PAGE_BYTES = 4096
const MIB = 2 ** 20
/**
 * What is written at a time. Linux keeps what comes by one write in folios as large as it: a page that changes later would count
 * as a change of a whole one, and a page that is read would map it.
 */
const ZEROS = Buffer.alloc(64 * 1024)
/** Bytes allocated at a time when a transaction finds too little room… */
const GROW_BYTES = 4 * MIB
/** …and bytes allocated beside transactions: few, so that no fsync has many of them to write. */
const GROW_AHEAD_BYTES = 2 * MIB
/** The bounds of the room beyond the reserve, which should be a quarter of the used bytes. */
const AHEAD_BYTES_MIN = 4 * MIB
const AHEAD_BYTES_MAX = 64 * MIB
/** Room for deletes alone, and for LMDB's own list of free pages. */
const RESERVE_BYTES = 8 * MIB
/** Pages copied by one write to a tree, at the worst: one on each of its levels, one split, the tree's own record. */
const COPIED_BYTES = 8 * PAGE_BYTES

/**
 * Allocates the data file ahead of LMDB's last page, so that LMDB never meets a full disk: a failed page write
 * leaves its memory damaged (seen as heap corruption in the transaction after it), and the process would die.
 * Zeroes are written, not a hole made, so that a later write of the page needs no new block. That also spares
 * most fsyncs a change of the file's metadata. File systems that copy on write give no such guarantee.
 *
 * Zeroes are appended: the file is opened in that mode, so that they can never land on a page that LMDB has written
 * meanwhile. Hence it can be done beside transactions, in a thread of libuv's pool;
 * only one that needs more than that has time to provide waits for it.
 */
export class LmdbRoom {
  readonly #fd: number
  #allocatedBytes = 0
  /** Bytes from LMDB's last page to the end of the file, less what the running batch may have taken. */
  #leftBytes = 0
  #growing: Promise<void> | undefined

  /** @param lastPage the number of the last page in use by the newest commit */
  constructor(
    path: string,
    private readonly lastPage: () => number,
  ) {
    this.#fd = openSync(path, 'a')
  }

  /** Starts the account of a batch. Call it inside of its transaction. */
  begin(): void {
    const usedBytes = (this.lastPage() + 1) * PAGE_BYTES
    const aheadBytes = Math.min(AHEAD_BYTES_MAX, Math.max(AHEAD_BYTES_MIN, usedBytes / 4))
    const wantedBytes = usedBytes + RESERVE_BYTES + aheadBytes
    if (this.#allocatedBytes < wantedBytes) this.#measure()
    if (this.#allocatedBytes < wantedBytes) this.#growing ??= this.#growAhead()
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

  /** Accounts for a put that may use the reserve, as a delete may. @throws like takeForPut when that is used up as well. */
  takeForRecord(bytes: number): void {
    const needed = bytes + COPIED_BYTES
    while (this.#leftBytes < needed) this.#grow()
    this.#leftBytes -= needed
  }

  /** Accounts for a delete, which may use the reserve. @throws like takeForPut when that is used up as well. */
  takeForDelete(): void {
    while (this.#leftBytes < COPIED_BYTES) this.#grow()
    this.#leftBytes -= COPIED_BYTES
  }

  async close(): Promise<void> {
    await this.#growing
    closeSync(this.#fd)
  }

  #measure(): void {
    const { size } = fstatSync(this.#fd)
    this.#allocatedBytes = size - (size % PAGE_BYTES)
  }

  #grow(): void {
    const before = this.#allocatedBytes
    try {
      for (let left = GROW_BYTES; left > 0; ) left -= writeSync(this.#fd, ZEROS)
    } finally {
      this.#measure()
      this.#leftBytes += this.#allocatedBytes - before
    }
  }

  /** Grows the file beside transactions. An error is left to the transaction that needs the room. */
  #growAhead(): Promise<void> {
    return new Promise((resolve) => {
      let left = GROW_AHEAD_BYTES
      const next = () => {
        write(this.#fd, ZEROS, (error, count) => {
          left -= count
          if (!error && left > 0) return next()
          this.#growing = undefined
          resolve()
        })
      }
      next()
    })
  }
}
