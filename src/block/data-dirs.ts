import { createHash } from 'node:crypto'

/** A folder for blocks. */
export interface DataDir {
  path: string
  /** Relative weight, normally the bytes that may be used; with a single folder any positive number. */
  capacity: number
  /** Blocks are read from here and moved away by a rebalance, but not written. */
  readOnly: boolean
}

/** Slots of the placement table; a block's slot comes from two bytes of its hash that are not its partition. */
const SLOTS = 4096

/**
 * Chooses the folder of a block among several: weighted rendezvous hashing (Thaler and Ravishankar, 1998) of
 * slots over the folders' paths, so that each gets its share, and a new folder takes only its own share from the others.
 */
export class DataDirs {
  readonly paths: readonly string[]
  /** For each slot, the writable folders' indexes, first choice first. */
  readonly #choices: readonly (readonly number[])[]
  readonly #all: readonly number[]

  /** @throws RangeError if there is none, or a writable one without positive capacity. */
  constructor(readonly dirs: readonly DataDir[]) {
    if (dirs.length === 0) throw new RangeError('at least one data folder is needed')
    for (const dir of dirs) {
      if (!dir.readOnly && !(dir.capacity > 0))
        throw new RangeError(`data folder ${dir.path} has no capacity`)
    }
    this.paths = dirs.map((dir) => dir.path.replace(/\/+$/, ''))
    this.#all = dirs.map((_, i) => i)
    const writable = this.#all.filter((i) => !dirs[i]!.readOnly)
    this.#choices =
      writable.length <= 1
        ? [writable]
        : Array.from({ length: SLOTS }, (_, slot) => this.#rank(slot, writable))
  }

  /** Indexes of the folders to write a block to, in order of preference; empty if all are read-only. */
  writable(hash: Buffer): readonly number[] {
    return this.#choices.length === 1 ? this.#choices[0]! : this.#choices[hash.readUInt16BE(2) % SLOTS]!
  }

  /** Indexes of all folders, the likeliest to hold the block first. */
  readable(hash: Buffer): readonly number[] {
    if (this.#all.length === 1) return this.#all
    const first = this.writable(hash)
    return first.length === this.#all.length
      ? first
      : [...first, ...this.#all.filter((i) => !first.includes(i))]
  }

  /**
   * The block's path in folder `index`: a folder for the first byte of its hash, then its name. One level of 256, not
   * two: the folders are soon all there, so that a write seldom has to make one durable, and writes share their fsyncs.
   */
  path(index: number, name: string): string {
    return `${this.paths[index]}/${name.slice(0, 2)}/${name}`
  }

  #rank(slot: number, writable: readonly number[]): number[] {
    const scores = this.paths.map((path, i) => {
      const digest = createHash('sha256').update(`${slot}:${path}`).digest()
      const uniform = (digest.readUIntBE(0, 6) + 1) / (2 ** 48 + 1)
      return -this.dirs[i]!.capacity / Math.log(uniform)
    })
    return [...writable].sort((a, b) => scores[b]! - scores[a]!)
  }
}
