import { afterAll, beforeAll, expect, it } from 'vitest'
import { AdminCluster, BLOCK_BYTES, contentOf } from '../../../../testing/admin-nodes.js'
import { hashesOf } from '../../../model/content/refs.js'

// Three nodes, each with a copy of everything.

const cluster = new AdminCluster(3)

beforeAll(async () => {
  await cluster.start()
  await cluster.layOut()
})
afterAll(() => cluster.stop())

/** The figures of a node's blocks, by their names. */
async function figuresOf(i: number): Promise<Record<string, string>> {
  const { success } = await cluster.call('node.statistics', { node: cluster.nodes[i]!.id })
  const { freeform } = Object.values(success)[0]!
  return Object.fromEntries(
    [...freeform.matchAll(/^ *([^:\n]+): +(.+)$/gm)].map(([, name, value]) => [name, value]),
  )
}

it('blocks that a node wrote and read count on that node, whoever asked for it', async () => {
  const { bucket } = await cluster.newBucket('counted')
  const { content } = await cluster.putObject(bucket(), 'a', contentOf('counted', 3 * BLOCK_BYTES))
  await cluster.clock.advance(5_000)
  const hashes = content.kind === 'blocks' ? hashesOf(content.blocks) : []
  // Equal blocks are one file.
  const files = new Set(hashes.map((hash) => hash.toString('hex'))).size
  expect(files).toBe(2)
  for (const i of [0, 1, 2]) {
    const figures = await figuresOf(i)
    expect(figures['Written since the start']).toMatch(new RegExp(`^${files} \\(\\d`))
    expect(figures['Taken from clients']).toMatch(i === 0 ? /^[1-9]/ : /^0 /)
  }

  // The second node lost its file, and reads the block from another one.
  const hash = hashes[0]!
  const name = hash.toString('hex')
  await cluster.nodes[1]!.disk.remove(`/data/${name.slice(0, 2)}/${name}`)
  const before = await Promise.all([0, 2].map(figuresOf))
  await cluster.run(cluster.nodes[1]!.core.blocks.get(hash))
  const reads = (figures: Record<string, string>) => Number.parseInt(figures['Read since the start']!, 10)
  const after = await Promise.all([0, 2].map(figuresOf))
  expect(after.map(reads).reduce((a, b) => a + b)).toBeGreaterThan(before.map(reads).reduce((a, b) => a + b))
  expect((await figuresOf(1))['Given to clients']).toMatch(/^1 /)
})
