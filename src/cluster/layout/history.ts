/**
 * The layout history as a CRDT, which nodes gossip and which shows the progress of a change.
 *
 * Why reads see every acknowledged write while the layout changes:
 *  - A write needs a quorum in every live version that its coordinator knows of.
 *  - A node acks version v when none of its writes with a view that ends before v is under way. Only when all nodes
 *    acked v (`minAck`) does a replica begin to copy what it lacks for v, from a quorum of the version that is read
 *    (`readVersion`): older writes are in there, newer ones go to v too. Then it advances its `sync`.
 *  - `readVersion` is the newest version for which all of its own storage nodes advanced `sync`.
 *  - A node advances `syncAck` to the version it reads when no read from an older one is under way. Older versions
 *    are pruned when all nodes of the versions from there on did: then nobody reads them.
 *  - Replicas refuse writers whose newest version is older than `minAck`: left over from a node that was skipped as
 *    dead, they could reach replicas that were already copied from. They refuse those, too, that know another layout of that
 *    number: a node with a role in the losing layout alone is not waited for, and may not have heard that it lost.
 *  - A read shows a row only if a quorum of each live version has it, or after it wrote it back to all of them: a write that
 *    failed may have reached a quorum of an older version alone, after the newer one's nodes had copied.
 *  - A node without a role in the newest version that it knows coordinates nothing: nobody waits for its acks later.
 *  - A layout is applied on a node with a role in the one before, and histories are always sent whole: so a node that
 *    sees all acks of v also knows all layouts that were applied under the number v, and all newer ones that the
 *    acking nodes knew.
 * Two layouts applied under one number: the greater stamp stays, and trackers, being stamps too, count for it only
 * if they were set for it.
 */
import { createHash } from 'node:crypto'
import { mergeLww } from '../../crdt/lww.js'
import { lwwMapEntries, mergeLwwMap } from '../../crdt/lww-map.js'
import type { NodeId } from '../../net/transport.js'
import {
  currentVersion,
  type LayoutHistory,
  type LayoutStaging,
  type LayoutVersion,
  type NodeTrackers,
  newestVersion,
  type OldVersion,
  stampVersion,
} from './types.js'
import { isStorage, summarize } from './version.js'

/** How many versions are remembered after their data is no longer needed. */
export const OLD_VERSIONS_KEPT = 10

export const NO_TRACKERS: NodeTrackers = { ack: 0, sync: 0, syncAck: 0 }

/**
 * Merges two histories: commutative, associative, idempotent. Returns `current` itself if `incoming` adds nothing,
 * `incoming` itself if it has everything.
 */
export function mergeHistories(current: LayoutHistory, incoming: LayoutHistory): LayoutHistory {
  if (current === incoming) return current
  const merged = restrict({
    ...mergeVersions(current, incoming),
    trackers: mergeTrackers(current.trackers, incoming.trackers),
    staging: mergeStaging(current.staging, incoming.staging),
  })
  const digest = historyDigest(merged)
  if (digest === historyDigest(current)) return current
  return digest === historyDigest(incoming) ? incoming : merged
}

/** Numbers under which the two histories have different layouts: an administrator must know of these. */
export function conflictingVersions(a: LayoutHistory, b: LayoutHistory): number[] {
  const known = new Map(b.versions.map(({ version, stamp }) => [version, stamp]))
  return a.versions
    .filter(({ version, stamp }) => known.has(version) && known.get(version) !== stamp)
    .map(({ version }) => version)
}

function mergeVersions(a: LayoutHistory, b: LayoutHistory): Pick<LayoutHistory, 'versions' | 'old'> {
  const oldest = Math.max(a.versions[0]?.version ?? 0, b.versions[0]?.version ?? 0)
  const live = new Map<number, LayoutVersion>()
  const old = new Map<number, OldVersion>()
  const remember = (summary: OldVersion) => {
    const version = stampVersion(summary.stamp)
    if (version < oldest && (old.get(version)?.stamp ?? 0) < summary.stamp) old.set(version, summary)
  }
  for (const history of [a, b]) {
    history.old.forEach(remember)
    for (const candidate of history.versions) {
      if (candidate.version < oldest) remember(summarize(candidate))
      else if ((live.get(candidate.version)?.stamp ?? 0) < candidate.stamp) {
        live.set(candidate.version, candidate)
      }
    }
  }
  return {
    versions: [...live.values()].sort((x, y) => x.version - y.version),
    old: [...old.values()].sort((x, y) => x.stamp - y.stamp),
  }
}

function mergeTrackers(
  a: LayoutHistory['trackers'],
  b: LayoutHistory['trackers'],
): Map<NodeId, NodeTrackers> {
  const merged = new Map(a)
  for (const [id, theirs] of b) merged.set(id, maxTrackers(merged.get(id) ?? NO_TRACKERS, theirs))
  return merged
}

function maxTrackers(a: NodeTrackers, b: NodeTrackers): NodeTrackers {
  return {
    ack: Math.max(a.ack, b.ack),
    sync: Math.max(a.sync, b.sync),
    syncAck: Math.max(a.syncAck, b.syncAck),
  }
}

export function mergeStaging(a: LayoutStaging, b: LayoutStaging): LayoutStaging {
  return dropCleared({
    clearedAt: Math.max(a.clearedAt, b.clearedAt),
    parameters: mergeLww(a.parameters, b.parameters),
    roles: mergeLwwMap(a.roles, b.roles),
  })
}

/** Without the changes that were applied or reverted. */
export function dropCleared(staging: LayoutStaging): LayoutStaging {
  const roles = [...staging.roles].filter(([, [ts]]) => ts > staging.clearedAt)
  return roles.length === staging.roles.size ? staging : { ...staging, roles: new Map(roles) }
}

/**
 * Drops all that is too old to matter, so that the history stays small: summaries of very old versions, and trackers
 * below the oldest live version, which mean nothing any more. Both rules depend only on a number that grows, and drop
 * only parts that every later merge would drop too, which keeps merging associative.
 */
export function restrict(history: LayoutHistory): LayoutHistory {
  const oldest = history.versions[0]?.version ?? 0
  const old = history.old.filter(({ stamp }) => stampVersion(stamp) >= oldest - OLD_VERSIONS_KEPT)
  const floor = (stamp: number) => (stampVersion(stamp) < oldest ? 0 : stamp)
  const trackers = new Map<NodeId, NodeTrackers>()
  for (const [id, { ack, sync, syncAck }] of history.trackers) {
    const kept = { ack: floor(ack), sync: floor(sync), syncAck: floor(syncAck) }
    if (kept.ack + kept.sync + kept.syncAck > 0) trackers.set(id, kept)
  }
  return { ...history, old, trackers }
}

const digests = new WeakMap<LayoutHistory, string>()

/** The digest (32 hex digits) that nodes compare to see whether they must exchange; equal histories have equal ones. */
export function historyDigest(history: LayoutHistory): string {
  let digest = digests.get(history)
  if (digest === undefined) {
    const { versions, old, trackers, staging } = history
    const content = [
      versions.map(({ stamp }) => stamp),
      old.map(({ stamp }) => stamp),
      [...trackers]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([id, { ack, sync, syncAck }]) => [id, ack, sync, syncAck]),
      staging.clearedAt,
      [staging.parameters[0], staging.parameters[1].zoneRedundancy],
      lwwMapEntries(staging.roles).map(([id, ts, role]) => [
        id,
        ts,
        role && [role.zone, role.capacityBytes, role.tags],
      ]),
    ]
    digest = createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 32)
    digests.set(history, digest)
  }
  return digest
}

/** Nodes with a role in some live version, sorted. */
export function members(history: LayoutHistory): NodeId[] {
  return [...new Set(history.versions.flatMap(({ roles }) => [...roles.keys()]))].sort()
}

/**
 * Whether a history that is the first one on node `self` is of a cluster that begins: no earlier layout placed data, and no
 * node of this id took part in this one before, with a database that was lost since.
 */
export function isFirstLayout(history: LayoutHistory, self: NodeId): boolean {
  const { versions, old, trackers } = history
  return versions.length === 1 && versions[0]!.version === 1 && old.length === 0 && !trackers.has(self)
}

/** The stamp of a live version; 0 if it is not live. */
export function stampOf(history: LayoutHistory, version: number): number {
  return history.versions.find((candidate) => candidate.version === version)?.stamp ?? 0
}

/** The version up to which a tracker counts, given the layouts that are known now; 0 if none. */
export function trackedVersion(history: LayoutHistory, stamp: number): number {
  const version = stampVersion(stamp)
  const known = history.versions.find((candidate) => candidate.version === version)
  // The tracker was set for a layout that lost against another one under the same number.
  return known !== undefined && known.stamp !== stamp ? version - 1 : version
}

/** The version that all members acked; at least the oldest live one, before which nothing is under way. */
export function minAck(history: LayoutHistory): number {
  let min = currentVersion(history)
  for (const id of members(history)) {
    min = Math.min(min, trackedVersion(history, trackersOf(history, id).ack))
  }
  return Math.max(min, history.versions[0]?.version ?? 0)
}

/** The version to read from: the newest that all of its storage nodes have whole; 0 before the first. */
export function readVersion(history: LayoutHistory): number {
  for (const { version, roles } of history.versions.slice(1).reverse()) {
    const isWhole = [...roles].every(
      ([id, role]) => !isStorage(role) || trackedVersion(history, trackersOf(history, id).sync) >= version,
    )
    if (isWhole) return version
  }
  return history.versions[0]?.version ?? 0
}

/**
 * The version that tables should copy their data for: the newest one, when all members acked it; else undefined,
 * since older writes may still be under way.
 */
export function syncTarget(history: LayoutHistory): number | undefined {
  const newest = newestVersion(history)
  return newest !== undefined && minAck(history) >= newest.version ? newest.version : undefined
}

export function trackersOf(history: LayoutHistory, node: NodeId): NodeTrackers {
  return history.trackers.get(node) ?? NO_TRACKERS
}

/** Says that `node` has no write under way with a view that ends before `version`. */
export function advanceAck(history: LayoutHistory, node: NodeId, version: number): LayoutHistory {
  return advance(history, node, 'ack', version)
}

/**
 * Says that `node` has everything of its partitions of all live versions up to `version`, not of that one alone:
 * an earlier one may still become the version to read. Ignored while not all members acked that version: a copy
 * made before may lack writes.
 */
export function advanceSync(history: LayoutHistory, node: NodeId, version: number): LayoutHistory {
  return version <= minAck(history) ? advance(history, node, 'sync', version) : history
}

/** Says that `node` reads from `version` or later ones only; no further than what may be read. */
export function advanceSyncAck(history: LayoutHistory, node: NodeId, version: number): LayoutHistory {
  return advance(history, node, 'syncAck', Math.min(version, readVersion(history)))
}

/** Sets one tracker to a live version; returns the same history if it is there already or the version is unknown. */
export function advance(
  history: LayoutHistory,
  node: NodeId,
  tracker: keyof NodeTrackers,
  version: number,
): LayoutHistory {
  const target = history.versions.find((candidate) => candidate.version === version)
  const before = trackersOf(history, node)
  if (target === undefined || before[tracker] >= target.stamp) return history
  const trackers = new Map(history.trackers)
  trackers.set(node, { ...before, [tracker]: target.stamp })
  return { ...history, trackers }
}

/** Makes versions old that nobody reads any more; returns the same history if there are none. */
export function pruneVersions(history: LayoutHistory): LayoutHistory {
  const keepFrom = firstNeededVersion(history)
  if (keepFrom <= 0) return history
  const old = [...history.old, ...history.versions.slice(0, keepFrom).map(summarize)]
  return restrict({ ...history, versions: history.versions.slice(keepFrom), old })
}

/** The index of the newest version from which on all nodes read. */
function firstNeededVersion(history: LayoutHistory): number {
  const readable = readVersion(history)
  const readers = new Set<NodeId>()
  let oldestRead = Number.POSITIVE_INFINITY
  for (let i = history.versions.length - 1; i > 0; i--) {
    const { version, roles } = history.versions[i]!
    for (const id of roles.keys()) {
      if (readers.has(id)) continue
      readers.add(id)
      oldestRead = Math.min(oldestRead, trackedVersion(history, trackersOf(history, id).syncAck))
    }
    if (version <= readable && oldestRead >= version) return i
  }
  return 0
}

/**
 * A node's step after each change of the history or of its own requests under way: advances its trackers as far
 * as allowed and prunes.
 * @param progress the newest version that no write under way is older than, and that no read under way is older than
 */
export function settle(
  history: LayoutHistory,
  self: NodeId,
  progress: { ackable: number; syncAckable: number },
): LayoutHistory {
  if (!history.versions.some(({ roles }) => roles.has(self))) return pruneVersions(history)
  const acked = advanceAck(history, self, progress.ackable)
  return pruneVersions(advanceSyncAck(acked, self, progress.syncAckable))
}
