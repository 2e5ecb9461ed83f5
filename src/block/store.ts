import type { Clock } from '../util/clock.js'
import { CarportError, errorCode } from '../util/errors.js'
import { Semaphore } from '../util/semaphore.js'
import type { Codec } from './codec.js'
import type { DataDirs } from './data-dirs.js'
import { type Disk, type FileStat, parentFolder } from './disk.js'
import {
  FILE_HEAD_BYTES,
  fileHead,
  HEAD_BYTES,
  matchesHash,
  parseFile,
  parseFileHead,
  parseHead,
  type StoredBlock,
} from './format.js'

/** Ends the name of a block's file that did not match its checksum, and was set aside. */
export const CORRUPTED_SUFFIX = '.corrupted'

/** How long the free space of a folder is believed, in milliseconds; bytes written meanwhile are subtracted. */
const SPACE_VALID_MS = 2_000
/** How long a folder is believed to be full: somebody may have made room, and waits for it. */
const FULL_VALID_MS = 200

interface FolderSpace {
  freeBytes: number
  readAtMs: number
  reading: Promise<void> | undefined
}

/** How many files are remembered to be durable. */
const KNOWN_FILES_MAX = 8192

/** A file as it was found; one that has another length or time is another file. */
interface KnownFile extends FileStat {
  path: string
}

/** What the files of this node's blocks went through, for whomever: its own clients, other nodes, repairs. */
export interface StoreCounters {
  blocksRead: number
  /** Bytes of files, as they are on the disk. */
  bytesRead: number
  blocksWritten: number
  bytesWritten: number
  corruptions: number
}

/** The block files of this node, over one or more folders. Knows nothing of references or replicas. */
export class BlockStore {
  readonly counters: StoreCounters = {
    blocksRead: 0,
    bytesRead: 0,
    blocksWritten: 0,
    bytesWritten: 0,
    corruptions: 0,
  }
  /** Called after each write. */
  onWritten: () => void = () => {}
  readonly #space: FolderSpace[]
  readonly #reads: Semaphore
  /** Files that were found durable, by hash, the longest known first. */
  readonly #durable = new Map<string, KnownFile>()

  constructor(
    private readonly disk: Disk,
    readonly dirs: DataDirs,
    private readonly clock: Clock,
    private readonly options: {
      fsync: boolean
      /** Writes are refused when a folder's file system has less than this free, in bytes. */
      reserveBytes: number
      /** Decompresses blocks whose file does not name them. */
      codec: Codec
      /** Most blocks read at the same time (default 16). */
      readsMax?: number
      /** Whether blocks may be written to a folder now. */
      isWritable?: (folder: string) => boolean
    },
  ) {
    this.#reads = new Semaphore(options.readsMax ?? 16)
    this.#space = dirs.paths.map(() => ({
      freeBytes: 0,
      readAtMs: Number.NEGATIVE_INFINITY,
      reading: undefined,
    }))
  }

  /**
   * The block if an intact copy is in one of the folders. Copies that fail their checksum are passed over, told to
   * `onCorrupted`, and left where they are: see `quarantine`.
   * @param plainBytes the length of the plain content, if known: makes reading cheaper
   */
  async read(
    hash: Buffer,
    plainBytes?: number,
    onCorrupted?: (path: string) => void,
  ): Promise<StoredBlock | undefined> {
    const expectedBytes = plainBytes === undefined ? undefined : FILE_HEAD_BYTES + plainBytes
    const name = hash.toString('hex')
    for (const index of this.dirs.readable(hash)) {
      const path = this.dirs.path(index, name)
      try {
        const file = await this.#reads.run(() => this.disk.read(path, expectedBytes))
        if (!file) continue
        const block = await this.#verified(file, hash)
        this.counters.blocksRead++
        this.counters.bytesRead += file.length
        return block
      } catch (error) {
        if (errorCode(error) !== 'Corrupted') throw error
        onCorrupted?.(path)
      }
    }
    return undefined
  }

  /**
   * Sets aside the copies that fail their checksum. Reads again, since a good one may have been written
   * meanwhile; the caller keeps writers of the block away. Returns whether an intact copy remains.
   */
  async quarantine(hash: Buffer): Promise<boolean> {
    const name = hash.toString('hex')
    let intact = false
    for (const index of this.dirs.readable(hash)) {
      const path = this.dirs.path(index, name)
      if (!(await this.disk.stat(path))) continue
      if (await this.#isIntact(path, hash)) intact = true
      else await this.#setAside(path)
    }
    return intact
  }

  /** Whether `write` would find room for a payload of this length, as far as is known. */
  async hasRoom(hash: Buffer, payloadBytes: number): Promise<boolean> {
    for (const index of this.dirs.writable(hash)) {
      if (await this.#hasRoom(index, FILE_HEAD_BYTES + payloadBytes)) return true
    }
    return false
  }

  /**
   * Writes the block durably to its folder, or the next one in order if that is full.
   * @throws CarportError StorageFull if all are.
   */
  async write(hash: Buffer, block: StoredBlock): Promise<void> {
    const name = hash.toString('hex')
    const bytes = FILE_HEAD_BYTES + block.payload.length
    let full: unknown
    this.#durable.delete(knownKey(hash))
    for (const index of this.dirs.writable(hash)) {
      if (!(await this.#hasRoom(index, bytes))) continue
      try {
        const { fsync } = this.options
        const parts = [fileHead(block, hash), block.payload]
        await this.disk.writeDurable(this.dirs.path(index, name), parts, { fsync })
      } catch (error) {
        if (errorCode(error) !== 'StorageFull') throw error
        this.#space[index]!.freeBytes = 0
        full = error
        continue
      }
      this.#space[index]!.freeBytes -= bytes
      this.counters.blocksWritten++
      this.counters.bytesWritten += bytes
      this.onWritten()
      return
    }
    throw new CarportError('StorageFull', 'no data folder has room for the block', { cause: full })
  }

  /**
   * Whether a whole file of the block is there: its head is well-formed and its length fits. The content is
   * verified by reads and the scrub.
   */
  async has(hash: Buffer): Promise<boolean> {
    return (await this.#find(hash)) !== undefined
  }

  /**
   * Like `has`, for a caller that acknowledges a write because of it: also makes the file's name durable. A file that was
   * found durable before is only looked at again. That it is the same file must be seen each time: it may have been deleted,
   * moved or set aside since, or replaced by one whose name is not durable yet.
   */
  async hasDurably(hash: Buffer): Promise<boolean> {
    const known = this.#durable.get(knownKey(hash))
    if (known) {
      const stat = await this.disk.stat(known.path)
      if (stat?.size === known.size && stat.mtimeMs === known.mtimeMs) return true
    }
    const file = await this.#find(hash)
    if (!file) return false
    if (this.options.fsync) await this.disk.syncFolder(parentFolder(file.path))
    this.#remember(hash, file)
    return true
  }

  /** Removes every copy of the block on this node. */
  async remove(hash: Buffer): Promise<void> {
    const name = hash.toString('hex')
    for (const index of this.dirs.readable(hash)) await this.disk.remove(this.dirs.path(index, name))
  }

  /** Sets every copy on this node aside: for a block that matches its checksum but not its name. */
  async setAside(hash: Buffer): Promise<void> {
    const name = hash.toString('hex')
    for (const index of this.dirs.readable(hash)) {
      const path = this.dirs.path(index, name)
      if (await this.disk.stat(path)) await this.#setAside(path)
    }
  }

  /**
   * Moves a block that is not in its first folder there, if there is room, and drops further copies.
   * Returns whether anything was moved or dropped.
   */
  async rebalance(hash: Buffer): Promise<boolean> {
    const name = hash.toString('hex')
    const first = this.dirs.writable(hash)[0]
    if (first === undefined) return false
    const elsewhere: string[] = []
    for (const index of this.dirs.readable(hash)) {
      const path = this.dirs.path(index, name)
      if (index !== first && (await this.disk.stat(path))) elsewhere.push(path)
    }
    if (elsewhere.length === 0) return false
    const target = this.dirs.path(first, name)
    if (!(await this.#isIntact(target, hash))) {
      const block = await this.read(hash)
      if (!block || !(await this.#hasRoom(first, FILE_HEAD_BYTES + block.payload.length))) return false
      const parts = [fileHead(block, hash), block.payload]
      await this.disk.writeDurable(target, parts, { fsync: this.options.fsync })
    }
    for (const path of elsewhere) await this.disk.remove(path)
    return true
  }

  /** Free and total bytes of each folder's file system. */
  async space(): Promise<{ path: string; freeBytes: number; totalBytes: number }[]> {
    return Promise.all(this.dirs.paths.map(async (path) => ({ path, ...(await this.disk.space(path)) })))
  }

  #remember(hash: Buffer, file: KnownFile): void {
    const key = knownKey(hash)
    this.#durable.delete(key)
    if (this.#durable.size >= KNOWN_FILES_MAX) this.#durable.delete(this.#durable.keys().next().value!)
    this.#durable.set(key, file)
  }

  async #find(hash: Buffer): Promise<KnownFile | undefined> {
    const name = hash.toString('hex')
    for (const index of this.dirs.readable(hash)) {
      const path = this.dirs.path(index, name)
      const stat = await this.disk.stat(path)
      if (!stat || stat.size < HEAD_BYTES) continue
      const bytes = await this.disk.readRange(path, 0, FILE_HEAD_BYTES).catch(() => undefined)
      const found = bytes && headOf(bytes, hash)
      if (found && (found.compressed || found.plainBytes + found.headBytes === stat.size))
        return { path, ...stat }
    }
    return undefined
  }

  /** The block in a file, if it is the one that `hash` names. @throws CarportError Corrupted */
  async #verified(file: Buffer, hash: Buffer): Promise<StoredBlock> {
    const { block, isNamed } = parseFile(file, hash)
    if (isNamed) return block
    if (await matchesHash(block, hash, this.options.codec)) return { ...block, isUnnamed: true }
    throw new CarportError('Corrupted', 'the file holds another block than its name says')
  }

  async #isIntact(path: string, hash: Buffer): Promise<boolean> {
    try {
      const file = await this.disk.read(path)
      return file !== undefined && (await this.#verified(file, hash)) !== undefined
    } catch {
      return false
    }
  }

  async #setAside(path: string): Promise<void> {
    this.counters.corruptions++
    await this.disk.rename(path, path + CORRUPTED_SUFFIX)
  }

  async #hasRoom(index: number, bytes: number): Promise<boolean> {
    const space = this.#space[index]!
    if (this.options.isWritable?.(this.dirs.paths[index]!) === false) return false
    const isThere = () => space.freeBytes - bytes >= this.options.reserveBytes
    if (this.clock.monotonicMs() - space.readAtMs > (isThere() ? SPACE_VALID_MS : FULL_VALID_MS)) {
      space.reading ??= this.#readSpace(index, space)
      await space.reading
    }
    return isThere()
  }

  async #readSpace(index: number, space: FolderSpace): Promise<void> {
    try {
      const { freeBytes } = await this.disk.space(this.dirs.paths[index]!)
      space.freeBytes = freeBytes
      space.readAtMs = this.clock.monotonicMs()
    } finally {
      space.reading = undefined
    }
  }
}

function headOf(file: Buffer, hash: Buffer) {
  try {
    const { head, headBytes } = parseFileHead(file, hash)
    return { ...parseHead(head)!, headBytes }
  } catch {
    return undefined
  }
}

function knownKey(hash: Buffer): string {
  return hash.toString('latin1')
}
