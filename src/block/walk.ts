import type { DataDirs } from './data-dirs.js'
import { type Disk, isShortage, TEMPORARY_SUFFIX } from './disk.js'
import { CORRUPTED_SUFFIX } from './store.js'

/** Folders of blocks, numbered by the first byte of their blocks' hashes. */
export const FOLDERS = 256

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
 * Lists the files that all data folders have in folder `index`.
 * @param onFailed told of one that cannot be listed, which is then left out
 * @throws the disk's error without `onFailed`
 */
export async function readFolder(
  disk: Disk,
  dirs: DataDirs,
  index: number,
  onFailed?: (folder: string, error: unknown) => void,
): Promise<FolderContent> {
  const prefix = index.toString(16).padStart(2, '0')
  const names = new Set<string>()
  const content: FolderContent = { hashes: [], temporaries: [], corrupted: [] }
  for (const path of dirs.paths) {
    const entries = await disk.list(`${path}/${prefix}`).catch((error: unknown) => {
      if (!onFailed || isShortage(error)) throw error
      onFailed(`${path}/${prefix}`, error)
      return []
    })
    for (const { name, isFolder } of entries) {
      if (isFolder) continue
      if (NAME.test(name)) names.add(name)
      else if (name.endsWith(TEMPORARY_SUFFIX)) content.temporaries.push(`${path}/${prefix}/${name}`)
      else if (name.endsWith(CORRUPTED_SUFFIX)) content.corrupted.push(`${path}/${prefix}/${name}`)
    }
  }
  content.hashes = [...names].sort().map((name) => Buffer.from(name, 'hex'))
  return content
}
