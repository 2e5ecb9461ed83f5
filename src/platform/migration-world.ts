import { mkdirSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { basename, dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { openLmdb } from '../db/lmdb.js'
import type { FolderEntry, Folders, MigrationWorld, StreamCall } from '../migrate/world.js'
import { silentLog } from '../util/log.js'
import { realClock, systemRandom } from './clock-and-random.js'
import { lockFolder } from './folder-lock.js'

/** A connection on which nothing moves for so long is broken, in ms. */
const IDLE_MS = 120_000
const READ_BYTES = 1 << 20

/** The real world, for migrations. */
export function migrationWorld(): MigrationWorld {
  return {
    call: streamCall(),
    folders,
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

/** By node:http and node:https, over connections that are kept. */
function streamCall(): StreamCall {
  const agents = { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) }
  return ({ origin, method, target, headers, body }) =>
    new Promise((resolve, reject) => {
      const { protocol, hostname, port } = new URL(origin)
      const secure = protocol === 'https:'
      // The target goes as it is: a URL would fold "..", which keys may contain.
      const request = (secure ? httpsRequest : httpRequest)(
        {
          host: hostname.replace(/^\[|\]$/g, ''),
          ...(port !== '' && { port }),
          ...{ method, path: target, headers, timeout: IDLE_MS },
          agent: secure ? agents.https : agents.http,
        },
        (response: IncomingMessage) => {
          const known: Record<string, string> = {}
          for (const [name, value] of Object.entries(response.headers))
            if (value !== undefined) known[name] = Array.isArray(value) ? value.join(', ') : value
          resolve({ status: response.statusCode ?? 0, headers: known, body: response })
        },
      )
      request.on('timeout', () => request.destroy(new Error(`${origin} did not answer in time`)))
      request.on('error', reject)
      if (body === undefined || Buffer.isBuffer(body)) request.end(body)
      // A failure of the content ends the request; one of the request is told by its own event.
      else pipeline(Readable.from(body, { objectMode: false }), request).catch(reject)
    })
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
