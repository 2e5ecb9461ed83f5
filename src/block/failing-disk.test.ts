import { expect, it } from 'vitest'
import { type BlockNode, ownerOf, pathOf } from '../../testing/block-cluster.js'
import { DAY, HOUR, has, MINUTE, make, store } from '../../testing/block-nodes.js'
import { makeBlock } from './format.js'

const DIRS = ['/one', '/two'].map((path) => ({ path, capacity: 1, readOnly: false }))
const readOnly = Object.assign(new Error('read-only file system'), { code: 'EROFS' })

/** Makes a folder of a node take no changes, as a file system does that was mounted read-only after an error. */
function freeze({ disk }: BlockNode, folder: string): void {
  disk.onStep = (_step, path) => {
    if (path.startsWith(folder)) throw readOnly
  }
  const rename = disk.rename.bind(disk)
  disk.rename = (from, to) => (from.startsWith(folder) ? Promise.reject(readOnly) : rename(from, to))
}

it('a block that rotted on a disk that takes no changes is fetched again into another folder', async () => {
  const c = await make({ dirs: DIRS })
  const blocks: Awaited<ReturnType<typeof store>>[] = []
  for (let i = 0; i < 10; i++) blocks.push(await store(c, i))
  const node = c.nodes[1]!
  const { hash, data } = blocks.find((block) => has(node, block.hash, '/one'))!
  const file = node.disk.files.get(pathOf(hash, '/one'))!
  file.content = Buffer.from(file.content)
  file.content[file.content.length - 1]! ^= 1
  freeze(node, '/one')
  expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
  await c.clock.until(() => has(node, hash, '/two'), HOUR, 1000)
  expect((await c.run(node.blocks.local.read(hash)))?.payload).toBeDefined()
  expect(node.blocks.stats().resync.errors).toBe(0)
})

it('a block whose file cannot be removed can be stored again meanwhile, and goes once the disk lets it', async () => {
  const c = await make({ dirs: DIRS })
  const node = c.nodes[1]!
  const { hash, data } = await store(c, 1)
  const folder = has(node, hash, '/one') ? '/one' : '/two'
  freeze(node, folder)
  await c.reference(node, ownerOf(1), [hash], true)
  await c.clock.until(() => node.blocks.stats().resync.errors > 0, 2 * DAY, MINUTE)
  const block = makeBlock(data, data.length, false)
  expect(await c.run(node.blocks.local.put(hash, ownerOf(2), block))).toBe(false)
  await c.reference(node, ownerOf(2), [hash])
  await c.clock.advance(HOUR)
  expect(has(node, hash, folder)).toBe(true)
  await c.reference(node, ownerOf(2), [hash], true)
  node.disk.onStep = () => {}
  await c.clock.until(() => !has(node, hash, folder), 2 * DAY, MINUTE)
  expect(node.blocks.stats().resync.errors).toBe(0)
})

it('a rebalance moves all blocks but the one whose disk does not let it, and tells the error', async () => {
  const c = await make({ dirs: DIRS })
  const blocks: Awaited<ReturnType<typeof store>>[] = []
  for (let i = 0; i < 10; i++) blocks.push(await store(c, i))
  const { disk, blocks: manager } = c.nodes[1]!
  const moved = blocks.filter(({ hash }) => has(c.nodes[1]!, hash, '/one')).map(({ hash }) => hash)
  for (const hash of moved) {
    disk.files.set(pathOf(hash, '/two'), disk.files.get(pathOf(hash, '/one'))!)
    disk.files.delete(pathOf(hash, '/one'))
  }
  const [first, ...others] = moved.sort(Buffer.compare)
  disk.onStep = (_step, path) => {
    if (path === pathOf(first!, '/one')) throw readOnly
  }
  await expect(c.run(manager.repair.rebalance())).rejects.toBe(readOnly)
  expect(others.length).toBeGreaterThan(0)
  expect(others.every((hash) => has(c.nodes[1]!, hash, '/one'))).toBe(true)
  expect(has(c.nodes[1]!, first!, '/two')).toBe(true)
})
