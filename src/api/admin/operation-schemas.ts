/**
 * The arguments of the administrative operations: each is checked by its schema, and its type is the schema's. This file is
 * loaded at a process's first administrative call, since zod costs an idle node memory; others import only its types.
 */
import { z } from 'zod'
import { CarportError } from '../../util/errors.js'
import { corsRule, lifecycleRule, routingRule } from './rule-schemas.js'
import { bucketSettingsUpdate } from './settings-schemas.js'

const noArgs = z.strictObject({})
/** A node's id, or a unique prefix of it. */
const nodeId = z
  .string()
  .regex(/^[0-9a-f]{4,64}$/, 'expected a node id, or at least its first 4 hexadecimal digits')
const bucketId = z.string().regex(/^[0-9a-f]{32}$/, 'expected a bucket id of 32 hexadecimal digits')
const accessKeyId = z.string().min(1).max(128)
const search = z.string().min(1).max(1024)
const alias = z.string().min(1).max(255)
const name = z.string().max(1024)
const bytes = z.int().nonnegative()
const time = z.iso.datetime({ offset: true })
/** Which nodes an operation runs on: 'self' (the one that was asked), '*' (all), or a node id or a unique prefix of one. */
const node = z.string().regex(/^(\*|self|[0-9a-f]{4,64})$/, "expected '*', 'self' or a node id")
/** A part of a list in the order of ids: from the id `offset` on, at most `limit` items. */
const page = {
  offset: z.string().max(128).exactOptional(),
  limit: z.int().nonnegative().max(1_000_000).exactOptional(),
}
const tokenId = z.string().regex(/^[0-9a-f]{24}$/, 'expected the id of an admin token, 24 hexadecimal digits')
/** What is absent or null stays as it is; a new token that says nothing of its scope may do nothing. */
const tokenUpdate = {
  name: name.nullable().exactOptional(),
  expiration: time.nullable().exactOptional(),
  neverExpires: z.boolean().exactOptional(),
  scope: z
    .array(z.string().regex(/^(\*|[A-Za-z0-9]{1,64})$/, 'expected the name of an endpoint, or "*"'))
    .max(100)
    .nullable()
    .exactOptional(),
}
/** A block's hash, or a unique prefix of it. */
const blockHash = z.string().regex(/^[0-9a-f]{4,64}$/, 'expected at least 4 hexadecimal digits')

/** Permissions to set; an absent one stays as it is. */
const bucketPermissions = z.strictObject({
  read: z.boolean().exactOptional(),
  write: z.boolean().exactOptional(),
  owner: z.boolean().exactOptional(),
})
const keyPermissions = z.strictObject({ createBucket: z.boolean().exactOptional() })
/** What is absent or null stays as it is. */
const keyUpdate = {
  name: name.nullable().exactOptional(),
  expiration: time.nullable().exactOptional(),
  neverExpires: z.boolean().exactOptional(),
  allow: keyPermissions.nullable().exactOptional(),
  deny: keyPermissions.nullable().exactOptional(),
}
const layoutParameters = z.strictObject({
  zoneRedundancy: z.union([z.literal('maximum'), z.strictObject({ atLeast: z.int().positive() })]),
})
/** A node's role. `capacity` is in bytes, null for a gateway. */
const assignedRole = z.strictObject({
  id: nodeId,
  zone: z.string().min(1).max(255),
  tags: z.array(z.string().max(255)).max(100),
  capacity: z.int().positive().nullable().exactOptional(),
})
/** A change of a node's role. `capacity` is in bytes, null for a gateway. */
const roleChange = z.union([z.strictObject({ id: nodeId, remove: z.literal(true) }), assignedRole])
const bucketAlias = z.union([
  z.strictObject({ bucketId, globalAlias: alias }),
  z.strictObject({ bucketId, accessKeyId, localAlias: alias }),
])
/** Only permissions that are true are changed. */
const permissionChange = z.strictObject({ bucketId, accessKeyId, permissions: bucketPermissions })

/** A bucket by its full id, by a global alias, or by `search`: a global alias or a unique prefix of the id. */
const bucketQuery = z.union([
  z.strictObject({ id: bucketId }),
  z.strictObject({ globalAlias: alias }),
  z.strictObject({ search }),
])
const showSecretKey = z.boolean().exactOptional()
/** A key by its full id, or by `search`: a unique prefix of the id, or its name if that is unique. */
const keyQuery = z.union([
  z.strictObject({ id: accessKeyId, showSecretKey }),
  z.strictObject({ search, showSecretKey }),
])
/** What is absent or null stays as it is. */
const bucketUpdate = {
  websiteAccess: z
    .strictObject({
      enabled: z.boolean(),
      indexDocument: z.string().min(1).max(1024).nullable().exactOptional(),
      errorDocument: z.string().min(1).max(1024).nullable().exactOptional(),
      /** An empty list removes all. */
      routingRules: z.array(routingRule).max(1000).nullable().exactOptional(),
      /** "degraded": the site is read from any one replica. Beyond Garage. */
      consistencyMode: z.enum(['consistent', 'degraded']).nullable().exactOptional(),
    })
    .nullable()
    .exactOptional(),
  quotas: z
    .strictObject({
      maxSize: bytes.nullable().exactOptional(),
      maxObjects: bytes.nullable().exactOptional(),
    })
    .nullable()
    .exactOptional(),
  /** All rules of the bucket; an empty list removes them. */
  corsRules: z.array(corsRule).max(100).nullable().exactOptional(),
  lifecycleRules: z.array(lifecycleRule).max(1000).nullable().exactOptional(),
}
const repairType = z.union([
  z.enum([
    'tables',
    'blocks',
    'versions',
    'multipartUploads',
    'damagedRows',
    'blockRefs',
    'blockRc',
    'rebalance',
    'aliases',
    'clearResyncQueue',
    'trustCopies',
    'restoreAside',
  ]),
  z.strictObject({ scrub: z.enum(['start', 'pause', 'resume', 'cancel']) }),
])

/** The arguments that each operation accepts. */
export const operationSchemas = {
  status: noArgs,
  /** Each node as `<node id>@<host>:<port>`. */
  'node.connect': z.strictObject({ nodes: z.array(z.string().max(512)).min(1).max(1000) }),
  'node.info': z.strictObject({ node }),
  'node.statistics': z.strictObject({ node }),
  'node.progress': z.strictObject({ node }),
  /** What a node says of itself and its machine, for `cluster.diagnose`. Beyond Garage. */
  'node.diagnose': z.strictObject({ node }),
  /** Requests, memory and queues of nodes, for those who watch them. Beyond Garage. */
  'node.figures': z.strictObject({ node }),
  'cluster.health': noArgs,
  /** Looks for everything that is wrong with the cluster. Beyond Garage. */
  'cluster.diagnose': noArgs,
  'cluster.statistics': noArgs,
  'cluster.progress': noArgs,

  'layout.get': noArgs,
  'layout.show': noArgs,
  'layout.preview': noArgs,
  /** Adds to the staged changes; a node's last change counts. */
  'layout.stage': z.strictObject({
    roles: z.array(roleChange).max(10_000).exactOptional(),
    parameters: layoutParameters.nullable().exactOptional(),
  }),
  /** `version` must be one more than the current one. */
  /** `force` is beyond Garage: see checkFirstLayout. */
  'layout.apply': z.strictObject({ version: z.int().positive(), force: z.boolean().exactOptional() }),
  'layout.revert': noArgs,
  /** All roles as they shall be; nodes that are left out lose theirs. Beyond Garage. */
  'layout.plan': z.strictObject({
    roles: z.array(assignedRole).max(10_000),
    parameters: layoutParameters.nullable().exactOptional(),
  }),
  'layout.history': noArgs,
  'layout.skipDeadNodes': z.strictObject({ version: z.int().positive(), allowMissingData: z.boolean() }),

  'bucket.list': z.strictObject(page),
  'bucket.listInfo': z.strictObject(page),
  'bucket.info': bucketQuery,
  'bucket.create': z.strictObject({
    /** An id of one's own choice: if the bucket exists already under the given names, it is returned as it is. */
    id: bucketId.exactOptional(),
    globalAlias: alias.nullable().exactOptional(),
    localAlias: z
      .strictObject({ accessKeyId, alias, allow: bucketPermissions.exactOptional() })
      .nullable()
      .exactOptional(),
  }),
  /** The bucket must be empty. */
  'bucket.delete': z.strictObject({ id: bucketId }),
  'bucket.update': z.strictObject({ id: bucketId, ...bucketUpdate }),
  'bucket.settings': z.strictObject({ id: bucketId }),
  'bucket.updateSettings': z.strictObject({ id: bucketId, ...bucketSettingsUpdate }),
  /** Of a bucket that never had versions, and is no shadow any more; from that key on, in parts. */
  'bucket.dropMarkers': z.strictObject({ id: bucketId, start: z.string().max(2048).exactOptional() }),
  'bucket.addAlias': bucketAlias,
  'bucket.removeAlias': bucketAlias,
  'bucket.allowKey': permissionChange,
  'bucket.denyKey': permissionChange,
  'bucket.cleanupIncompleteUploads': z.strictObject({
    bucketId,
    olderThanSecs: z.number().nonnegative(),
  }),
  'bucket.inspectObject': z.strictObject({ bucketId, key: z.string().min(1).max(1024) }),

  'key.list': z.strictObject(page),
  'key.listInfo': z.strictObject(page),
  'key.info': keyQuery,
  'key.create': z.strictObject(keyUpdate),
  'key.import': z.strictObject({
    accessKeyId,
    secretAccessKey: z.string().min(1).max(256),
    name: name.nullable().exactOptional(),
  }),
  'key.update': z.strictObject({ id: accessKeyId, ...keyUpdate }),
  'key.delete': z.strictObject({ id: accessKeyId }),

  'adminToken.list': noArgs,
  /** A token by its full id, or by `search`: a unique prefix of the id, or its name if that is unique. */
  'adminToken.info': z.union([z.strictObject({ id: tokenId }), z.strictObject({ search })]),
  'adminToken.create': z.strictObject(tokenUpdate),
  'adminToken.update': z.strictObject({ id: tokenId, ...tokenUpdate }),
  'adminToken.delete': z.strictObject({ id: tokenId }),

  'worker.list': z.strictObject({
    node,
    busyOnly: z.boolean().exactOptional(),
    errorOnly: z.boolean().exactOptional(),
  }),
  'worker.info': z.strictObject({ node, id: z.int().nonnegative() }),
  'worker.getVariable': z.strictObject({ node, variable: z.string().max(255).nullable().exactOptional() }),
  'worker.setVariable': z.strictObject({
    node,
    variable: z.string().min(1).max(255),
    value: z.string().max(1024),
  }),

  'block.listErrors': z.strictObject({ node }),
  'block.info': z.strictObject({ node, blockHash }),
  'block.retryResync': z.union([
    z.strictObject({ node, all: z.literal(true) }),
    z.strictObject({ node, blockHashes: z.array(blockHash).min(1) }),
  ]),
  'block.purge': z.strictObject({ node, blockHashes: z.array(blockHash).min(1) }),

  'repair.launch': z.strictObject({ node, repairType }),
  'meta.snapshot': z.strictObject({ node }),
}

export type OperationName = keyof typeof operationSchemas
export type OperationArgs<N extends OperationName> = z.infer<(typeof operationSchemas)[N]>

export type NodeSelector = OperationArgs<'node.statistics'>
export type BucketQuery = z.infer<typeof bucketQuery>
export type KeyQuery = z.infer<typeof keyQuery>
export type BucketKeyPermissionChange = z.infer<typeof permissionChange>
export type BucketKeyPermissions = Required<z.infer<typeof bucketPermissions>>
export type BucketUpdate = Omit<OperationArgs<'bucket.update'>, 'id'>
export type ListPage = OperationArgs<'bucket.list'>
export type AdminTokenQuery = OperationArgs<'adminToken.info'>
export type AdminTokenUpdate = OperationArgs<'adminToken.create'>
export type KeyUpdate = OperationArgs<'key.create'>
export type LayoutParameters = z.infer<typeof layoutParameters>
export type ZoneRedundancy = LayoutParameters['zoneRedundancy']
export type NodeRoleChange = z.infer<typeof roleChange>
export type RepairType = z.infer<typeof repairType>
export type ScrubCommand = Extract<RepairType, object>['scrub']

/**
 * Checks an administrative call as it came in.
 * @throws CarportError InvalidArgument, naming the operation and the argument.
 */
export function checkOperation(
  operation: unknown,
  args: unknown,
): { [N in OperationName]: { operation: N; args: OperationArgs<N> } }[OperationName] {
  if (typeof operation !== 'string' || !Object.hasOwn(operationSchemas, operation)) {
    throw new CarportError('InvalidArgument', `unknown operation ${JSON.stringify(operation)}`)
  }
  const known = operation as OperationName
  const parsed = operationSchemas[known].safeParse(args ?? {})
  if (!parsed.success) {
    throw new CarportError('InvalidArgument', `${operation}: ${describe(parsed.error)}`)
  }
  return { operation: known, args: parsed.data } as ReturnType<typeof checkOperation>
}

function describe(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      const path = issue.path.join('.')
      return path === '' ? issue.message : `${path}: ${issue.message}`
    })
    .join('; ')
}
