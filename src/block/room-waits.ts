import { errorCode } from '../util/errors.js'

/** How many blocks are remembered; more of them wait for their own time. */
const WAITING_MAX = 1000
/** How often other writes let one of them be tried before its time, in ms: it is fetched from another node for that. */
const PROBE_MS = 60_000

/**
 * Blocks that could not be stored for want of room. Failed attempts are hours apart after a while, and somebody who has made room
 * should not wait for that: when another write finds room, one of them is tried, and when that goes well, all are.
 */
export class RoomWaits {
  readonly #waiting = new Map<string, Buffer>()
  #probedMs = Number.NEGATIVE_INFINITY

  /** An attempt failed. */
  failed(hash: Buffer, error: unknown): void {
    if (errorCode(error) !== 'StorageFull' || this.#waiting.size >= WAITING_MAX) return
    this.#waiting.set(hash.toString('latin1'), hash)
  }

  /** Something was written at `nowMs`. Returns the block to be tried because of that. */
  wrote(nowMs: number): Buffer | undefined {
    if (this.#waiting.size === 0 || nowMs - this.#probedMs < PROBE_MS) return undefined
    this.#probedMs = nowMs
    const [first] = this.#waiting.values()
    return first
  }

  /** A block was fetched and stored. Returns the blocks to be tried because of that, and forgets them. */
  stored(hash: Buffer): Buffer[] {
    if (!this.#waiting.delete(hash.toString('latin1'))) return []
    const others = [...this.#waiting.values()]
    this.#waiting.clear()
    return others
  }
}
