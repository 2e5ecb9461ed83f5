/**
 * The layout history as a value for msgpack, kept small since nodes gossip it: ids stand once, as 32 bytes each, and
 * everything else refers to them by index. A decoded value may come from a peer, so it is checked in full.
 */
import type { NodeId } from '../../net/transport.js'
import { effectiveZoneRedundancy } from './assignment.js'
import { OLD_VERSIONS_KEPT, restrict } from './history.js'
import { PARTITION_COUNT } from './partitions.js'
import {
  invalid,
  type LayoutHistory,
  type LayoutStaging,
  type LayoutVersion,
  MAX_STORAGE_NODES,
  MAX_VERSION,
  type NodeRole,
  type NodeTrackers,
  type OldVersion,
  parseLayoutParameters,
  parseNodeRole,
  stampVersion,
} from './types.js'
import { isStorage, makeVersion } from './version.js'

const FORMAT = 1
const ID_BYTES = 32
const MAX_NODES = 4096
const MAX_LIVE_VERSIONS = 1024
const MAX_STAMP = (MAX_VERSION + 1) * 2 ** 32 - 1

type EncodedRole = [zone: string, capacityBytes: number | null, tags: readonly string[]]

/** A history as msgpack carries it. */
export interface EncodedHistory {
  format: number
  /** All ids that occur, sorted, 32 bytes each; numbers for nodes below are indexes into it. */
  nodes: Buffer
  versions: EncodedVersion[]
  old: [stamp: number, storageNodes: number, gatewayNodes: number][]
  trackers: [node: number, ack: number, sync: number, syncAck: number][]
  staging: {
    clearedAt: number
    parameters: [ts: number, zoneRedundancy: number | 'maximum']
    roles: [node: number, ts: number, role: EncodedRole | null][]
  }
}

interface EncodedVersion {
  version: number
  replicationFactor: number
  zoneRedundancy: number | 'maximum'
  partitionSizeBytes: number
  roles: [node: number, ...EncodedRole][]
  assignment: Buffer
}

export function encodeHistory(history: LayoutHistory): EncodedHistory {
  const { versions, old, trackers, staging } = history
  const ids = new Set<NodeId>([...trackers.keys(), ...staging.roles.keys()])
  for (const { roles } of versions) for (const id of roles.keys()) ids.add(id)
  const sorted = [...ids].sort()
  const indexOf = new Map(sorted.map((id, index) => [id, index]))
  const byNode = <T>(map: ReadonlyMap<NodeId, T>): [number, T][] =>
    [...map].map(([id, value]): [number, T] => [indexOf.get(id)!, value]).sort(([a], [b]) => a - b)
  return {
    format: FORMAT,
    nodes: Buffer.from(sorted.join(''), 'hex'),
    versions: versions.map((version) => ({
      version: version.version,
      replicationFactor: version.replicationFactor,
      zoneRedundancy: version.parameters.zoneRedundancy,
      partitionSizeBytes: version.partitionSizeBytes,
      roles: byNode(version.roles).map(([node, role]) => [node, ...encodeRole(role)]),
      assignment: Buffer.from(version.assignment),
    })),
    old: old.map(({ stamp, storageNodes, gatewayNodes }) => [stamp, storageNodes, gatewayNodes]),
    trackers: byNode(trackers).map(([node, { ack, sync, syncAck }]) => [node, ack, sync, syncAck]),
    staging: {
      clearedAt: staging.clearedAt,
      parameters: [staging.parameters[0], staging.parameters[1].zoneRedundancy],
      roles: byNode(staging.roles).map(([node, [ts, role]]) => [node, ts, role && encodeRole(role)]),
    },
  }
}

function encodeRole({ zone, capacityBytes, tags }: NodeRole): EncodedRole {
  return [zone, capacityBytes, tags]
}

/** The reverse of encodeHistory. @throws CarportError InvalidArgument if anything about the value is wrong */
export function decodeHistory(value: unknown): LayoutHistory {
  const fields = record(value, 'layout history')
  if (fields.format !== FORMAT) throw invalid('the layout history has an unknown format')
  const nodes = decodeIds(fields.nodes)
  const versions = list(fields.versions, 'versions', MAX_LIVE_VERSIONS).map((item) =>
    decodeVersion(item, nodes),
  )
  for (let i = 1; i < versions.length; i++) {
    if (versions[i]!.version !== versions[i - 1]!.version + 1) throw invalid('layout versions have a gap')
  }
  const oldest = versions[0]?.version ?? 0
  return restrict({
    versions,
    old: decodeOld(fields.old, oldest),
    trackers: decodeTrackers(fields.trackers, nodes, versions[versions.length - 1]?.version ?? 0),
    staging: decodeStaging(fields.staging, nodes),
  })
}

function decodeIds(value: unknown): NodeId[] {
  if (
    !(value instanceof Uint8Array) ||
    value.length % ID_BYTES !== 0 ||
    value.length > ID_BYTES * MAX_NODES
  ) {
    throw invalid('layout nodes must be whole ids')
  }
  const hex = Buffer.from(value.buffer, value.byteOffset, value.length).toString('hex')
  const ids = hex.match(/.{64}/g) ?? []
  for (let i = 1; i < ids.length; i++)
    if (ids[i - 1]! >= ids[i]!) throw invalid('layout nodes must be sorted')
  return ids
}

function decodeVersion(value: unknown, nodes: readonly NodeId[]): LayoutVersion {
  const fields = record(value, 'layout version')
  const roles = decodeByNode(fields.roles, nodes, 'roles', (row) => decodeRole(row.slice(1)))
  const storageNodes = [...roles.keys()].filter((id) => isStorage(roles.get(id)!)).sort()
  if (storageNodes.length > MAX_STORAGE_NODES) throw invalid('a layout version has too many storage nodes')
  const replicationFactor = integer(fields.replicationFactor, 'replication factor', 1, storageNodes.length)
  const parameters = parseLayoutParameters({ zoneRedundancy: fields.zoneRedundancy })
  const version = {
    version: integer(fields.version, 'version', 1, MAX_VERSION),
    replicationFactor,
    parameters,
    roles,
    partitionSizeBytes: integer(fields.partitionSizeBytes, 'partition size', 1),
    storageNodes,
    assignment: decodeAssignment(fields.assignment, replicationFactor, storageNodes.length),
  }
  checkZones(version)
  return makeVersion(version)
}

function decodeAssignment(value: unknown, replicationFactor: number, nodeCount: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length !== PARTITION_COUNT * replicationFactor) {
    throw invalid('a layout assignment has the wrong length')
  }
  for (const [i, index] of value.entries()) {
    const isAscending = i % replicationFactor === 0 || value[i - 1]! < index
    if (index >= nodeCount || !isAscending) throw invalid('a layout assignment names wrong nodes')
  }
  // A copy of its own: the bytes may be part of a larger message.
  return Uint8Array.from(value)
}

function checkZones({
  roles,
  replicationFactor,
  parameters,
  storageNodes,
  assignment,
}: Omit<LayoutVersion, 'stamp'>) {
  const zones = storageNodes.map((id) => roles.get(id)!.zone)
  const needed = effectiveZoneRedundancy(parameters.zoneRedundancy, replicationFactor, new Set(zones).size)
  for (let at = 0; at < assignment.length; at += replicationFactor) {
    const indexes = assignment.subarray(at, at + replicationFactor)
    if (new Set(Array.from(indexes, (index) => zones[index])).size < needed) {
      throw invalid('a layout assignment breaks its zone redundancy')
    }
  }
}

function decodeRole([zone, capacityBytes, tags]: readonly unknown[]): NodeRole {
  return parseNodeRole({ zone, capacityBytes, tags })
}

function decodeOld(value: unknown, oldest: number): OldVersion[] {
  let last = 0
  return list(value, 'old versions', OLD_VERSIONS_KEPT).map((item) => {
    const row = list(item, 'an old version', 3)
    const stamp = integer(row[0], 'stamp', 2 ** 32, MAX_STAMP)
    const version = stampVersion(stamp)
    if (version <= last || version >= oldest) throw invalid('old layout versions are out of order')
    last = version
    return {
      stamp,
      storageNodes: integer(row[1], 'storage nodes', 0, MAX_NODES),
      gatewayNodes: integer(row[2], 'gateway nodes', 0, MAX_NODES),
    }
  })
}

function decodeTrackers(value: unknown, nodes: readonly NodeId[], newest: number): Map<NodeId, NodeTrackers> {
  const max = (newest + 1) * 2 ** 32 - 1
  return decodeByNode(value, nodes, 'trackers', (row) => ({
    ack: integer(row[1], 'tracker', 0, max),
    sync: integer(row[2], 'tracker', 0, max),
    syncAck: integer(row[3], 'tracker', 0, max),
  }))
}

function decodeStaging(value: unknown, nodes: readonly NodeId[]): LayoutStaging {
  const fields = record(value, 'layout staging')
  const clearedAt = integer(fields.clearedAt, 'time', 0)
  const [ts, zoneRedundancy] = list(fields.parameters, 'staged parameters', 2)
  return {
    clearedAt,
    parameters: [integer(ts, 'time', 0), parseLayoutParameters({ zoneRedundancy })],
    roles: decodeByNode(fields.roles, nodes, 'staged roles', (row) => {
      const roleTs = integer(row[1], 'time', 0)
      if (roleTs <= clearedAt) throw invalid('a staged role is older than the last apply')
      return [roleTs, row[2] === null ? null : decodeRole(list(row[2], 'a role', 3))]
    }),
  }
}

/** Rows that begin with a node's index, ascending. */
function decodeByNode<T>(
  value: unknown,
  nodes: readonly NodeId[],
  what: string,
  decode: (row: readonly unknown[]) => T,
): Map<NodeId, T> {
  let last = -1
  return new Map(
    list(value, what, MAX_NODES).map((item) => {
      const row = list(item, what, 4)
      last = integer(row[0], `node in ${what}`, last + 1, nodes.length - 1)
      return [nodes[last]!, decode(row)]
    }),
  )
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`no ${what} there`)
  return value as Record<string, unknown>
}

function list(value: unknown, what: string, maxLength: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > maxLength) throw invalid(`${what} in the layout are no list`)
  return value
}

function integer(value: unknown, what: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
    throw invalid(`a ${what} in the layout is out of range`)
  }
  return value as number
}
