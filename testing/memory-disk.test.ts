import { describe, expect, it } from 'vitest'
import { WRITE_STEPS, type WriteStep } from '../src/block/disk.js'
import { MemoryDb } from './memory-db.js'
import { MemoryDisk } from './memory-disk.js'
import { SeededRandom } from './seeded-random.js'
import { SimClock } from './sim-clock.js'

const OLD = Buffer.alloc(40, 1)
const NEW = Buffer.alloc(50, 2)

describe('MemoryDisk', () => {
  it('reads, lists, renames and removes what was written', async () => {
    const disk = new MemoryDisk({ capacityBytes: 1000 })
    await disk.writeDurable('/d/x/one', [OLD, NEW], { fsync: true })
    await disk.writeDurable('/d/two', [], { fsync: false })
    expect(await disk.read('/d/x/one')).toEqual(Buffer.concat([OLD, NEW]))
    expect(await disk.readRange('/d/x/one', 39, 2)).toEqual(Buffer.from([1, 2]))
    expect(await disk.readRange('/d/x/one', 89, 10)).toEqual(Buffer.from([2]))
    expect(await disk.list('/d')).toEqual([
      { name: 'two', isFolder: false },
      { name: 'x', isFolder: true },
    ])
    expect(await disk.list('/nowhere')).toEqual([])
    expect(await disk.stat('/d/x/one')).toEqual({ size: 90, mtimeMs: 0 })
    expect(await disk.space('/d')).toEqual({ freeBytes: 910, totalBytes: 1000 })
    expect(await disk.rename('/d/x/one', '/d/three')).toBe(true)
    expect(await disk.rename('/d/x/one', '/d/three')).toBe(false)
    expect(await disk.remove('/d/two')).toBe(true)
    expect(await disk.remove('/d/two')).toBe(false)
    expect(await disk.read('/d/two')).toBeUndefined()
    expect(disk.paths()).toEqual(['/d/three'])
  })

  it('refuses what does not fit, leaving no temporary file, and fails reads of bad sectors and flipped bits', async () => {
    const disk = new MemoryDisk({ capacityBytes: 60 })
    await disk.writeDurable('/d/a', [OLD], { fsync: true })
    await expect(disk.writeDurable('/d/b', [NEW], { fsync: true })).rejects.toMatchObject({
      code: 'StorageFull',
    })
    expect(disk.paths()).toEqual(['/d/a'])
    disk.flipBit('/d/a', 9)
    expect((await disk.read('/d/a'))!.subarray(0, 3)).toEqual(Buffer.from([1, 3, 1]))
    disk.unreadable.add('/d/a')
    await expect(disk.read('/d/a')).rejects.toMatchObject({ code: 'Corrupted' })
  })

  it('after a crash in any step has the old file or the new one, whole, and the new one once it was promised', async () => {
    const seen = new Map<string, Set<string>>()
    for (let seed = 0; seed < 60; seed++) {
      for (const crashAfter of [...WRITE_STEPS, 'promise'] as (WriteStep | 'promise')[]) {
        const disk = new MemoryDisk({ random: new SeededRandom(seed) })
        await disk.writeDurable('/d/f', [OLD], { fsync: true })
        let promised = false
        disk.onStep = (step) => {
          if (step === crashAfter) disk.crash()
        }
        void disk.writeDurable('/d/f', [NEW], { fsync: true }).then(() => {
          promised = true
        })
        await new Promise((resolve) => setImmediate(resolve))
        expect(promised).toBe(crashAfter === 'promise')
        disk.crash()
        const content = await disk.reopen().read('/d/f')
        const which = content!.equals(NEW) ? 'new' : content!.equals(OLD) ? 'old' : 'broken'
        seen.set(crashAfter, (seen.get(crashAfter) ?? new Set()).add(which))
      }
    }
    expect(Object.fromEntries([...seen].map(([step, kinds]) => [step, [...kinds].sort()]))).toEqual({
      create: ['old'],
      write: ['old'],
      fsync: ['old'],
      rename: ['new', 'old'],
      'fsync-folder': ['new'],
      promise: ['new'],
    })
  })

  it('loses or tears what was never synced', async () => {
    const kinds = new Set<string>()
    for (let seed = 0; seed < 60; seed++) {
      const disk = new MemoryDisk({ random: new SeededRandom(seed) })
      await disk.writeDurable('/d/f', [NEW], { fsync: false })
      disk.crash()
      const content = await disk.reopen().read('/d/f')
      kinds.add(content === undefined ? 'absent' : content.equals(NEW) ? 'whole' : 'torn')
    }
    expect(kinds.has('absent')).toBe(true)
    expect(kinds.has('torn')).toBe(true)
  })
})

describe('MemoryDb on a clock', () => {
  it('shows a commit at once, promises it later, and keeps what it promised over a crash', async () => {
    const fates = new Set<string>()
    for (let seed = 0; seed < 40; seed++) {
      const clock = new SimClock()
      const db = new MemoryDb({ trees: ['t'], clock, random: new SeededRandom(seed), commitDelayMs: [5, 10] })
      const put = (key: string) => db.transact((tx) => tx.put('t', Buffer.from(key), Buffer.from(key)))
      await clock.runUntil(Promise.all([put('a'), put('b')]), 100)
      expect(clock.monotonicMs()).toBeGreaterThanOrEqual(5)
      expect(clock.monotonicMs()).toBeLessThanOrEqual(10)
      let settled = false
      const note = () => {
        settled = true
      }
      put('c').then(note, note)
      put('d').then(note, note)
      await clock.run(3)
      expect(db.has('t', Buffer.from('c'))).toBe(true)
      db.crash()
      put('e').then(note, note)
      await clock.run(1000)
      expect(settled).toBe(false)
      expect(() => db.get('t', Buffer.from('a'))).toThrow('crashed')
      fates.add([...db.reopen().keys('t')].join(''))
    }
    expect(fates).toEqual(new Set(['ab', 'abcd']))
  })
})
