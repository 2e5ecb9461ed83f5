import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import { type Awaitable, whenReady } from '../../../util/awaitable.js'
import { S3Error } from '../errors.js'

/**
 * The bucket of a request that was authorized some time ago, as it is now that its content is there: versions and locks may have
 * been turned on meanwhile, and then protect what the write would replace. To be asked for right before the write.
 * @param name what the client calls it
 * @throws S3Error NoSuchBucket if it was deleted; CarportError QuorumUnavailable, LayoutNotReady
 */
export function bucketNow(
  { buckets }: Pick<Model, 'buckets'>,
  { id }: Pick<Bucket, 'id'>,
  name?: string,
): Awaitable<Bucket> {
  return whenReady(buckets.now(id), (bucket) => {
    if (bucket) return bucket
    throw new S3Error('NoSuchBucket', undefined, { extra: { BucketName: name } })
  })
}
