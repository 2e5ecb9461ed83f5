/** The number of folders below the root, and of folders in each of them. */
const FOLDERS = 10
const SUBFOLDERS = 100

/**
 * Keys of the listing workloads: `d<0-9>/s<00-99>/k<number>`. At any count there are the same 10 folders with 100
 * folders each, so that a page holds the same number of entries in a bucket of 10 k keys and in one of 1 M.
 */
export function treeKey(i: number): string {
  return keyOf(i % FOLDERS, Math.floor(i / FOLDERS) % SUBFOLDERS, Math.floor(i / (FOLDERS * SUBFOLDERS)))
}

/** The first `count` of these keys, sorted, which a B-tree takes fastest. */
export function* keysInOrder(count: number): Generator<string> {
  for (let folder = 0; folder < FOLDERS; folder++) {
    for (let subfolder = 0; subfolder < SUBFOLDERS; subfolder++) {
      const first = subfolder * FOLDERS + folder
      for (let rank = 0; first + rank * FOLDERS * SUBFOLDERS < count; rank++) {
        yield keyOf(folder, subfolder, rank)
      }
    }
  }
}

/** `count` keys in one folder, sorted. */
export function* flatKeys(count: number): Generator<string> {
  for (let i = 0; i < count; i++) yield `k${String(i).padStart(8, '0')}`
}

function keyOf(folder: number, subfolder: number, rank: number): string {
  return `d${folder}/s${String(subfolder).padStart(2, '0')}/k${String(rank).padStart(8, '0')}`
}
