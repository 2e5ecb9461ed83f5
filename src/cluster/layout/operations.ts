import { lwwUpdate } from '../../crdt/lww.js'
import { lwwMapSet } from '../../crdt/lww-map.js'
import type { NodeId } from '../../net/transport.js'
import { CarportError } from '../../util/errors.js'
import { computeAssignment } from './assignment.js'
import { advance, dropCleared, members, pruneVersions, trackersOf } from './history.js'
import { PARTITION_COUNT } from './partitions.js'
import {
  currentVersion,
  DEFAULT_PARAMETERS,
  invalid,
  type LayoutHistory,
  type LayoutParameters,
  type LayoutStaging,
  type LayoutVersion,
  MAX_VERSION,
  type NodeRole,
  newestVersion,
  parseLayoutParameters,
  parseNodeId,
  parseNodeRole,
} from './types.js'
import { makeVersion, replicaSets } from './version.js'

/** Stages a role, new or changed, for the next version. `now` in HLC microseconds. @throws CarportError InvalidArgument */
export function stageRole(history: LayoutHistory, now: number, node: NodeId, role: NodeRole): LayoutHistory {
  return stage(history, now, parseNodeId(node), parseNodeRole(role))
}

/**
 * Stages the removal of a node; of one that has no role yet, the staged role is taken back.
 * @throws CarportError NotFound if the node has neither a role nor a staged one
 */
export function stageRemove(history: LayoutHistory, now: number, node: NodeId): LayoutHistory {
  if (!stagedRoles(history).has(node) && !newestVersion(history)?.roles.has(node)) {
    throw new CarportError('NotFound', `node ${node} has no role in the layout`)
  }
  return stage(history, now, node, null)
}

function stage(history: LayoutHistory, now: number, node: NodeId, role: NodeRole | null): LayoutHistory {
  const { staging } = history
  const ts = Math.max(now, staging.clearedAt + 1)
  return { ...history, staging: { ...staging, roles: lwwMapSet(staging.roles, node, ts, role) } }
}

/** Stages parameters for the next version. `now` in HLC microseconds. @throws CarportError InvalidArgument */
export function stageParameters(
  history: LayoutHistory,
  now: number,
  parameters: LayoutParameters,
): LayoutHistory {
  const update = lwwUpdate(history.staging.parameters, now, parseLayoutParameters(parameters))
  return { ...history, staging: { ...history.staging, parameters: update } }
}

/** Takes back all staged changes. `now` in HLC microseconds. */
export function revertStaged(history: LayoutHistory, now: number): LayoutHistory {
  const parameters = newestVersion(history)?.parameters ?? DEFAULT_PARAMETERS
  const cleared = clearRoles(history.staging, now)
  const update = lwwUpdate(history.staging.parameters, now, parameters)
  return { ...history, staging: { ...cleared, parameters: update } }
}

function clearRoles(staging: LayoutStaging, now: number): LayoutStaging {
  const last = Math.max(now, staging.clearedAt, ...[...staging.roles.values()].map(([ts]) => ts))
  return dropCleared({ ...staging, clearedAt: last })
}

/** Staged role changes that change something, by node id; null removes the node. */
export function stagedChanges(history: LayoutHistory): Map<NodeId, NodeRole | null> {
  const current = newestVersion(history)?.roles
  const changes = [...history.staging.roles]
    .map(([id, [, role]]): [NodeId, NodeRole | null] => [id, role])
    .filter(([id, role]) => !sameRole(current?.get(id) ?? null, role))
  return new Map(changes.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The staged parameters, or undefined if they are the current ones. */
export function stagedParameters(history: LayoutHistory): LayoutParameters | undefined {
  const current = newestVersion(history)?.parameters ?? DEFAULT_PARAMETERS
  const staged = history.staging.parameters[1]
  return staged.zoneRedundancy === current.zoneRedundancy ? undefined : staged
}

/** All roles as they would be in the next version. */
export function stagedRoles(history: LayoutHistory): Map<NodeId, NodeRole> {
  const roles = new Map(newestVersion(history)?.roles)
  for (const [id, role] of stagedChanges(history)) {
    if (role === null) roles.delete(id)
    else roles.set(id, role)
  }
  return roles
}

function sameRole(a: NodeRole | null, b: NodeRole | null): boolean {
  if (a === null || b === null) return a === b
  return (
    a.zone === b.zone &&
    a.capacityBytes === b.capacityBytes &&
    a.tags.length === b.tags.length &&
    a.tags.every((tag, i) => tag === b.tags[i])
  )
}

/**
 * Computes the version that applying the staged changes would make.
 * @throws CarportError InvalidArgument if no assignment is possible, or the replication factor is not the layout's
 */
export function previewStaged(history: LayoutHistory, replicationFactor: number): LayoutVersion {
  const current = newestVersion(history)
  if (current !== undefined && current.replicationFactor !== replicationFactor) {
    throw invalid(
      `the layout was made for replication factor ${current.replicationFactor}, this node is configured ` +
        `for ${replicationFactor}`,
    )
  }
  const version = currentVersion(history) + 1
  if (version > MAX_VERSION) throw invalid('there are no more version numbers')
  const roles = stagedRoles(history)
  const parameters = history.staging.parameters[1]
  const assignment = computeAssignment({
    roles,
    replicationFactor,
    zoneRedundancy: parameters.zoneRedundancy,
    partitions: PARTITION_COUNT,
    ...(current && { previous: replicaSets(current).map(({ nodes }) => nodes) }),
  })
  return makeVersion({ version, replicationFactor, parameters, roles, ...assignment })
}

export interface ApplyOptions {
  /** The current version + 1; checked, so that nobody applies a version twice or on a node that missed one. */
  version: number
  self: NodeId
  replicationFactor: number
  /** HLC microseconds. */
  now: number
}

/**
 * Makes the staged changes the next version.
 * @throws CarportError Conflict if `version` is not the next one, or this node has no role in the current version
 * (see history.ts why it needs one); InvalidArgument as previewStaged
 */
export function applyStaged(
  history: LayoutHistory,
  options: ApplyOptions,
): { history: LayoutHistory; version: LayoutVersion } {
  const current = newestVersion(history)
  const expected = currentVersion(history) + 1
  if (options.version !== expected) {
    throw new CarportError(
      'Conflict',
      `the current layout version is ${expected - 1}, so the next one is ${expected}, not ${options.version}`,
    )
  }
  if (current !== undefined && !current.roles.has(options.self)) {
    throw new CarportError(
      'Conflict',
      'this node has no role in the current layout: apply the changes on a node that has one',
    )
  }
  const version = previewStaged(history, options.replicationFactor)
  const staging = clearRoles(history.staging, options.now)
  return { history: { ...history, versions: [...history.versions, version], staging }, version }
}

export interface SkipDeadNodesOptions {
  /** The version to assume the dead nodes have; usually the current one. */
  version: number
  /** Also assume that they have its data: objects that only they had are lost. */
  allowMissingData: boolean
  isUp(node: NodeId): boolean
}

export interface SkipDeadNodesResult {
  history: LayoutHistory
  ackUpdated: NodeId[]
  syncUpdated: NodeId[]
}

/**
 * Stops waiting for nodes that are down: their writes, reads and, with `allowMissingData`, their copying for
 * `version` count as finished. Only for nodes that will not come back with requests under way.
 * @throws CarportError InvalidArgument if there is nothing to skip or the version is not live
 */
export function skipDeadNodes(history: LayoutHistory, options: SkipDeadNodesOptions): SkipDeadNodesResult {
  const { version, allowMissingData, isUp } = options
  const live = history.versions.map((candidate) => candidate.version)
  if (live.length === 0) throw invalid('there is no layout yet')
  if (live.length === 1) {
    throw invalid(`only layout version ${live[0]} is live: there is no change under way to be finished`)
  }
  if (!live.includes(version))
    throw invalid(`layout version ${version} is not live; live are ${live.join(', ')}`)
  const ackUpdated: NodeId[] = []
  const syncUpdated: NodeId[] = []
  let next = history
  for (const node of members(history)) {
    if (isUp(node)) continue
    const before = trackersOf(next, node)
    next = advance(advance(next, node, 'ack', version), node, 'syncAck', version)
    if (trackersOf(next, node).ack !== before.ack) ackUpdated.push(node)
    if (!allowMissingData) continue
    next = advance(next, node, 'sync', version)
    if (trackersOf(next, node).sync !== before.sync) syncUpdated.push(node)
  }
  return { history: pruneVersions(next), ackUpdated, syncUpdated }
}

/**
 * Stops waiting for nodes that have no role in the newest version and are gone: their requests count as finished.
 * Safe without asking anybody, since replicas refuse a write whose view ends before the version that all acked, and
 * since the data of the newest version is waited for all the same. Returns the same history if there is nothing to do,
 * and the nodes that are no longer waited for.
 */
export function skipRemovedNodes(
  history: LayoutHistory,
  isGone: (node: NodeId) => boolean,
): { history: LayoutHistory; skipped: NodeId[] } {
  const newest = newestVersion(history)
  const skipped: NodeId[] = []
  if (history.versions.length < 2 || newest === undefined) return { history, skipped }
  let next = history
  for (const node of members(history)) {
    if (newest.roles.has(node) || !isGone(node)) continue
    const before = next
    next = advance(advance(before, node, 'ack', newest.version), node, 'syncAck', newest.version)
    if (next !== before) skipped.push(node)
  }
  return { history: next === history ? history : pruneVersions(next), skipped }
}
