import type {
  BlockError,
  BlockInfo,
  BucketInfo,
  BucketKeyPermissions,
  BucketListItem,
  BucketQuotas,
  ClusterLayout,
  ClusterStatus,
  ConnectNodeResult,
  KeyInfo,
  KeyListItem,
  KeyPermissions,
  LayoutHistory,
  LayoutParameters,
  LayoutPreview,
  MultiResponse,
  NodeRoleChange,
  ObjectInspection,
  RepairType,
  WorkerInfo,
} from './types.js'

/** The RPC method that serves administration: body {operation, args}, reply {result}. */
export const ADMIN_CALL_METHOD = 'admin/call'

export interface AdminCall {
  operation: string
  args: unknown
}

/** Which nodes an operation runs on: 'self' (the one that was asked), '*' (all), or a node id in full. */
export interface NodeSelector {
  node: string
}

/**
 * How a bucket is named: by full id, by global alias, or by `search`: a global alias or a unique prefix of the id.
 * Exactly one is given.
 */
export type BucketQuery = { id: string } | { globalAlias: string } | { search: string }

/** How a key is named: by full id, or by `search`: a unique prefix of the id, or its name if that is unique. */
export type KeyQuery = { id: string } | { search: string }

export type BucketAlias =
  | { bucketId: string; globalAlias: string }
  | { bucketId: string; accessKeyId: string; localAlias: string }

export interface BucketKeyPermissionChange {
  bucketId: string
  accessKeyId: string
  /** Only what is true is changed. */
  permissions: Partial<BucketKeyPermissions>
}

/** What is absent or null stays as it is. */
export interface KeyUpdate {
  name?: string | null
  /** RFC 3339. */
  expiration?: string | null
  neverExpires?: boolean
  allow?: Partial<KeyPermissions> | null
  deny?: Partial<KeyPermissions> | null
}

/** What is absent or null stays as it is. */
export interface BucketUpdate {
  websiteAccess?: { enabled: boolean; indexDocument?: string | null; errorDocument?: string | null } | null
  quotas?: BucketQuotas | null
}

/** An operation's arguments and result. */
interface Op<Args, Result> {
  args: Args
  result: Result
}

type NoArgs = Record<string, never>

/**
 * What the command line asks of a node. Each operation is one endpoint of the admin API (see ADMIN_ENDPOINTS);
 * handlers are a Record over these names.
 */
export interface AdminOperations {
  status: Op<NoArgs, ClusterStatus>
  /** Each node as `<node id>@<host>:<port>`; results in the same order. */
  'node.connect': Op<{ nodes: string[] }, ConnectNodeResult[]>
  'node.statistics': Op<NodeSelector, MultiResponse<{ freeform: string }>>
  'cluster.statistics': Op<NoArgs, { freeform: string }>

  'layout.get': Op<NoArgs, ClusterLayout>
  /** The layout with the staged changes and what they would give, as data and as lines to print. */
  'layout.show': Op<NoArgs, { layout: ClusterLayout; preview: LayoutPreview | null; text: string[] }>
  /** Adds to the staged changes; a node's last change counts. Returns the layout with them. */
  'layout.stage': Op<{ roles?: NodeRoleChange[]; parameters?: LayoutParameters | null }, ClusterLayout>
  /** `version` must be one more than the current one. */
  'layout.apply': Op<{ version: number }, { message: string[]; layout: ClusterLayout }>
  'layout.revert': Op<NoArgs, ClusterLayout>
  'layout.history': Op<NoArgs, LayoutHistory>
  'layout.skipDeadNodes': Op<
    { version: number; allowMissingData: boolean },
    { ackUpdated: string[]; syncUpdated: string[] }
  >

  'bucket.list': Op<NoArgs, BucketListItem[]>
  'bucket.info': Op<BucketQuery, BucketInfo>
  'bucket.create': Op<
    {
      globalAlias?: string | null
      localAlias?: { accessKeyId: string; alias: string; allow?: Partial<BucketKeyPermissions> } | null
    },
    BucketInfo
  >
  /** The bucket must be empty. */
  'bucket.delete': Op<{ id: string }, null>
  'bucket.update': Op<{ id: string } & BucketUpdate, BucketInfo>
  'bucket.addAlias': Op<BucketAlias, BucketInfo>
  'bucket.removeAlias': Op<BucketAlias, BucketInfo>
  'bucket.allowKey': Op<BucketKeyPermissionChange, BucketInfo>
  'bucket.denyKey': Op<BucketKeyPermissionChange, BucketInfo>
  'bucket.cleanupIncompleteUploads': Op<
    { bucketId: string; olderThanSecs: number },
    { uploadsDeleted: number }
  >
  'bucket.inspectObject': Op<{ bucketId: string; key: string }, ObjectInspection>

  'key.list': Op<NoArgs, KeyListItem[]>
  'key.info': Op<KeyQuery & { showSecretKey?: boolean }, KeyInfo>
  'key.create': Op<KeyUpdate, KeyInfo>
  'key.import': Op<{ accessKeyId: string; secretAccessKey: string; name?: string | null }, KeyInfo>
  'key.update': Op<{ id: string } & KeyUpdate, KeyInfo>
  'key.delete': Op<{ id: string }, null>

  'worker.list': Op<NodeSelector & { busyOnly?: boolean; errorOnly?: boolean }, MultiResponse<WorkerInfo[]>>
  'worker.info': Op<NodeSelector & { id: number }, MultiResponse<WorkerInfo>>
  'worker.getVariable': Op<NodeSelector & { variable?: string | null }, MultiResponse<Record<string, string>>>
  'worker.setVariable': Op<
    NodeSelector & { variable: string; value: string },
    MultiResponse<{ variable: string; value: string }>
  >

  'block.listErrors': Op<NodeSelector, MultiResponse<BlockError[]>>
  /** `blockHash` may be a unique prefix. */
  'block.info': Op<NodeSelector & { blockHash: string }, MultiResponse<BlockInfo>>
  'block.retryResync': Op<
    NodeSelector & ({ all: true } | { blockHashes: string[] }),
    MultiResponse<{ count: number }>
  >
  'block.purge': Op<
    NodeSelector & { blockHashes: string[] },
    MultiResponse<{
      blocksPurged: number
      blockRefsPurged: number
      versionsDeleted: number
      objectsDeleted: number
      uploadsDeleted: number
    }>
  >

  'repair.launch': Op<NodeSelector & { repairType: RepairType }, MultiResponse<null>>
  'meta.snapshot': Op<NodeSelector, MultiResponse<null>>
}

export type OperationName = keyof AdminOperations
export type OperationArgs<N extends OperationName> = AdminOperations[N]['args']
export type OperationResult<N extends OperationName> = AdminOperations[N]['result']

/** Handlers of all operations. A handler gets arguments that were checked against `operationSchemas`. */
export type AdminHandlers = {
  [N in OperationName]: (args: OperationArgs<N>) => Promise<OperationResult<N>>
}

/** The operation behind each endpoint of the admin API v2; `layout.show` has more than its endpoint returns. */
export const ADMIN_ENDPOINTS = {
  GetClusterStatus: 'status',
  ConnectClusterNodes: 'node.connect',
  GetNodeStatistics: 'node.statistics',
  GetClusterStatistics: 'cluster.statistics',
  GetClusterLayout: 'layout.get',
  PreviewClusterLayoutChanges: 'layout.show',
  UpdateClusterLayout: 'layout.stage',
  ApplyClusterLayout: 'layout.apply',
  RevertClusterLayout: 'layout.revert',
  GetClusterLayoutHistory: 'layout.history',
  ClusterLayoutSkipDeadNodes: 'layout.skipDeadNodes',
  ListBuckets: 'bucket.list',
  GetBucketInfo: 'bucket.info',
  CreateBucket: 'bucket.create',
  DeleteBucket: 'bucket.delete',
  UpdateBucket: 'bucket.update',
  AddBucketAlias: 'bucket.addAlias',
  RemoveBucketAlias: 'bucket.removeAlias',
  AllowBucketKey: 'bucket.allowKey',
  DenyBucketKey: 'bucket.denyKey',
  CleanupIncompleteUploads: 'bucket.cleanupIncompleteUploads',
  InspectObject: 'bucket.inspectObject',
  ListKeys: 'key.list',
  GetKeyInfo: 'key.info',
  CreateKey: 'key.create',
  ImportKey: 'key.import',
  UpdateKey: 'key.update',
  DeleteKey: 'key.delete',
  ListWorkers: 'worker.list',
  GetWorkerInfo: 'worker.info',
  GetWorkerVariable: 'worker.getVariable',
  SetWorkerVariable: 'worker.setVariable',
  ListBlockErrors: 'block.listErrors',
  GetBlockInfo: 'block.info',
  RetryBlockResync: 'block.retryResync',
  PurgeBlocks: 'block.purge',
  LaunchRepairOperation: 'repair.launch',
  CreateMetadataSnapshot: 'meta.snapshot',
} as const satisfies Record<string, OperationName>
