/**
 * The admin API v2 over HTTP: find the endpoint, authorize, read the body, check the arguments, run the operation.
 *
 * Differences to Garage, and quirks of clients
 * - Unknown fields of a body and unknown endpoints are refused; Garage ignores the former.
 * - ImportKey with the id and secret of a key that is there answers 200, and CreateBucket takes an id of one's own, so that
 *   both may be repeated.
 * - Ids of buckets and nodes may be unique prefixes where the document says "node"; ids of buckets have 32 digits.
 * - `limit` and `offset` of lists count in the order of ids.
 */
import type { ClusterHealth } from '../../../cluster/health.js'
import type { Model } from '../../../model/model.js'
import { CarportError } from '../../../util/errors.js'
import { type ConsoleParts, consoleAnswer } from '../../console/assets.js'
import { SIGN_IN_PATH, signInAnswer } from '../../console/sign-in.js'
import type { Answer, ErrorAnswer } from '../../http/answer.js'
import type { BrokenRequest, BrokenRequestAnswer } from '../../http/client-error.js'
import { HttpFront, type HttpFrontOptions, type Protocol } from '../../http/front.js'
import { hasMoreJsonValues } from '../../http/json-values.js'
import { bodyOf, indentedJson, type Texts } from '../../http/text-pieces.js'
import type { LoadedAdmin } from '../serve.js'
import type { AdminTokenInfo } from '../types.js'
import type { Authorizer, Caller } from './authorize.js'
import { ENDPOINTS, type Endpoint, type EndpointName } from './endpoints.js'
import { AdminError, toAdminError } from './errors.js'
import { oldRoute } from './old-paths.js'
import { AdminRequest } from './request.js'
import { checkDomain, type Domains, healthAnswer } from './special.js'

/** The longest body: lists of a hundred thousand blocks fit. */
const BODY_BYTES_MAX = 8 * 1024 * 1024
const BODY_VALUES_MAX = 150_000
const CONSOLE = '/console/'
const JSON_TYPE = { 'Content-Type': 'application/json' }

export interface AdminFrontOptions extends HttpFrontOptions {
  /** This node's id. */
  readonly self: string
  readonly region: string
  readonly domains: Domains
  readonly model: Model
  readonly authorizer: Authorizer
  /** The tokens of the configuration, as they are described. */
  readonly configuredTokens: readonly AdminTokenInfo[]
  health(): ClusterHealth
  /** The handlers and the checks of their arguments, loaded at the first request that needs them. */
  load(): Promise<LoadedAdmin>
  /** The console in a browser, below /console/; absent if it is not served here. */
  readonly console?: ConsoleParts | undefined
  /** Whether this address is the console's alone: of the rest it serves only the endpoints that need a token. */
  readonly isForConsole?: boolean
  /** The metrics in Prometheus's text format; absent if this node has none. */
  metrics?(): Promise<{ contentType: string; body: string }>
}

/** The admin API on the HTTP front; attach it to a server. */
export function createAdminFront(options: AdminFrontOptions): HttpFront<AdminRequest> {
  return new HttpFront(new AdminProtocol(options), options)
}

class AdminProtocol implements Protocol<AdminRequest> {
  readonly Request = AdminRequest
  readonly requestIdHeader = 'x-request-id'

  constructor(private readonly options: AdminFrontOptions) {}

  async serve(request: AdminRequest): Promise<Answer> {
    const { rawPath: path, method } = request
    if (method === 'OPTIONS') return preflight()
    if (this.options.isForConsole && !/^\/(v2\/|console)/.test(path)) return this.#notOfConsole(request)
    const special = this.#special(request)
    if (special) return special
    const old = oldRoute(method, path, request.query)
    const name = old?.name ?? path.slice('/v2/'.length)
    if (!old && (!path.startsWith('/v2/') || !Object.hasOwn(ENDPOINTS, name))) {
      throw new AdminError(404, 'NoSuchEndpoint', `no endpoint ${path}: /openapi.json lists them`)
    }
    const endpoint: Endpoint = ENDPOINTS[name as EndpointName]
    request.endpoint = name
    if (!old) allowMethod(request, endpoint.method)
    request.caller = await this.#authorize(request, name as EndpointName)
    const { checkOperation, handlers } = await this.options.load()
    const args = {
      ...queryArgs(request, endpoint, old?.query ?? {}),
      ...(old?.body ?? (await bodyArgs(request, endpoint))),
    }
    const checked = checkOperation(endpoint.operation, args)
    const handler = handlers[checked.operation] as (args: unknown) => Promise<unknown>
    const result = await handler(checked.args)
    return { status: 200, headers: JSON_TYPE, body: bodyOf(jsonTexts(result), this.options.clock) }
  }

  /** The endpoints without an operation behind them; undefined for all others. */
  #special(request: AdminRequest): Promise<Answer> | undefined {
    switch (request.rawPath) {
      case '/health':
        return this.#open(request, 'Health', async () => healthAnswer(this.options.health()))
      case '/check':
        return this.#open(request, 'CheckDomain', () =>
          checkDomain(this.options.model, this.options.domains, request.query.get('domain')),
        )
      case '/metrics':
        return this.#open(request, 'Metrics', () => this.#metrics(request))
      case '/openapi.json':
        return this.#open(request, 'OpenApi', async () => {
          const { openApiText } = await import('./openapi.js')
          return { status: 200, headers: JSON_TYPE, body: openApiText() }
        })
      case '/':
        return this.#open(request, 'Browse', async () => {
          const { browsePage } = await import('./page.js')
          return browsePage()
        })
      case '/v2/GetCurrentAdminTokenInfo':
        return this.#open(request, 'GetCurrentAdminTokenInfo', async () => {
          request.caller = await this.#authorize(request, 'GetCurrentAdminTokenInfo')
          return jsonAnswer(await this.#describe(request.caller))
        })
      case '/console':
        return this.#open(request, 'Console', async () => ({
          status: 308,
          headers: { Location: '/console/' },
        }))
      default:
        return this.#console(request)
    }
  }

  /** People type a host name alone; programs that look for metrics or health here are at the wrong address. */
  #notOfConsole(request: AdminRequest): Answer {
    const { rawPath } = request
    if (rawPath === '/') return { status: 302, headers: { Location: CONSOLE } }
    throw new AdminError(
      404,
      'NoSuchEndpoint',
      `this address is the console's: ${rawPath} is at that of [admin]`,
    )
  }

  #console(request: AdminRequest): Promise<Answer> | undefined {
    const { console } = this.options
    const { rawPath } = request
    if (!console || !rawPath.startsWith(CONSOLE)) return undefined
    const path = rawPath.slice(CONSOLE.length)
    if (path === SIGN_IN_PATH && console.sessions) {
      request.endpoint = 'ConsoleSignIn'
      allowMethod(request, 'POST')
      return signInAnswer(request, console.sessions)
    }
    return this.#open(request, 'Console', () => consoleAnswer(request, path, console))
  }

  #open(request: AdminRequest, name: string, answer: () => Promise<Answer>): Promise<Answer> {
    request.endpoint = name
    allowMethod(request, 'GET')
    return answer()
  }

  #authorize(request: AdminRequest, scope: Parameters<Authorizer['authorize']>[1]): Promise<Caller> {
    return this.options.authorizer.authorize(request.headers.authorization, scope)
  }

  async #metrics(request: AdminRequest): Promise<Answer> {
    const { authorizer, metrics } = this.options
    if (!authorizer.metricsAreOpen) request.caller = await this.#authorize(request, 'Metrics')
    if (!metrics) throw new AdminError(404, 'NoSuchEndpoint', 'this node has no metrics')
    const { contentType, body } = await metrics()
    return { status: 200, headers: { 'Content-Type': contentType }, body }
  }

  async #describe(caller: Caller): Promise<AdminTokenInfo> {
    if (typeof caller === 'string') {
      return this.options.configuredTokens.find(({ name }) => name.startsWith(caller))!
    }
    if (!('secretHash' in caller)) {
      const { subject, provider, scope, expiresMs } = caller
      const expiration = new Date(expiresMs).toISOString()
      const name = `${subject} (signed in by ${provider})`
      return { id: null, name, created: null, expiration, expired: false, scope: [...scope] }
    }
    const { tokenInfo } = await import('../handlers/tokens.js')
    return tokenInfo(caller, this.options.clock.nowMs())
  }

  errorAnswer(thrown: unknown, request: AdminRequest): ErrorAnswer {
    const { region, self } = this.options
    const error = toAdminError(thrown, request.endpoint, self)
    const { code, message, status } = error
    return {
      status,
      code,
      cause: error.cause ?? error,
      headers: { ...JSON_TYPE, ...error.headers },
      body: errorBody(code, message, region, request.rawPath),
    }
  }

  brokenRequest(reason: BrokenRequest): BrokenRequestAnswer {
    const body = errorBody('InvalidRequest', `the request cannot be read: ${reason}`, this.options.region, '')
    return { status: 400, contentType: 'application/json', body }
  }

  /** Scripts of other pages may read answers: what they may do is said by their token alone. */
  originHeaders() {
    return { 'Access-Control-Allow-Origin': '*' }
  }
}

function preflight(): Answer {
  return {
    status: 200,
    headers: {
      Allow: 'OPTIONS,GET,POST',
      'Access-Control-Allow-Methods': 'OPTIONS,GET,POST',
      'Access-Control-Allow-Headers': 'authorization,content-type',
      'Access-Control-Allow-Origin': '*',
    },
  }
}

/** @throws AdminError 405 */
function allowMethod(request: AdminRequest, method: 'GET' | 'POST'): void {
  if (request.method === method || (request.method === 'HEAD' && method === 'GET')) return
  throw new AdminError(405, 'MethodNotAllowed', `${request.rawPath} is asked by ${method}`, {
    headers: { Allow: method },
  })
}

function* jsonTexts(value: unknown): Texts {
  yield* indentedJson(value)
  yield '\n'
}

function jsonAnswer(value: unknown): Answer {
  return { status: 200, headers: JSON_TYPE, body: `${JSON.stringify(value, undefined, 2)}\n` }
}

function errorBody(code: string, message: string, region: string, path: string): string {
  return `${JSON.stringify({ code, message, region, path }, undefined, 2)}\n`
}

/** Arguments whose texts stand for something else than a text. */
const QUERY_VALUES: Readonly<Record<string, (text: string) => unknown>> = {
  limit: (text) => (/^\d{1,9}$/.test(text) ? Number(text) : text),
  showSecretKey: (text) => text === 'true' || (text === 'false' ? false : text),
}

/** @throws AdminError 400 for a parameter that is missing or cannot be read */
function queryArgs(
  request: AdminRequest,
  endpoint: Endpoint,
  more: Readonly<Record<string, string>>,
): Record<string, unknown> {
  if (request.query.malformed) {
    throw new AdminError(400, 'InvalidRequest', 'the query has a value that is not UTF-8')
  }
  const args: Record<string, unknown> = {}
  for (const declared of endpoint.query ?? []) {
    const name = declared.replace('?', '')
    const text = more[name] ?? request.query.get(name)
    if (text === undefined) {
      if (name === declared) throw new AdminError(400, 'InvalidRequest', `the parameter ${name} is missing`)
    } else args[name] = QUERY_VALUES[name]?.(text) ?? text
  }
  return args
}

/** @throws AdminError 400; BodyError */
async function bodyArgs(request: AdminRequest, { body }: Endpoint): Promise<Record<string, unknown>> {
  if (body === undefined) return {}
  const bytes = await request.reader.collect(BODY_BYTES_MAX)
  if (hasMoreJsonValues(bytes, BODY_VALUES_MAX)) {
    throw new AdminError(400, 'InvalidRequest', `the body has more than ${BODY_VALUES_MAX} values`)
  }
  let value: unknown
  try {
    value = bytes.length === 0 ? {} : JSON.parse(bytes.toString('utf8'))
  } catch {
    throw new AdminError(400, 'InvalidRequest', 'the body is not JSON')
  }
  if (body === 'object') {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
    throw new CarportError('InvalidArgument', 'the body is a JSON object')
  }
  if (Array.isArray(value)) return { [body.list]: value }
  throw new CarportError('InvalidArgument', 'the body is a JSON list')
}
