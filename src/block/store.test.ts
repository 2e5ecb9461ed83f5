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

/** Two folders, of which the first choice for the block takes no changes, as when its file system was mounted read-only. */
function setUpFailing() {
  const clock = new ManualClock()
  const disk = new CrashDisk(clock)
  const dirs = new DataDirs(['/one', '/two'].map((path) => ({ path, capacity: 1, readOnly: false })))
  const changes: [string, unknown][] = []
  const onFailing = (folder: string, error?: unknown) => void changes.push([folder, error])
  const store = new BlockStore(disk, dirs, clock, {
    ...{ fsync: true, reserveBytes: 0, codec: zstdCompression(1), onFailing },
  })
  const blockOf = (text: string) => {
    const data = Buffer.alloc(1000, text)
    const hash = createHash('sha256').update(data).digest()
    const [first, second] = dirs.writable(hash).map((index) => dirs.path(index, hash.toString('hex')))
    return { hash, block: makeBlock(data, data.length, false), first: first!, second: second! }
  }
  const own = blockOf('x')
  const folder = own.first.slice(0, 4)
  const failing = failure('EROFS')
  const state = { isFailing: true }
  disk.onStep = (_step, path) => {
    if (state.isFailing && path.startsWith(folder)) throw failing
  }
  const rename = disk.rename.bind(disk)
  disk.rename = (from, to) => {
    if (state.isFailing && from.startsWith(folder)) return Promise.reject(failing)
    return rename(from, to)
  }
  return { clock, disk, store, blockOf, ...own, folder, failing, state, changes }
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code })
}

it('writes to another folder when one fails, tries that one last for a while, and tells both once', async () => {
  const { clock, disk, store, blockOf, folder, failing, state, changes } = setUpFailing()
  const blocks = Array.from({ length: 100 }, (_, i) => blockOf(`block ${i}`))
  const steps = vi.spyOn(disk, 'writeDurable')
  for (const { hash, block } of blocks) await store.write(hash, block)
  expect(steps.mock.calls.filter(([path]) => path.startsWith(folder))).toHaveLength(1)
  for (const { hash } of blocks) expect(await store.hasDurably(hash)).toBe(true)
  expect(store.failing()).toEqual([folder])
  state.isFailing = false
  await clock.advance(60_000)
  for (const { hash, block } of blocks) await store.write(hash, block)
  expect(store.failing()).toEqual([])
  expect(changes).toEqual([
    [folder, failing],
    [folder, undefined],
  ])
})

it('tells the error of the disk when no folder takes a block, and tries all of them each time', async () => {
  const { disk, store, hash, block, folder, failing } = setUpFailing()
  const other = failure('EACCES')
  const { onStep } = disk
  disk.onStep = (step, path) => {
    if (!path.startsWith(folder)) throw other
    return onStep(step, path)
  }
  await expect(store.write(hash, block)).rejects.toBe(other)
  await expect(store.write(hash, block)).rejects.toBe(other)
  disk.space = () => Promise.reject(failing)
  expect(await store.hasRoom(hash, 1000)).toBe(true)
  await expect(store.write(hash, block)).rejects.toBe(other)
})

it('does not count a bad copy that cannot be set aside, and has the block again when another folder took it', async () => {
  const { disk, store, hash, block, first, second, state } = setUpFailing()
  state.isFailing = false
  await store.write(hash, block)
  const file = disk.files.get(first)!
  file.content = Buffer.from(file.content)
  file.content[file.content.length - 1]! ^= 1
  state.isFailing = true
  const bad: string[] = []
  expect(await store.read(hash, undefined, (path) => void bad.push(path))).toBeUndefined()
  expect(bad).toEqual([first])
  expect(await store.quarantine(hash)).toBe(false)
  expect(await store.has(hash)).toBe(false)
  await store.write(hash, block)
  expect(disk.files.has(second)).toBe(true)
  expect(await store.has(hash)).toBe(true)
  expect((await store.read(hash, undefined, (path) => void bad.push(path)))?.payload).toEqual(block.payload)
  expect(bad).toHaveLength(1)
})

it('reads a copy behind one that cannot be read, and tells the error when there is none', async () => {
  const { disk, store, hash, block, first } = setUpFailing()
  await store.write(hash, block)
  const stale = failure('ESTALE')
  const read = disk.read.bind(disk)
  disk.read = (path) => (path === first ? Promise.reject(stale) : read(path))
  expect((await store.read(hash))?.payload).toEqual(block.payload)
  disk.read = () => Promise.reject(stale)
  await expect(store.read(hash)).rejects.toBe(stale)
})

it('takes no want of descriptors for damage or absence', async () => {
  const { disk, store, hash, block, second } = setUpFailing()
  await store.write(hash, block)
  const { read } = disk
  const shortage = failure('EMFILE')
  disk.read = () => Promise.reject(shortage)
  await expect(store.quarantine(hash)).rejects.toBe(shortage)
  await expect(store.has(hash)).rejects.toBe(shortage)
  await expect(store.rebalance(hash)).rejects.toBe(shortage)
  expect(disk.files.has(second)).toBe(true)
  disk.read = read
  disk.writeDurable = () => Promise.reject(shortage)
  await expect(store.write(hash, block)).rejects.toBe(shortage)
})
