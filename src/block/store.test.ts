import { createHash } from 'node:crypto'
import { expect, it, vi } from 'vitest'
import { CrashDisk } from '../../testing/block-cluster.js'
import { ManualClock } from '../../testing/cluster-fakes.js'
import { zstdCompression } from './compression.js'
import { DataDirs } from './data-dirs.js'
import { makeBlock } from './format.js'
import { BlockStore } from './store.js'

function setUp() {
  const clock = new ManualClock()
  const disk = new CrashDisk(clock)
  const dirs = new DataDirs([{ path: '/data', capacity: 1, readOnly: false }])
  const newStore = () =>
    new BlockStore(disk, dirs, clock, { fsync: true, reserveBytes: 0, codec: zstdCompression(1) })
  const data = Buffer.alloc(1000, 'x')
  const hash = createHash('sha256').update(data).digest()
  return {
    ...{ clock, disk, newStore, hash },
    block: makeBlock(data, data.length, false),
    syncs: vi.spyOn(disk, 'syncFolder'),
    path: dirs.path(0, hash.toString('hex')),
  }
}

it('makes a file that it found durable once', async () => {
  const { disk, newStore, hash, block, syncs, path } = setUp()
  const store = newStore()
  expect(await store.hasDurably(hash)).toBe(false)
  await store.write(hash, block)
  syncs.mockClear()
  for (let i = 0; i < 3; i++) expect(await store.hasDurably(hash)).toBe(true)
  expect(syncs).toHaveBeenCalledTimes(1)
  expect(disk.reopen(false).files.has(path)).toBe(true)
})

it('takes a file for another one when another process has written it anew', async () => {
  const { clock, disk, newStore, hash, block, path } = setUp()
  const store = newStore()
  const other = newStore()
  await store.write(hash, block)
  expect(await store.hasDurably(hash)).toBe(true)
  await other.remove(hash)
  expect(await store.hasDurably(hash)).toBe(false)
  await clock.advance(1000)
  // The other process stands between the rename and the fsync of the folder, and a crash would lose the name.
  const renamed = new Promise<void>((resolve) => {
    disk.onStep = (step) => {
      if (step !== 'rename') return
      resolve()
      return new Promise<void>(() => {})
    }
  })
  void other.write(hash, block)
  await renamed
  expect(await store.hasDurably(hash)).toBe(true)
  expect(disk.reopen(false).files.has(path)).toBe(true)
})

it('does not take a file of another length for the one that it knew', async () => {
  const { disk, newStore, hash, block, path } = setUp()
  const store = newStore()
  await store.write(hash, block)
  expect(await store.hasDurably(hash)).toBe(true)
  const file = disk.files.get(path)!
  file.content = file.content.subarray(0, 100)
  expect(await store.hasDurably(hash)).toBe(false)
})
