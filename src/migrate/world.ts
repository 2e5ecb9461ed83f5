import type { Content, StreamCall } from '../api/client/stream-call.js'
import type { Db } from '../db/db.js'
import type { Clock } from '../util/clock.js'
import type { Random } from '../util/random.js'

export interface FolderEntry {
  name: string
  isFolder: boolean
  bytes: number
  modifiedMs: number
  /** Why it cannot be read as a file or folder; its name is then one to be shown, and length and time are zero. */
  problem?: string
}

/** The folders and files that a migration reads and writes. Paths are absolute. Errors are the file system's. */
export interface Folders {
  /** Entries of a folder, links followed, also those that are neither files nor folders; undefined if it does not exist. */
  list(path: string): Promise<FolderEntry[] | undefined>
  /** Undefined if there is no such file. */
  stat(path: string): Promise<FolderEntry | undefined>
  /** @param range of bytes, from `start` to before `end` */
  read(path: string, range?: { start: number; end: number }): Content
  /** Writes a file as a whole, durably: no reader sees a part of it. Its folder is made if missing. */
  write(path: string, content: Content, modifiedMs: number): Promise<void>
  remove(path: string): Promise<void>
}

/** The part of the world that a migration touches. */
export interface MigrationWorld {
  call: StreamCall
  folders: Folders
  /** Runs a program, without a shell; resolves with what it prints. @throws Error with what it prints on stderr */
  execute(program: string, args: readonly string[]): Promise<string>
  clock: Clock
  random: Random
  /** Opens, or makes, the store of a journal, and locks it for this process. @throws CarportError */
  openStore(folder: string, trees: readonly string[]): Promise<Db>
}
