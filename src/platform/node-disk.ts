import fs from 'node:fs'
import fsp from 'node:fs/promises'
import { promisify } from 'node:util'
import {
  type Disk,
  type DiskEntry,
  type DiskSpace,
  type FileStat,
  parentFolder,
  TEMPORARY_SUFFIX,
} from '../block/disk.js'
import type { BufferPools } from '../util/buffer-pools.js'
import { CarportError } from '../util/errors.js'

const open = promisify(fs.open)
const close = promisify(fs.close)
const fstat = promisify(fs.fstat)
const fsync = promisify(fs.fsync)
const fdatasync = promisify(fs.fdatasync)
const rename = promisify(fs.rename)
const unlink = promisify(fs.unlink)
const mkdir = promisify(fs.mkdir)
const stat = promisify(fs.stat)

const NEW_FILE = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_TRUNC
/**
 * On Linux every write with O_DSYNC ends as if an fdatasync followed (open(2)), which saves a trip to another thread.
 * Elsewhere the flag is weaker than what Node's fdatasync does, or absent.
 */
const SYNCS_WRITES = process.platform === 'linux'
const SYNCED_FILE = SYNCS_WRITES ? NEW_FILE | fs.constants.O_DSYNC : NEW_FILE

/** Coalesces fsyncs of one folder: a caller arriving during one waits for the next. */
interface FolderSync {
  running: Promise<void>
  next: Promise<void> | undefined
}

interface MadeFolder {
  durable: Promise<void>
}

/** `Disk` over the file system of this machine: one instance per process. No other node writes to its folders. */
export class NodeDisk implements Disk {
  /** @param pool lends the memory for whole files; the reader of a file gives it back */
  constructor(private readonly pool?: Pick<BufferPools, 'take' | 'give'>) {}

  #temporaryCount = 0
  readonly #folderSyncs = new Map<string, FolderSync>()
  /** Names of folders whose own entry this process knows to be durable, by parent folder. */
  readonly #durableFolders = new Map<string, Set<string>>()
  readonly #foldersInWork = new Map<string, Promise<MadeFolder>>()

  async read(path: string, expectedBytes?: number): Promise<Buffer | undefined> {
    const fd = await openToRead(path)
    if (fd === undefined) return undefined
    try {
      if (expectedBytes !== undefined) {
        const file = await this.#readExpected(fd, expectedBytes)
        if (file) return file
      }
      const { size } = await fstat(fd)
      const file = this.#allocate(size)
      return file.subarray(0, await readFully(fd, 0, file))
    } catch (error) {
      throw translate(error, path)
    } finally {
      closeUnwritten(fd)
    }
  }

  async readRange(path: string, offset: number, length: number): Promise<Buffer | undefined> {
    const fd = await openToRead(path)
    if (fd === undefined) return undefined
    try {
      // Allocate outside of Node's pool: a small file would otherwise pin 8 KiB of it.
      const bytes = Buffer.allocUnsafeSlow(length)
      return bytes.subarray(0, await readFully(fd, offset, bytes))
    } catch (error) {
      throw translate(error, path)
    } finally {
      closeUnwritten(fd)
    }
  }

  async writeDurable(path: string, parts: readonly Buffer[], options: { fsync: boolean }): Promise<void> {
    const folder = parentFolder(path)
    // The process id tells the files of this process from those that an earlier one left: one of the same name is overwritten.
    const temporary = `${path}.${process.pid}-${this.#temporaryCount++}${TEMPORARY_SUFFIX}`
    let armed = false
    try {
      const made = options.fsync ? await this.#makeFolder(folder) : undefined
      const fd = await this.#create(temporary, folder, options.fsync ? SYNCED_FILE : NEW_FILE)
      armed = true
      let synced = false
      try {
        await writeFully(fd, parts)
        if (options.fsync && !SYNCS_WRITES) await fdatasync(fd)
        synced = options.fsync
      } finally {
        if (synced) closeUnwritten(fd)
        else await close(fd)
      }
      await rename(temporary, path)
      armed = false
      if (options.fsync) await Promise.all([this.#shareFolderSync(folder), made?.durable])
    } catch (error) {
      if (armed) await unlink(temporary).catch(() => {})
      throw translate(error, path)
    }
  }

  async syncFolder(folder: string): Promise<void> {
    try {
      await this.#shareFolderSync(folder)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw translate(error, folder)
    }
  }

  async remove(path: string): Promise<boolean> {
    try {
      await unlink(path)
      return true
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false
      throw translate(error, path)
    }
  }

  async rename(from: string, to: string): Promise<boolean> {
    try {
      await rename(from, to)
      return true
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false
      throw translate(error, from)
    }
  }

  async list(folder: string): Promise<DiskEntry[]> {
    try {
      const entries = await fsp.readdir(folder, { withFileTypes: true })
      return entries
        .map((entry) => ({ name: entry.name, isFolder: entry.isDirectory() }))
        .sort((a, b) => (a.name < b.name ? -1 : 1))
    } catch (error) {
      const code = codeOf(error)
      if (code === 'ENOENT' || code === 'ENOTDIR') return []
      throw translate(error, folder)
    }
  }

  async stat(path: string): Promise<FileStat | undefined> {
    try {
      const { size, mtimeMs } = await stat(path)
      return { size, mtimeMs }
    } catch (error) {
      const code = codeOf(error)
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
      throw translate(error, path)
    }
  }

  async space(folder: string): Promise<DiskSpace> {
    try {
      const { bavail, blocks, bsize } = await fsp.statfs(folder)
      return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
    } catch (error) {
      if (codeOf(error) === 'ENOENT' && folder !== '/') return this.space(parentFolder(folder))
      throw translate(error, folder)
    }
  }

  /**
   * The content of a file of this length or less; undefined if it is longer. It asks for one byte more, so that a
   * single read also tells that the file ends there.
   */
  async #readExpected(fd: number, expectedBytes: number): Promise<Buffer | undefined> {
    const buffer = this.#allocate(expectedBytes + 1)
    const filled = await readFully(fd, 0, buffer, expectedBytes)
    if (filled === expectedBytes) return buffer.subarray(0, filled)
    // Copy content that is much shorter, such as a compressed block: it must not hold the whole buffer.
    const file = filled < expectedBytes ? Buffer.allocUnsafeSlow(filled) : undefined
    if (file) buffer.copy(file)
    this.pool?.give(buffer)
    return file
  }

  #allocate(bytes: number): Buffer {
    return this.pool?.take(bytes) ?? Buffer.allocUnsafeSlow(bytes)
  }

  async #create(temporary: string, folder: string, flags: number): Promise<number> {
    try {
      return await open(temporary, flags)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      await mkdir(folder, { recursive: true })
      return open(temporary, flags)
    }
  }

  /**
   * Makes a folder and its parents unless this process knows them to be durable. It resolves when they exist, and its
   * `durable` resolves when they survive a crash; writing a file into them need not wait for that. A folder that
   * an earlier process made counts as not durable: its maker may have ended before it synced.
   */
  async #makeFolder(folder: string): Promise<MadeFolder | undefined> {
    const parent = parentFolder(folder)
    const name = folder.slice(parent.length + (parent === '/' ? 0 : 1))
    if (folder === '/' || this.#durableFolders.get(parent)?.has(name)) return undefined
    let work = this.#foldersInWork.get(folder)
    if (!work) {
      work = this.#makeOneFolder(folder, parent, name)
      this.#foldersInWork.set(folder, work)
      const done = () => this.#foldersInWork.delete(folder)
      work.then(({ durable }) => durable.then(done, done), done)
    }
    return work
  }

  async #makeOneFolder(folder: string, parent: string, name: string): Promise<MadeFolder> {
    const above = await this.#makeFolder(parent)
    await mkdir(folder).catch((error) => {
      if (codeOf(error) !== 'EEXIST') throw error
    })
    const durable = this.#syncNewFolder(parent, name, above)
    durable.catch(() => {})
    return { durable }
  }

  async #syncNewFolder(parent: string, name: string, above: MadeFolder | undefined): Promise<void> {
    await Promise.all([this.#shareFolderSync(parent).catch(ignoreForeign), above?.durable])
    const names = this.#durableFolders.get(parent)
    if (names) names.add(name)
    else this.#durableFolders.set(parent, new Set([name]))
  }

  #shareFolderSync(folder: string): Promise<void> {
    const shared = this.#folderSyncs.get(folder)
    if (shared) {
      shared.next ??= shared.running
        .catch(() => {})
        .then(() => {
          this.#folderSyncs.delete(folder)
          return this.#shareFolderSync(folder)
        })
      return shared.next
    }
    const sync: FolderSync = { running: syncOneFolder(folder), next: undefined }
    this.#folderSyncs.set(folder, sync)
    const done = () => {
      // A waiting sync takes the entry over.
      if (!sync.next) this.#folderSyncs.delete(folder)
    }
    sync.running.then(done, done)
    return sync.running
  }
}

/** Opens on this thread: the kernel finds a folder that was in use a moment ago without asking the disk. */
async function syncOneFolder(folder: string): Promise<void> {
  const fd = fs.openSync(folder, 'r')
  try {
    await fsync(fd)
  } finally {
    closeUnwritten(fd)
  }
}

async function openToRead(path: string): Promise<number | undefined> {
  try {
    return await open(path, 'r')
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw translate(error, path)
  }
}

/** Fills the buffer from `offset` on with at least `enough` bytes, unless the file ends before. Returns their number. */
function readFully(fd: number, offset: number, buffer: Buffer, enough = buffer.length): Promise<number> {
  return new Promise((resolve, reject) => {
    let filled = 0
    const next = () => {
      fs.read(fd, buffer, filled, buffer.length - filled, offset + filled, (error, count) => {
        if (error) return reject(error)
        filled += count
        if (count === 0 || filled >= enough) resolve(filled)
        else next()
      })
    }
    next()
  })
}

/** Writes all parts, continuing after short writes. */
function writeFully(fd: number, parts: readonly Buffer[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let rest = parts.filter((part) => part.length > 0)
    const next = () => {
      if (rest.length === 0) return resolve()
      fs.writev(fd, rest, (error, written) => {
        if (error) return reject(error)
        rest = withoutFirstBytes(rest, written)
        next()
      })
    }
    next()
  })
}

function withoutFirstBytes(parts: readonly Buffer[], count: number): Buffer[] {
  let left = count
  for (let i = 0; i < parts.length; i++) {
    if (left < parts[i]!.length) return [parts[i]!.subarray(left), ...parts.slice(i + 1)]
    left -= parts[i]!.length
  }
  return []
}

/** Closes a file without a trip to another thread. Nothing of it is left to write, so its close neither waits nor fails. */
function closeUnwritten(fd: number): void {
  fs.closeSync(fd)
}

/** Skips folders above the data directory that this user may not read; they existed before. */
function ignoreForeign(error: unknown): void {
  if (codeOf(error) !== 'EACCES') throw error
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code
}

/** EUCLEAN and EBADMSG, by which file systems of Linux tell that what they read was damaged; Node has no names for them. */
const DAMAGED_LINUX = [-117, -74]

function translate(error: unknown, path: string): unknown {
  const { errno = 0 } = error as NodeJS.ErrnoException
  const isDamaged = process.platform === 'linux' && DAMAGED_LINUX.includes(errno)
  switch (isDamaged ? 'EIO' : codeOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new CarportError('StorageFull', `no space left to write ${path}`, { cause: error })
    case 'EIO':
      return new CarportError('Corrupted', `the medium cannot be read or written at ${path}`, {
        cause: error,
      })
    default:
      return error
  }
}
