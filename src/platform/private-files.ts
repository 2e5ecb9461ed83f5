import { chmodSync, readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Log } from '../util/log.js'

const OTHERS = 0o077
const STICKY = 0o1000
const FOLDER_MODE = 0o700
const FILE_MODE = 0o600
/** The database is two folders below the metadata's folder, a snapshot's three. */
const DEPTH_MAX = 3

let inheritedMask: number | undefined

/**
 * From now on every file that this process makes, whichever library makes it, is for its own user alone: 0600, folders
 * 0700. The metadata hold all access keys, blocks what was stored under them.
 */
export function keepFilesPrivate(): void {
  inheritedMask = process.umask(OTHERS)
}

/**
 * The mode of a socket that clients connect to: by the mask that the process was started with, since who may talk to
 * a node is not who may read its files.
 */
export function socketMode(): number {
  return 0o777 & ~(inheritedMask ?? process.umask())
}

/**
 * Takes the rights of other users away from folders that earlier versions, or hands, made: the folder itself, which
 * shuts off all below, and with `content` also the files and folders in it. A line in the log tells of each folder that was
 * open. Folders that are not there, and those that everybody shares (sticky, such as /tmp), are left alone.
 * @param options.except folders whose content is not looked at: there may be millions of blocks in them
 */
export function mendFolder(
  path: string,
  options: { content: boolean; except?: readonly string[]; log: Log },
): void {
  const { log } = options
  const except = new Set((options.except ?? []).map((folder) => resolve(folder)))
  const mode = modeOf(path)
  if (mode === undefined) return
  if ((mode & STICKY) !== 0) {
    log.warn({ folder: path }, 'everybody may write to this folder: give the node one of its own')
    return
  }
  try {
    const entries = options.content ? mendContent(path, except, DEPTH_MAX) : 0
    if ((mode & OTHERS) !== 0) chmodSync(path, FOLDER_MODE)
    else if (entries === 0) return
    const before = `0${(mode & 0o777).toString(8)}`
    log.warn({ folder: path, before, entries }, 'other users could read this folder: its mode is 0700 now')
  } catch (error) {
    const reason = 'other users may read this folder, and its mode cannot be changed: run chmod -R go= on it'
    log.error({ folder: path, error }, reason)
  }
}

/** @returns how many entries had rights for others */
function mendContent(folder: string, except: ReadonlySet<string>, depth: number): number {
  let mended = 0
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (!entry.isFile() && !entry.isDirectory()) continue
    const isRead = entry.isDirectory() && depth > 1 && !except.has(resolve(path))
    if (isRead) mended += mendContent(path, except, depth - 1)
    const mode = modeOf(path)
    if (mode === undefined || (mode & OTHERS) === 0) continue
    chmodSync(path, entry.isDirectory() ? FOLDER_MODE : FILE_MODE)
    mended++
  }
  return mended
}

function modeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mode
}
