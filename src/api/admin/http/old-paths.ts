/**
 * The paths of the admin API v1 and v0 that Garage 2 still serves: those whose requests and answers are the same in v2.
 * All others answer 400, as in Garage, and name their successor.
 */
import type { Query } from '../../http/query.js'
import type { EndpointName } from './endpoints.js'
import { AdminError } from './errors.js'

interface OldEndpoint {
  readonly name: EndpointName
  /** Query parameters that became fields of the body, by their old names. */
  readonly bodyOf?: Readonly<Record<string, string>>
}

const GLOBAL_ALIAS = { id: 'bucketId', alias: 'globalAlias' }
const LOCAL_ALIAS = { id: 'bucketId', accessKeyId: 'accessKeyId', alias: 'localAlias' }

/** By method and path; "?" after the path stands for a query that names one thing. */
const V1: Readonly<Record<string, OldEndpoint | { readonly gone: EndpointName }>> = {
  'GET /status': { gone: 'GetClusterStatus' },
  'GET /health': { name: 'GetClusterHealth' },
  'POST /connect': { name: 'ConnectClusterNodes' },
  'GET /layout': { name: 'GetClusterLayout' },
  'POST /layout': { gone: 'UpdateClusterLayout' },
  'POST /layout/apply': { name: 'ApplyClusterLayout' },
  'POST /layout/revert': { name: 'RevertClusterLayout' },
  'GET /key': { name: 'ListKeys' },
  'GET /key?': { name: 'GetKeyInfo' },
  'POST /key': { name: 'CreateKey' },
  'POST /key?': { name: 'UpdateKey' },
  'POST /key/import': { name: 'ImportKey' },
  'DELETE /key?': { gone: 'DeleteKey' },
  'GET /bucket': { name: 'ListBuckets' },
  'GET /bucket?': { name: 'GetBucketInfo' },
  'POST /bucket': { name: 'CreateBucket' },
  'PUT /bucket?': { name: 'UpdateBucket' },
  'DELETE /bucket?': { gone: 'DeleteBucket' },
  'POST /bucket/allow': { name: 'AllowBucketKey' },
  'POST /bucket/deny': { name: 'DenyBucketKey' },
  'PUT /bucket/alias/global?': { name: 'AddBucketAlias', bodyOf: GLOBAL_ALIAS },
  'DELETE /bucket/alias/global?': { name: 'RemoveBucketAlias', bodyOf: GLOBAL_ALIAS },
  'PUT /bucket/alias/local?': { name: 'AddBucketAlias', bodyOf: LOCAL_ALIAS },
  'DELETE /bucket/alias/local?': { name: 'RemoveBucketAlias', bodyOf: LOCAL_ALIAS },
}

/** Paths of v0 whose answers changed in v1 already. */
const V0_GONE: ReadonlySet<string> = new Set([
  'GET /status',
  'GET /health',
  'GET /layout',
  'POST /layout',
  'POST /layout/apply',
  'POST /key?',
  'POST /key/import',
])

export interface OldRoute {
  readonly name: EndpointName
  /** Fields that v2 has in the body; undefined where the request has a body of its own. */
  readonly body: Record<string, string> | undefined
  /** Query parameters beside those of the request. */
  readonly query: Readonly<Record<string, string>>
}

/**
 * The endpoint that an old path means; undefined if there is no such path.
 * @throws AdminError 400 if it is served no more
 */
export function oldRoute(method: string, path: string, query: Query): OldRoute | undefined {
  const version = path.startsWith('/v1/') ? 1 : path.startsWith('/v0/') ? 0 : undefined
  if (version === undefined) return undefined
  const names = query.has('id') || query.has('search') || query.has('globalAlias')
  const key = `${method} ${path.slice(3)}${names ? '?' : ''}`
  if (!Object.hasOwn(V1, key)) return undefined
  const found = V1[key]!
  if ('gone' in found || (version === 0 && V0_GONE.has(key))) {
    const successor = 'gone' in found ? found.gone : found.name
    throw new AdminError(
      400,
      'InvalidRequest',
      `v${version}/ endpoint is no longer supported: use /v2/${successor}`,
    )
  }
  const { name, bodyOf } = found
  return {
    name,
    body: bodyOf && bodyFrom(query, bodyOf),
    // v0 always told the secret.
    query: version === 0 && name === 'GetKeyInfo' ? { showSecretKey: 'true' } : {},
  }
}

function bodyFrom(query: Query, names: Readonly<Record<string, string>>): Record<string, string> {
  const body: Record<string, string> = {}
  for (const [from, to] of Object.entries(names)) {
    const value = query.get(from)
    if (value !== undefined) body[to] = value
  }
  return body
}
