import type { Lww } from '../../crdt/lww.js'
import type { LwwMap } from '../../crdt/lww-map.js'
import type { NodeId } from '../../net/transport.js'
import { CarportError } from '../../util/errors.js'

/** A node's role, assigned by the administrator. */
export interface NodeRole {
  readonly zone: string
  /** Space given to the cluster, in bytes; null for a gateway, which stores no objects. */
  readonly capacityBytes: number | null
  readonly tags: readonly string[]
}

/** In how many zones every partition must be at least; 'maximum': as many as there are zones or replicas. */
export type ZoneRedundancy = number | 'maximum'

export interface LayoutParameters {
  readonly zoneRedundancy: ZoneRedundancy
}

/** One applied layout: the roles, and which nodes hold which partition. Immutable. */
export interface LayoutVersion {
  readonly version: number
  readonly replicationFactor: number
  readonly parameters: LayoutParameters
  /** By node id, sorted. */
  readonly roles: ReadonlyMap<NodeId, NodeRole>
  /** The greatest size that every partition can have, in bytes. */
  readonly partitionSizeBytes: number
  /** Nodes with capacity, sorted: what `assignment` points to. */
  readonly storageNodes: readonly NodeId[]
  /** For each partition `replicationFactor` ascending indexes into `storageNodes`. */
  readonly assignment: Uint8Array
  /** version × 2^32 + a hash of everything above: tells apart two layouts applied under one number. */
  readonly stamp: number
}

/** The summary that stays of a version whose data is no longer needed. */
export interface OldVersion {
  readonly stamp: number
  readonly storageNodes: number
  readonly gatewayNodes: number
}

/** How far a node got, as stamps of layout versions; 0: nothing yet. Each only grows. */
export interface NodeTrackers {
  /** No write that this node coordinates is still under way with a view that ends before this version. */
  readonly ack: number
  /** This node has everything of its partitions of all live versions up to this one. */
  readonly sync: number
  /** This node reads from this version or a later one, and no read from an earlier one is under way. */
  readonly syncAck: number
}

/** Changes that the next version will contain. */
export interface LayoutStaging {
  /** Role changes up to this time were applied or reverted. */
  readonly clearedAt: number
  readonly parameters: Lww<LayoutParameters>
  /** By node id; null removes the node. Only changes after `clearedAt`. */
  readonly roles: LwwMap<NodeRole | null>
}

/** Everything that nodes agree on about the layout, by gossip: a CRDT (see history.ts). Immutable. */
export interface LayoutHistory {
  /** Live versions, oldest first, numbered without gaps; empty before the first layout. */
  readonly versions: readonly LayoutVersion[]
  /** The last versions that are live no more, oldest first. */
  readonly old: readonly OldVersion[]
  readonly trackers: ReadonlyMap<NodeId, NodeTrackers>
  readonly staging: LayoutStaging
}

export const MIN_CAPACITY_BYTES = 1024
/** `assignment` has one byte per replica. */
export const MAX_STORAGE_NODES = 256
/** The greatest version number for which a stamp is an exact double. */
export const MAX_VERSION = 2 ** 21 - 1
const MAX_NAME_LENGTH = 128
const MAX_TAGS = 64

export const DEFAULT_PARAMETERS: LayoutParameters = { zoneRedundancy: 'maximum' }

export const EMPTY_HISTORY: LayoutHistory = {
  versions: [],
  old: [],
  trackers: new Map(),
  staging: { clearedAt: 0, parameters: [0, DEFAULT_PARAMETERS], roles: new Map() },
}

export function invalid(message: string): CarportError {
  return new CarportError('InvalidArgument', message)
}

/** The version number in a stamp. */
export function stampVersion(stamp: number): number {
  return Math.floor(stamp / 2 ** 32)
}

/** A stamp as writers tell it (Placement.layoutMark): the number, and the rest of the stamp as a fraction. Exact. */
export function markOf(stamp: number): number {
  return stamp / 2 ** 32
}

/** The newest version, or undefined before the first. */
export function newestVersion(history: LayoutHistory): LayoutVersion | undefined {
  return history.versions[history.versions.length - 1]
}

/** The newest version's number; 0 before the first. */
export function currentVersion(history: LayoutHistory): number {
  return newestVersion(history)?.version ?? 0
}

/** Checks a node id from outside. @throws CarportError InvalidArgument */
export function parseNodeId(value: unknown): NodeId {
  if (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value)) {
    throw invalid('a node id is 64 hex digits')
  }
  return value
}

/** Checks a role from outside. @throws CarportError InvalidArgument that names the fault */
export function parseNodeRole(value: unknown): NodeRole {
  if (typeof value !== 'object' || value === null) throw invalid('a role has zone, capacity and tags')
  const { zone, capacityBytes, tags } = value as Record<string, unknown>
  if (!isName(zone)) throw invalid(`a zone is a name of 1 to ${MAX_NAME_LENGTH} characters`)
  if (capacityBytes !== null) {
    if (!Number.isSafeInteger(capacityBytes) || (capacityBytes as number) < MIN_CAPACITY_BYTES) {
      throw invalid(`a capacity is a whole number of bytes, at least ${MIN_CAPACITY_BYTES}`)
    }
  }
  if (!Array.isArray(tags) || tags.length > MAX_TAGS || !tags.every(isName)) {
    throw invalid(`tags are at most ${MAX_TAGS} names of 1 to ${MAX_NAME_LENGTH} characters`)
  }
  return { zone, capacityBytes: capacityBytes as number | null, tags: [...tags] }
}

/** Checks parameters from outside. @throws CarportError InvalidArgument */
export function parseLayoutParameters(value: unknown): LayoutParameters {
  if (typeof value !== 'object' || value === null) throw invalid('layout parameters have zoneRedundancy')
  const { zoneRedundancy } = value as Record<string, unknown>
  if (zoneRedundancy !== 'maximum') {
    const isCount = Number.isSafeInteger(zoneRedundancy) && (zoneRedundancy as number) >= 1
    if (!isCount) throw invalid("zone redundancy is 'maximum' or a number of zones, at least 1")
  }
  return { zoneRedundancy: zoneRedundancy as ZoneRedundancy }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_NAME_LENGTH
}
