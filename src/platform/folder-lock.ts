import { createHash, randomBytes } from 'node:crypto'
import { closeSync, openSync, realpathSync, rmSync, statSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { CarportError } from '../util/errors.js'

/*
 * A folder is locked by a Unix socket in it on which its holder listens. The system closes the socket with the process,
 * however that ends, so that no lock outlives its holder; and it works across containers that share the folder, where
 * numbers of processes mean nothing. It does not work between machines that share the folder over a network.
 */

const NAME = 'carport.lock'
/** Longest path of a socket, in bytes; the systems take 104 or 108. */
const PATH_BYTES_MAX = 100
/** How long a holder may take to say who it is, in ms. */
const ANSWER_MS = 2_000
/** How long another process that starts may take to clear a dead holder's socket away, in ms. */
const CLEARING_MS = 10_000
const RETRY_MS = 50
const TRIES_MAX = 400
/** File systems that know no sockets fail with one of these. */
const NO_SOCKETS = new Set(['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'EACCES', 'EINVAL', 'ENOSYS', 'ENAMETOOLONG'])

export interface FolderLock {
  release(): Promise<void>
}

interface Holder {
  pid: number
  host: string
  /** When it started, ISO 8601. */
  since: string
  token: string
}

/**
 * Locks a folder, which must exist, for this process until it releases the lock or ends.
 * @throws CarportError Conflict, with a message for the operator, if another process holds it
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const self: Holder = {
    pid: process.pid,
    host: hostname(),
    since: new Date().toISOString(),
    token: randomBytes(16).toString('hex'),
  }
  const real = realpathSync(folder)
  const inside = join(real, NAME)
  const place = Buffer.byteLength(inside) <= PATH_BYTES_MAX ? inside : elsewhere(real)
  try {
    return await lockAt(folder, place, self)
  } catch (error) {
    if (place !== inside || !NO_SOCKETS.has((error as NodeJS.ErrnoException).code ?? '')) throw error
    return lockAt(folder, elsewhere(real), self)
  }
}

/** Who holds the lock of a folder, as "process 7 on host, since …"; undefined if nobody does. */
export async function folderHolder(folder: string): Promise<string | undefined> {
  const real = realpathSync(folder)
  const holder = (await ask(join(real, NAME))) ?? (await ask(elsewhere(real)))
  return holder && `process ${holder.pid} on ${holder.host}, since ${holder.since}`
}

/** Where the socket of a folder is that cannot have it: it then only keeps processes of this machine apart. */
function elsewhere(folder: string): string {
  return join(tmpdir(), `carport-${createHash('sha256').update(folder).digest('hex').slice(0, 24)}.lock`)
}

async function lockAt(folder: string, path: string, self: Holder): Promise<FolderLock> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const server = await listen(path, self)
    if (server) {
      const present = await ask(path)
      if (present?.token === self.token) return { release: () => close(server) }
      // Two cleared a dead one's socket at the same time, and this one's is not there any more. It must not be closed, as
      // that removes whatever is at its path.
      if (present) throw inUse(folder, present)
      break
    }
    const holder = await ask(path)
    if (holder) throw inUse(folder, holder)
    await clear(path)
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS * Math.random()))
  }
  throw new CarportError('Conflict', `the folder ${folder} cannot be locked: ${path} keeps changing`)
}

function inUse(folder: string, { pid, host, since }: Holder): CarportError {
  return new CarportError(
    'Conflict',
    `the folder ${folder} is in use by another node: process ${pid} on ${host}, since ${since}. ` +
      'Stop that one, or give each node folders of its own',
  )
}

/** The server that tells whoever connects who holds the lock; undefined if the socket exists. */
function listen(path: string, self: Holder): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(JSON.stringify(self))
    })
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen(path, () => resolve(server))
    // The lock alone keeps no process running.
    server.unref()
  })
}

/** Who listens at the socket; undefined if nobody does. One that does not say who it is holds the lock all the same. */
function ask(path: string): Promise<Holder | undefined> {
  return new Promise((resolve) => {
    let text = ''
    let connected = false
    const unknown: Holder = { pid: 0, host: 'this machine', since: 'an unknown time', token: '' }
    const socket = connect(path, () => {
      connected = true
    })
    socket.setTimeout(ANSWER_MS, () => socket.destroy())
    socket.on('data', (data) => {
      text += data
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (!connected) return resolve(undefined)
      try {
        resolve({ ...unknown, ...(JSON.parse(text) as Holder) })
      } catch {
        resolve(unknown)
      }
    })
  })
}

/** Removes the socket of a holder that is gone; one process at a time, lest it remove that of a new one. */
async function clear(path: string): Promise<void> {
  const mark = `${path}.clearing`
  try {
    closeSync(openSync(mark, 'wx'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const age = Date.now() - (statSync(mark, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
    if (age > CLEARING_MS) rmSync(mark, { force: true })
    return
  }
  try {
    if (!(await ask(path))) rmSync(path, { force: true })
  } finally {
    rmSync(mark, { force: true })
  }
}

/** Closing a server removes its socket. */
function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}
