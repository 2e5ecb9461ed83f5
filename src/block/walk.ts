import type { DataDirs } from './data-dirs.js'
import { type Disk, TEMPORARY_SUFFIX } from './disk.js'
import { CORRUPTED_SUFFIX } from './store.js'

/** Folders of the second level: 256 × 256, numbered by the first two bytes of their blocks' hashes. */
export const FOLDERS = 65536

export interface FolderContent {
  /** Hashes with a file, in order, each once even if several data folders have it. */
  hashes: Buffer[]
  /** Paths of temporary files, in use or left by a crash. */
  temporaries: string[]
  /** Paths of blocks that were set aside. */
  corrupted: string[]
}

const NAME = /^[0-9a-f]{64}$/

/**
 * The next folder from `index` on that may have blocks in some data folder, FOLDERS at the end. First-level folders
 * that are nowhere are passed over as a whole.
 */
export async function nextFolder(disk: Disk, dirs: DataDirs, index: number): Promise<number> {
  let at = index
  while (at < FOLDERS) {
    const first = at >> 8
    const seconds = new Set<number>()
    for (const path of dirs.paths) {
      for (const { name, isFolder } of await disk.list(`${path}/${hex(first)}`)) {
        if (isFolder && /^[0-9a-f]{2}$/.test(name)) seconds.add(Number.parseInt(name, 16))
      }
    }
    for (let second = at & 255; second < 256; second++) if (seconds.has(second)) return (first << 8) | second
    at = (first + 1) << 8
  }
  return FOLDERS
}

/** What the data folders have in folder `index`. */
export async function readFolder(disk: Disk, dirs: DataDirs, index: number): Promise<FolderContent> {
  const prefix = `${hex(index >> 8)}/${hex(index & 255)}`
  const names = new Set<string>()
  const content: FolderContent = { hashes: [], temporaries: [], corrupted: [] }
  for (const path of dirs.paths) {
    for (const { name, isFolder } of await disk.list(`${path}/${prefix}`)) {
      if (isFolder) continue
      if (NAME.test(name)) names.add(name)
      else if (name.endsWith(TEMPORARY_SUFFIX)) content.temporaries.push(`${path}/${prefix}/${name}`)
      else if (name.endsWith(CORRUPTED_SUFFIX)) content.corrupted.push(`${path}/${prefix}/${name}`)
    }
  }
  content.hashes = [...names].sort().map((name) => Buffer.from(name, 'hex'))
  return content
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0')
}
