import { expect, it } from 'vitest'
import { applyStaged, stageRole } from './operations.js'
import { planLayout, transfersOf } from './plan.js'
import { zoneLosses } from './survival.js'
import { EMPTY_HISTORY, type LayoutHistory, type NodeRole } from './types.js'
import { partitionCounts } from './version.js'

const IDS = ['11', '22', '33', '44'].map((digits) => digits.repeat(32))
const [A, B, C, D] = IDS as [string, string, string, string]
const role = (zone: string, capacityBytes: number | null = 1e12, tags: string[] = []): NodeRole => ({
  zone,
  capacityBytes,
  tags,
})
const THREE = new Map([
  [A, role('z1')],
  [B, role('z2')],
  [C, role('z3')],
])
const MAXIMUM = { zoneRedundancy: 'maximum' as const }

function applied(roles: ReadonlyMap<string, NodeRole>, factor = 3): LayoutHistory {
  let history = EMPTY_HISTORY
  for (const [id, r] of roles) history = stageRole(history, 1, id, r)
  return applyStaged(history, { version: 1, self: A, replicationFactor: factor, now: 2 }).history
}

it('a target that is the layout changes and moves nothing', () => {
  const plan = planLayout(applied(THREE), { roles: THREE, parameters: MAXIMUM }, 3)
  expect(plan).toMatchObject({ differences: [], moves: [] })
})

it('the first layout moves nothing', () => {
  const plan = planLayout(EMPTY_HISTORY, { roles: THREE, parameters: MAXIMUM }, 3)
  expect(plan.differences.map(({ id, before }) => [id, before])).toEqual([
    [A, null],
    [B, null],
    [C, null],
  ])
  expect(plan.moves).toEqual([])
  expect(plan.next.version).toBe(1)
})

it('a node in the place of another gets exactly the partitions of that one', () => {
  const roles = new Map([...THREE].filter(([id]) => id !== C)).set(D, role('z3'))
  const { differences, moves, next } = planLayout(applied(THREE), { roles, parameters: MAXIMUM }, 3)
  expect(differences).toEqual([
    { id: C, before: role('z3'), after: null },
    { id: D, before: null, after: role('z3') },
  ])
  expect(transfersOf(moves)).toEqual([{ from: C, to: D, partitions: 256 }])
  expect(moves[7]).toEqual({ partition: 7, added: [D], removed: [C] })
  expect(partitionCounts(next).get(D)).toBe(256)
})

it('changed capacities, tags and the redundancy are differences; tags move nothing', () => {
  const tagged = new Map(THREE).set(B, role('z2', 1e12, ['ssd']))
  const plan = planLayout(applied(THREE), { roles: tagged, parameters: { zoneRedundancy: 2 } }, 3)
  expect(plan.differences).toEqual([{ id: B, before: role('z2'), after: role('z2', 1e12, ['ssd']) }])
  expect([plan.parametersBefore, plan.parametersAfter]).toEqual([MAXIMUM, { zoneRedundancy: 2 }])
  expect(plan.moves).toEqual([])
})

it('staged changes play no part, and stay as they are', () => {
  const history = stageRole(applied(THREE), 99, D, role('z4'))
  const before = structuredClone(history.staging)
  const plan = planLayout(history, { roles: THREE, parameters: MAXIMUM }, 3)
  expect(plan.differences).toEqual([])
  expect(history.staging).toEqual(before)
})

it('a target that cannot be is refused', () => {
  const two = new Map([...THREE].slice(0, 2))
  expect(() => planLayout(applied(THREE), { roles: two, parameters: MAXIMUM }, 3)).toThrow(
    /replication factor 3 needs at least 3 nodes/,
  )
})

it('one more copy comes from those that stay', () => {
  expect(transfersOf([{ partition: 1, added: [D, B], removed: [C] }])).toEqual([
    { from: C, to: D, partitions: 1 },
    { from: null, to: B, partitions: 1 },
  ])
})

it('the loss of each zone is counted in partitions', () => {
  const roles = new Map([
    [A, role('z1')],
    [B, role('z1')],
    [C, role('z2')],
  ])
  const { next } = planLayout(EMPTY_HISTORY, { roles, parameters: MAXIMUM }, 3)
  expect(zoneLosses(next, { write: 2, read: 2 })).toEqual([
    { zone: 'z1', nodes: 2, withoutWrites: 256, withoutReads: 256, withoutCopy: 0 },
    { zone: 'z2', nodes: 1, withoutWrites: 0, withoutReads: 0, withoutCopy: 0 },
  ])
  expect(zoneLosses(next, { write: 2, read: 1 })[0]).toMatchObject({ withoutWrites: 256, withoutReads: 0 })
})
