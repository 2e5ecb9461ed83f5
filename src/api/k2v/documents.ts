import { parseToken, type VectorClock } from '../../model/k2v/causality.js'
import type { ItemQuery, ItemWrite } from '../../model/k2v/store.js'
import { hasMoreJsonValues } from '../http/json-values.js'
import { invalidRequest, K2vError } from './errors.js'

/** Searches or deletions of one request. */
export const SEARCHES_MAX = 1000
/** Items of one InsertBatch: they are read in one turn of the event loop, in some milliseconds. */
export const INSERTS_MAX = 10_000
/** Values in a document: as many as the largest InsertBatch has, and some more. */
const VALUES_MAX = 100_000

/** Reads a request's body. @throws K2vError InvalidRequest */
export function parseJson(body: Buffer): unknown {
  if (hasMoreJsonValues(body, VALUES_MAX)) throw invalidRequest(`a document has at most ${VALUES_MAX} values`)
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (cause) {
    throw invalidRequest('the body is not JSON', cause)
  }
}

/** @throws K2vError CausalityToken */
export function parseCausality(token: string): VectorClock {
  const clock = parseToken(token)
  if (clock) return clock
  throw new K2vError('CausalityToken', 'Invalid causality token')
}

type Fields = Readonly<Record<string, unknown>>

/** The bytes of a text. Half of a surrogate pair, which JSON may have, is no text. @throws K2vError InvalidUtf8String */
export function bytesOf(text: string): Buffer {
  if (/\p{Surrogate}/u.test(text)) throw new K2vError('InvalidUtf8String', 'a key is not valid Unicode')
  return Buffer.from(text, 'utf8')
}

/** The body of InsertBatch. @throws K2vError */
export function parseInserts(value: unknown): ItemWrite[] {
  return partsOf(value, INSERTS_MAX).map((item): ItemWrite => {
    const token = optional(item, 'ct', 'string')
    const content = optional(item, 'v', 'string')
    return {
      partitionKey: bytesOf(required(item, 'pk')),
      sortKey: bytesOf(required(item, 'sk')),
      context: token === undefined ? undefined : parseCausality(token),
      content: content === undefined ? null : decodeBase64(content),
    }
  })
}

/** The fields of a search that are repeated in its result. */
export interface SearchFields {
  readonly partitionKey: string
  readonly prefix: string | null
  readonly start: string | null
  readonly end: string | null
  readonly limit: number | null
  readonly reverse: boolean
  readonly conflictsOnly: boolean
  readonly tombstones: boolean
  readonly singleItem: boolean
}

/** The body of ReadBatch. @throws K2vError */
export function parseSearches(value: unknown): SearchFields[] {
  return partsOf(value, SEARCHES_MAX).map((item) => {
    const search: SearchFields = {
      ...rangeFields(item),
      limit: limitOf(optional(item, 'limit', 'number')),
      reverse: optional(item, 'reverse', 'boolean') ?? false,
      conflictsOnly: optional(item, 'conflictsOnly', 'boolean') ?? false,
      tombstones: optional(item, 'tombstones', 'boolean') ?? false,
    }
    const { singleItem, prefix, end, limit, reverse } = search
    if (singleItem && (prefix !== null || end !== null || limit !== null || reverse)) {
      throw invalidRequest('prefix, end, limit and reverse must not be set together with singleItem')
    }
    return search
  })
}

/** The fields of one part of DeleteBatch. */
export type DeleteFields = Pick<SearchFields, 'partitionKey' | 'prefix' | 'start' | 'end' | 'singleItem'>

/** The body of DeleteBatch. @throws K2vError */
export function parseDeletes(value: unknown): DeleteFields[] {
  return partsOf(value, SEARCHES_MAX).map((item) => {
    const fields = rangeFields(item)
    if (fields.singleItem && (fields.prefix !== null || fields.end !== null)) {
      throw invalidRequest('prefix and end must not be set together with singleItem')
    }
    return fields
  })
}

/** The body of PollRange. @throws K2vError */
export function parsePollRange(value: unknown): {
  range: { prefix?: Buffer; start?: Buffer; end?: Buffer }
  timeoutS: number
  seenMarker: string | undefined
} {
  const fields = objectOf(value)
  return {
    range: keysOf({
      prefix: optional(fields, 'prefix', 'string') ?? null,
      start: optional(fields, 'start', 'string') ?? null,
      end: optional(fields, 'end', 'string') ?? null,
    }),
    timeoutS: timeoutOf(optional(fields, 'timeout', 'number')),
    seenMarker: optional(fields, 'seenMarker', 'string'),
  }
}

/** A poll's timeout in seconds: 300 unless told, 1 to 600. @throws K2vError InvalidRequest */
export function timeoutOf(seconds: number | undefined): number {
  if (seconds !== undefined && !(Number.isInteger(seconds) && seconds >= 0)) {
    throw invalidRequest('timeout is a number of seconds')
  }
  return Math.min(600, Math.max(1, seconds ?? 300))
}

/** @throws K2vError InvalidRequest */
export function limitOf(limit: number | undefined): number | null {
  if (limit === undefined) return null
  if (Number.isSafeInteger(limit) && limit >= 0) return limit
  throw invalidRequest('limit is a number of keys')
}

/** The range of a search as the store takes it. */
export function queryOf(search: SearchFields): ItemQuery {
  const { partitionKey, limit, reverse, conflictsOnly, tombstones } = search
  return {
    partitionKey: bytesOf(partitionKey),
    ...keysOf(search),
    ...(limit !== null && { limit }),
    ...{ reverse, conflictsOnly, tombstones },
  }
}

/** Keys of a range as bytes. */
export function keysOf({ prefix, start, end }: Pick<SearchFields, 'prefix' | 'start' | 'end'>): {
  prefix?: Buffer
  start?: Buffer
  end?: Buffer
} {
  return {
    ...(prefix !== null && { prefix: bytesOf(prefix) }),
    ...(start !== null && { start: bytesOf(start) }),
    ...(end !== null && { end: bytesOf(end) }),
  }
}

function rangeFields(item: Fields): DeleteFields {
  const fields = {
    partitionKey: required(item, 'partitionKey'),
    prefix: optional(item, 'prefix', 'string') ?? null,
    start: optional(item, 'start', 'string') ?? null,
    end: optional(item, 'end', 'string') ?? null,
    singleItem: optional(item, 'singleItem', 'boolean') ?? false,
  }
  if (fields.singleItem && fields.start === null)
    throw invalidRequest('singleItem needs start, the sort key of the item')
  return fields
}

/** The parts of a request: a list of objects. */
function partsOf(value: unknown, countMax: number): Fields[] {
  if (!Array.isArray(value)) throw invalidRequest('the body is a JSON list')
  if (value.length > countMax) throw invalidRequest(`a request has at most ${countMax} parts`)
  return value.map(objectOf)
}

function objectOf(value: unknown): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw invalidRequest('a JSON object is expected')
}

function required(item: Fields, name: string): string {
  const value = optional(item, name, 'string')
  if (value === undefined) throw invalidRequest(`the field ${name} is missing`)
  return value
}

interface Types {
  string: string
  number: number
  boolean: boolean
}

/** A field; undefined if it is absent or null. */
function optional<T extends keyof Types>(item: Fields, name: string, type: T): Types[T] | undefined {
  const value = Object.hasOwn(item, name) ? item[name] : undefined
  if (value === undefined || value === null) return undefined
  if (typeof value === type) return value as Types[T]
  throw invalidRequest(`the field ${name} is a ${type}`)
}

/** @throws K2vError InvalidBase64 for what is no base64 (RFC 4648, section 4), with or without padding */
function decodeBase64(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64')
  const canonical = bytes.toString('base64')
  if (canonical === text || canonical.replace(/=+$/, '') === text) return bytes
  throw new K2vError('InvalidBase64', 'Invalid base64 value')
}
