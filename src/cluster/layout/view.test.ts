import { describe, expect, it } from 'vitest'
import type { NodeId } from '../../net/transport.js'
import { advanceAck, advanceSync } from './history.js'
import { applyStaged, stageRemove, stageRole } from './operations.js'
import { PARTITION_COUNT } from './partitions.js'
import { EMPTY_HISTORY, type LayoutHistory } from './types.js'
import { LayoutView, quorumsOf } from './view.js'

const [a, b, c, d] = [1, 2, 3, 4].map((n) => n.toString(16).repeat(64)) as [NodeId, NodeId, NodeId, NodeId]

function apply(history: LayoutHistory): LayoutHistory {
  const version = (history.versions.at(-1)?.version ?? 0) + 1
  return applyStaged(history, { version, self: a, replicationFactor: 2, now: version * 100 }).history
}

const one = apply(
  [a, b, c].reduce(
    (h, id, i) => stageRole(h, 1, id, { zone: `z${i}`, capacityBytes: 1e9, tags: [] }),
    EMPTY_HISTORY,
  ),
)
// d takes the place of c.
const two = apply(stageRole(stageRemove(one, 150, c), 150, d, { zone: 'z2', capacityBytes: 1e9, tags: [] }))
const partitions = Array.from({ length: PARTITION_COUNT }, (_, p) => p)

describe('quorumsOf', () => {
  it('asks a majority for both when consistent', () => {
    expect([1, 2, 3, 4, 5].map((rf) => quorumsOf(rf, 'consistent'))).toEqual([
      { read: 1, write: 1 },
      { read: 2, write: 2 },
      { read: 2, write: 2 },
      { read: 3, write: 3 },
      { read: 3, write: 3 },
    ])
    expect(quorumsOf(3, 'degraded')).toEqual({ read: 1, write: 2 })
    expect(quorumsOf(3, 'dangerous')).toEqual({ read: 1, write: 1 })
  })
})

describe('LayoutView', () => {
  it('is empty before the first layout', () => {
    const view = new LayoutView(EMPTY_HISTORY, a)
    expect([view.version, view.readVersion, view.mayCoordinate, view.syncTarget]).toEqual([
      0,
      0,
      false,
      undefined,
    ])
    expect([view.writeSets(7), view.readSet(7), view.storageSet(7), view.ownPartitions]).toEqual([
      [],
      [],
      [],
      [],
    ])
  })

  it('has one write set per partition while one version is live', () => {
    const view = new LayoutView(one, a)
    for (const p of partitions) {
      expect(view.writeSets(p)).toEqual([view.readSet(p)])
      expect(view.storageSet(p)).toEqual(view.readSet(p))
    }
    expect(view.ownPartitions).toEqual(partitions.filter((p) => view.readSet(p).includes(a)))
  })

  it('writes to all live versions and reads from the newest that is whole', () => {
    const before = new LayoutView(one, a)
    const during = new LayoutView(two, a)
    let changed = 0
    for (const p of partitions) {
      expect(during.readSet(p)).toEqual(before.readSet(p))
      expect(during.writeSets(p)[0]).toEqual(before.readSet(p))
      const sets = during.writeSets(p)
      if (sets.length === 2) {
        changed++
        expect(sets[1]).toContain(d)
        expect(during.storageSet(p)).toEqual([...new Set(sets.flat())].sort())
      }
    }
    expect(changed).toBe(before.ownPartitions.length)
    expect(during.allNodes).toEqual([a, b, c, d])
    const synced = [a, b, d].reduce(
      (h, id) => advanceSync(h, id, 2),
      [a, b, c, d].reduce((h, id) => advanceAck(h, id, 2), two),
    )
    const after = new LayoutView(synced, a)
    expect(after.readVersion).toBe(2)
    for (const p of partitions) expect(after.readSet(p)).toEqual(during.writeSets(p).at(-1))
  })

  it('lets a node coordinate only with a role in the newest version', () => {
    expect([a, c, d].map((id) => new LayoutView(two, id).mayCoordinate)).toEqual([true, false, true])
    expect(new LayoutView(two, c).ownPartitions.length).toBeGreaterThan(0)
  })
})
