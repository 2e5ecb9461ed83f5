/**
 * The results of the administrative operations, shaped and named as in Garage's admin API v2, so that the HTTP API
 * returns them unchanged. Ids are hexadecimal, times are RFC 3339 in UTC, sizes are bytes; absent values are null.
 *
 * Results are made here and not checked again: a node loads this file only to describe its API (see http/openapi.ts). The
 * types of results are those of these schemas (see types.ts).
 */
import { z } from 'zod'
import { clusterResults } from './result-schemas-cluster.js'
import { diagnosisResults } from './result-schemas-diagnosis.js'
import { nodeResults } from './result-schemas-nodes.js'
import { corsRule, lifecycleRule, routingRule } from './rule-schemas.js'
import { bucketSettings } from './settings-schemas.js'

const count = z.int().nonnegative()
const time = z.iso.datetime()

export const bucketKeyPermissions = z.object({ read: z.boolean(), write: z.boolean(), owner: z.boolean() })

export const bucketListItem = z.object({
  id: z.string(),
  created: time,
  globalAliases: z.array(z.string()),
  localAliases: z.array(z.object({ accessKeyId: z.string(), alias: z.string() })),
})

export const bucketInfo = z.object({
  id: z.string(),
  created: time,
  globalAliases: z.array(z.string()),
  websiteAccess: z.boolean(),
  websiteConfig: z
    .object({
      indexDocument: z.string(),
      errorDocument: z.string().nullable(),
      consistencyMode: z.enum(['consistent', 'degraded']),
      routingRules: z.array(routingRule).nullable(),
    })
    .nullable(),
  corsRules: z.array(corsRule).nullable(),
  lifecycleRules: z.array(lifecycleRule).nullable(),
  keys: z.array(
    z.object({
      accessKeyId: z.string(),
      name: z.string(),
      permissions: bucketKeyPermissions,
      bucketLocalAliases: z.array(z.string()),
    }),
  ),
  objects: count,
  bytes: count,
  unfinishedUploads: count,
  unfinishedMultipartUploads: count,
  unfinishedMultipartUploadParts: count,
  unfinishedMultipartUploadBytes: count,
  quotas: z.object({ maxSize: count.nullable(), maxObjects: count.nullable() }),
  /** Beyond Garage's fields. */
  versioning: z.enum(['off', 'enabled', 'suspended']),
  objectLock: z.boolean(),
})

export const keyListItem = z.object({
  id: z.string(),
  name: z.string(),
  created: time.nullable(),
  expiration: time.nullable(),
  expired: z.boolean(),
})

export const keyInfo = z.object({
  accessKeyId: z.string(),
  name: z.string(),
  created: time.nullable(),
  expiration: time.nullable(),
  expired: z.boolean(),
  /** Null unless it was asked for, or the key was just made. */
  secretAccessKey: z.string().nullable(),
  permissions: z.object({ createBucket: z.boolean() }),
  buckets: z.array(
    z.object({
      id: z.string(),
      globalAliases: z.array(z.string()),
      localAliases: z.array(z.string()),
      permissions: bucketKeyPermissions,
    }),
  ),
})

export const adminTokenInfo = z.object({
  /** Null for the tokens of the configuration. */
  id: z.string().nullable(),
  name: z.string(),
  created: time.nullable(),
  expiration: time.nullable(),
  expired: z.boolean(),
  /** Names of endpoints; "*" stands for all. */
  scope: z.array(z.string()),
})

export const objectVersionInfo = z.object({
  uuid: z.string(),
  timestamp: time,
  encrypted: z.boolean(),
  uploading: z.boolean(),
  aborted: z.boolean(),
  deleteMarker: z.boolean(),
  inline: z.boolean(),
  size: count.nullable(),
  etag: z.string().nullable(),
  headers: z.array(z.tuple([z.string(), z.string()])),
  blocks: z.array(z.object({ partNumber: count, offset: count, hash: z.string(), size: count })),
})

export const objectInspection = z.object({
  bucketId: z.string(),
  key: z.string(),
  versions: z.array(objectVersionInfo),
})

/** The result of each operation. */
export const resultSchemas = {
  ...clusterResults,
  ...nodeResults,
  ...diagnosisResults,

  'bucket.list': z.array(bucketListItem),
  'bucket.listInfo': z.array(bucketInfo),
  'bucket.info': bucketInfo,
  'bucket.create': bucketInfo,
  'bucket.delete': z.null(),
  'bucket.update': bucketInfo,
  'bucket.settings': bucketSettings,
  'bucket.updateSettings': bucketSettings,
  'bucket.dropMarkers': z.object({ dropped: count, next: z.string().nullable() }),
  'bucket.addAlias': bucketInfo,
  'bucket.removeAlias': bucketInfo,
  'bucket.allowKey': bucketInfo,
  'bucket.denyKey': bucketInfo,
  'bucket.cleanupIncompleteUploads': z.object({ uploadsDeleted: count }),
  'bucket.inspectObject': objectInspection,

  'key.list': z.array(keyListItem),
  'key.listInfo': z.array(keyInfo),
  'key.info': keyInfo,
  'key.create': keyInfo,
  'key.import': keyInfo,
  'key.update': keyInfo,
  'key.delete': z.null(),

  'adminToken.list': z.array(adminTokenInfo),
  'adminToken.info': adminTokenInfo,
  'adminToken.create': adminTokenInfo.extend({ secretToken: z.string() }),
  'adminToken.update': adminTokenInfo,
  'adminToken.delete': z.null(),
}
