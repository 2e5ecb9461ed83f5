/**
 * Results of the administrative operations, shaped and named as in Garage's admin API v2, so that the HTTP
 * API can return them unchanged. Ids are hexadecimal, times are RFC 3339 in UTC, sizes are bytes; absent
 * values are null.
 */
import type {
  BucketKeyPermissions,
  BucketQuotas,
  KeyPermissions,
  LayoutParameters,
  NodeRoleChange,
} from './operation-schemas.js'

export interface FreeSpace {
  available: number
  total: number
}

/** A role in the layout. `capacity` is in bytes, null for a gateway. */
export interface NodeAssignedRole {
  zone: string
  tags: string[]
  capacity: number | null
}

export interface NodeStatus {
  id: string
  garageVersion: string | null
  hostname: string | null
  /** host:port of the RPC endpoint, as far as it is known. */
  addr: string | null
  isUp: boolean
  lastSeenSecsAgo: number | null
  role: NodeAssignedRole | null
  /** Whether the node is no longer in the newest layout but holds data of an older one that is still live. */
  draining: boolean
  dataPartition: FreeSpace | null
  metadataPartition: FreeSpace | null
  /**
   * Rows and blocks that this node has yet to fetch or send: zero once it has caught up, null while unknown.
   */
  syncQueueLength: number | null
}

export interface ClusterStatus {
  layoutVersion: number
  nodes: NodeStatus[]
}

export interface ConnectNodeResult {
  success: boolean
  error: string | null
}

export interface LayoutNodeRole extends NodeAssignedRole {
  id: string
  storedPartitions: number | null
  usableCapacity: number | null
}

export interface ClusterLayout {
  version: number
  roles: LayoutNodeRole[]
  parameters: LayoutParameters
  partitionSize: number
  stagedRoleChanges: NodeRoleChange[]
  stagedParameters: LayoutParameters | null
}

/** The outcome of applying the staged changes, or the reason why they cannot be applied. */
export type LayoutPreview = { error: string } | { message: string[]; newLayout: ClusterLayout }

export type LayoutVersionStatus = 'Current' | 'Draining' | 'Historical'

export interface LayoutHistory {
  currentVersion: number
  minAck: number
  versions: { version: number; status: LayoutVersionStatus; storageNodes: number; gatewayNodes: number }[]
  /** By node id; null when one version is live only. */
  updateTrackers: Record<string, { ack: number; sync: number; syncAck: number }> | null
}

export interface BucketListItem {
  id: string
  created: string
  globalAliases: string[]
  localAliases: { accessKeyId: string; alias: string }[]
}

export interface BucketInfo {
  id: string
  created: string
  globalAliases: string[]
  websiteAccess: boolean
  websiteConfig: { indexDocument: string; errorDocument: string | null } | null
  keys: {
    accessKeyId: string
    name: string
    permissions: BucketKeyPermissions
    bucketLocalAliases: string[]
  }[]
  objects: number
  bytes: number
  unfinishedUploads: number
  unfinishedMultipartUploads: number
  unfinishedMultipartUploadParts: number
  unfinishedMultipartUploadBytes: number
  quotas: BucketQuotas
}

export interface KeyListItem {
  id: string
  name: string
  created: string | null
  expiration: string | null
  expired: boolean
}

export interface KeyInfo {
  accessKeyId: string
  name: string
  created: string | null
  expiration: string | null
  expired: boolean
  /** Null unless it was asked for, or the key was just made. */
  secretAccessKey: string | null
  permissions: KeyPermissions
  buckets: {
    id: string
    globalAliases: string[]
    localAliases: string[]
    permissions: BucketKeyPermissions
  }[]
}

export interface ObjectVersionInfo {
  uuid: string
  timestamp: string
  encrypted: boolean
  uploading: boolean
  aborted: boolean
  deleteMarker: boolean
  inline: boolean
  size: number | null
  etag: string | null
  headers: [string, string][]
  blocks: { partNumber: number; offset: number; hash: string; size: number }[]
}

export interface ObjectInspection {
  bucketId: string
  key: string
  versions: ObjectVersionInfo[]
}

export type WorkerState = 'busy' | 'idle' | 'done' | { throttled: { durationSecs: number } }

export interface WorkerInfo {
  id: number
  name: string
  state: WorkerState
  errors: number
  consecutiveErrors: number
  lastError: { message: string; secsAgo: number } | null
  persistentErrors: number | null
  queueLength: number | null
  tranquility: number | null
  progress: string | null
  freeform: string[]
}

export interface BlockError {
  blockHash: string
  refcount: number
  errorCount: number
  lastTrySecsAgo: number
  nextTryInSecs: number
}

export type BlockBacklink =
  | { object: { bucketId: string; key: string } }
  | {
      upload: {
        uploadId: string
        uploadDeleted: boolean
        uploadGarbageCollected: boolean
        bucketId: string | null
        key: string | null
      }
    }

export interface BlockInfo {
  blockHash: string
  refcount: number
  versions: {
    versionId: string
    refDeleted: boolean
    versionDeleted: boolean
    garbageCollected: boolean
    backlink: BlockBacklink | null
  }[]
}

/** Answers of several nodes, by node id. */
export interface MultiResponse<T> {
  success: Record<string, T>
  error: Record<string, string>
}
