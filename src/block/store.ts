import type { Clock } from '../util/clock.js'
import { CarportError, errorCode } from '../util/errors.js'
import { Semaphore } from '../util/semaphore.js'
import { BadCopies } from './bad-copies.js'
import type { Codec } from './codec.js'
import type { DataDirs } from './data-dirs.js'
import { type Disk, type FileStat, isShortage, parentFolder } from './disk.js'
import { FailingFolders } from './failing-folders.js'
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
  readonly #failing: FailingFolders
  readonly #bad = new BadCopies()

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
      /** Told when a folder begins to fail, and (without an error) when it takes a write again. */
      onFailing?: (folder: string, error?: unknown) => void
    },
  ) {
    this.#failing = new FailingFolders(dirs.paths, clock, options.onFailing)
    this.#reads = new Semaphore(options.readsMax ?? 16)
    this.#space = dirs.paths.map(() => ({
      freeBytes: 0,
      readAtMs: Number.NEGATIVE_INFINITY,
      reading: undefined,
    }))
  }

  /** The folders whose last write failed, though they had room. */
  failing(): string[] {
    return this.#failing.list().filter((folder) => this.options.isWritable?.(folder) !== false)
  }

  /**
   * The block if an intact copy is in one of the folders. Copies that fail their checksum are passed over, told to
   * `onCorrupted`, and left where they are: see `quarantine`. So are those that cannot be read for another reason.
   * @param plainBytes the length of the plain content, if known: makes reading cheaper
   * @throws the disk's error, if that alone is why there is no copy
   */
  async read(
    hash: Buffer,
    plainBytes?: number,
    onCorrupted?: (path: string) => void,
  ): Promise<StoredBlock | undefined> {
    const expectedBytes = plainBytes === undefined ? undefined : FILE_HEAD_BYTES + plainBytes
    const name = hash.toString('hex')
    let failure: unknown
    let isCorrupted = false
    for (const index of this.dirs.readable(hash)) {
      const path = this.dirs.path(index, name)
      try {
        if (await this.#isKnownBad(path)) continue
        const file = await this.#reads.run(() => this.disk.read(path, expectedBytes))
        if (!file) continue
        const block = await this.#verified(file, hash)
        this.counters.blocksRead++
        this.counters.bytesRead += file.length
        return block
      } catch (error) {
        if (errorCode(error) === 'Corrupted') {
          isCorrupted = true
          onCorrupted?.(path)
        } else failure = error
      }
    }
    if (failure !== undefined && !isCorrupted) throw failure
    return undefined
  }

  /**
   * Sets aside the copies that fail their checksum. Reads again, since a good one may have been written
   * meanwhile; the caller keeps writers of the block away. Returns whether an intact copy remains, as far as the disks tell.
   */
  async quarantine(hash: Buffer): Promise<boolean> {
    const name = hash.toString('hex')
    let intact = false
    for (const index of this.dirs.readable(hash)) {
      const path = this.dirs.path(index, name)
      try {
        const found = await this.disk.stat(path)
        if (!found) continue
        if (await this.#isIntact(path, hash)) intact = true
        else await this.#setAside(index, path, found)
      } catch (error) {
        if (isShortage(error)) throw error
      }
    }
    return intact
  }

  /** Whether `write` would find room for a payload of this length, as far as is known. */
  async hasRoom(hash: Buffer, payloadBytes: number): Promise<boolean> {
    for (const index of this.dirs.writable(hash)) {
      // A folder that does not even tell its room is left to `write`, which knows how to go on.
      if (await this.#hasRoom(index, FILE_HEAD_BYTES + payloadBytes).catch(() => true)) return true
    }
    return false
  }

  /**
   * Writes the block durably to its folder, or the next one in order if that is full or fails. Folders that failed
   * a moment ago are tried last.
   * @throws CarportError StorageFull if none took it, one of them for want of room; else the last error of a disk
   */
  async write(hash: Buffer, block: StoredBlock): Promise<void> {
    const name = hash.toString('hex')
    const bytes = FILE_HEAD_BYTES + block.payload.length
    let failure: unknown
    let isFull = false
    this.#durable.delete(knownKey(hash))
    for (const index of this.#failing.inTurn(this.dirs.writable(hash))) {
      try {
        if (!(await this.#hasRoom(index, bytes))) {
          isFull = true
          continue
        }
        const { fsync } = this.options
        const parts = [fileHead(block, hash), block.payload]
        await this.disk.writeDurable(this.dirs.path(index, name), parts, { fsync })
      } catch (error) {
        if (isShortage(error)) throw error
        failure = error
        if (errorCode(error) === 'StorageFull') {
          isFull = true
          this.#space[index]!.freeBytes = 0
        } else this.#failing.failed(index, error)
        continue
      }
      this.#failing.works(index)
      this.#bad.delete(this.dirs.path(index, name))
      this.#space[index]!.freeBytes -= bytes
      this.counters.blocksWritten++
      this.counters.bytesWritten += bytes
      this.onWritten()
      return
    }
    if (failure !== undefined && !isFull) throw failure
    throw new CarportError('StorageFull', 'no data folder has room for the block', { cause: failure })
  }

  /**
   * Whether a whole file of the block is there: its head is well-formed and its length fits. The content is
   * verified by reads and the scrub. A file that its disk does not let be looked at is not there: another folder can have it.
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
      const stat = await this.disk.stat(known.path).catch(() => undefined)
      if (stat?.size === known.size && stat.mtimeMs === known.mtimeMs) return true
    }
    const file = await this.#find(hash, this.options.fsync)
    if (!file) return false
    this.#remember(hash, file)
    return true
  }

  /** Removes every copy of the block on this node. @throws the first error of a disk, after all were tried */
  async remove(hash: Buffer): Promise<void> {
    const name = hash.toString('hex')
    const errors: unknown[] = []
    for (const index of this.dirs.readable(hash)) {
      await this.disk.remove(this.dirs.path(index, name)).catch((error) => errors.push(error))
    }
    if (errors.length > 0) throw errors[0]
  }

  /** Sets every copy on this node aside: for a block that matches its checksum but not its name. */
  async setAside(hash: Buffer): Promise<void> {
    const name = hash.toString('hex')
    for (const index of this.dirs.readable(hash)) {
      const path = this.dirs.path(index, name)
      try {
        const found = await this.disk.stat(path)
        if (found) await this.#setAside(index, path, found)
      } catch (error) {
        if (isShortage(error)) throw error
      }
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

  /** @param sync also makes its name durable */
  async #find(hash: Buffer, sync = false): Promise<KnownFile | undefined> {
    const name = hash.toString('hex')
    for (const index of this.dirs.readable(hash)) {
      const path = this.dirs.path(index, name)
      try {
        const stat = await this.disk.stat(path)
        if (!stat || stat.size < HEAD_BYTES || this.#bad.has(path, stat)) continue
        const bytes = await this.disk.readRange(path, 0, FILE_HEAD_BYTES)
        const found = bytes && headOf(bytes, hash)
        if (!found || !(found.compressed || found.plainBytes + found.headBytes === stat.size)) continue
        if (sync) await this.disk.syncFolder(parentFolder(path))
        return { path, ...stat }
      } catch (error) {
        if (isShortage(error)) throw error
      }
    }
    return undefined
  }

  async #isKnownBad(path: string): Promise<boolean> {
    if (!this.#bad.mayHave(path)) return false
    const stat = await this.disk.stat(path)
    return stat !== undefined && this.#bad.has(path, stat)
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
    } catch (error) {
      if (errorCode(error) === 'Corrupted') return false
      throw error
    }
  }

  async #setAside(index: number, path: string, found: FileStat): Promise<void> {
    this.counters.corruptions++
    try {
      await this.disk.rename(path, path + CORRUPTED_SUFFIX)
    } catch (error) {
      if (isShortage(error)) throw error
      this.#bad.add(path, found)
      this.#failing.failed(index, error)
    }
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
