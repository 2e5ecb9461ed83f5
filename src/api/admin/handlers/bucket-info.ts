import { type AccessKey, NO_PERMISSIONS } from '../../../model/buckets/access-keys.js'
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import type { BucketInfo } from '../types.js'
import { corsRulesJson, lifecycleRulesJson, routingRulesJson } from './bucket-rules.js'
import { isoTime } from './lookup.js'

/** The keys that have a permission in a bucket, or a name of their own for it, by id. */
function keysOf({ keys }: Model, bucket: Bucket): AccessKey[] {
  const found = new Map(keys.index.keysOf(bucket.hexId).map((key) => [key.id, key]))
  for (const { keyId } of bucket.localAliases) {
    const key = found.get(keyId) ?? keys.local(keyId)
    if (key) found.set(keyId, key)
  }
  return [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
}

/** Everything that administrators want to know of a bucket. @throws CarportError QuorumUnavailable */
export async function bucketInfo(model: Model, bucket: Bucket): Promise<BucketInfo> {
  const counts = await model.usage.of(bucket.id)
  const website = bucket.document('website')
  const cors = bucket.document('cors')
  const lifecycle = bucket.document('lifecycle')
  const localAliases = (keyId: string) =>
    bucket.localAliases.filter((local) => local.keyId === keyId).map(({ alias }) => alias)
  return {
    id: bucket.hexId,
    created: isoTime(bucket.createdMs),
    globalAliases: [...bucket.aliases],
    websiteAccess: website !== undefined,
    websiteConfig: website
      ? {
          indexDocument: website.indexDocument,
          errorDocument: website.errorDocument ?? null,
          consistencyMode: website.consistencyMode ?? 'consistent',
          routingRules: website.routingRules ? routingRulesJson(website.routingRules) : null,
        }
      : null,
    corsRules: cors ? corsRulesJson(cors) : null,
    lifecycleRules: lifecycle ? lifecycleRulesJson(lifecycle) : null,
    keys: keysOf(model, bucket)
      .map((key) => ({
        accessKeyId: key.id,
        name: key.name,
        permissions: { ...(key.permissions.get(bucket.hexId) ?? NO_PERMISSIONS) },
        bucketLocalAliases: localAliases(key.id),
      }))
      .filter(({ permissions: { read, write, owner }, bucketLocalAliases }) => {
        return read || write || owner || bucketLocalAliases.length > 0
      }),
    objects: counts.objects,
    bytes: counts.bytes,
    unfinishedUploads: counts.uploads,
    unfinishedMultipartUploads: counts.uploads,
    unfinishedMultipartUploadParts: counts.parts,
    unfinishedMultipartUploadBytes: counts.uploadBytes,
    quotas: { maxSize: bucket.quotas.maxSize ?? null, maxObjects: bucket.quotas.maxObjects ?? null },
    versioning: bucket.versioning,
    objectLock: bucket.objectLock,
  }
}
