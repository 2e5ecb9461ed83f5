import type { Query } from '../http/query.js'
import { percentDecode } from '../http/uri.js'
import { invalidRequest, K2vError } from './errors.js'

/** What each operation needs of the key that signed it. */
export const K2V_OPERATIONS = {
  ReadItem: 'read',
  PollItem: 'read',
  InsertItem: 'write',
  DeleteItem: 'write',
  ReadIndex: 'read',
  InsertBatch: 'write',
  ReadBatch: 'read',
  DeleteBatch: 'write',
  PollRange: 'read',
} as const satisfies Record<string, 'read' | 'write'>

export type K2vOperation = keyof typeof K2V_OPERATIONS

/** What a request is about. */
export interface Route {
  readonly bucket: string
  /** Undefined where the path names the bucket alone. */
  readonly partitionKey: string | undefined
  /** Undefined of a preflight request. */
  readonly operation: K2vOperation | undefined
}

/**
 * Finds what a request is about, by method, path and query. A path is `/bucket` or `/bucket/partition key`; slashes before
 * either count for nothing.
 * @throws K2vError InvalidRequest, InvalidUtf8String
 */
export function routeOf({
  method,
  rawPath,
  query,
}: {
  method: string
  rawPath: string
  query: Query
}): Route {
  const path = withoutSlashes(rawPath)
  const slash = path.indexOf('/')
  const bucket = decode(slash < 0 ? path : path.slice(0, slash))
  if (bucket === '') throw invalidRequest('the path names no bucket')
  const rawKey = slash < 0 ? '' : withoutSlashes(path.slice(slash + 1))
  if (query.malformed) throw new K2vError('InvalidUtf8String', 'the query has a value that is not UTF-8')
  const partitionKey = rawKey === '' ? undefined : decode(rawKey)
  if (method === 'OPTIONS') return { bucket, partitionKey, operation: undefined }
  const operation = partitionKey === undefined ? ofBucket(method, query) : ofPartition(method, query)
  if (!operation) throw invalidRequest('there is no such operation')
  return { bucket, partitionKey, operation }
}

function ofBucket(method: string, query: Query): K2vOperation | undefined {
  switch (method) {
    case 'GET':
      return 'ReadIndex'
    case 'SEARCH':
      return 'ReadBatch'
    case 'POST':
      if (query.has('search')) return 'ReadBatch'
      return query.has('delete') ? 'DeleteBatch' : 'InsertBatch'
    default:
      return undefined
  }
}

function ofPartition(method: string, query: Query): K2vOperation | undefined {
  switch (method) {
    case 'GET':
      return query.has('causality_token') ? 'PollItem' : 'ReadItem'
    case 'PUT':
      return 'InsertItem'
    case 'DELETE':
      return 'DeleteItem'
    case 'SEARCH':
    case 'POST':
      return query.has('poll_range') ? 'PollRange' : undefined
    default:
      return undefined
  }
}

function withoutSlashes(path: string): string {
  let start = 0
  while (path.charCodeAt(start) === 47) start++
  return start === 0 ? path : path.slice(start)
}

function decode(raw: string): string {
  const text = percentDecode(raw)
  if (text === undefined) throw new K2vError('InvalidUtf8String', 'the path is not UTF-8')
  return text
}
