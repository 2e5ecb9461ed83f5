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
  throw new UnknownThing('AccessKey', `no access key "${pattern}": "carport key list" shows the keys`)
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
  const tokens = model.adminTokens.list()
  const named = tokens.filter(({ name }) => name === pattern)
  const matching = named.length > 0 ? named : tokens.filter(({ id }) => id.startsWith(pattern))
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

/** The part of a list that was asked for: from the id `offset` on, in the order of ids, which the list is in. */
export function pageOf<T>(items: readonly T[], idOf: (item: T) => string, { offset, limit }: ListPage): T[] {
  const from = offset === undefined ? 0 : items.findIndex((item) => idOf(item) >= offset)
  if (from < 0) return []
  return items.slice(from, limit === undefined ? undefined : from + limit)
}
