import { encodeToken } from '../../model/k2v/causality.js'
import { clockOf, type K2vItem, VALUE_BYTES_MAX, valuesOf } from '../../model/k2v/item.js'
import type { Clock } from '../../util/clock.js'
import type { Answer } from '../http/answer.js'
import { OBJECT_RATE } from '../http/least-rate.js'
import { bucketNow } from '../s3/access/bucket-now.js'
import type { Handler, K2vContext } from './context.js'
import { bytesOf, parseCausality } from './documents.js'
import { invalidRequest, K2vError } from './errors.js'
import { jsonAnswer, jsonValues } from './json-answer.js'
import { bytesOfItem, needsNoRoom, readHeld } from './memory.js'
import type { K2vRequest } from './request.js'

export const CAUSALITY_TOKEN = 'X-Garage-Causality-Token'
const BINARY = 'application/octet-stream'
const JSON_TYPE = 'application/json'

/** The forms in which the client takes an item. */
export interface Accepted {
  readonly json: boolean
  readonly binary: boolean
}

const JSON_ONLY: Accepted = { json: true, binary: false }
const BINARY_ONLY: Accepted = { json: false, binary: true }

/** @throws K2vError NotAcceptable */
export function acceptedForms(request: K2vRequest): Accepted {
  const accept = request.headers.accept
  if (accept === undefined || accept === JSON_TYPE) return JSON_ONLY
  if (accept === BINARY) return BINARY_ONLY
  const types = accept.split(',').map((part) => part.split(';')[0]!.trim().toLowerCase())
  const any = types.includes('*/*') || types.includes('application/*')
  const accepted = { json: any || types.includes(JSON_TYPE), binary: any || types.includes(BINARY) }
  if (accepted.json || accepted.binary) return accepted
  throw new K2vError('NotAcceptable', `the Accept header must have ${JSON_TYPE} or ${BINARY}, or both`)
}

/** An item in one of the forms that the client takes. @throws K2vError NoSuchKey */
export function itemAnswer(item: K2vItem | undefined, accepted: Accepted, clock: Clock): Answer {
  const values = item ? valuesOf(item) : []
  if (!item || values.length === 0) throw new K2vError('NoSuchKey', 'Key not found')
  const token = encodeToken(clockOf(item))
  if (accepted.binary && (values.length === 1 || !accepted.json)) {
    const headers = { [CAUSALITY_TOKEN]: token, 'Content-Type': BINARY }
    if (values.length > 1) return { status: 409, headers }
    const content = values[0]!.content()
    return content === null ? { status: 204, headers } : { status: 200, headers, body: content }
  }
  return jsonAnswer(jsonValues(values), clock, { [CAUSALITY_TOKEN]: token })
}

/** The keys that the path and the query name. @throws K2vError InvalidRequest */
export function itemKey(request: K2vRequest): { partitionKey: Buffer; sortKey: Buffer } {
  const sortKey = request.query.get('sort_key')
  if (sortKey === undefined) throw invalidRequest('the parameter sort_key is missing')
  return { partitionKey: bytesOf(request.route!.partitionKey!), sortKey: bytesOf(sortKey) }
}

/** Whether the client takes an answer that a later read may contradict, for one round trip at the most. */
export function readOptions(request: K2vRequest): { writeBack?: boolean } {
  const value = request.header('x-garage-non-monotonic-read')?.toLowerCase()
  return value === 'true' || value === '1' ? { writeBack: false } : {}
}

export const readItem: Handler = ({ store, bucket, clock }, request) => {
  const accepted = acceptedForms(request)
  const key = itemKey(request)
  const options = readOptions(request)
  const item = store.readAtOnce(bucket.id, key, options)
  if (!(item instanceof Promise) && needsNoRoom(item)) return itemAnswer(item, accepted, clock)
  let begun = item instanceof Promise ? item : undefined
  const read = async () => {
    const first = begun
    begun = undefined
    return first ?? store.readAtOnce(bucket.id, key, options)
  }
  return readHeld(request, read, bytesOfItem).then((found) => itemAnswer(found, accepted, clock))
}

export const insertItem: Handler = async (context, request) => {
  const key = itemKey(request)
  const token = request.header('x-garage-causality-token')
  const seen = token === undefined ? undefined : parseCausality(token)
  const content = await request.payload.readAll(VALUE_BYTES_MAX, 'EntityTooLarge', OBJECT_RATE)
  return write(context, [{ ...key, context: seen, content }])
}

export const deleteItem: Handler = async (context, request) => {
  const key = itemKey(request)
  const token = request.header('x-garage-causality-token')
  if (token === undefined)
    throw invalidRequest(`the header ${CAUSALITY_TOKEN} is missing: it says what is deleted`)
  return write(context, [{ ...key, context: parseCausality(token), content: null }])
}

/** Writes, and answers that it is done. @throws S3Error NoSuchBucket if the bucket was deleted while the body arrived */
export async function write(
  context: K2vContext,
  writes: Parameters<K2vContext['store']['write']>[1],
): Promise<Answer> {
  const { id } = await bucketNow(context, context.bucket)
  await context.store.write(id, writes)
  return { status: 204 }
}
