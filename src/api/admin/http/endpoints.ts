import type { OperationName } from '../operation-schemas.js'

/** One endpoint of the admin API v2. */
export interface Endpoint {
  readonly method: 'GET' | 'POST'
  readonly operation: OperationName
  readonly tag: string
  readonly summary: string
  /** Arguments of the operation that stand in the query; the names of the optional ones end with "?". */
  readonly query?: readonly string[]
  /**
   * The request's body: an object with the other arguments, or a list that is the argument of that name. Absent: none.
   */
  readonly body?: 'object' | { readonly list: string }
}

const NODE = ['node']
const PAGE = ['offset?', 'limit?']

/** The endpoints below /v2/, by name, each with the operation behind it. */
export const ENDPOINTS = {
  GetClusterStatus: get('Cluster', 'status', 'All nodes: who is up, their roles, their space'),
  GetClusterHealth: get('Cluster', 'cluster.health', 'Whether quorums and all nodes answer'),
  GetClusterStatistics: get('Cluster', 'cluster.statistics', 'Room, buckets and objects of the cluster'),
  GetClusterProgress: get(
    'Cluster',
    'cluster.progress',
    'What all nodes have still to do, and how long it takes',
  ),
  GetClusterDiagnosis: get(
    'Cluster',
    'cluster.diagnose',
    'What is wrong, each with what helps; beyond Garage',
  ),
  ConnectClusterNodes: post('Cluster', 'node.connect', 'Connects to other nodes, given as id@host:port', {
    body: { list: 'nodes' },
  }),

  GetClusterLayout: get('Cluster layout', 'layout.get', 'The current layout and the staged changes'),
  GetClusterLayoutHistory: get('Cluster layout', 'layout.history', 'Layout versions, and how far nodes got'),
  UpdateClusterLayout: post('Cluster layout', 'layout.stage', 'Stages changes of roles and parameters', {
    body: 'object',
  }),
  PreviewClusterLayoutChanges: post('Cluster layout', 'layout.preview', 'What applying the changes would do'),
  PlanClusterLayout: post(
    'Cluster layout',
    'layout.plan',
    'What would bring the layout to these roles, and what moves; beyond Garage',
    { body: 'object' },
  ),
  ApplyClusterLayout: post('Cluster layout', 'layout.apply', 'Applies the staged changes', {
    body: 'object',
  }),
  RevertClusterLayout: post('Cluster layout', 'layout.revert', 'Discards the staged changes'),
  ClusterLayoutSkipDeadNodes: post(
    'Cluster layout',
    'layout.skipDeadNodes',
    'Lets a change of the layout go on without nodes that are gone for good',
    { body: 'object' },
  ),

  ListAdminTokens: get('Admin API token', 'adminToken.list', 'All tokens, without their secrets'),
  GetAdminTokenInfo: get('Admin API token', 'adminToken.info', 'One token, by its id or by a search', {
    query: ['id?', 'search?'],
  }),
  CreateAdminToken: post('Admin API token', 'adminToken.create', 'Makes a token, and tells its secret once', {
    body: 'object',
  }),
  UpdateAdminToken: post('Admin API token', 'adminToken.update', 'Changes name, scope or expiry of a token', {
    query: ['id'],
    body: 'object',
  }),
  DeleteAdminToken: post('Admin API token', 'adminToken.delete', 'Deletes a token for ever', {
    query: ['id'],
  }),

  ListKeys: get('Access key', 'key.list', 'All access keys', { query: PAGE }),
  ListKeysInfo: get('Access key', 'key.listInfo', 'All access keys, each with its buckets', { query: PAGE }),
  GetKeyInfo: get('Access key', 'key.info', 'One access key, by its id or by a search', {
    query: ['id?', 'search?', 'showSecretKey?'],
  }),
  CreateKey: post('Access key', 'key.create', 'Makes an access key', { body: 'object' }),
  ImportKey: post('Access key', 'key.import', 'Adds a key made elsewhere; the same key again is no error', {
    body: 'object',
  }),
  UpdateKey: post('Access key', 'key.update', 'Changes name, expiry or rights of a key', {
    query: ['id'],
    body: 'object',
  }),
  DeleteKey: post('Access key', 'key.delete', 'Deletes an access key for ever', { query: ['id'] }),

  ListBuckets: get('Bucket', 'bucket.list', 'All buckets with their names', { query: PAGE }),
  ListBucketsInfo: get('Bucket', 'bucket.listInfo', 'All buckets with everything about each', {
    query: PAGE,
  }),
  GetBucketInfo: get('Bucket', 'bucket.info', 'One bucket, by its id, a global name, or a search', {
    query: ['id?', 'globalAlias?', 'search?'],
  }),
  CreateBucket: post('Bucket', 'bucket.create', 'Makes a bucket; with an id of your own it may be repeated', {
    body: 'object',
  }),
  UpdateBucket: post('Bucket', 'bucket.update', 'Changes web site, quotas, CORS and lifecycle of a bucket', {
    query: ['id'],
    body: 'object',
  }),
  GetBucketSettings: get('Bucket', 'bucket.settings', "A bucket's settings beyond Garage's", {
    query: ['id'],
  }),
  UpdateBucketSettings: post(
    'Bucket',
    'bucket.updateSettings',
    'Changes versioning, object lock, policy, public access, ownership, encryption, notifications, tags of a bucket, and whether it is relaxed',
    { query: ['id'], body: 'object' },
  ),
  DropBucketMarkers: post(
    'Bucket',
    'bucket.dropMarkers',
    'Removes the delete markers that a shadow has left in a bucket without versions, a part at a time',
    { query: ['id'], body: 'object' },
  ),
  DeleteBucket: post('Bucket', 'bucket.delete', 'Deletes an empty bucket for ever', { query: ['id'] }),
  CleanupIncompleteUploads: post(
    'Bucket',
    'bucket.cleanupIncompleteUploads',
    'Ends multipart uploads that are older than that',
    { body: 'object' },
  ),
  InspectObject: get('Bucket', 'bucket.inspectObject', 'Everything stored under a key, with its blocks', {
    query: ['bucketId', 'key'],
  }),
  AddBucketAlias: post('Bucket alias', 'bucket.addAlias', 'Gives a bucket one more name', { body: 'object' }),
  RemoveBucketAlias: post('Bucket alias', 'bucket.removeAlias', 'Takes a name away', { body: 'object' }),
  AllowBucketKey: post('Permission', 'bucket.allowKey', 'Gives a key permissions in a bucket', {
    body: 'object',
  }),
  DenyBucketKey: post('Permission', 'bucket.denyKey', 'Takes permissions away', { body: 'object' }),

  GetNodeInfo: get('Node', 'node.info', 'Version, features and addresses of nodes', { query: NODE }),
  GetNodeStatistics: get('Node', 'node.statistics', 'Tables, queues and blocks of nodes', { query: NODE }),
  GetNodeProgress: get('Node', 'node.progress', 'What nodes have still to do', { query: NODE }),
  GetNodeDiagnostics: get(
    'Node',
    'node.diagnose',
    'What nodes say of themselves and their machines; beyond Garage',
    {
      query: NODE,
    },
  ),
  GetNodeFigures: get(
    'Node',
    'node.figures',
    'Requests, memory and queues of nodes, as data; beyond Garage',
    {
      query: NODE,
    },
  ),
  CreateMetadataSnapshot: post('Node', 'meta.snapshot', 'Writes a snapshot of the metadata', { query: NODE }),
  LaunchRepairOperation: post('Node', 'repair.launch', 'Starts a repair', { query: NODE, body: 'object' }),

  ListWorkers: post('Worker', 'worker.list', 'Background workers', { query: NODE, body: 'object' }),
  GetWorkerInfo: post('Worker', 'worker.info', 'One background worker', { query: NODE, body: 'object' }),
  GetWorkerVariable: post('Worker', 'worker.getVariable', 'Settings that can be changed while a node runs', {
    query: NODE,
    body: 'object',
  }),
  SetWorkerVariable: post('Worker', 'worker.setVariable', 'Changes such a setting', {
    query: NODE,
    body: 'object',
  }),

  ListBlockErrors: get('Block', 'block.listErrors', 'Blocks that could not be fetched', { query: NODE }),
  GetBlockInfo: post('Block', 'block.info', 'A block and what refers to it', { query: NODE, body: 'object' }),
  RetryBlockResync: post('Block', 'block.retryResync', 'Tries to fetch blocks now', {
    query: NODE,
    body: 'object',
  }),
  PurgeBlocks: post('Block', 'block.purge', 'Gives lost blocks up, with the objects that need them', {
    query: NODE,
    body: { list: 'blockHashes' },
  }),
} as const satisfies Record<string, Endpoint>

export type EndpointName = keyof typeof ENDPOINTS

/** The names that scopes of tokens are made of: all endpoints that ask for a token. */
export type ScopeName = EndpointName | 'GetCurrentAdminTokenInfo' | 'Metrics'

/** Whether a scope with that name allows anything. */
export function isScopeName(name: string): name is ScopeName {
  return Object.hasOwn(ENDPOINTS, name) || name === 'GetCurrentAdminTokenInfo' || name === 'Metrics'
}

type Rest = Pick<Endpoint, 'query' | 'body'>

function get<O extends OperationName>(tag: string, operation: O, summary: string, rest: Rest = {}) {
  return { method: 'GET', operation, tag, summary, ...rest } as const
}

function post<O extends OperationName>(tag: string, operation: O, summary: string, rest: Rest = {}) {
  return { method: 'POST', operation, tag, summary, ...rest } as const
}
