import type { NodeId } from '../../net/transport.js'
import {
  previewStaged,
  revertStaged,
  stagedChanges,
  stageParameters,
  stageRemove,
  stageRole,
} from './operations.js'
import {
  DEFAULT_PARAMETERS,
  type LayoutHistory,
  type LayoutParameters,
  type LayoutVersion,
  type NodeRole,
  newestVersion,
} from './types.js'
import { replicaSets } from './version.js'

/** The roles that all nodes shall have, and nothing else. */
export interface LayoutTarget {
  roles: ReadonlyMap<NodeId, NodeRole>
  parameters: LayoutParameters
}

/** A change of one node's role; null: none. */
export interface RoleDifference {
  id: NodeId
  before: NodeRole | null
  after: NodeRole | null
}

/** The nodes that get a partition, and those that give it up. */
export interface PartitionMove {
  partition: number
  added: NodeId[]
  removed: NodeId[]
}

export interface LayoutPlan {
  /** The layout now; undefined before the first. */
  previous: LayoutVersion | undefined
  next: LayoutVersion
  differences: RoleDifference[]
  parametersBefore: LayoutParameters
  parametersAfter: LayoutParameters
  moves: PartitionMove[]
}

/**
 * What would bring the layout to a target. Staged changes play no part.
 * @throws CarportError InvalidArgument if a role is malformed or no assignment is possible
 */
export function planLayout(
  history: LayoutHistory,
  target: LayoutTarget,
  replicationFactor: number,
): LayoutPlan {
  const previous = newestVersion(history)
  // Times of staged changes only grow, and these are never told to anybody.
  const clean = revertStaged(history, history.staging.parameters[0])
  const nowUs = Math.max(clean.staging.clearedAt, clean.staging.parameters[0]) + 1
  let staged = stageParameters(clean, nowUs, target.parameters)
  for (const [id, role] of target.roles) staged = stageRole(staged, nowUs, id, role)
  for (const id of previous?.roles.keys() ?? [])
    if (!target.roles.has(id)) staged = stageRemove(staged, nowUs, id)
  const next = previewStaged(staged, replicationFactor)
  return {
    previous,
    next,
    differences: [...stagedChanges(staged)].map(([id, after]) => ({
      id,
      before: previous?.roles.get(id) ?? null,
      after,
    })),
    parametersBefore: previous?.parameters ?? DEFAULT_PARAMETERS,
    parametersAfter: next.parameters,
    moves: partitionMoves(previous, next),
  }
}

/** The partitions whose nodes differ. Before the first layout there is nothing to move. */
export function partitionMoves(previous: LayoutVersion | undefined, next: LayoutVersion): PartitionMove[] {
  if (previous === undefined) return []
  const before = replicaSets(previous)
  return replicaSets(next).flatMap(({ nodes, key }, partition) => {
    const old = before[partition]!
    if (old.key === key) return []
    const added = nodes.filter((id) => !old.nodes.includes(id))
    const removed = old.nodes.filter((id) => !nodes.includes(id))
    return [{ partition, added, removed }]
  })
}

/** Copies of partitions on their way from one node to another. */
export interface Transfer {
  /** The node in whose place the other one comes; null: one more copy, from those that stay. */
  from: NodeId | null
  to: NodeId
  partitions: number
}

/** The moves by pairs of nodes. A new replica copies from all that are complete; it is paired with one that it replaces. */
export function transfersOf(moves: readonly PartitionMove[]): Transfer[] {
  const transfers = new Map<string, Transfer>()
  for (const { added, removed } of moves) {
    for (const [i, to] of added.entries()) {
      const from = removed[i] ?? null
      const key = `${from}/${to}`
      const transfer = transfers.get(key) ?? { from, to, partitions: 0 }
      transfer.partitions++
      transfers.set(key, transfer)
    }
  }
  return [...transfers.values()].sort((a, b) => b.partitions - a.partitions)
}
