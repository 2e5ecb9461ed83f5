import type { K2vItem } from '../../model/k2v/item.js'
import { ReadBudget } from '../../model/k2v/store.js'
import { successor } from '../../table/row-keys.js'
import { eachLimited } from '../../util/limited.js'
import type { Texts } from '../http/text-pieces.js'
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
import { readOptions, write } from './items.js'
import { jsonAnswer, jsonItem, jsonList, jsonObject, jsonText, map } from './json-answer.js'
import { bytesOfItems, readHeld } from './memory.js'
import type { K2vRequest } from './request.js'

/** The longest body of a batch: three of the longest values fit. */
const BODY_BYTES_MAX = 4 << 20
/** Memory that a batch of reads may take: the bytes of a ReadBudget, and the last item beyond. */
const ANSWER_BYTES_MAX = 10 << 20
/** What a partition key of the index takes in memory, at the most. */
const INDEX_ENTRY_BYTES = 1100
const SEARCHES_AT_ONCE = 8

export async function readBody(request: K2vRequest): Promise<unknown> {
  return parseJson(await request.payload.readAll(BODY_BYTES_MAX))
}

export const insertBatch: Handler = async (context, request) =>
  write(context, parseInserts(await readBody(request)))

export const readBatch: Handler = async (context, request) => {
  const searches = parseSearches(await readBody(request))
  await request.reader.hold(ANSWER_BYTES_MAX)
  const budget = new ReadBudget()
  const results: Result[] = []
  await eachLimited([...searches.keys()], SEARCHES_AT_ONCE, async (i) => {
    results[i] = await search(context, searches[i]!, budget, readOptions(request))
  })
  request.reader.keep(results.reduce((sum, { items }) => sum + bytesOfItems(items), 0))
  return jsonAnswer(jsonList(map(results, jsonResult)), context.clock)
}

/** What a search has found. */
interface Result {
  readonly fields: SearchFields
  readonly items: readonly K2vItem[]
  readonly nextStart: Buffer | undefined
}

async function search(
  { store, bucket }: K2vContext,
  fields: SearchFields,
  budget: ReadBudget,
  options: { writeBack?: boolean },
): Promise<Result> {
  // The item with that sort key, and perhaps nothing behind it: it passes the same filters.
  const query = fields.singleItem
    ? { ...queryOf(fields), end: successor(bytesOf(fields.start!)) }
    : queryOf(fields)
  const { items, nextStart } = await store.list(bucket.id, { ...query, ...options }, budget)
  return { fields, items, nextStart }
}

function jsonResult({ fields, items, nextStart }: Result): Texts {
  return jsonObject(fields, 'items', map(items, jsonItem), moreOf(nextStart))
}

/** What the answers to listings say of the next page. */
function moreOf(nextStart: Buffer | undefined) {
  return { more: nextStart !== undefined, nextStart: nextStart?.toString('utf8') ?? null }
}

export const deleteBatch: Handler = async (context, request) => {
  const results: object[] = []
  for (const fields of parseDeletes(await readBody(request))) {
    results.push({ ...fields, deletedItems: await remove(context, fields, request.signal) })
  }
  return jsonAnswer(jsonList(map(results, jsonText)), context.clock)
}

function remove({ store, bucket }: K2vContext, fields: DeleteFields, signal: AbortSignal): Promise<number> {
  const partitionKey = bytesOf(fields.partitionKey)
  const keys = keysOf(fields)
  const range = fields.singleItem ? { ...keys, end: successor(keys.start!) } : keys
  return store.deleteRange(bucket.id, { partitionKey, ...range }, signal)
}

export const readIndex: Handler = async ({ store, bucket, clock }, request) => {
  const { query } = request
  const text = (name: string) => query.get(name) ?? null
  const fields = { prefix: text('prefix'), start: text('start'), end: text('end') }
  const limit = limitOf(numberOf(text('limit')))
  const reverse = booleanOf(text('reverse'))
  const range = { ...keysOf(fields), ...(limit !== null && { limit }), reverse }
  const { entries, nextStart } = await readHeld(
    request,
    () => store.readIndex(bucket.id, range),
    (found) => found.entries.length * INDEX_ENTRY_BYTES,
  )
  const partitionKeys = map(entries, ({ partitionKey, entries, conflicts, values, bytes }) =>
    jsonText({ pk: partitionKey.toString('utf8'), entries, conflicts, values, bytes }),
  )
  return jsonAnswer(
    jsonObject({ ...fields, limit, reverse }, 'partitionKeys', partitionKeys, moreOf(nextStart)),
    clock,
  )
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
