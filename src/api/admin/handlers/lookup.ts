import type { AccessKey } from '../../../model/buckets/access-keys.js'
import type { AdminToken } from '../../../model/buckets/admin-tokens.js'
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import type { NodeId } from '../../../net/transport.js'
import { CarportError } from '../../../util/errors.js'
import type { AdminTokenQuery, BucketQuery, KeyQuery, ListPage } from '../operation-schemas.js'
import type { AdminContext } from './context.js'
import { UnknownThing } from './lookup-error.js'

// Rows are read from a majority before they are changed or shown: administration is rare, and each change is
// computed from the row as it is.

/** The bucket with that id. @throws CarportError NotFound */
export async function bucketById(model: Model, hexId: string): Promise<Bucket> {
  const bucket = await model.buckets.refresh(Buffer.from(hexId, 'hex'))
  if (!bucket) throw new UnknownThing('Bucket', `no bucket ${hexId}: "carport bucket list" shows the buckets`)
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
    const matching: Bucket[] = []
    const start = Buffer.from(prefix.slice(0, prefix.length & ~1), 'hex')
    for await (const bucket of model.buckets.walk(start)) {
      if (bucket.hexId.startsWith(prefix)) matching.push(bucket)
      else if (bucket.hexId > prefix) break
    }
    if (matching.length > 1) {
      throw new CarportError(
        'InvalidArgument',
        `${matching.length} buckets' ids start with "${name}": give more digits`,
      )
    }
    if (matching[0]) return bucketById(model, matching[0].hexId)
    if (prefix.length === 32) return bucketById(model, prefix)
  }
  throw new UnknownThing('Bucket', `no bucket "${name}": "carport bucket list" shows the buckets`)
}

/** The key with that id. @throws CarportError NotFound */
export async function keyById(model: Model, id: string): Promise<AccessKey> {
  const key = await model.keys.refresh(id)
  if (!key) throw new UnknownThing('AccessKey', `no access key ${id}: "carport key list" shows the keys`)
  return key
}

/** @throws CarportError NotFound; InvalidArgument for a name or prefix of several keys */
export async function findKey(model: Model, query: KeyQuery): Promise<AccessKey> {
  if ('id' in query) return keyById(model, query.id)
  const pattern = query.search
  const exact = await model.keys.get(pattern)
  if (exact) return keyById(model, exact.id)
  const { matching, byName } = await matches(model.keys.walk(), pattern)
  if (matching.length > 1) {
    const what = byName ? 'are named' : 'have ids that start with'
    throw new CarportError(
      'InvalidArgument',
      `${matching.length} access keys ${what} "${pattern}": give more of the id`,
    )
  }
  if (matching[0]) return keyById(model, matching[0].id)
  throw new UnknownThing('AccessKey', `no access key "${pattern}": "carport key list" shows the keys`)
}

/** Those of that name; or else those whose ids begin with it. */
async function matches<T extends { id: string; name: string }>(
  all: AsyncIterable<T>,
  pattern: string,
): Promise<{ matching: T[]; byName: boolean }> {
  const named: T[] = []
  const begun: T[] = []
  for await (const each of all) {
    if (each.name === pattern) named.push(each)
    if (each.id.startsWith(pattern)) begun.push(each)
  }
  return named.length > 0 ? { matching: named, byName: true } : { matching: begun, byName: false }
}

/** RFC 3339, UTC. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

/** The token with that id. @throws CarportError NotFound */
export async function tokenById(model: Model, id: string): Promise<AdminToken> {
  const token = await model.adminTokens.refresh(id)
  if (!token) throw new UnknownThing('AdminToken', `no admin token ${id}`)
  return token
}

/** @throws CarportError NotFound; InvalidArgument for a name or prefix of several tokens */
export async function findToken(model: Model, query: AdminTokenQuery): Promise<AdminToken> {
  if ('id' in query) return tokenById(model, query.id)
  const pattern = query.search
  const { matching } = await matches(model.adminTokens.walk(), pattern)
  if (matching.length > 1) {
    throw new CarportError(
      'InvalidArgument',
      `${matching.length} admin tokens match "${pattern}": give the id`,
    )
  }
  if (matching[0]) return tokenById(model, matching[0].id)
  throw new UnknownThing('AdminToken', `no admin token "${pattern}"`)
}

/**
 * The node whose id that is, or begins so. A full id is taken as it is: a node may get a role before it was ever seen.
 * @throws CarportError NotFound; InvalidArgument for the first digits of several nodes
 */
export function nodeIdOf({ cluster }: Pick<AdminContext, 'cluster'>, id: string): NodeId {
  if (id.length === 64) return id
  const matching = cluster.status().filter((node) => node.id.startsWith(id))
  if (matching.length > 1) {
    throw new CarportError(
      'InvalidArgument',
      `${matching.length} nodes' ids start with ${id}: give more digits`,
    )
  }
  if (matching[0]) return matching[0].id
  throw new UnknownThing('Node', `no node ${id}: "carport status" shows the nodes that are known`)
}

/** At most `limit` of the items of a walk. */
export async function pageOf<T>(walk: AsyncIterable<T>, { limit }: ListPage): Promise<T[]> {
  const items: T[] = []
  if (limit === 0) return items
  for await (const item of walk) {
    items.push(item)
    if (items.length === limit) break
  }
  return items
}
