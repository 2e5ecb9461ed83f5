import { ENDPOINTS, type Endpoint } from '../../api/admin/http/endpoints.js'
import { nearestName } from '../../config/suggest.js'
import { type AdminClient, type Output, UsageError } from '../admin-client.js'
import type { CliIo } from '../io.js'

/** Endpoints that have no operation behind them. */
const HTTP_ONLY = ['GetCurrentAdminTokenInfo', 'Health', 'CheckDomain', 'Metrics', 'Options']

/**
 * `json-api`: the endpoint of the admin API with that payload, over RPC. The payload has the parameters of the query and
 * the fields of the body, side by side or, as Garage wants them, the body's in `body`.
 * @param payload JSON, "-" for that on stdin, or undefined for none
 */
export async function jsonApi(
  admin: AdminClient,
  io: Pick<CliIo, 'readStdin'>,
  name: string,
  payload: string | undefined,
): Promise<Output> {
  const endpoint = findEndpoint(name)
  const given = payload === undefined ? {} : parse(payload === '-' ? await io.readStdin() : payload)
  // The node checks the arguments, as those of every call.
  const result = await admin.call(endpoint.operation, argumentsOf(endpoint, given) as never)
  return { json: result, text: JSON.stringify(result, null, 2) }
}

/** @throws UsageError */
function findEndpoint(name: string): Endpoint {
  if (Object.hasOwn(ENDPOINTS, name)) return ENDPOINTS[name as keyof typeof ENDPOINTS]
  if (HTTP_ONLY.includes(name))
    throw new UsageError(`${name} is served over HTTP only, see docs/admin-api.md`)
  const known = new Map(Object.keys(ENDPOINTS).map((endpoint) => [endpoint.toLowerCase(), endpoint]))
  const nearest = known.get(nearestName(name, known.keys()) ?? '')
  const hint = nearest === undefined ? '"carport admin-api-schema" lists them' : `did you mean ${nearest}?`
  throw new UsageError(`no endpoint "${name}": ${hint}`)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`the payload is not JSON: ${(error as Error).message}`)
  }
}

/** @throws UsageError */
function argumentsOf({ query = [], body }: Endpoint, payload: unknown): Record<string, unknown> {
  const list = typeof body === 'object' ? body.list : undefined
  if (list !== undefined && Array.isArray(payload)) return withNode(query, { [list]: payload })
  if (payload === null) return withNode(query, {})
  if (typeof payload !== 'object' || Array.isArray(payload)) {
    throw new UsageError(`the payload is JSON of another kind, expected ${list ? 'a list' : 'an object'}`)
  }
  const { body: nested, ...fields } = payload as Record<string, unknown>
  // Garage's parameters are null where they are not given.
  for (const name of query) if (fields[name.replace('?', '')] === null) delete fields[name.replace('?', '')]
  if (nested === undefined || nested === null) return withNode(query, fields)
  if (list !== undefined && Array.isArray(nested)) return withNode(query, { ...fields, [list]: nested })
  if (typeof nested !== 'object' || Array.isArray(nested)) {
    throw new UsageError('the "body" of the payload is an object')
  }
  return withNode(query, { ...fields, ...nested })
}

/** Endpoints of nodes ask this one unless the payload names others. */
function withNode(query: readonly string[], args: Record<string, unknown>): Record<string, unknown> {
  return query.includes('node') ? { node: 'self', ...args } : args
}
