import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import type { Random } from '../util/random.js'

/**
 * Makes a file, mode 0600, with that text unless it exists, in one step: no reader sees a part of it, and of
 * several processes that try at once one wins. It is durable on return. The folder is made, mode 0700, if missing.
 * @throws the file system's error
 */
export function createOnce(path: string, text: string, random: Random): void {
  if (existsSync(path)) return
  const folder = dirname(path)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const temporary = `${path}.${random.bytes(6).toString('hex')}.tmp`
  try {
    const file = openSync(temporary, 'wx', 0o600)
    try {
      writeFileSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    publish(temporary, path)
  } finally {
    rmSync(temporary, { force: true })
  }
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

/** A hard link fails if the name is taken, which a rename does not. */
function publish(temporary: string, path: string): void {
  try {
    linkSync(temporary, path)
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (code === 'EEXIST') return
    // This file system has no hard links.
    if (code === 'EPERM' || code === 'ENOTSUP' || code === 'ENOSYS') renameSync(temporary, path)
    else throw error
  }
}
