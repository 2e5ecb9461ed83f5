import type { Db } from '../db/db.js'
import type { Clock } from '../util/clock.js'
import type { Random } from '../util/random.js'

/** Header values are latin1 strings: their characters are bytes, as node:http has them. */
export type Headers = Readonly<Record<string, string>>

/** Content on its way. Breaking off the iteration ends the transfer. */
export type Content = AsyncIterable<Buffer>

export interface StreamRequest {
  /** http: or https:, host and port. */
  origin: string
  method: string
  /** The request target as it is sent: percent-encoded path and query. */
  target: string
  headers: Headers
  body?: Buffer | Content
}

export interface StreamAnswer {
  status: number
  headers: Headers
  body: Content
}

/**
 * Sends a request, and resolves when the head of its answer is there. The caller must read or break off the body.
 * @throws Error if there is no answer; with the error of `body` if that fails
 */
export type StreamCall = (request: StreamRequest) => Promise<StreamAnswer>

export interface FolderEntry {
  name: string
  isFolder: boolean
  bytes: number
  modifiedMs: number
}

/** The folders and files that a migration reads and writes. Paths are absolute. Errors are the file system's. */
export interface Folders {
  /** Entries of a folder that are files or folders, links followed; undefined if it does not exist. */
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
  clock: Clock
  random: Random
  /** Opens, or makes, the store of a journal, and locks it for this process. @throws CarportError */
  openStore(folder: string, trees: readonly string[]): Promise<Db>
}
