import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import { type CorsQuestion, corsHeaders, matchCors, requestedHeaders } from '../../http/cors.js'
import { S3Error } from '../errors.js'
import type { S3Headers, S3Request, S3Response } from '../request.js'

/** What the rules are asked about, of S3 and of other APIs on buckets. */
export type CorsRequest = Pick<S3Request, 'headers' | 'method' | 'bucket' | 'key' | 'keyId' | 'header'>

/** CORS for a front, by the rules that the buckets have. */
export function corsHooks(model: Model): {
  preflight(request: CorsRequest): Promise<S3Response>
  decorate(request: CorsRequest): S3Headers | undefined | Promise<S3Headers | undefined>
} {
  return {
    preflight: (request) => preflight(model, request),
    decorate: (request) => decorate(model, request),
  }
}

async function preflight(model: Model, request: CorsRequest): Promise<S3Response> {
  const { origin } = request.headers
  if (origin === undefined) {
    throw new S3Error('BadRequest', 'Insufficient information. Origin request header needed.')
  }
  const method = request.header('access-control-request-method')
  if (method === undefined) {
    throw new S3Error('BadRequest', 'Invalid Access-Control-Request-Method: null')
  }
  const headers = requestedHeaders(request.header('access-control-request-headers'))
  const question = { origin, method, headers }
  if (request.bucket === undefined) throw notEnabled()
  const buckets = await bucketsOf(model, request.bucket)
  if (buckets.length === 0) throw new S3Error('AccessForbidden', 'CORSResponse: Bucket not found')
  let enabled = false
  for (const bucket of buckets) {
    const rules = bucket.document('cors')
    if (!rules) continue
    enabled = true
    const match = matchCors(rules, question)
    if (match) return { status: 200, headers: corsHeaders(match, question) }
  }
  if (!enabled) throw notEnabled()
  throw new S3Error(
    'AccessForbidden',
    "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
    { extra: { Method: method, ResourceType: request.key === undefined ? 'BUCKET' : 'OBJECT' } },
  )
}

function notEnabled(): S3Error {
  return new S3Error('AccessForbidden', 'CORSResponse: CORS is not enabled for this bucket.')
}

/**
 * The buckets that a preflight may mean. It carries no signature, so a name that only some keys see means
 * each bucket that any key calls so; the request that follows is authorized as usual.
 */
async function bucketsOf(model: Model, name: string): Promise<Bucket[]> {
  const global = await model.buckets.byName(name, undefined)
  if (global) return [global]
  const found = new Map<string, Bucket>()
  for (const key of model.keys.index.keysWithAlias(name)) {
    const bucket = model.buckets.byId(Buffer.from(key.localAliases.get(name)!, 'hex'))
    if (bucket) found.set(bucket.hexId, bucket)
  }
  return [...found.values()]
}

function decorate(
  model: Model,
  request: CorsRequest,
): S3Headers | undefined | Promise<S3Headers | undefined> {
  const { origin } = request.headers
  const name = request.bucket
  if (origin === undefined || name === undefined) return undefined
  const caller = request.keyId === undefined ? undefined : model.keys.local(request.keyId)
  const known = model.buckets.localByName(name, caller)
  if (known) return headersFor(known, request, origin)
  // The bucket may have been made a moment ago on another node; the handler has already asked for it.
  return model.buckets.byName(name, caller).then((bucket) => bucket && headersFor(bucket, request, origin))
}

function headersFor(bucket: Bucket, request: CorsRequest, origin: string): S3Headers | undefined {
  const rules = bucket.document('cors')
  if (!rules) return undefined
  const question: CorsQuestion = {
    origin,
    method: request.header('access-control-request-method') ?? request.method,
    headers: [],
  }
  const match = matchCors(rules, question)
  if (match) return corsHeaders(match, question)
  // A cache must not give this answer to an origin that a rule allows.
  return { Vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method' }
}
