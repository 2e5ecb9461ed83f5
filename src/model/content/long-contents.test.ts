/** Contents of very many blocks: what a write of one keeps in memory is bounded, however many of them come at once. */
import { expect, test } from 'vitest'
import { ManualClock } from '../../../testing/cluster-fakes.js'
import { SeededRandom } from '../../../testing/seeded-random.js'
import { BlobStore } from './blobs.js'
import type { BlockListRow } from './block-lists.js'
import { inlineHashing } from './hashing.js'
import { contentOf, deleteLists, writeLists } from './list-rows.js'
import { type Content, LIST_ROW_BLOCKS, unpackBlocks } from './refs.js'

const PLACE = { bucket: Buffer.alloc(16), owner: Buffer.alloc(16, 1), key: Buffer.from('key') }

function store(): BlobStore {
  const unused = undefined as never
  return new BlobStore({
    ...{ blocks: unused, lists: unused, hashing: inlineHashing },
    ...{ blockBytes: 1, inlineBytesMax: 0, blocksInFlight: 1, memoryBytes: 1 },
    random: new SeededRandom(1),
    clock: new ManualClock(),
  })
}

/** A content of so many blocks, in rows of lists. */
const ofBlocks = (count: number): Content => ({
  kind: 'lists',
  chunkBytes: Array(Math.ceil(count / LIST_ROW_BLOCKS)).fill(LIST_ROW_BLOCKS),
})

test('lists are written some at a time, and taken back likewise', async () => {
  const count = 100 * LIST_ROW_BLOCKS + 7
  const hash = Buffer.alloc(32, 9)
  const blocks = Array.from({ length: count }, (_, size) => ({ hash, size }))
  const { content, lists } = contentOf({ blocks }, PLACE)
  const written: BlockListRow[] = []
  let most = 0
  const table = {
    async insertMany(rows: readonly BlockListRow[]) {
      most = Math.max(most, rows.length)
      written.push(...rows)
    },
  }
  await writeLists(table, lists)
  expect(most).toBeLessThanOrEqual(32)
  expect(written.map(({ index }) => index)).toEqual([...Array(101).keys()])
  const sizes = written.flatMap(({ data }) => unpackBlocks(data).map(({ size }) => size))
  expect(sizes).toEqual(blocks.map(({ size }) => size))
  const chunks = content.kind === 'lists' ? content.chunkBytes : []
  expect(chunks.reduce((sum, bytes) => sum + bytes)).toBe((count * (count - 1)) / 2)
  written.length = 0
  await deleteLists(table, lists)
  expect(written.map(({ index, deleted }) => (deleted ? index : -1))).toEqual([...Array(101).keys()])
})

test('of writes that take over very many blocks, only so many go on at once; small ones never wait', async () => {
  const blobs = store()
  let held = 0
  let most = 0
  const ends: (() => void)[] = []
  const write = (...blocks: number[]) =>
    blobs.holdingPointers(blocks.map(ofBlocks), async () => {
      const count = blocks.reduce((sum, n) => sum + n, 0)
      held += count
      most = Math.max(most, held)
      await new Promise<void>((resolve) => ends.push(resolve))
      held -= count
    })
  const writes = Array.from({ length: 20 }, () => write(300_000, 200_000))
  const whole = write(5 << 20)
  const small = write(1000, 2000)
  await new Promise((resolve) => setImmediate(resolve))
  expect(held).toBe(2 * 500_000 + 3000)
  while (ends.length > 0) {
    for (const end of ends.splice(0)) end()
    await new Promise((resolve) => setImmediate(resolve))
  }
  await Promise.all([...writes, whole, small])
  expect(held).toBe(0)
  expect(most).toBe(5 << 20)
  expect(blobs.pointerMemory.usedBytes).toBe(0)
})

test('a write that fails gives its memory back', async () => {
  const blobs = store()
  const failed = blobs.holdingPointers([ofBlocks(1e6)], () => Promise.reject(new Error('no quorum')))
  await expect(failed).rejects.toThrow('no quorum')
  expect(blobs.pointerMemory.usedBytes).toBe(0)
})
