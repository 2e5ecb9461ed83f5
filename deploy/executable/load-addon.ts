/**
 * Part of the program in one file: loads its native modules. The system loads them from files only, so each is written
 * to a private folder, loaded, and removed at once: nothing stays behind, no other process can put a file in its
 * place, and versions cannot be mixed up.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { getAsset, getRawAsset } from 'node:sea'

/**
 * Folders to try, best first: one can be read-only, or forbid to run what it holds. systemd gives services the second
 * one where their unit asks for it.
 */
function candidates(): string[] {
  const { CACHE_DIRECTORY, XDG_CACHE_HOME } = process.env
  const own = XDG_CACHE_HOME || join(homedir(), '.cache')
  return [tmpdir(), ...(CACHE_DIRECTORY ? [CACHE_DIRECTORY] : []), own, '/dev/shm']
}

/** @throws Error when the program's file is damaged, or no folder allows to load a module from it */
export function loadAddon(name: string): unknown {
  const bytes = new Uint8Array(getRawAsset(`${name}.node`) as ArrayBuffer)
  const hashes = JSON.parse(getAsset('addons.json', 'utf8')) as Record<string, string>
  if (createHash('sha256').update(bytes).digest('hex') !== hashes[name]) {
    throw new Error(`this copy of carport is damaged (${name}): download it again`)
  }
  const failures: string[] = []
  for (const base of candidates()) {
    try {
      return loadThrough(base, name, bytes)
    } catch (error) {
      failures.push(`${base}: ${(error as Error).message}`)
    }
  }
  throw new Error(
    `carport needs a folder from which it may load native modules: set TMPDIR to one. ${failures.join('; ')}`,
  )
}

/** Not recursive: Node.js loops for ever over a path in a file system that refuses new folders, such as /proc. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

function loadThrough(base: string, name: string, bytes: Uint8Array): unknown {
  makeFolder(base)
  // mkdtemp makes a new folder that only its owner may enter.
  const folder = mkdtempSync(join(base, 'carport-'))
  try {
    const path = join(folder, `${name}.node`)
    writeFileSync(path, bytes, { flag: 'wx', mode: 0o500 })
    const module = { exports: {} }
    process.dlopen(module, path)
    return module.exports
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
