/** The API's own OpenAPI 3.1 document, made from the schemas that check and describe the operations. */
import { z } from 'zod'
import { operationSchemas } from '../operation-schemas.js'
import { adminTokenInfo, resultSchemas } from '../result-schemas.js'
import { ENDPOINTS, type Endpoint, type EndpointName } from './endpoints.js'

type JsonObject = { [name: string]: unknown }

let text: string | undefined

/** The document as JSON. It is the same on every node, and made once. */
export function openApiText(): string {
  text ??= JSON.stringify(openApiDocument(), undefined, 2)
  return text
}

function openApiDocument(): JsonObject {
  const schemas: JsonObject = {}
  const paths: JsonObject = {}
  for (const name of Object.keys(ENDPOINTS) as EndpointName[]) {
    const endpoint: Endpoint = ENDPOINTS[name]
    const args = inputSchema(endpoint)
    const query = new Set((endpoint.query ?? []).map((parameter) => parameter.replace('?', '')))
    schemas[`${name}Response`] = schemaOf(resultSchemas[endpoint.operation], 'output')
    if (endpoint.body) schemas[`${name}Request`] = bodySchema(args, endpoint, query)
    paths[`/v2/${name}`] = {
      [endpoint.method.toLowerCase()]: {
        operationId: name,
        tags: [endpoint.tag],
        summary: endpoint.summary,
        ...(query.size > 0 && { parameters: parametersOf(args, endpoint) }),
        ...(endpoint.body && {
          requestBody: { required: true, content: jsonContent({ $ref: ref(`${name}Request`) }) },
        }),
        responses: responses({ $ref: ref(`${name}Response`) }),
      },
    }
  }
  schemas.GetCurrentAdminTokenInfoResponse = schemaOf(adminTokenInfo, 'output')
  schemas.Error = schemaOf(
    z.object({ code: z.string(), message: z.string(), region: z.string(), path: z.string() }),
    'output',
  )
  paths['/v2/GetCurrentAdminTokenInfo'] = {
    get: {
      operationId: 'GetCurrentAdminTokenInfo',
      tags: ['Admin API token'],
      summary: 'The token of this request itself',
      responses: responses({ $ref: ref('GetCurrentAdminTokenInfoResponse') }),
    },
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Carport administration API',
      version: 'v2',
      description:
        "The endpoints of Garage's admin API v2, with Carport's additions. Sizes are in bytes, times RFC 3339 in UTC.",
    },
    paths: { ...specialPaths(), ...paths },
    components: { schemas, securitySchemes: { bearerAuth: { type: 'http', scheme: 'bearer' } } },
    security: [{ bearerAuth: [] }],
  }
}

function specialPaths(): JsonObject {
  const special = (operationId: string, summary: string, statuses: Record<string, string>, more = {}) => ({
    get: {
      operationId,
      tags: ['Special endpoints'],
      summary,
      security: [{}],
      responses: Object.fromEntries(
        Object.entries(statuses).map(([status, description]) => [status, { description }]),
      ),
      ...more,
    },
  })
  return {
    '/health': special('Health', 'For load balancers: whether requests can be answered', {
      200: 'All partitions have a quorum',
      503: 'Some partition has none',
    }),
    '/check': special(
      'CheckDomain',
      'For proxies that get certificates: whether a domain is served here',
      { 200: 'It is', 400: 'It is not' },
      { parameters: [{ name: 'domain', in: 'query', required: true, schema: { type: 'string' } }] },
    ),
    '/metrics': special(
      'Metrics',
      "Metrics in Prometheus's text format",
      { 200: 'The metrics' },
      { security: [{}, { bearerAuth: [] }] },
    ),
  }
}

function ref(name: string): string {
  return `#/components/schemas/${name}`
}

function jsonContent(schema: JsonObject): JsonObject {
  return { 'application/json': { schema } }
}

function responses(schema: JsonObject): JsonObject {
  const failure = (description: string) => ({ description, content: jsonContent({ $ref: ref('Error') }) })
  return {
    200: { description: 'Done', content: jsonContent(schema) },
    400: failure('The request is wrong'),
    403: failure('The token is missing, or does not allow it'),
    404: failure('No such thing'),
    409: failure('It is taken, or not empty'),
    500: failure('A fault of this node, whose log tells more'),
    503: failure('Too few nodes answer'),
  }
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as JsonObject
  return rest
}

function inputSchema({ operation }: Endpoint): JsonObject {
  return schemaOf(operationSchemas[operation], 'input')
}

/** The variants of an arguments' schema: one, or those of a union. */
function variantsOf(args: JsonObject): JsonObject[] {
  return (args.anyOf as JsonObject[] | undefined) ?? [args]
}

function parametersOf(args: JsonObject, endpoint: Endpoint): JsonObject[] {
  return (endpoint.query ?? []).map((declared) => {
    const name = declared.replace('?', '')
    const properties = variantsOf(args).map((variant) => (variant.properties as JsonObject)?.[name])
    return {
      name,
      in: 'query',
      required: name === declared,
      schema: properties.find((property) => property !== undefined) ?? { type: 'string' },
    }
  })
}

/** The schema of the body: that of the arguments, without those that stand in the query. */
function bodySchema(args: JsonObject, { body }: Endpoint, query: ReadonlySet<string>): JsonObject {
  if (typeof body === 'object') return (args.properties as JsonObject)[body.list] as JsonObject
  const variants = variantsOf(args).map((variant) => ({
    ...variant,
    properties: Object.fromEntries(
      Object.entries((variant.properties as JsonObject | undefined) ?? {}).filter(
        ([name]) => !query.has(name),
      ),
    ),
    required: ((variant.required as string[] | undefined) ?? []).filter((name) => !query.has(name)),
  }))
  return variants.length === 1 ? variants[0]! : { anyOf: variants }
}
