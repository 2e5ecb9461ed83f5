import { z } from 'zod'
import { CarportError } from '../../util/errors.js'
import type { OperationArgs, OperationName } from './operations.js'

// Loaded lazily, at a process's first administrative call: zod costs an idle node memory.

const noArgs = z.strictObject({})
const nodeId = z.string().regex(/^[0-9a-f]{64}$/, 'expected a node id of 64 hexadecimal digits')
const bucketId = z.string().regex(/^[0-9a-f]{32}$/, 'expected a bucket id of 32 hexadecimal digits')
const accessKeyId = z.string().min(1).max(128)
const search = z.string().min(1).max(1024)
const alias = z.string().min(1).max(255)
const name = z.string().max(1024)
const bytes = z.int().nonnegative()
const time = z.iso.datetime({ offset: true })
const node = z.string().regex(/^(\*|self|[0-9a-f]{64})$/, "expected '*', 'self' or a node id")
const blockHash = z.string().regex(/^[0-9a-f]{4,64}$/, 'expected at least 4 hexadecimal digits')

const bucketPermissions = z.strictObject({
  read: z.boolean().optional(),
  write: z.boolean().optional(),
  owner: z.boolean().optional(),
})
const keyPermissions = z.strictObject({ createBucket: z.boolean().optional() })
const keyUpdate = {
  name: name.nullish(),
  expiration: time.nullish(),
  neverExpires: z.boolean().optional(),
  allow: keyPermissions.nullish(),
  deny: keyPermissions.nullish(),
}
const layoutParameters = z.strictObject({
  zoneRedundancy: z.union([z.literal('maximum'), z.strictObject({ atLeast: z.int().positive() })]),
})
const roleChange = z.union([
  z.strictObject({ id: nodeId, remove: z.literal(true) }),
  z.strictObject({
    id: nodeId,
    zone: z.string().min(1).max(255),
    tags: z.array(z.string().max(255)).max(100),
    capacity: z.int().positive().nullable(),
  }),
])
const bucketAlias = z.union([
  z.strictObject({ bucketId, globalAlias: alias }),
  z.strictObject({ bucketId, accessKeyId, localAlias: alias }),
])
const permissionChange = z.strictObject({ bucketId, accessKeyId, permissions: bucketPermissions })

/** What each operation accepts. */
export const operationSchemas: { [N in OperationName]: z.ZodType<OperationArgs<N>> } = {
  status: noArgs,
  'node.connect': z.strictObject({ nodes: z.array(z.string().max(512)).min(1).max(1000) }),
  'node.statistics': z.strictObject({ node }),
  'cluster.statistics': noArgs,

  'layout.get': noArgs,
  'layout.show': noArgs,
  'layout.stage': z.strictObject({
    roles: z.array(roleChange).max(10_000).optional(),
    parameters: layoutParameters.nullish(),
  }),
  'layout.apply': z.strictObject({ version: z.int().positive() }),
  'layout.revert': noArgs,
  'layout.history': noArgs,
  'layout.skipDeadNodes': z.strictObject({ version: z.int().positive(), allowMissingData: z.boolean() }),

  'bucket.list': noArgs,
  'bucket.info': z.union([
    z.strictObject({ id: bucketId }),
    z.strictObject({ globalAlias: alias }),
    z.strictObject({ search }),
  ]),
  'bucket.create': z.strictObject({
    globalAlias: alias.nullish(),
    localAlias: z.strictObject({ accessKeyId, alias, allow: bucketPermissions.optional() }).nullish(),
  }),
  'bucket.delete': z.strictObject({ id: bucketId }),
  'bucket.update': z.strictObject({
    id: bucketId,
    websiteAccess: z
      .strictObject({
        enabled: z.boolean(),
        indexDocument: z.string().min(1).max(1024).nullish(),
        errorDocument: z.string().min(1).max(1024).nullish(),
      })
      .nullish(),
    quotas: z.strictObject({ maxSize: bytes.nullable(), maxObjects: bytes.nullable() }).nullish(),
  }),
  'bucket.addAlias': bucketAlias,
  'bucket.removeAlias': bucketAlias,
  'bucket.allowKey': permissionChange,
  'bucket.denyKey': permissionChange,
  'bucket.cleanupIncompleteUploads': z.strictObject({
    bucketId,
    olderThanSecs: z.number().nonnegative(),
  }),
  'bucket.inspectObject': z.strictObject({ bucketId, key: z.string().min(1).max(1024) }),

  'key.list': noArgs,
  'key.info': z.union([
    z.strictObject({ id: accessKeyId, showSecretKey: z.boolean().optional() }),
    z.strictObject({ search, showSecretKey: z.boolean().optional() }),
  ]),
  'key.create': z.strictObject(keyUpdate),
  'key.import': z.strictObject({
    accessKeyId,
    secretAccessKey: z.string().min(1).max(256),
    name: name.nullish(),
  }),
  'key.update': z.strictObject({ id: accessKeyId, ...keyUpdate }),
  'key.delete': z.strictObject({ id: accessKeyId }),

  'worker.list': z.strictObject({
    node,
    busyOnly: z.boolean().optional(),
    errorOnly: z.boolean().optional(),
  }),
  'worker.info': z.strictObject({ node, id: z.int().nonnegative() }),
  'worker.getVariable': z.strictObject({ node, variable: z.string().max(255).nullish() }),
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

  'repair.launch': z.strictObject({
    node,
    repairType: z.union([
      z.enum([
        'tables',
        'blocks',
        'versions',
        'multipartUploads',
        'blockRefs',
        'blockRc',
        'rebalance',
        'aliases',
      ]),
      z.strictObject({ scrub: z.enum(['start', 'pause', 'resume', 'cancel']) }),
    ]),
  }),
  'meta.snapshot': z.strictObject({ node }),
}

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
