import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { NodeId } from '../../net/transport.js'
import { type Assignment, type AssignmentInput, computeAssignment } from './assignment.js'
import type { NodeRole, ZoneRedundancy } from './types.js'

function nodeId(n: number): NodeId {
  return n.toString(16).padStart(64, '0')
}

/** Roles from `[zone, capacity]`; node i gets id i. */
function rolesOf(nodes: readonly (readonly [string, number | null])[]): Map<NodeId, NodeRole> {
  return new Map(nodes.map(([zone, capacityBytes], i) => [nodeId(i), { zone, capacityBytes, tags: [] }]))
}

function setsOf({ storageNodes, assignment }: Assignment, replicas: number): NodeId[][] {
  const sets: NodeId[][] = []
  for (let at = 0; at < assignment.length; at += replicas) {
    sets.push([...assignment.subarray(at, at + replicas)].map((n) => storageNodes[n]!))
  }
  return sets
}

function newReplicas(before: readonly NodeId[][], after: readonly NodeId[][]): number {
  return after.reduce((sum, set, p) => sum + set.filter((id) => !before[p]?.includes(id)).length, 0)
}

function redundancyOf(input: AssignmentInput): number {
  const zones = new Set([...input.roles.values()].filter((r) => r.capacityBytes !== null).map((r) => r.zone))
  return input.zoneRedundancy === 'maximum'
    ? Math.min(input.replicationFactor, zones.size)
    : input.zoneRedundancy
}

function expectConstraints(input: AssignmentInput, result: Assignment): void {
  const sets = setsOf(result, input.replicationFactor)
  expect(sets).toHaveLength(input.partitions)
  const load = new Map<NodeId, number>()
  for (const set of sets) {
    expect(new Set(set).size).toBe(input.replicationFactor)
    const zones = new Set(set.map((id) => input.roles.get(id)!.zone))
    expect(zones.size).toBeGreaterThanOrEqual(redundancyOf(input))
    for (const id of set) load.set(id, (load.get(id) ?? 0) + 1)
  }
  for (const [id, count] of load) {
    const capacity = input.roles.get(id)!.capacityBytes!
    expect(count * result.partitionSizeBytes).toBeLessThanOrEqual(capacity)
  }
}

/** All sets of `replicas` nodes over enough zones. */
function allSets(input: AssignmentInput): NodeId[][] {
  const ids = [...input.roles.keys()]
  const found: NodeId[][] = []
  const extend = (set: NodeId[], from: number) => {
    if (set.length === input.replicationFactor) {
      const zones = new Set(set.map((id) => input.roles.get(id)!.zone))
      if (zones.size >= redundancyOf(input)) found.push(set)
      return
    }
    for (let i = from; i < ids.length; i++) extend([...set, ids[i]!], i + 1)
  }
  extend([], 0)
  return found
}

/** By trying every assignment: the largest partition size, 0 if not even one byte fits. */
function largestSize(input: AssignmentInput): number {
  const sets = allSets(input)
  let best = 0
  const load = new Map<NodeId, number>()
  const choose = (p: number) => {
    if (p === input.partitions) {
      let size = Number.POSITIVE_INFINITY
      for (const [id, count] of load) {
        if (count > 0) size = Math.min(size, Math.floor(input.roles.get(id)!.capacityBytes! / count))
      }
      best = Math.max(best, size)
      return
    }
    for (const set of sets) {
      for (const id of set) load.set(id, (load.get(id) ?? 0) + 1)
      choose(p + 1)
      for (const id of set) load.set(id, load.get(id)! - 1)
    }
  }
  choose(0)
  return best
}

/** By trying every assignment with that partition size: the least number of new replicas. */
function fewestMoves(input: AssignmentInput, sizeBytes: number): number {
  const sets = allSets(input)
  const load = new Map<NodeId, number>()
  let best = Number.POSITIVE_INFINITY
  const choose = (p: number, moves: number) => {
    if (moves >= best) return
    if (p === input.partitions) {
      best = moves
      return
    }
    for (const set of sets) {
      const fits = set.every(
        (id) => ((load.get(id) ?? 0) + 1) * sizeBytes <= input.roles.get(id)!.capacityBytes!,
      )
      if (!fits) continue
      for (const id of set) load.set(id, (load.get(id) ?? 0) + 1)
      choose(p + 1, moves + set.filter((id) => !input.previous?.[p]?.includes(id)).length)
      for (const id of set) load.set(id, load.get(id)! - 1)
    }
  }
  choose(0, 0)
  return best
}

const cluster = fc
  .record({
    nodes: fc.array(
      fc.tuple(
        fc.constantFrom('a', 'b', 'c', 'd', 'e'),
        fc.oneof(
          { weight: 1, arbitrary: fc.constant(null) },
          { weight: 6, arbitrary: fc.integer({ min: 1e6, max: 1e12 }) },
        ),
      ),
      { minLength: 1, maxLength: 14 },
    ),
    replicationFactor: fc.integer({ min: 1, max: 5 }),
    zoneRedundancy: fc.oneof(fc.constant<ZoneRedundancy>('maximum'), fc.integer({ min: 1, max: 4 })),
    partitions: fc.constantFrom(16, 256),
  })
  .map(({ nodes, ...rest }): AssignmentInput => ({ ...rest, roles: rolesOf(nodes) }))

function isPossible(input: AssignmentInput): boolean {
  const storage = [...input.roles.values()].filter((role) => role.capacityBytes !== null)
  const zones = new Set(storage.map((role) => role.zone)).size
  const { zoneRedundancy: z, replicationFactor: rf } = input
  return storage.length >= rf && (z === 'maximum' || (z <= rf && z <= zones))
}

describe('computeAssignment', () => {
  it('keeps to the constraints in random clusters, and refuses exactly the impossible ones', () => {
    fc.assert(
      fc.property(cluster, (input) => {
        if (!isPossible(input)) {
          expect(() => computeAssignment(input)).toThrow(/needs|cannot/)
          return
        }
        const result = computeAssignment(input)
        expectConstraints(input, result)
        expect(computeAssignment(input)).toEqual(result)
      }),
      { numRuns: 150 },
    )
  })

  it('keeps to the constraints after random changes, and moves nothing when nothing changed', () => {
    fc.assert(
      fc.property(cluster, cluster, (before, after) => {
        const changed = {
          ...after,
          replicationFactor: before.replicationFactor,
          partitions: before.partitions,
        }
        fc.pre(isPossible(before) && isPossible(changed))
        const previous = setsOf(computeAssignment(before), before.replicationFactor)
        expect(setsOf(computeAssignment({ ...before, previous }), before.replicationFactor)).toEqual(previous)
        const input = { ...changed, previous }
        const result = computeAssignment(input)
        expectConstraints(input, result)
        // The size does not depend on where data was.
        expect(result.partitionSizeBytes).toBe(computeAssignment(changed).partitionSizeBytes)
      }),
      { numRuns: 150 },
    )
  })

  it('finds the optimum that trying everything finds, in tiny clusters', () => {
    const tiny = fc.record({
      nodes: fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 12 })), {
        minLength: 1,
        maxLength: 5,
      }),
      replicationFactor: fc.integer({ min: 1, max: 3 }),
      zoneRedundancy: fc.oneof(fc.constant<ZoneRedundancy>('maximum'), fc.integer({ min: 1, max: 3 })),
      partitions: fc.integer({ min: 1, max: 4 }),
      previous: fc.array(fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }), { maxLength: 4 }),
    })
    fc.assert(
      fc.property(tiny, ({ nodes, previous, ...rest }) => {
        const input: AssignmentInput = {
          ...rest,
          roles: rolesOf(nodes),
          previous: previous.map((set) => [...new Set(set)].map(nodeId)),
        }
        fc.pre(isPossible(input))
        const size = largestSize(input)
        if (size === 0) {
          expect(() => computeAssignment(input)).toThrow(/too small/)
          return
        }
        const result = computeAssignment(input)
        expect(result.partitionSizeBytes).toBe(size)
        const moves = newReplicas(input.previous as NodeId[][], setsOf(result, input.replicationFactor))
        expect(moves).toBe(fewestMoves(input, size))
      }),
      { numRuns: 250 },
    )
  })

  it('moves only its share to a node that is added', () => {
    const nodes: [string, number][] = [1, 2, 3, 4, 5].map((i) => [`z${i}`, 1e12])
    const input = { replicationFactor: 3, zoneRedundancy: 3, partitions: 256 }
    const before = setsOf(computeAssignment({ ...input, roles: rolesOf(nodes) }), 3)
    const after = computeAssignment({ ...input, roles: rolesOf([...nodes, ['z6', 1e12]]), previous: before })
    expect(newReplicas(before, setsOf(after, 3))).toBe(128)
  })

  it('moves only what it had away from a node that is removed', () => {
    const nodes: [string, number][] = [1, 2, 3, 4, 5, 6].map((i) => [`z${i % 3}`, 1e12])
    const input = { replicationFactor: 3, zoneRedundancy: 'maximum' as const, partitions: 256 }
    const roles = rolesOf(nodes)
    const before = setsOf(computeAssignment({ ...input, roles }), 3)
    const gone = nodeId(5)
    const held = before.filter((set) => set.includes(gone)).length
    roles.delete(gone)
    const after = setsOf(computeAssignment({ ...input, roles, previous: before }), 3)
    expect(newReplicas(before, after)).toBe(held)
  })

  it('leaves a node empty that would not add capacity', () => {
    const nodes: [string, number][] = [
      ['dc1', 1e9],
      ['dc2', 1e9],
      ['dc3', 1e9],
    ]
    const input = { replicationFactor: 3, zoneRedundancy: 'maximum' as const, partitions: 256 }
    const before = setsOf(computeAssignment({ ...input, roles: rolesOf(nodes) }), 3)
    const after = computeAssignment({ ...input, roles: rolesOf([...nodes, ['dc1', 1e9]]), previous: before })
    expect(after.partitionSizeBytes).toBe(3906250)
    expect(setsOf(after, 3)).toEqual(before)
  })

  it('spreads a new layout evenly and in mixed groups', () => {
    const nodes: [string, number][] = Array.from({ length: 9 }, (_, i) => [`z${i % 3}`, 1e12])
    const input = { replicationFactor: 3, zoneRedundancy: 3, partitions: 256, roles: rolesOf(nodes) }
    const sets = setsOf(computeAssignment(input), 3)
    const counts = nodes.map((_, i) => sets.filter((set) => set.includes(nodeId(i))).length)
    expect(Math.max(...counts)).toBeLessThanOrEqual(86)
    expect(new Set(sets.map((set) => set.join())).size).toBeGreaterThanOrEqual(20)
  })

  it.each([10, 40, 100])('takes less than two seconds for 100 nodes in %i zones', (zones) => {
    const capacity = (i: number) => 1e12 + ((i * 7919) % 13) * 3e11
    const nodes: [string, number][] = Array.from({ length: 100 }, (_, i) => [`z${i % zones}`, capacity(i)])
    const input = { replicationFactor: 3, zoneRedundancy: 'maximum' as const, partitions: 256 }
    const before = setsOf(computeAssignment({ ...input, roles: rolesOf(nodes) }), 3)
    // Half of the capacities change: the hardest case, many augmentations.
    const changed = nodes.map(([zone, c], i): [string, number] => [zone, i % 2 ? c : c * 3])
    const start = process.cpuUsage()
    const next = { ...input, roles: rolesOf(changed), previous: before }
    expectConstraints(next, computeAssignment(next))
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(2)
  })

  it('says what a layout lacks', () => {
    const two = rolesOf([
      ['a', 1e9],
      ['a', 1e9],
      ['b', null],
    ])
    const run = (replicationFactor: number, zoneRedundancy: ZoneRedundancy) =>
      computeAssignment({ roles: two, replicationFactor, zoneRedundancy, partitions: 256 })
    expect(() => run(3, 1)).toThrow('needs at least 3 nodes with a capacity, the layout has 2')
    expect(() => run(2, 2)).toThrow('at least 2 zones, the layout has 1')
    expect(() => run(1, 2)).toThrow('cannot be above the replication factor')
    expect(run(2, 'maximum').partitionSizeBytes).toBe(3906250)
  })
})
