import {
  type Disk,
  type DiskEntry,
  type DiskSpace,
  type FileStat,
  parentFolder,
  TEMPORARY_SUFFIX,
  type WriteStep,
} from '../src/block/disk.js'
import type { Clock } from '../src/util/clock.js'
import { CarportError } from '../src/util/errors.js'
import type { Random } from '../src/util/random.js'

export interface MemoryDiskOptions {
  /** With a clock, each step of an operation takes time; without, operations are done at once. */
  clock?: Clock
  /** Draws the delays, and which unsynced writes survive a crash; without it, none does. */
  random?: Random
  /** The shortest and longest time of one step, in milliseconds. Default 0.05 to 2. */
  stepMs?: readonly [number, number]
  /** The size of the disk. Default 1 TiB. */
  capacityBytes?: number
}

interface File {
  content: Buffer
  mtimeMs: number
  /** Whether `content` is on the medium, not only in the page cache. */
  synced: boolean
}

/** A change of names that no fsync of a folder made durable yet. */
interface NameChange {
  /** An fsync of any of these makes it durable. */
  folders: readonly string[]
  apply(names: Map<string, File>): void
}

/** After this the operating system has written everything out by itself, in milliseconds. */
const WRITEBACK_MS = 30_000

/**
 * Disk in memory that forgets as much as a real one may: a crash loses or tears content that was not synced, and keeps
 * only a first part of each folder's unsynced changes of names. `crash()` ends the object, `reopen()` gives the disk that a
 * restarted node finds. Also plays the full disk, the flipped bit and the unreadable sector.
 */
export class MemoryDisk implements Disk {
  /** Called after each step of writeDurable; may crash the disk. */
  onStep: ((step: WriteStep, path: string) => void) | undefined
  capacityBytes: number
  /** While true nothing can be written; a restart ends it. */
  full = false
  /** How many times as long as usual each step takes; a restart ends it. */
  slowness = 1
  /** Files whose reads fail as on a bad sector. */
  readonly unreadable = new Set<string>()
  readonly #options: MemoryDiskOptions
  /** The files that running programs see. */
  #names: Map<string, File>
  /** The files on the medium. */
  #durableNames: Map<string, File>
  #unsynced: NameChange[] = []
  #usedBytes = 0
  #temporaryCount = 0
  #crashed = false

  constructor(options: MemoryDiskOptions = {}, files?: ReadonlyMap<string, File>) {
    this.#options = options
    this.capacityBytes = options.capacityBytes ?? 2 ** 40
    this.#names = new Map(files)
    this.#durableNames = new Map(files)
    for (const file of this.#names.values()) this.#usedBytes += file.content.length
  }

  async read(path: string): Promise<Buffer | undefined> {
    await this.#wait()
    const file = this.#readable(path)
    return file && Buffer.from(file.content)
  }

  async readRange(path: string, offset: number, length: number): Promise<Buffer | undefined> {
    await this.#wait()
    const file = this.#readable(path)
    return file && Buffer.from(file.content.subarray(offset, offset + length))
  }

  async writeDurable(path: string, parts: readonly Buffer[], options: { fsync: boolean }): Promise<void> {
    const temporary = `${path}.${this.#temporaryCount++}${TEMPORARY_SUFFIX}`
    const folder = parentFolder(path)
    const file: File = { content: Buffer.alloc(0), mtimeMs: this.#nowMs(), synced: false }
    const content = Buffer.concat(parts)
    await this.#wait()
    this.#change({ folders: [folder], apply: (names) => names.set(temporary, file) })
    this.#stepDone('create', path)
    await this.#wait()
    if (this.full || this.#usedBytes + content.length > this.capacityBytes) {
      this.#change({ folders: [folder], apply: (names) => names.delete(temporary) })
      throw new CarportError('StorageFull', `no space left to write ${path}`)
    }
    file.content = content
    this.#usedBytes += content.length
    this.#stepDone('write', path)
    if (options.fsync) {
      await this.#wait()
      file.synced = true
      this.#stepDone('fsync', path)
    }
    await this.#wait()
    this.#move(temporary, path)
    this.#stepDone('rename', path)
    if (options.fsync) {
      await this.#wait()
      this.#sync(folder)
      this.#stepDone('fsync-folder', path)
    } else {
      this.#options.clock?.after(WRITEBACK_MS, () => {
        file.synced = true
        this.#sync(folder)
      })
    }
    if (this.#crashed) await never()
  }

  async syncFolder(folder: string): Promise<void> {
    await this.#wait()
    this.#sync(folder)
  }

  async remove(path: string): Promise<boolean> {
    await this.#wait()
    const file = this.#names.get(path)
    if (!file) return false
    this.#usedBytes -= file.content.length
    this.#change({ folders: [parentFolder(path)], apply: (names) => names.delete(path) })
    return true
  }

  async rename(from: string, to: string): Promise<boolean> {
    await this.#wait()
    if (!this.#names.has(from)) return false
    this.#move(from, to)
    return true
  }

  async list(folder: string): Promise<DiskEntry[]> {
    await this.#wait()
    const prefix = folder.endsWith('/') ? folder : `${folder}/`
    const entries = new Map<string, DiskEntry>()
    for (const path of this.#names.keys()) {
      if (!path.startsWith(prefix)) continue
      const rest = path.slice(prefix.length)
      const slash = rest.indexOf('/')
      const name = slash < 0 ? rest : rest.slice(0, slash)
      entries.set(name, { name, isFolder: slash >= 0 })
    }
    return [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async stat(path: string): Promise<FileStat | undefined> {
    await this.#wait()
    const file = this.#names.get(path)
    return file && { size: file.content.length, mtimeMs: file.mtimeMs }
  }

  async space(_folder: string): Promise<DiskSpace> {
    await this.#wait()
    const freeBytes = this.full ? 0 : Math.max(0, this.capacityBytes - this.#usedBytes)
    return { freeBytes, totalBytes: this.capacityBytes }
  }

  /** The paths of all files, sorted. */
  paths(): string[] {
    return [...this.#names.keys()].sort()
  }

  /** Whether a file of that name is in any folder; of a crashed disk, whether it is after the restart. */
  hasName(name: string): boolean {
    const suffix = `/${name}`
    for (const path of (this.#crashed ? this.#durableNames : this.#names).keys())
      if (path.endsWith(suffix)) return true
    return false
  }

  /** The length of a file in bytes. */
  sizeOf(path: string): number | undefined {
    return this.#names.get(path)?.content.length
  }

  /** Flips one bit of a file on the medium: `bit` 0 is the lowest of the first byte. */
  flipBit(path: string, bit: number): void {
    const file = this.#names.get(path)
    if (!file || bit >> 3 >= file.content.length) throw new RangeError(`no such bit in ${path}`)
    file.content = Buffer.from(file.content)
    file.content[bit >> 3]! ^= 1 << (bit & 7)
  }

  /** The machine loses power: operations under way never finish, and unsynced writes are lost, kept or torn. */
  crash(): void {
    if (this.#crashed) return
    this.#crashed = true
    const lost = new Set<string>()
    for (const change of this.#unsynced) {
      // The changes of a folder reach the medium in order.
      if (change.folders.some((folder) => lost.has(folder)) || !this.#chance()) {
        for (const folder of change.folders) lost.add(folder)
      } else change.apply(this.#durableNames)
    }
    for (const file of new Set(this.#durableNames.values())) if (!file.synced) this.#tear(file)
  }

  /** Gives the disk that a restarted node finds after `crash()`. */
  reopen(): MemoryDisk {
    if (!this.#crashed) throw new Error('the disk is still in use')
    const disk = new MemoryDisk({ ...this.#options, capacityBytes: this.capacityBytes }, this.#durableNames)
    for (const path of this.unreadable) disk.unreadable.add(path)
    return disk
  }

  /** A torn file: some length, and of that the first part as written and the rest zeroes, as file systems leave it. */
  #tear(file: File): void {
    const { random } = this.#options
    const length = Math.floor((random?.float() ?? 0) * (file.content.length + 1))
    const torn = Buffer.alloc(length)
    file.content.copy(torn, 0, 0, Math.floor((random?.float() ?? 0) * (length + 1)))
    file.content = torn
    file.synced = true
  }

  #move(from: string, to: string): void {
    const file = this.#names.get(from)
    if (!file) throw new Error(`${from} vanished`)
    this.#usedBytes -= this.#names.get(to)?.content.length ?? 0
    this.#change({
      folders: [...new Set([parentFolder(from), parentFolder(to)])],
      apply: (names) => {
        names.delete(from)
        names.set(to, file)
      },
    })
  }

  #change(change: NameChange): void {
    change.apply(this.#names)
    this.#unsynced.push(change)
  }

  #sync(folder: string): void {
    if (this.#crashed) return
    const rest: NameChange[] = []
    for (const change of this.#unsynced) {
      if (change.folders.includes(folder)) change.apply(this.#durableNames)
      else rest.push(change)
    }
    this.#unsynced = rest
  }

  #readable(path: string): File | undefined {
    if (this.unreadable.has(path)) throw new CarportError('Corrupted', `the medium cannot be read at ${path}`)
    return this.#names.get(path)
  }

  #stepDone(step: WriteStep, path: string): void {
    this.onStep?.(step, path)
  }

  #chance(): boolean {
    return this.#options.random !== undefined && this.#options.random.float() < 0.5
  }

  #nowMs(): number {
    return this.#options.clock?.nowMs() ?? 0
  }

  /** Takes the time of one step; never resolves on a crashed disk. */
  async #wait(): Promise<void> {
    if (this.#crashed) await never()
    const { clock, random, stepMs } = this.#options
    if (!clock) return
    const [min, max] = stepMs ?? [0.05, 2]
    await new Promise<void>((resolve) => {
      clock.after(this.slowness * (min + (max - min) * (random?.float() ?? 0)), resolve)
    })
    if (this.#crashed) await never()
  }
}

function never(): Promise<never> {
  return new Promise(() => {})
}
