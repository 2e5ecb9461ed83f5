import type { Bucket } from '../../../model/buckets/buckets.js'
import { expiryOf } from '../../../model/lifecycle/rules.js'
import { agesFromMs, type Dated, type VersionRecord } from '../../../model/versions/record.js'
import { httpDateOf } from '../../http/date.js'
import { uriEncode } from '../../http/uri.js'

/**
 * The value of x-amz-expiration for a current version: the lifecycle rule that ends it, and when. Undefined
 * if none does.
 */
export function expirationHeader(
  bucket: Pick<Bucket, 'document'>,
  version: Pick<VersionRecord, 'key' | 'state' | 'size' | 'mutable'> & Dated,
): string | undefined {
  const rules = bucket.document('lifecycle')
  if (!rules || version.state !== 'object') return undefined
  const expiry = expiryOf(rules, {
    key: version.key.toString(),
    kind: 'object',
    size: version.size,
    tags: version.mutable.tags?.[1] ?? undefined,
    createdMs: agesFromMs(version),
  })
  return expiry && `expiry-date="${httpDateOf(expiry.atMs)}", rule-id="${uriEncode(expiry.ruleId)}"`
}
