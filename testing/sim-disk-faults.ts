import type { SeededRandom } from './seeded-random.js'
import type { SimNode } from './sim-cluster.js'

/** How many times as long as usual each step of a slow disk takes, and how much longer each commit, in ms. */
const SLOWNESS = [5, 50, 300] as const
const SLOW_MS = [10, 100, 1000] as const
/** Share of the rot that hits blocks; the rest hits rows. */
const BLOCKS_SHARE = 0.5

/** A disk becomes slow. @returns what mends it; a restart does as well */
export function slowDisk({ machine }: SimNode, random: SeededRandom): () => void {
  const { platform } = machine
  if (!platform) return () => {}
  platform.disk.slowness = random.pick(SLOWNESS)
  platform.db.slowMs = random.pick(SLOW_MS)
  return () => {
    platform.disk.slowness = 1
    platform.db.slowMs = 0
  }
}

/** Nothing can be written any more; what is deleted goes. @returns what mends it; a restart does as well */
export function fullDisk({ machine }: SimNode): () => void {
  const { platform } = machine
  if (!platform) return () => {}
  const set = (isFull: boolean) => {
    platform.disk.full = isFull
    platform.db.full = isFull
  }
  set(true)
  return () => set(false)
}

/** Flips a bit of a block's file, or of a stored row of an object or version. */
export function rot(node: SimNode, random: SeededRandom): void {
  const { machine, core } = node
  const { platform } = machine
  if (!platform || !core) return
  node.hasRot = true
  const { disk, db } = platform
  const files = disk.paths().filter((path) => !path.endsWith('.tmp'))
  if (files.length > 0 && random.chance(BLOCKS_SHARE)) {
    const path = random.pick(files)
    const bits = 8 * (disk.sizeOf(path) ?? 0)
    if (bits > 0) disk.flipBit(path, random.below(bits))
    return
  }
  const { local } = core.model.tables[random.pick(['object', 'version'] as const)]
  const tree = random.pick([local.trees.head, local.trees.body])
  const keys = [...db.keys(tree)]
  if (keys.length > 0) db.flipBit(tree, random.pick(keys), random)
}
