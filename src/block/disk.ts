/** An entry of a folder. */
export interface DiskEntry {
  name: string
  isFolder: boolean
}

export interface FileStat {
  /** Length in bytes. */
  size: number
  /** Time of the last change of the content, milliseconds since the epoch. */
  mtimeMs: number
}

export interface DiskSpace {
  /** Bytes that an unprivileged process may still write. */
  freeBytes: number
  totalBytes: number
}

/**
 * The steps of `writeDurable`, in order. A crash may come after any of them; tests name the one they mean.
 * After 'write' and before 'fsync' the temporary file's content may be lost or torn; after 'rename' and before
 * 'fsync-folder' the file may be there under its final name, or not at all, but never in part.
 */
export const WRITE_STEPS = ['create', 'write', 'fsync', 'rename', 'fsync-folder'] as const
export type WriteStep = (typeof WRITE_STEPS)[number]

/** Ends the name of a file that `writeDurable` has not renamed yet; after a crash such files are garbage. */
export const TEMPORARY_SUFFIX = '.tmp'

/**
 * All file access of the block layer. Paths are absolute, with '/' between folders.
 * Implementations: platform/node-disk.ts, testing/memory-disk.ts.
 *
 * Errors: an absent file is `undefined` or `false`, never an error; a full disk or quota is
 * CarportError StorageFull; everything else the implementation's error unchanged, as `cause` of a
 * CarportError Corrupted (unreadable medium: EIO, or what a file system found damaged) or as itself.
 */
export interface Disk {
  /**
   * A file's whole content in a buffer of its own, which the caller owns; undefined if there is no such file.
   * @param expectedBytes its likely length, which need then not be asked for; any other is read as well, at more cost
   */
  read(path: string, expectedBytes?: number): Promise<Buffer | undefined>
  /** Up to `length` bytes from `offset`; shorter at the end of the file, undefined if there is no such file. */
  readRange(path: string, offset: number, length: number): Promise<Buffer | undefined>
  /**
   * Writes a file whole or not at all: temporary file beside it (name + something + `TEMPORARY_SUFFIX`), fsync,
   * rename over `path`, fsync of the folder; missing folders are made, durably. Resolves when the file survives a
   * crash. With `fsync: false` both fsyncs are left out. On failure the temporary file is removed.
   * Concurrent writes to one folder share its fsync.
   */
  writeDurable(path: string, parts: readonly Buffer[], options: { fsync: boolean }): Promise<void>
  /** Makes the entries of a folder, as they are now, survive a crash. An absent folder is no error. */
  syncFolder(folder: string): Promise<void>
  /** Removes a file; false if there was none. Not durable by itself: after a crash the file may be back. */
  remove(path: string): Promise<boolean>
  /** Renames a file within a file system, over an existing one; false if there is none at `from`. */
  rename(from: string, to: string): Promise<boolean>
  /** A folder's entries sorted by name; empty if there is no such folder. */
  list(folder: string): Promise<DiskEntry[]>
  /** undefined if there is no such file. */
  stat(path: string): Promise<FileStat | undefined>
  /** The space of the file system that holds `folder` (or its nearest existing parent). */
  space(folder: string): Promise<DiskSpace>
}

/** What the system answers when the process or the machine has too much open, or no memory: that says nothing of a file. */
const SHORTAGES: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR'])

/** Whether an operation failed for want of descriptors or memory, and not for its file or disk. */
export function isShortage(error: unknown): boolean {
  return SHORTAGES.has((error as { code?: unknown } | undefined)?.code)
}

/** The folder part of a path. */
export function parentFolder(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash <= 0 ? '/' : path.slice(0, slash)
}
