import { parseHttpDate } from './date.js'

/** The conditions of a request (RFC 9110, section 13), by lower-case names without their prefix. */
export interface Conditions {
  ifMatch: string | undefined
  ifNoneMatch: string | undefined
  ifModifiedSince: string | undefined
  ifUnmodifiedSince: string | undefined
}

const NAMES = ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'] as const
/** The header names by prefix; made once, because every request is checked for them. */
const HEADERS = {
  '': NAMES,
  'x-amz-copy-source-': NAMES.map((name) => `x-amz-copy-source-${name}`),
} as const

/**
 * Reads the conditions from headers; with `prefix` "x-amz-copy-source-" those on the source of a copy.
 * @returns undefined if there are none
 */
export function readConditions(
  header: (name: string) => string | undefined,
  prefix: keyof typeof HEADERS = '',
): Conditions | undefined {
  const names = HEADERS[prefix]
  const ifMatch = header(names[0]!)
  const ifNoneMatch = header(names[1]!)
  const ifModifiedSince = header(names[2]!)
  const ifUnmodifiedSince = header(names[3]!)
  if ((ifMatch ?? ifNoneMatch ?? ifModifiedSince ?? ifUnmodifiedSince) === undefined) return undefined
  return { ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince }
}

/**
 * The verdict of the conditions on a version.
 * @param version.lastModifiedMs is rounded down to seconds, as headers show it
 * @returns 'ok', 'not-modified' (304) or the name of the condition that failed (412)
 */
export function checkConditions(
  conditions: Conditions | undefined,
  version: { etag: string; lastModifiedMs: number },
): 'ok' | 'not-modified' | 'If-Match' | 'If-Unmodified-Since' {
  if (!conditions) return 'ok'
  const modifiedMs = Math.floor(version.lastModifiedMs / 1000) * 1000
  if (conditions.ifMatch !== undefined) {
    if (!etagListed(conditions.ifMatch, version.etag)) return 'If-Match'
  } else if (conditions.ifUnmodifiedSince !== undefined) {
    const since = Date.parse(conditions.ifUnmodifiedSince)
    if (!Number.isNaN(since) && modifiedMs > since) return 'If-Unmodified-Since'
  }
  if (conditions.ifNoneMatch !== undefined) {
    if (etagListed(conditions.ifNoneMatch, version.etag)) return 'not-modified'
  } else if (conditions.ifModifiedSince !== undefined) {
    const since = Date.parse(conditions.ifModifiedSince)
    if (!Number.isNaN(since) && modifiedMs <= since) return 'not-modified'
  }
  return 'ok'
}

/**
 * Whether a client that has a part of something has it of this version (If-Range: RFC 9110, section 13.1.5); else the
 * range that it asks for is to be ignored.
 * @param header an entity tag, also without quotes, as some S3 clients have them, or a date; it holds if it is absent
 * @param version.lastModifiedMs is rounded down to seconds, as headers show it
 */
export function ifRangeHolds(
  header: string | undefined,
  version: { etag: string; lastModifiedMs: number },
): boolean {
  if (header === undefined) return true
  const text = header.trim()
  // A weak tag is none of these: the bytes of a part must be the same.
  if (text === version.etag || text === `"${version.etag}"`) return true
  return parseHttpDate(text) === Math.floor(version.lastModifiedMs / 1000) * 1000
}

/** Whether a list of entity tags has `etag` (without quotes), or is "*". Weak tags compare like strong ones. */
export function etagListed(list: string, etag: string): boolean {
  if (list.trim() === '*') return true
  return list.split(',').some((item) => {
    let tag = item.trim()
    if (tag.startsWith('W/')) tag = tag.slice(2)
    if (tag.startsWith('"') && tag.endsWith('"') && tag.length > 1) tag = tag.slice(1, -1)
    return tag === etag
  })
}
