import type { OperationArgs, OperationName } from './operation-schemas.js'
import type {
  BlockError,
  BlockInfo,
  BucketInfo,
  BucketListItem,
  ClusterLayout,
  ClusterStatus,
  ConnectNodeResult,
  KeyInfo,
  KeyListItem,
  LayoutHistory,
  LayoutPreview,
  MultiResponse,
  ObjectInspection,
  WorkerInfo,
} from './types.js'

/** The RPC method that serves administration: body {operation, args}, reply {result}. */
export const ADMIN_CALL_METHOD = 'admin/call'

export interface AdminCall {
  operation: string
  args: unknown
}

/**
 * The result of each operation. An operation is one endpoint of the admin API (see ADMIN_ENDPOINTS); its arguments are in
 * operation-schemas.ts.
 */
export interface OperationResults {
  status: ClusterStatus
  /** In the order of the nodes that were given. */
  'node.connect': ConnectNodeResult[]
  'node.statistics': MultiResponse<{ freeform: string }>
  'cluster.statistics': { freeform: string }

  'layout.get': ClusterLayout
  /** The layout with the staged changes and what they would give, as data and as lines to print. */
  'layout.show': { layout: ClusterLayout; preview: LayoutPreview | null; text: string[] }
  /** The layout with all staged changes. */
  'layout.stage': ClusterLayout
  'layout.apply': { message: string[]; layout: ClusterLayout }
  'layout.revert': ClusterLayout
  'layout.history': LayoutHistory
  'layout.skipDeadNodes': { ackUpdated: string[]; syncUpdated: string[] }

  'bucket.list': BucketListItem[]
  'bucket.info': BucketInfo
  'bucket.create': BucketInfo
  'bucket.delete': null
  'bucket.update': BucketInfo
  'bucket.addAlias': BucketInfo
  'bucket.removeAlias': BucketInfo
  'bucket.allowKey': BucketInfo
  'bucket.denyKey': BucketInfo
  'bucket.cleanupIncompleteUploads': { uploadsDeleted: number }
  'bucket.inspectObject': ObjectInspection

  'key.list': KeyListItem[]
  'key.info': KeyInfo
  'key.create': KeyInfo
  'key.import': KeyInfo
  'key.update': KeyInfo
  'key.delete': null

  'worker.list': MultiResponse<WorkerInfo[]>
  'worker.info': MultiResponse<WorkerInfo>
  'worker.getVariable': MultiResponse<Record<string, string>>
  'worker.setVariable': MultiResponse<{ variable: string; value: string }>

  'block.listErrors': MultiResponse<BlockError[]>
  'block.info': MultiResponse<BlockInfo>
  'block.retryResync': MultiResponse<{ count: number }>
  'block.purge': MultiResponse<{
    blocksPurged: number
    blockRefsPurged: number
    versionsDeleted: number
    objectsDeleted: number
    uploadsDeleted: number
  }>

  'repair.launch': MultiResponse<null>
  'meta.snapshot': MultiResponse<null>
}

export type OperationResult<N extends OperationName> = OperationResults[N]

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
