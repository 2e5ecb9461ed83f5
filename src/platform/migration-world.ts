import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { openLmdb } from '../db/lmdb.js'
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

const folders: Folders = {
  list: async (path) => {
    let found: string[]
    try {
      found = await readdir(path)
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
      throw error
    }
    const entries: FolderEntry[] = []
    for (const name of found) {
      const entry = await statOf(join(path, name))
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
    await mkdir(folder, { recursive: true })
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
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
  remove: (path) => rm(path, { force: true }),
}
