import type { K2vItem } from '../../model/k2v/item.js'
import { ReadBudget } from '../../model/k2v/store.js'
import { successor } from '../../table/row-keys.js'
import { eachLimited } from '../../util/limited.js'
import type { Answer } from '../http/answer.js'
import type { Handler, K2vContext } from './context.js'
import {
  bytesOf,
  type DeleteFields,
  keysOf,
  limitOf,
  parseDeletes,
  parseInserts,
  parseJson,
  parseSearches,
  queryOf,
  type SearchFields,
} from './documents.js'
import { invalidRequest } from './errors.js'
import { jsonItem, readOptions, write } from './items.js'
import type { K2vRequest } from './request.js'

/** The longest body of a batch: three of the longest values fit. */
const BODY_BYTES_MAX = 4 << 20
/** Memory that a batch of reads may take for its answer, beside what it reads. */
const ANSWER_BYTES_MAX = 8 << 20
const SEARCHES_AT_ONCE = 8
const JSON_TYPE = { 'Content-Type': 'application/json' }

export async function readBody(request: K2vRequest): Promise<unknown> {
  return parseJson(await request.payload.readAll(BODY_BYTES_MAX))
}

export function jsonAnswer(value: unknown): Answer {
  return { status: 200, headers: JSON_TYPE, body: JSON.stringify(value) }
}

export const insertBatch: Handler = async (context, request) =>
  write(context, parseInserts(await readBody(request)))

export const readBatch: Handler = async (context, request) => {
  const searches = parseSearches(await readBody(request))
  await request.reader.hold(ANSWER_BYTES_MAX)
  const budget = new ReadBudget()
  const results: unknown[] = []
  await eachLimited([...searches.keys()], SEARCHES_AT_ONCE, async (i) => {
    results[i] = await search(context, searches[i]!, budget, readOptions(request))
  })
  return jsonAnswer(results)
}

async function search(
  { store, bucket }: K2vContext,
  fields: SearchFields,
  budget: ReadBudget,
  options: { writeBack?: boolean },
): Promise<unknown> {
  // The item with that sort key, and perhaps nothing behind it: it passes the same filters.
  const query = fields.singleItem
    ? { ...queryOf(fields), end: successor(bytesOf(fields.start!)) }
    : queryOf(fields)
  const { items, nextStart } = await store.list(bucket.id, { ...query, ...options }, budget)
  return { ...fields, ...pageOf(items, nextStart) }
}

function pageOf(items: readonly K2vItem[], nextStart: Buffer | undefined) {
  return {
    items: items.map(jsonItem),
    more: nextStart !== undefined,
    nextStart: nextStart?.toString('utf8') ?? null,
  }
}

export const deleteBatch: Handler = async (context, request) => {
  const results: unknown[] = []
  for (const fields of parseDeletes(await readBody(request))) {
    results.push({ ...fields, deletedItems: await remove(context, fields, request.signal) })
  }
  return jsonAnswer(results)
}

function remove({ store, bucket }: K2vContext, fields: DeleteFields, signal: AbortSignal): Promise<number> {
  const partitionKey = bytesOf(fields.partitionKey)
  const keys = keysOf(fields)
  const range = fields.singleItem ? { ...keys, end: successor(keys.start!) } : keys
  return store.deleteRange(bucket.id, { partitionKey, ...range }, signal)
}

export const readIndex: Handler = async ({ store, bucket }, { query }) => {
  const text = (name: string) => query.get(name) ?? null
  const fields = { prefix: text('prefix'), start: text('start'), end: text('end') }
  const limit = limitOf(numberOf(text('limit')))
  const reverse = booleanOf(text('reverse'))
  const { entries, nextStart } = await store.readIndex(bucket.id, {
    ...keysOf(fields),
    ...(limit !== null && { limit }),
    reverse,
  })
  const partitionKeys = entries.map(({ partitionKey, entries, conflicts, values, bytes }) => {
    return { pk: partitionKey.toString('utf8'), entries, conflicts, values, bytes }
  })
  const more = nextStart !== undefined
  return jsonAnswer({
    ...fields,
    limit,
    reverse,
    partitionKeys,
    more,
    nextStart: nextStart?.toString('utf8') ?? null,
  })
}

function numberOf(text: string | null): number | undefined {
  if (text === null || text === '') return undefined
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw invalidRequest('limit is a number of keys')
}

function booleanOf(text: string | null): boolean {
  if (text === null || text === 'false') return false
  if (text === 'true' || text === '') return true
  throw invalidRequest('reverse is true or false')
}
