/** The JSON documents of K2V: what the client sends as such, and what it makes of answers. */
import { fromBase64, toBase64 } from './base64.js'
import { invalidAnswer, invalidArgument } from './k2v-errors.js'
import type {
  K2vDeletion,
  K2vIndex,
  K2vInput,
  K2vRangeChanges,
  K2vRangeItem,
  K2vSearch,
  K2vSearchResult,
  K2vValue,
  K2vWrite,
} from './k2v-types.js'

const UTF8 = new TextEncoder()

/** @throws K2vError InvalidArgument */
export function bytesOf(value: K2vInput): Uint8Array {
  if (typeof value === 'string') return UTF8.encode(wellFormed(value, 'the value'))
  if (value instanceof Uint8Array) return value
  throw invalidArgument('a value is a Uint8Array or a string')
}

/** Refuses half of a surrogate pair: UTF-8 has none, so another text would be stored. @throws K2vError InvalidArgument */
export function wellFormed(text: string, what: string): string {
  if (typeof text !== 'string') throw invalidArgument(`${what} is a string`)
  if (/\p{Surrogate}/u.test(text)) throw invalidArgument(`${what} is not valid Unicode`)
  return text
}

/** @throws K2vError InvalidArgument */
export function insertDocument(writes: readonly K2vWrite[]): unknown {
  return writes.map(({ partitionKey, sortKey, value, token }) => ({
    pk: wellFormed(partitionKey, 'a partition key'),
    sk: wellFormed(sortKey, 'a sort key'),
    ct: token ?? null,
    v: value === null ? null : toBase64(bytesOf(value)),
  }))
}

/** @throws K2vError InvalidArgument */
export function rangeDocument<T extends K2vSearch | K2vDeletion>(ranges: readonly T[]): readonly T[] {
  for (const { partitionKey, prefix = '', start = '', end = '' } of ranges) {
    wellFormed(partitionKey, 'a partition key')
    for (const key of [prefix, start, end]) wellFormed(key, 'a sort key')
  }
  return ranges
}

type Fields = Readonly<Record<string, unknown>>

/** @throws K2vError InvalidAnswer */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw invalidAnswer('the answer is not JSON', undefined, cause)
  }
}

/** The values of an item, as ReadItem and PollItem answer in JSON. @throws K2vError InvalidAnswer */
export function parseValues(document: unknown): K2vValue[] {
  return listOf(document).map((value) => {
    if (value === null) return null
    const bytes = typeof value === 'string' ? fromBase64(value) : undefined
    return bytes ?? wrong('a value is no base64')
  })
}

/** @throws K2vError InvalidAnswer */
export function parseIndex(document: unknown): K2vIndex {
  const fields = objectOf(document)
  const partitionKeys = listOf(fields.partitionKeys).map((entry) => {
    const { pk, entries, conflicts, values, bytes } = objectOf(entry)
    return {
      partitionKey: textOf(pk),
      entries: numberOf(entries),
      conflicts: numberOf(conflicts),
      values: numberOf(values),
      bytes: numberOf(bytes),
    }
  })
  return { partitionKeys, nextStart: nextStartOf(fields) }
}

/** @throws K2vError InvalidAnswer */
export function parseSearchResults(document: unknown, count: number): K2vSearchResult[] {
  const results = listOf(document).map(objectOf)
  if (results.length !== count) wrong(`${results.length} results for ${count} searches`)
  return results.map((fields) => ({ items: itemsOf(fields), nextStart: nextStartOf(fields) }))
}

/** @throws K2vError InvalidAnswer */
export function parseDeletions(document: unknown, count: number): number[] {
  const results = listOf(document).map((fields) => numberOf(objectOf(fields).deletedItems))
  return results.length === count ? results : wrong(`${results.length} results for ${count} deletions`)
}

/** @throws K2vError InvalidAnswer */
export function parseChanges(document: unknown): K2vRangeChanges {
  const fields = objectOf(document)
  return { items: itemsOf(fields), seenMarker: textOf(fields.seenMarker) }
}

function itemsOf(fields: Fields): K2vRangeItem[] {
  return listOf(fields.items).map((item) => {
    const { sk, ct, v } = objectOf(item)
    return { sortKey: textOf(sk), token: textOf(ct), values: parseValues(v) }
  })
}

function nextStartOf({ nextStart }: Fields): string | undefined {
  return nextStart === null || nextStart === undefined ? undefined : textOf(nextStart)
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : wrong('a list is missing')
}

function objectOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : wrong('an object is missing')
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : wrong('a text is missing')
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : wrong('a number is missing')
}

function wrong(problem: string): never {
  throw invalidAnswer(`the answer is not one of K2V: ${problem}`)
}
