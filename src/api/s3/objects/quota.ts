import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import { S3Error } from '../errors.js'

/**
 * Refuses a write that would exceed the bucket's quotas. Bytes are those of all versions and of the parts of uploads in
 * progress; objects are all versions, delete markers too. Deletions are never refused. Counters do not include writes
 * under way, so a bucket can exceed its quota by the amount that is written at the same time.
 * @param added what the write adds; `uploads`: an upload that is begun is refused where those in progress, once they are
 *   completed, use up the quota
 * @throws S3Error QuotaExceeded (AWS has no such code; Garage answers likewise)
 */
export async function checkQuota(
  model: Model,
  bucket: Bucket,
  added: { bytes: number; objects: number; uploads?: number },
): Promise<void> {
  const { maxObjects, maxSize } = bucket.quotas
  if (maxObjects === undefined && maxSize === undefined) return
  const counts = await model.usage.of(bucket.id)
  const versions = counts.objects + counts.noncurrent + counts.markers
  const uploads = added.uploads === undefined ? 0 : counts.uploads + added.uploads
  if (maxObjects !== undefined && versions + added.objects + uploads > maxObjects) {
    throw new S3Error('QuotaExceeded', `The bucket may hold ${maxObjects} objects at most.`)
  }
  if (maxSize !== undefined && counts.bytes + counts.uploadBytes + added.bytes > maxSize) {
    throw new S3Error('QuotaExceeded', `The bucket may hold ${maxSize} bytes at most.`)
  }
}
