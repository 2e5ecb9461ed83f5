import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../testing/cluster-fakes.js'
import { MemoryDb } from '../../testing/memory-db.js'
import { silentLog } from '../util/log.js'
import { DatabaseAge, encodeAge, parseAge } from './database-age.js'
import { CLUSTER_TREE } from './peer-store.js'

const random = new SeededRandom(5)

async function opened(db: MemoryDb, layoutVersion = 0): Promise<DatabaseAge> {
  const age = new DatabaseAge({ db, random, log: silentLog })
  await age.start(layoutVersion)
  return age
}

describe('the age of a database', () => {
  it('grows with each start, and fits what peers remember of it', async () => {
    const db = new MemoryDb({ trees: [CLUSTER_TREE] })
    const first = await opened(db)
    const told = first.own()
    await first.raise()
    expect(first.wentBack(told)).toBe(false)
    const second = await opened(db)
    expect(second.own().step).toBe(told.step + 2)
    expect(second.wentBack(told)).toBe(false)
    expect(second.wentBack(first.own())).toBe(false)
  })

  it('tells a restored snapshot apart: by a smaller step, and by another number at the same one', async () => {
    const db = new MemoryDb({ trees: [CLUSTER_TREE] })
    const live = await opened(db)
    await db.snapshot('snap')
    await live.raise()
    const atOnce = live.own()
    await live.raise()
    const later = live.own()
    const restored = await opened(MemoryDb.fromSnapshot(db, 'snap'))
    expect(restored.own().step).toBe(atOnce.step)
    expect(restored.wentBack(atOnce)).toBe(true)
    expect(restored.wentBack(later)).toBe(true)
    await restored.renew(later)
    expect(restored.wentBack(later)).toBe(false)
    expect(live.wentBack(restored.own())).toBe(true)
  })

  it('tells an empty database of a known node apart', async () => {
    const live = await opened(new MemoryDb({ trees: [CLUSTER_TREE] }))
    await live.raise()
    const empty = await opened(new MemoryDb({ trees: [CLUSTER_TREE] }))
    expect(empty.wentBack(live.own())).toBe(true)
  })

  it('is remembered of peers over a restart, and never for less', async () => {
    const db = new MemoryDb({ trees: [CLUSTER_TREE] })
    const age = await opened(db)
    age.hear('peer', { generation: 1, step: 9, nonce: 4 })
    age.hear('peer', { generation: 1, step: 8, nonce: 5 })
    age.hear('peer', { generation: 1, step: 9, nonce: 6 })
    await db.transact(() => {})
    expect((await opened(db)).remembered('peer')).toEqual({ generation: 1, step: 9, nonce: 4 })
    age.hear('peer', { generation: 2, step: 1, nonce: 7 })
    expect(age.remembered('peer')).toEqual({ generation: 2, step: 1, nonce: 7 })
    expect(age.remembered('other')).toBeUndefined()
  })

  it('takes the copies of a database of an earlier release, and of one that was there before the first layout, for whole', async () => {
    const db = new MemoryDb({ trees: [CLUSTER_TREE] })
    expect((await opened(db, 5)).completeUpTo).toBe(5)
    expect((await opened(db, 6)).completeUpTo).toBe(5)
    const founder = new MemoryDb({ trees: [CLUSTER_TREE] })
    const age = await opened(founder)
    expect(age.completeUpTo).toBe(0)
    await founder.transact((tx) => age.found(tx, 1))
    expect((await opened(founder, 1)).completeUpTo).toBe(1)
  })

  it('is read with care when it comes from elsewhere', () => {
    const age = { generation: 1, step: 2, nonce: 3 }
    expect(parseAge(encodeAge(age))).toEqual(age)
    for (const malformed of [null, 7, [], [1, 2], [1, 2, -1], [1, 'x', 3], [1.5, 2, 3]]) {
      expect(parseAge(malformed)).toBeUndefined()
    }
  })
})
