import type { AccessKey } from '../../../model/buckets/access-keys.js'
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import { CarportError } from '../../../util/errors.js'
import type { BucketQuery, KeyQuery } from '../operation-schemas.js'

// Rows are read from a majority before they are changed or shown: administration is rare, and each change is
// computed from the row as it is.

/** The bucket with that id. @throws CarportError NotFound */
export async function bucketById(model: Model, hexId: string): Promise<Bucket> {
  const bucket = await model.buckets.refresh(Buffer.from(hexId, 'hex'))
  if (!bucket)
    throw new CarportError('NotFound', `no bucket ${hexId}: "carport bucket list" shows the buckets`)
  return bucket
}

/** @throws CarportError NotFound; InvalidArgument for a prefix of several ids */
export async function findBucket(model: Model, query: BucketQuery): Promise<Bucket> {
  if ('id' in query) return bucketById(model, query.id)
  const name = 'search' in query ? query.search : query.globalAlias
  const named = await model.buckets.byName(name, undefined)
  if (named) return bucketById(model, named.hexId)
  if ('search' in query && /^[0-9a-f]{1,32}$/i.test(name)) {
    const prefix = name.toLowerCase()
    const matching = model.buckets.list().filter(({ hexId }) => hexId.startsWith(prefix))
    if (matching.length > 1) {
      throw new CarportError(
        'InvalidArgument',
        `${matching.length} buckets' ids start with "${name}": give more digits`,
      )
    }
    if (matching[0]) return bucketById(model, matching[0].hexId)
    if (prefix.length === 32) return bucketById(model, prefix)
  }
  throw new CarportError('NotFound', `no bucket "${name}": "carport bucket list" shows the buckets`)
}

/** The key with that id. @throws CarportError NotFound */
export async function keyById(model: Model, id: string): Promise<AccessKey> {
  const key = await model.keys.refresh(id)
  if (!key) throw new CarportError('NotFound', `no access key ${id}: "carport key list" shows the keys`)
  return key
}

/** @throws CarportError NotFound; InvalidArgument for a name or prefix of several keys */
export async function findKey(model: Model, query: KeyQuery): Promise<AccessKey> {
  if ('id' in query) return keyById(model, query.id)
  const pattern = query.search
  const exact = await model.keys.get(pattern)
  if (exact) return keyById(model, exact.id)
  const keys = model.keys.list()
  const named = keys.filter(({ name }) => name === pattern)
  const matching = named.length > 0 ? named : keys.filter(({ id }) => id.startsWith(pattern))
  if (matching.length > 1) {
    const what = named.length > 0 ? 'are named' : 'have ids that start with'
    throw new CarportError(
      'InvalidArgument',
      `${matching.length} access keys ${what} "${pattern}": give more of the id`,
    )
  }
  if (matching[0]) return keyById(model, matching[0].id)
  throw new CarportError('NotFound', `no access key "${pattern}": "carport key list" shows the keys`)
}

/** RFC 3339, UTC. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
