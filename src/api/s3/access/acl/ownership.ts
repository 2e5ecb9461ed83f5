import type { AccessKey } from '../../../../model/buckets/access-keys.js'
import type { Bucket } from '../../../../model/buckets/buckets.js'
import type { ObjectOwnership, PublicAccessBlock } from '../../../../model/buckets/documents.js'
import type { Model } from '../../../../model/model.js'

export const OBJECT_OWNERSHIPS: readonly ObjectOwnership[] = [
  'BucketOwnerEnforced',
  'BucketOwnerPreferred',
  'ObjectWriter',
]

/**
 * The bucket's setting. A bucket without one is treated as ObjectWriter: clients that send lists expect them
 * to count.
 */
export function objectOwnership(bucket: Bucket): ObjectOwnership {
  const set = bucket.document('ownership')?.objectOwnership
  return set ?? 'ObjectWriter'
}

const NOTHING_BLOCKED: PublicAccessBlock = {
  blockPublicAcls: false,
  ignorePublicAcls: false,
  blockPublicPolicy: false,
  restrictPublicBuckets: false,
}

/** The bucket's public access block; without one, nothing is blocked. */
export function publicAccessBlock(bucket: Bucket): PublicAccessBlock {
  return bucket.document('public-access-block') ?? NOTHING_BLOCKED
}

/** The key id of a bucket's owner: its maker, else the first key with the owner permission, else ''. */
export function bucketOwner(model: Model, bucket: Bucket): string {
  if (bucket.owner !== '') return bucket.owner
  const owns = (key: AccessKey) => key.permissions.get(bucket.hexId)?.owner === true
  return model.keys.index.keysOf(bucket.hexId).find(owns)?.id ?? ''
}

/**
 * Whether a key belongs to a bucket, which means that it has a permission there. Other keys are treated as
 * AWS treats other accounts.
 */
export function isMember(model: Model, bucket: Bucket, keyId: string): boolean {
  return model.keys.local(keyId)?.permissions.has(bucket.hexId) ?? false
}
