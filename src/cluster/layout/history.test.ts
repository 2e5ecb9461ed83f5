import fc from 'fast-check'
import { pack, unpack } from 'msgpackr'
import { describe, expect, it } from 'vitest'
import { expectCrdtLaws } from '../../../testing/crdt-laws.js'
import type { NodeId } from '../../net/transport.js'
import { decodeHistory, encodeHistory } from './codec.js'
import {
  advanceAck,
  advanceSync,
  advanceSyncAck,
  conflictingVersions,
  historyDigest,
  mergeHistories,
  minAck,
  pruneVersions,
  readVersion,
  settle,
  syncTarget,
  trackersOf,
} from './history.js'
import {
  applyStaged,
  revertStaged,
  skipDeadNodes,
  stagedChanges,
  stagedParameters,
  stageParameters,
  stageRemove,
  stageRole,
} from './operations.js'
import { EMPTY_HISTORY, type LayoutHistory, stampVersion } from './types.js'

const RF = 2
const ids: NodeId[] = [1, 2, 3, 4, 5].map((n) => n.toString(16).repeat(64))
const [a, b, c, d, e] = ids as [NodeId, NodeId, NodeId, NodeId, NodeId]

function role(zone: string, capacityBytes: number | null = 1e9) {
  return { zone, capacityBytes, tags: [] }
}

function apply(history: LayoutHistory, now = 1000, self = a): LayoutHistory {
  const version = (history.versions.at(-1)?.version ?? 0) + 1
  return applyStaged(history, { version, self, replicationFactor: RF, now }).history
}

/** Nodes a, b, c in version 1. */
function threeNodes(): LayoutHistory {
  const zones = [a, b, c].reduce((history, id, i) => stageRole(history, 1, id, role(`z${i}`)), EMPTY_HISTORY)
  return apply(zones, 2)
}

type Step =
  | { do: 'stage'; node: number; zone: string; now: number }
  | { do: 'remove'; node: number; now: number }
  | { do: 'parameters'; zones: number; now: number }
  | { do: 'revert' | 'apply'; now: number }
  | { do: 'ack' | 'sync' | 'syncAck'; node: number; version: number }
  | { do: 'prune' }

const node = fc.integer({ min: 0, max: 4 })
const now = fc.integer({ min: 10, max: 20 })
const version = fc.integer({ min: 1, max: 5 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('stage' as const), node, zone: fc.constantFrom('x', 'y'), now }),
  fc.record({ do: fc.constant('remove' as const), node, now }),
  fc.record({ do: fc.constant('parameters' as const), zones: fc.integer({ min: 1, max: 2 }), now }),
  fc.record({ do: fc.constantFrom('revert' as const, 'apply' as const, 'apply' as const), now }),
  fc.record({ do: fc.constantFrom('ack' as const, 'sync' as const, 'syncAck' as const), node, version }),
  fc.record({ do: fc.constant('prune' as const) }),
)

function run(history: LayoutHistory, todo: Step): LayoutHistory {
  try {
    switch (todo.do) {
      case 'stage':
        return stageRole(history, todo.now, ids[todo.node]!, role(todo.zone))
      case 'remove':
        return stageRemove(history, todo.now, ids[todo.node]!)
      case 'parameters':
        return stageParameters(history, todo.now, { zoneRedundancy: todo.zones })
      case 'revert':
        return revertStaged(history, todo.now)
      case 'apply':
        return apply(history, todo.now)
      case 'ack':
        return advanceAck(history, ids[todo.node]!, todo.version)
      case 'sync':
        return advanceSync(history, ids[todo.node]!, todo.version)
      case 'syncAck':
        return advanceSyncAck(history, ids[todo.node]!, todo.version)
      case 'prune':
        return pruneVersions(history)
    }
  } catch {
    return history // A refused operation changes nothing.
  }
}

const base = threeNodes()
const history = fc.array(step, { maxLength: 12 }).map((steps) => steps.reduce(run, base))

describe('LayoutHistory', () => {
  it('obeys the laws of a CRDT, also when layouts were applied under one number', () => {
    expectCrdtLaws(history, mergeHistories, (x, y) => historyDigest(x) === historyDigest(y), 400)
  })

  it('survives encoding', () => {
    fc.assert(
      fc.property(history, (before) => {
        const after = decodeHistory(unpack(pack(encodeHistory(before))))
        expect(historyDigest(after)).toBe(historyDigest(before))
        expect(after).toEqual(before)
      }),
    )
  })

  it('refuses malformed encodings with InvalidArgument and nothing else', () => {
    const garbage = fc.anything({ withTypedArray: true, maxDepth: 1 })
    const path = fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(history, path, garbage, (before, steps, value) => {
        const encoded: unknown = unpack(pack(encodeHistory(before)))
        let at = encoded as Record<string, unknown>
        for (const [depth, choice] of steps.entries()) {
          const keys = Object.keys(at)
          if (keys.length === 0) break
          const key = keys[choice % keys.length]!
          const child = at[key]
          if (depth === steps.length - 1 || typeof child !== 'object' || child === null) {
            // A byte of a buffer cannot become anything else.
            at[key] = ArrayBuffer.isView(at) ? 255 : value
            break
          }
          at = child as Record<string, unknown>
        }
        try {
          encodeHistory(decodeHistory(encoded))
        } catch (error) {
          expect(error).toMatchObject({ code: 'InvalidArgument' })
        }
      }),
      { numRuns: 500 },
    )
    for (const value of [undefined, null, 1, [], {}, Buffer.alloc(3)]) {
      expect(() => decodeHistory(value)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
    }
  })

  it('is small', () => {
    let big = EMPTY_HISTORY
    for (let i = 0; i < 100; i++) {
      const id = (i + 16).toString(16).repeat(32).slice(0, 64)
      big = stageRole(big, 1, id, role(`zone-${i % 5}`))
    }
    const first = applyStaged(big, { version: 1, self: a, replicationFactor: 3, now: 5 }).history
    expect(pack(encodeHistory(first)).length).toBeLessThan(8000)
  })
})

describe('a layout change', () => {
  it('takes the first layout at once', () => {
    expect([minAck(base), readVersion(base), syncTarget(base)]).toEqual([1, 1, 1])
  })

  it('goes through ack, sync and syncAck before the old version is pruned', () => {
    let h = apply(stageRole(base, 10, d, role('z3')))
    expect([minAck(h), readVersion(h), syncTarget(h)]).toEqual([1, 1, undefined])
    for (const id of [a, b, c]) h = advanceAck(h, id, 2)
    expect(syncTarget(h)).toBeUndefined()
    expect(advanceSync(h, a, 2)).toBe(h)
    h = advanceAck(h, d, 2)
    expect(syncTarget(h)).toBe(2)
    for (const id of [a, b, c]) h = advanceSync(h, id, 2)
    expect(readVersion(h)).toBe(1)
    expect(stampVersion(trackersOf(advanceSyncAck(h, a, 2), a).syncAck)).toBe(1)
    h = advanceSync(h, d, 2)
    expect(readVersion(h)).toBe(2)
    for (const id of [a, b, c]) h = advanceSyncAck(h, id, 2)
    expect(pruneVersions(h)).toBe(h)
    h = pruneVersions(advanceSyncAck(h, d, 2))
    expect(h.versions.map((v) => v.version)).toEqual([2])
    expect(h.old.map((v) => [stampVersion(v.stamp), v.storageNodes])).toEqual([[1, 3]])
  })

  it('waits for the acks of a removed node, but not for its data', () => {
    let h = apply(stageRemove(base, 10, c))
    for (const id of [a, b]) h = advanceAck(h, id, 2)
    expect(syncTarget(h)).toBeUndefined()
    h = advanceAck(h, c, 2)
    for (const id of [a, b]) h = advanceSync(h, id, 2)
    for (const id of [a, b]) h = settle(h, id, { ackable: 2, syncAckable: 2 })
    expect(h.versions.map((v) => v.version)).toEqual([2])
  })

  it('does not take acks of a layout that lost for acks of the one that won', () => {
    const one = apply(stageRole(base, 10, d, role('z3')))
    const two = apply(stageRole(base, 10, e, role('z4')), 1001, b)
    const ofOne = [a, b, c, d].reduce((h, id) => advanceAck(h, id, 2), one)
    const ofTwo = [a, b, c, e].reduce((h, id) => advanceAck(h, id, 2), two)
    const merged = mergeHistories(ofOne, ofTwo)
    expect(conflictingVersions(one, two)).toEqual([2])
    const [lost, newcomer] = one.versions[1]!.stamp < two.versions[1]!.stamp ? [ofOne, e] : [ofTwo, d]
    expect(minAck(mergeHistories(lost, merged))).toBe(2)
    const onlyLost = mergeHistories(lost, lost === ofOne ? two : one)
    expect(onlyLost.versions).toHaveLength(2)
    expect(onlyLost.versions[1]!.roles.has(newcomer)).toBe(true)
    expect(minAck(onlyLost)).toBe(1)
    const again = [a, b, c, newcomer].reduce((h, id) => advanceAck(h, id, 2), onlyLost)
    expect(minAck(again)).toBe(2)
  })

  it('is finished without dead nodes only on demand', () => {
    let h = apply(stageRemove(stageRole(base, 10, d, role('z3')), 10, c))
    const isUp = (id: NodeId) => id !== c && id !== b
    for (const id of [a, d]) h = advanceAck(h, id, 2)
    expect(() => skipDeadNodes(h, { version: 3, allowMissingData: false, isUp })).toThrow('not live')
    expect(() => skipDeadNodes(base, { version: 1, allowMissingData: false, isUp })).toThrow('only layout')
    const skipped = skipDeadNodes(h, { version: 2, allowMissingData: false, isUp })
    expect(skipped).toMatchObject({ ackUpdated: [b, c], syncUpdated: [] })
    h = [a, d].reduce((x, id) => advanceSync(x, id, 2), skipped.history)
    expect(readVersion(h)).toBe(1)
    const forced = skipDeadNodes(h, { version: 2, allowMissingData: true, isUp })
    expect(forced).toMatchObject({ ackUpdated: [], syncUpdated: [b, c] })
    expect(readVersion(forced.history)).toBe(2)
    h = [a, d].reduce((x, id) => settle(x, id, { ackable: 2, syncAckable: 2 }), forced.history)
    expect(h.versions.map((v) => v.version)).toEqual([2])
  })
})

describe('staging', () => {
  it('shows what would change, and forgets it when applied or reverted', () => {
    let h = stageRole(stageRemove(base, 10, a), 10, d, role('z3', null))
    h = stageParameters(stageRole(h, 10, b, role('z1')), 10, { zoneRedundancy: 1 })
    expect([...stagedChanges(h)]).toEqual([
      [a, null],
      [d, role('z3', null)],
    ])
    expect(stagedParameters(h)).toEqual({ zoneRedundancy: 1 })
    const reverted = revertStaged(h, 5)
    expect(stagedChanges(mergeHistories(reverted, h)).size).toBe(0)
    expect(stagedParameters(mergeHistories(reverted, h))).toBeUndefined()
    const applied = apply(h)
    expect(stagedChanges(mergeHistories(applied, h)).size).toBe(0)
    expect([...applied.versions[1]!.roles.keys()]).toEqual([b, c, d])
    // A change staged later on another node, which did not know of this one, stays staged.
    const later = stageRole(h, 2000, e, role('z4'))
    expect([...stagedChanges(mergeHistories(applied, later)).keys()]).toEqual([e])
  })

  it('refuses wrong version numbers, strangers, and another replication factor', () => {
    const go = (version: number, self = a, replicationFactor = RF) =>
      applyStaged(base, { version, self, replicationFactor, now: 9 })
    expect(() => go(1)).toThrow('current layout version is 1, so the next one is 2, not 1')
    expect(() => go(3)).toThrow(expect.objectContaining({ code: 'Conflict' }))
    expect(() => go(2, e)).toThrow('no role in the current layout')
    expect(() => go(2, a, 3)).toThrow('replication factor 2')
    expect(() => stageRemove(base, 9, e)).toThrow(expect.objectContaining({ code: 'NotFound' }))
    expect(() => stageRole(base, 9, e, role('z', 12))).toThrow('capacity')
    expect(() => stageRole(base, 9, 'E', role('z'))).toThrow('64 hex')
  })
})
