import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { lstat, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { openLmdb, syncPath } from '../db/lmdb.js'
import type { FolderEntry, Folders, MigrationWorld } from '../migrate/world.js'
import { silentLog } from '../util/log.js'
import { realClock, systemRandom } from './clock-and-random.js'
import { lockFolder } from './folder-lock.js'
import { streamCall } from './stream-call.js'

/** A connection on which nothing moves for so long is broken, in ms. */
const IDLE_MS = 120_000
const READ_BYTES = 1 << 20

/** The real world, for migrations. */
export function migrationWorld(): MigrationWorld {
  return {
    call: streamCall(IDLE_MS),
    folders,
    execute,
    clock: realClock,
    random: systemRandom,
    openStore: async (folder, trees) => {
      // The journal may hold the secret of the key by which this program writes.
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      const lock = await lockFolder(folder)
      const db = await openLmdb({
        ...{ path: join(folder, 'db'), trees, fsync: true },
        ...{ clock: realClock, log: silentLog },
      })
      const close = async () => {
        await db.close()
        await lock.release()
      }
      return new Proxy(db, {
        get: (target, name) => {
          if (name === 'close') return close
          const value: unknown = Reflect.get(target, name, target)
          return typeof value === 'function' ? (value.bind(target) as unknown) : value
        },
      })
    },
  }
}

const OUTPUT_BYTES_MAX = 64 << 20

async function execute(program: string, args: readonly string[]): Promise<string> {
  try {
    return (await promisify(execFile)(program, args, { maxBuffer: OUTPUT_BYTES_MAX })).stdout
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string }
    throw new Error(stderr.trim() || message, { cause: error })
  }
}

const entryOf = (name: string, found: Awaited<ReturnType<typeof stat>>): FolderEntry => ({
  name,
  isFolder: found.isDirectory(),
  bytes: Number(found.size),
  modifiedMs: Math.floor(Number(found.mtimeMs)),
})

async function statOf(path: string): Promise<FolderEntry | undefined> {
  try {
    return entryOf(basename(path), await stat(path))
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

const failed = (name: string, problem: string): FolderEntry => ({
  ...{ name, isFolder: false, bytes: 0, modifiedMs: 0 },
  problem,
})

/** What an entry of a folder is; undefined if it vanished meanwhile. */
async function entryIn(folder: string, bytes: Buffer): Promise<FolderEntry | undefined> {
  const name = bytes.toString()
  // Keys are text: such a name could neither be carried as it is, nor even be looked up by its text.
  if (!Buffer.from(name).equals(bytes))
    return failed(name, `its name is not UTF-8 (bytes ${bytes.toString('hex')})`)
  const path = join(folder, name)
  try {
    const found = await stat(path)
    if (found.isFile() || found.isDirectory()) return entryOf(name, found)
    return failed(name, 'it is neither a file nor a folder')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'ELOOP') throw error
    const isLink = await lstat(path).then(
      () => true,
      () => false,
    )
    return isLink ? failed(name, 'it is a link that leads nowhere') : undefined
  }
}

/** Folders below which this process remembers that they are durable; beyond that it looks anew. */
const FOLDERS_KNOWN_MAX = 10_000
const durableFolders = new Map<string, Promise<void>>()

/** Makes a folder with those above it, durably: the journal says that what is written there is done. */
function makeFolder(folder: string): Promise<void> {
  const known = durableFolders.get(folder)
  if (known) return known
  if (durableFolders.size >= FOLDERS_KNOWN_MAX) durableFolders.clear()
  const made = makeOneFolder(folder)
  durableFolders.set(folder, made)
  made.catch(() => durableFolders.delete(folder))
  return made
}

async function makeOneFolder(folder: string): Promise<void> {
  const parent = dirname(folder)
  if (parent === folder) return
  await makeFolder(parent)
  const isThere = await statOf(folder)
  if (!isThere) await mkdir(folder, { recursive: true })
  // It may be there since a moment ago only, by a run that was killed. Folders above the destination may be closed to this user.
  await syncPath(parent).catch((error: NodeJS.ErrnoException) => {
    if (!isThere || error.code !== 'EACCES') throw error
  })
}

const folders: Folders = {
  list: async (path) => {
    let found: Buffer[]
    try {
      found = await readdir(path, { encoding: 'buffer' })
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
      throw error
    }
    const entries: FolderEntry[] = []
    for (const name of found) {
      const entry = await entryIn(path, name)
      if (entry) entries.push(entry)
    }
    return entries
  },
  stat: statOf,
  read: async function* (path, range) {
    const file = await open(path, 'r')
    try {
      if (range && range.start === range.end) return
      const part = range && { start: range.start, end: range.end - 1 }
      for await (const chunk of file.createReadStream({
        ...part,
        highWaterMark: READ_BYTES,
        autoClose: false,
      }))
        yield chunk as Buffer
    } finally {
      await file.close()
    }
  },
  write: async (path, content, modifiedMs) => {
    const folder = dirname(path)
    await makeFolder(folder)
    const temporary = join(folder, `.${systemRandom.bytes(6).toString('hex')}.carport-part`)
    try {
      const file = await open(temporary, 'wx')
      try {
        for await (const chunk of content) await file.writeFile(chunk)
        await file.sync()
      } finally {
        await file.close()
      }
      await utimes(temporary, modifiedMs / 1000, modifiedMs / 1000)
      await rename(temporary, path)
    } finally {
      await rm(temporary, { force: true })
    }
    await syncPath(folder)
  },
  remove: (path) => rm(path, { force: true }),
}
