/** The layout for people (`layout show`, `layout apply`) and, as JSON, for the admin API v2. */
import type { NodeId } from '../../net/transport.js'
import { shortId } from '../../util/text.js'
import { effectiveZoneRedundancy } from './assignment.js'
import { members, minAck, trackedVersion, trackersOf } from './history.js'
import { previewStaged, stagedChanges, stagedParameters } from './operations.js'
import { PARTITION_COUNT } from './partitions.js'
import {
  currentVersion,
  DEFAULT_PARAMETERS,
  type LayoutHistory,
  type LayoutParameters,
  type LayoutVersion,
  type NodeRole,
  newestVersion,
  stampVersion,
} from './types.js'
import { isStorage, partitionCounts, replicaSets } from './version.js'

/** The effect of a change on a node or a zone. */
export interface ShareChange {
  /** Replicas of partitions that it holds then, and how many of them it has to copy. */
  partitions: number
  newPartitions: number
  capacityBytes: number
  usableBytes: number
}

export interface ZoneChange extends ShareChange {
  zone: string
  /** Different partitions in the zone. */
  uniquePartitions: number
  nodes: (ShareChange & { id: NodeId; tags: readonly string[] })[]
}

/** The effect of applying a version; see `compareVersions`. */
export interface LayoutChange {
  partitionSizeBytes: number
  previousPartitionSizeBytes: number | undefined
  zoneRedundancy: number
  replicationFactor: number
  capacityBytes: number
  usableBytes: number
  /** Replicas that nodes have to copy; each is at most a partition's size. */
  movedPartitions: number
  zones: ZoneChange[]
}

/** Compares a version with the one before it; without one, all replicas are new but nothing has to be copied. */
export function compareVersions(previous: LayoutVersion | undefined, next: LayoutVersion): LayoutChange {
  const before = previous && replicaSets(previous)
  const fresh = new Map<NodeId, number>()
  const unique = new Map<string, Set<number>>()
  let moved = 0
  for (const [partition, { nodes }] of replicaSets(next).entries()) {
    for (const id of nodes) {
      const { zone } = next.roles.get(id)!
      unique.set(zone, (unique.get(zone) ?? new Set()).add(partition))
      if (before !== undefined && before[partition]!.nodes.includes(id)) continue
      fresh.set(id, (fresh.get(id) ?? 0) + 1)
      if (before !== undefined) moved++
    }
  }
  const counts = partitionCounts(next)
  const zones = [...new Set(next.storageNodes.map((id) => next.roles.get(id)!.zone))].sort()
  const zoneChanges = zones.map((zone): ZoneChange => {
    const nodes = next.storageNodes
      .filter((id) => next.roles.get(id)!.zone === zone)
      .map((id) => ({
        id,
        tags: next.roles.get(id)!.tags,
        partitions: counts.get(id)!,
        newPartitions: fresh.get(id) ?? 0,
        capacityBytes: next.roles.get(id)!.capacityBytes!,
        usableBytes: counts.get(id)! * next.partitionSizeBytes,
      }))
    return { zone, uniquePartitions: unique.get(zone)?.size ?? 0, nodes, ...total(nodes) }
  })
  const { capacityBytes, usableBytes } = total(zoneChanges)
  return {
    partitionSizeBytes: next.partitionSizeBytes,
    previousPartitionSizeBytes: previous?.partitionSizeBytes,
    zoneRedundancy: effectiveZoneRedundancy(
      next.parameters.zoneRedundancy,
      next.replicationFactor,
      zones.length,
    ),
    replicationFactor: next.replicationFactor,
    capacityBytes,
    usableBytes,
    movedPartitions: moved,
    zones: zoneChanges,
  }
}

function total(shares: readonly ShareChange[]): ShareChange {
  const sum = { partitions: 0, newPartitions: 0, capacityBytes: 0, usableBytes: 0 }
  for (const share of shares) {
    sum.partitions += share.partitions
    sum.newPartitions += share.newPartitions
    sum.capacityBytes += share.capacityBytes
    sum.usableBytes += share.usableBytes
  }
  return sum
}

/** Bytes with SI units: '1.5 GB'. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB']
  let value = bytes
  let unit = 0
  // Rounding would show 999.95 as 1000.0.
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(1)} ${units[unit]}`
}

/** Lines with columns that are as wide as their widest cell. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  )
}

function share(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`
}

function formatRedundancy({ zoneRedundancy }: LayoutParameters): string {
  return String(zoneRedundancy)
}

function formatCapacity(role: NodeRole): string {
  return isStorage(role) ? formatBytes(role.capacityBytes!) : 'gateway'
}

function rolesTable(version: LayoutVersion): string[] {
  const counts = partitionCounts(version)
  const rows = [...version.roles].map(([id, role]) => {
    const usable = (counts.get(id) ?? 0) * version.partitionSizeBytes
    const usage = isStorage(role) ? `${formatBytes(usable)} (${share(usable, role.capacityBytes!)})` : ''
    return [shortId(id), role.zone, formatCapacity(role), usage, role.tags.join(',')]
  })
  return formatTable([['ID', 'Zone', 'Capacity', 'Usable capacity', 'Tags'], ...rows])
}

/** The summary of a change, as `layout apply` prints it and the admin API's `message` has it: lines of text. */
export function changeReport(previous: LayoutVersion | undefined, next: LayoutVersion): string[] {
  const change = compareVersions(previous, next)
  const before = change.previousPartitionSizeBytes
  const lines = [
    `Layout version ${next.version}: ${PARTITION_COUNT} partitions, each on ${change.replicationFactor} node(s) ` +
      `in at least ${change.zoneRedundancy} zone(s).`,
    '',
    ...formatTable([
      [
        'Partition size:',
        formatBytes(change.partitionSizeBytes) +
          (before === undefined ? '' : ` (was ${formatBytes(before)})`),
      ],
      [
        'Usable capacity:',
        `${formatBytes(change.usableBytes)} of ${formatBytes(change.capacityBytes)} ` +
          `(${share(change.usableBytes, change.capacityBytes)})`,
      ],
      [
        'Capacity for objects:',
        `${formatBytes(change.partitionSizeBytes * PARTITION_COUNT)} (one copy of each)`,
      ],
      [
        'Data to move:',
        previous === undefined
          ? 'none, this is the first layout'
          : `${change.movedPartitions} of ${PARTITION_COUNT * change.replicationFactor} copies of partitions`,
      ],
    ]),
    '',
  ]
  const rows: string[][] = [['Zone / node', 'Partitions', 'Capacity', 'Usable capacity', 'Tags']]
  const cells = ({ partitions, newPartitions, capacityBytes, usableBytes }: ShareChange, note: string) => [
    `${partitions}${note}${previous && newPartitions > 0 ? `, ${newPartitions} new` : ''}`,
    formatBytes(capacityBytes),
    `${formatBytes(usableBytes)} (${share(usableBytes, capacityBytes)})`,
  ]
  for (const zone of change.zones) {
    rows.push([zone.zone, ...cells(zone, ` (${zone.uniquePartitions} different)`), ''])
    for (const node of zone.nodes)
      rows.push([`  ${shortId(node.id)}`, ...cells(node, ''), node.tags.join(',')])
  }
  return [...lines, ...formatTable(rows)]
}

/** The text of `layout show`: roles, staged changes, and what applying them would do, or why it cannot be done. */
export function layoutReport(history: LayoutHistory, replicationFactor: number): string {
  const current = newestVersion(history)
  const lines: string[] = []
  if (current === undefined) lines.push('No layout yet: no node has a role.')
  else {
    lines.push(`Current layout, version ${current.version}`, '', ...rolesTable(current), '')
    lines.push(`Zone redundancy: ${formatRedundancy(current.parameters)}`)
  }
  const changes = stagedChanges(history)
  const parameters = stagedParameters(history)
  if (changes.size === 0 && parameters === undefined)
    return [...lines, '', 'No staged changes.', ''].join('\n')
  lines.push('', 'Staged changes', '')
  if (changes.size > 0) {
    const rows = [...changes].map(([id, role]) => {
      const what = role === null ? 'remove' : current?.roles.has(id) ? 'change' : 'add'
      return [
        shortId(id),
        what,
        role?.zone ?? '',
        role ? formatCapacity(role) : '',
        role?.tags.join(',') ?? '',
      ]
    })
    lines.push(...formatTable([['ID', 'Action', 'Zone', 'Capacity', 'Tags'], ...rows]), '')
  }
  if (parameters !== undefined) lines.push(`Zone redundancy: ${formatRedundancy(parameters)}`, '')
  try {
    const next = previewStaged(history, replicationFactor)
    lines.push('After applying them', '', ...changeReport(current, next), '')
    lines.push(`To apply: carport layout apply --version ${next.version}`)
    lines.push('To discard: carport layout revert --yes')
  } catch (error) {
    lines.push(`They cannot be applied: ${(error as Error).message}.`)
  }
  return [...lines, ''].join('\n')
}

type ZoneRedundancyJson = 'maximum' | { atLeast: number }

interface ParametersJson {
  zoneRedundancy: ZoneRedundancyJson
}

interface AssignedRoleJson {
  zone: string
  tags: string[]
  capacity: number | null
}

interface RoleJson extends AssignedRoleJson {
  id: NodeId
}

/** GetClusterLayoutResponse of the admin API v2. */
export interface LayoutJson {
  version: number
  roles: (RoleJson & { storedPartitions: number | null; usableCapacity: number | null })[]
  parameters: ParametersJson
  partitionSize: number
  stagedRoleChanges: (RoleJson | { id: NodeId; remove: true })[]
  stagedParameters: ParametersJson | null
}

/** The parameters of a layout as the admin API has them. */
export function parametersJson({ zoneRedundancy }: LayoutParameters): ParametersJson {
  return { zoneRedundancy: zoneRedundancy === 'maximum' ? zoneRedundancy : { atLeast: zoneRedundancy } }
}

/** A role as the admin API has it, without the node that it is assigned to. */
export function assignedRoleJson({ zone, tags, capacityBytes }: NodeRole): AssignedRoleJson {
  return { zone, tags: [...tags], capacity: capacityBytes }
}

function roleJson(id: NodeId, role: NodeRole): RoleJson {
  return { id, ...assignedRoleJson(role) }
}

/** The layout as the admin API's GetClusterLayout has it; with `version`, as PreviewClusterLayoutChanges has it. */
export function layoutJson(
  history: LayoutHistory,
  version: LayoutVersion | undefined = newestVersion(history),
): LayoutJson {
  const counts = version && partitionCounts(version)
  const staged = stagedParameters(history)
  return {
    version: version?.version ?? 0,
    roles: [...(version?.roles ?? [])].map(([id, role]) => {
      const stored = counts?.get(id) ?? null
      const usableCapacity = stored === null ? null : stored * version!.partitionSizeBytes
      return { ...roleJson(id, role), storedPartitions: stored, usableCapacity }
    }),
    parameters: parametersJson(version?.parameters ?? DEFAULT_PARAMETERS),
    partitionSize: version?.partitionSizeBytes ?? 0,
    stagedRoleChanges: [...stagedChanges(history)].map(([id, role]) =>
      role === null ? { id, remove: true } : roleJson(id, role),
    ),
    stagedParameters: staged ? parametersJson(staged) : null,
  }
}

/** GetClusterLayoutHistoryResponse of the admin API v2. */
export interface HistoryJson {
  currentVersion: number
  minAck: number
  versions: {
    version: number
    status: 'Current' | 'Draining' | 'Historical'
    storageNodes: number
    gatewayNodes: number
  }[]
  /** null when no change is under way. */
  updateTrackers: Record<NodeId, { ack: number; sync: number; syncAck: number }> | null
}

/** The history as the admin API's GetClusterLayoutHistory has it, newest version first. */
export function historyJson(history: LayoutHistory): HistoryJson {
  const current = currentVersion(history)
  const live = history.versions.map(({ version, roles, storageNodes }) => ({
    version,
    status: version === current ? ('Current' as const) : ('Draining' as const),
    storageNodes: storageNodes.length,
    gatewayNodes: roles.size - storageNodes.length,
  }))
  const old = history.old.map(({ stamp, storageNodes, gatewayNodes }) => ({
    version: stampVersion(stamp),
    status: 'Historical' as const,
    storageNodes,
    gatewayNodes,
  }))
  const trackers = members(history).map((id) => {
    const { ack, sync, syncAck } = trackersOf(history, id)
    const reached = (stamp: number) => trackedVersion(history, stamp)
    return [id, { ack: reached(ack), sync: reached(sync), syncAck: reached(syncAck) }] as const
  })
  return {
    currentVersion: current,
    minAck: minAck(history),
    versions: [...old, ...live].reverse(),
    updateTrackers: live.length > 1 ? Object.fromEntries(trackers) : null,
  }
}
