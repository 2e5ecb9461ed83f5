import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Disk } from '../block/disk.js'
import { CLUSTER_TREE } from '../cluster/peer-store.js'
import type { Db } from '../db/db.js'
import { versioned } from '../util/format.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'

/** The file in each data folder by which it is known again. */
export const MARK_FILE = 'carport-folder'
const MARKS_KEY = Buffer.from('data-folders')
const MARK_UNREAD = "a data folder's mark cannot be read now: whether its disk is there is not known"
const MARK = /^[0-9a-f]{32}$/

/**
 * Knows the data folders again by a mark in each, of which the database has a copy. Without its mark a folder is *lost*: its
 * disk is not mounted, or was wiped. Nothing is written to it then, so that blocks do not fill the disk below a mount point,
 * and the node says so, until the mark is back or an administrator takes the folder as it is.
 */
export class DataFolders {
  readonly #lost = new Set<string>()
  /** Folders whose mark could not be read when last looked at. */
  readonly #unread = new Set<string>()

  /** @param paths the data folders that are written to */
  constructor(
    private readonly paths: readonly string[],
    private readonly parts: {
      db: Db
      disk: Pick<Disk, 'writeDurable'>
      random: Random
      log: Log
    },
  ) {}

  /** The folders that were lost when last looked at. */
  lost(): string[] {
    return [...this.#lost]
  }

  isWritable(path: string): boolean {
    return !this.#lost.has(path)
  }

  /** Tells, of a folder that is where it was, that writes to it fail now, or (without an error) that they go through again. */
  readonly tellFailing = (folder: string, error?: unknown): void => {
    const { log } = this.parts
    if (error === undefined) log.info({ folder }, 'the data folder takes writes again')
    else {
      log.error(
        { folder, error },
        'a data folder does not take writes: its disk may be failing or mounted read-only. Blocks go to the other folders, if there are any',
      )
    }
  }

  /** Looks at all folders, each by itself: one whose disk hangs does not hide another. Those that the database does not know yet are marked. */
  async check(): Promise<void> {
    const known = this.#known()
    await Promise.all(this.paths.map((path) => this.#check(path, known.get(path))))
  }

  async #check(path: string, expected: string | undefined): Promise<void> {
    let found: string | undefined
    try {
      found = await readMark(path)
      this.#unread.delete(path)
    } catch (error) {
      // It tells nothing, such as a want of descriptors: what was known of the folder holds.
      if (!this.#unread.has(path)) this.parts.log.warn({ folder: path, error }, MARK_UNREAD)
      this.#unread.add(path)
      return
    }
    if (expected === undefined) await this.#adopt(path, found)
    this.#tell(path, expected !== undefined && found !== expected)
  }

  /**
   * Takes the lost folders as they are now, as folders of this node from which everything is missing.
   * @throws the error of the file system, if a mark can neither be read nor be missed
   */
  async accept(): Promise<void> {
    await this.check()
    for (const path of this.lost()) await this.#adopt(path, await readMark(path))
    await this.check()
  }

  async #adopt(path: string, found: string | undefined): Promise<void> {
    const { db, disk, random, log } = this.parts
    const mark = found ?? random.bytes(16).toString('hex')
    try {
      if (found === undefined) {
        await mkdir(path, { recursive: true })
        await disk.writeDurable(join(path, MARK_FILE), [Buffer.from(`${mark}\n`)], { fsync: true })
      }
      await db.transact((tx) => {
        const marks = decode(tx.get(CLUSTER_TREE, MARKS_KEY)).set(path, mark)
        tx.putRecord(CLUSTER_TREE, MARKS_KEY, FORMAT.encode(marks))
      })
    } catch (error) {
      log.warn({ folder: path, error }, 'a data folder could not be marked: it will be tried again')
    }
  }

  #known(): Map<string, string> {
    return decode(this.parts.db.get(CLUSTER_TREE, MARKS_KEY))
  }

  #tell(folder: string, isLost: boolean): void {
    const { log } = this.parts
    if (isLost === this.#lost.has(folder)) return
    if (isLost) {
      this.#lost.add(folder)
      log.error(
        { folder },
        'this data folder is not the one that the node wrote to: its disk is not mounted, or was wiped. Nothing is written ' +
          'there. Mount the disk, or run "carport repair --yes blocks" to fetch its blocks from the other replicas',
      )
    } else {
      this.#lost.delete(folder)
      log.info({ folder }, 'the data folder is back')
    }
  }
}

/** The mark of a folder; undefined if it has none. @throws the error of the file system, if that cannot be told */
async function readMark(folder: string): Promise<string | undefined> {
  const text = await readFile(join(folder, MARK_FILE), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return ''
    throw error
  })
  return MARK.test(text.trim()) ? text.trim() : undefined
}

/** Paths with their marks. */
const FORMAT = versioned<Map<string, string>>('marks of data folders', {
  encode: (marks) => Buffer.from(JSON.stringify([...marks])),
  writes: 1,
  versions: { 1: (payload) => new Map(JSON.parse(payload.toString()) as [string, string][]) },
})

function decode(stored: Buffer | undefined): Map<string, string> {
  return stored ? FORMAT.decode(stored) : new Map()
}
