import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import { S3Error } from '../errors.js'

/**
 * Refuses a write that would exceed the bucket's quotas. Counters do not include writes under way, so a
 * bucket can exceed its quota by the amount that is written at the same time.
 * @throws S3Error QuotaExceeded (AWS has no such code; Garage answers likewise)
 */
export async function checkQuota(
  model: Model,
  bucket: Bucket,
  added: { bytes: number; objects: number },
): Promise<void> {
  const { maxObjects, maxSize } = bucket.quotas
  if (maxObjects === undefined && maxSize === undefined) return
  const counts = await model.usage.of(bucket.id)
  if (maxObjects !== undefined && counts.objects + added.objects > maxObjects) {
    throw new S3Error('QuotaExceeded', `The bucket may hold ${maxObjects} objects at most.`)
  }
  if (maxSize !== undefined && counts.bytes + counts.uploadBytes + added.bytes > maxSize) {
    throw new S3Error('QuotaExceeded', `The bucket may hold ${maxSize} bytes at most.`)
  }
}
