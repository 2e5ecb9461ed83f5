import type { Bucket } from '../../../model/buckets/buckets.js'
import type { BucketDocuments, WebsiteDocument } from '../../../model/buckets/documents.js'
import { CarportError } from '../../../util/errors.js'
import type { BucketUpdate } from '../operation-schemas.js'
import { parseCorsRules, parseLifecycleRules, parseRoutingRules } from './bucket-rules.js'
import type { AdminContext } from './context.js'

/** The documents that an update changes; undefined removes one. */
type DocumentChanges = {
  [N in 'cors' | 'lifecycle' | 'quotas' | 'website']?: BucketDocuments[N] | undefined
}

/**
 * Changes the documents of a bucket that the update names. All of it is checked before anything is written.
 * @throws CarportError InvalidArgument, NotFound, QuorumUnavailable
 */
export async function applyUpdate(
  { model, random }: AdminContext,
  bucket: Bucket,
  { websiteAccess, quotas, corsRules, lifecycleRules }: BucketUpdate,
): Promise<void> {
  const changes: DocumentChanges = {}
  if (websiteAccess) changes.website = await websiteOf(bucket, websiteAccess)
  if (quotas) {
    const { maxSize, maxObjects } = quotas
    const value = {
      ...(typeof maxSize === 'number' && { maxSize }),
      ...(typeof maxObjects === 'number' && { maxObjects }),
    }
    changes.quotas = Object.keys(value).length > 0 ? value : undefined
  }
  if (corsRules) changes.cors = await parseCorsRules(corsRules)
  if (lifecycleRules) changes.lifecycle = await parseLifecycleRules(lifecycleRules, random, bucket)
  const fields = Object.entries(changes).map(([name, value]) => [`doc:${name}`, value ?? null])
  if (fields.length > 0) await model.buckets.change(bucket, Object.fromEntries(fields))
}

async function websiteOf(
  bucket: Bucket,
  {
    enabled,
    indexDocument,
    errorDocument,
    routingRules,
    consistencyMode,
  }: NonNullable<BucketUpdate['websiteAccess']>,
): Promise<WebsiteDocument | undefined> {
  if (!enabled) {
    if (!indexDocument && !errorDocument && !routingRules?.length) return undefined
    throw new CarportError(
      'InvalidArgument',
      'websiteAccess has documents and routing rules only when it is enabled',
    )
  }
  if (!indexDocument) {
    throw new CarportError(
      'InvalidArgument',
      'websiteAccess.indexDocument is needed to enable website access',
    )
  }
  const before = bucket.document('website')
  const rules = routingRules ? await parseRoutingRules(routingRules) : before?.routingRules
  const mode = consistencyMode ?? before?.consistencyMode
  const kept = { ...before }
  for (const name of ['errorDocument', 'redirectAllRequestsTo', 'routingRules', 'consistencyMode'] as const) {
    delete kept[name]
  }
  return {
    ...kept,
    indexDocument,
    ...(mode === 'degraded' && { consistencyMode: mode }),
    ...(errorDocument && { errorDocument }),
    ...(rules && rules.length > 0 && { routingRules: rules }),
  }
}
