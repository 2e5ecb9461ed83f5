/** Clusters of nodes with blocks for one test file: each test makes its own, which is stopped after it. */
import { afterEach } from 'vitest'
import { BlockCluster, type BlockNode, blockOf, ownerOf, pathOf } from './block-cluster.js'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

let cluster: BlockCluster | undefined
afterEach(async () => {
  await cluster?.stop()
  cluster = undefined
})

/** A cluster that has started, of three nodes unless told. */
export async function make(
  options: Partial<ConstructorParameters<typeof BlockCluster>[0]> = {},
): Promise<BlockCluster> {
  cluster = new BlockCluster({ nodes: 3, ...options })
  await cluster.start()
  return cluster
}

/** Whether a node has the file of a block. */
export function has(node: BlockNode, hash: Buffer, dir?: string): boolean {
  return node.disk.files.has(pathOf(hash, dir))
}

/** How many nodes have the file of a block. */
export function holders(hash: Buffer): number {
  return cluster!.nodes.filter((node) => has(node, hash)).length
}

/** Stores and references a block at the first node. */
export async function store(
  c: BlockCluster,
  n: number,
  owner = ownerOf(n),
): Promise<{ hash: Buffer; data: Buffer }> {
  const block = blockOf(n)
  await c.run(c.nodes[0]!.blocks.put(block.hash, block.data, owner))
  await c.reference(c.nodes[0]!, owner, [block.hash])
  return block
}
