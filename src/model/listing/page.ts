import type { Reader } from '../../db/db.js'
import type { LocalTable } from '../../table/local.js'
import { prefixEnd } from '../../table/row-keys.js'
import { CarportError } from '../../util/errors.js'
import { isObjectHead, listedBytes } from '../versions/codec.js'
import type { VersionRecord } from '../versions/record.js'

/** A request to one replica: the next live keys of a bucket, folded by a delimiter. */
export interface PageRequest {
  bucket: Buffer
  prefix: Buffer
  /** Empty: no folding. */
  delimiter: Buffer
  /** First key, inclusive; empty: from the first. */
  start: Buffer
  /** Keys and common prefixes together. */
  limit: number
}

/** An entry of a page: a live key with the head of its row, or (without head) a common prefix. */
export interface PageEntry {
  key: Buffer
  head: Buffer | undefined
}

/** Bytes of a head that show which version it is: everything up to the id. Enough to compare two replicas' pages. */
const ORDER_BYTES = 30
/** Heads looked at before a scan that finds nothing to fold is restarted behind a common prefix. */
const SKIP_AFTER = 8

/**
 * A page of this node's copy, encoded: [more u8] then per entry [key length u16][key][head length u16][head], where
 * common prefixes have no head. Common prefixes are skipped over, not walked.
 */
export function buildPage(reader: Reader, objects: LocalTable<VersionRecord>, request: PageRequest): Buffer {
  const { bucket, prefix, delimiter, limit } = request
  const out = new PageWriter()
  const end = prefixEnd(prefix)
  const folds = delimiter.length > 0
  let entries = 0
  let more = false
  let folded: Buffer | undefined
  let seenInFold = 0
  let start: Buffer | undefined = Buffer.compare(request.start, prefix) > 0 ? request.start : prefix
  while (start) {
    let next: Buffer | undefined
    objects.scan(reader, bucket, { start, end }, (key, head) => {
      if (folded && startsWith(key, folded)) {
        // Short groups are cheaper to walk than to seek over.
        if (++seenInFold < SKIP_AFTER) return true
        next = prefixEnd(folded)
        return false
      }
      folded = undefined
      if (!isObjectHead(head)) return true
      if (entries === limit) {
        more = true
        return false
      }
      entries++
      const cut = folds ? key.indexOf(delimiter, prefix.length) : -1
      if (cut < 0) out.entry(key, head)
      else {
        folded = Buffer.from(key.subarray(0, cut + delimiter.length))
        seenInFold = 0
        out.entry(folded, undefined)
      }
      return true
    })
    start = next
  }
  return out.finish(more)
}

/** Reads a page that buildPage wrote. @throws CarportError InvalidArgument if it is cut short */
export function readPage(page: Buffer): { more: boolean; entries: PageEntry[] } {
  const entries: PageEntry[] = []
  let at = 1
  while (at < page.length) {
    const keyEnd = at + 2 + page.readUInt16BE(at)
    if (keyEnd + 2 > page.length) throw new CarportError('InvalidArgument', 'page of a listing is cut short')
    const headBytes = page.readUInt16BE(keyEnd)
    const headEnd = keyEnd + 2 + headBytes
    if (headEnd > page.length) throw new CarportError('InvalidArgument', 'page of a listing is cut short')
    entries.push({
      key: page.subarray(at + 2, keyEnd),
      head: headBytes > 0 ? page.subarray(keyEnd + 2, headEnd) : undefined,
    })
    at = headEnd
  }
  return { more: page[0] === 1, entries }
}

/** Whether two replicas mean the same by an entry. */
export function sameEntry(a: PageEntry, b: PageEntry): boolean {
  if (!a.head || !b.head) return !a.head && !b.head
  return a.head.subarray(0, ORDER_BYTES).equals(b.head.subarray(0, ORDER_BYTES))
}

function startsWith(key: Buffer, prefix: Buffer): boolean {
  return key.length >= prefix.length && key.compare(prefix, 0, prefix.length, 0, prefix.length) === 0
}

/** Set in the first byte of a page's head (the format number) if the version is its key's current one. */
const LATEST = 0x80

/** Whether an entry of a page of versions is the current version of its key. */
export function isLatest(entry: PageEntry): boolean {
  return entry.head !== undefined && (entry.head[0]! & LATEST) !== 0
}

/** Grows one buffer instead of gathering many small ones. */
export class PageWriter {
  #buffer = Buffer.allocUnsafeSlow(16 * 1024)
  #at = 1

  /** Heads are cut to the fields that listings show. */
  entry(key: Buffer, head: Buffer | undefined, latest = false): void {
    const headBytes = head ? listedBytes(head) : 0
    const needed = this.#at + 4 + key.length + headBytes
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2))
      this.#buffer.copy(grown, 0, 0, this.#at)
      this.#buffer = grown
    }
    let at = this.#buffer.writeUInt16BE(key.length, this.#at)
    at += key.copy(this.#buffer, at)
    at = this.#buffer.writeUInt16BE(headBytes, at)
    if (head) {
      head.copy(this.#buffer, at, 0, headBytes)
      if (latest) this.#buffer[at]! |= LATEST
      at += headBytes
    }
    this.#at = at
  }

  finish(more: boolean): Buffer {
    this.#buffer[0] = more ? 1 : 0
    return this.#buffer.subarray(0, this.#at)
  }
}
