import type { Reader } from '../../db/db.js'
import type { LocalTable } from '../../table/local.js'
import { prefixEnd } from '../../table/row-keys.js'
import { CarportError } from '../../util/errors.js'
import { sha256 } from '../content/hashing.js'
import { decodeHead, headGeneration, isObjectHead, listedBytes } from '../versions/codec.js'
import { isUnsettled } from '../versions/promotion.js'
import type { VersionRecord } from '../versions/record.js'
import { TURN_ROWS, type Turns } from './turns.js'

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

/** Bytes of a head that show which version it is: everything up to the id. Enough to compare two replicas' rows. */
const ORDER_BYTES = 30
/** Heads looked at before a scan that finds nothing to fold is restarted behind a common prefix. */
const SKIP_AFTER = 8
/** Rows that one page looks at, whatever it finds: the next page goes on from there. */
export const PAGE_ROWS_MAX = 20_000

/**
 * A page of this node's copy. Common prefixes are skipped over, not walked. It contains every row that exists throughout the
 * walk; a row that changes during it is included as found.
 *
 * Replicas whose pages are equal must have no reason to differ later. So a page accounts for what it does not show: for
 * deleted keys, since a deletion that reached one replica only hides a key from some readers and not from others; and for
 * one key below each common prefix, the first one, since replicas that each missed another deletion would show a prefix
 * below which nothing is left. Full pages, which are only asked for when pages differ, have these as entries.
 */
export function* buildPage(
  reader: Reader,
  objects: LocalTable<VersionRecord>,
  request: PageRequest,
  full = false,
  rowsMax = PAGE_ROWS_MAX,
): Turns<Buffer> {
  const { bucket, prefix, delimiter, limit } = request
  const out = new PageWriter(full, Number.isFinite(rowsMax))
  const end = prefixEnd(prefix)
  const folds = delimiter.length > 0
  let entries = 0
  let more = false
  let folded: Buffer | undefined
  let seenInFold = 0
  let rows = 0
  let left = TURN_ROWS
  let last: Buffer | undefined
  let start: Buffer | undefined = Buffer.compare(request.start, prefix) > 0 ? request.start : prefix
  while (start) {
    if (left <= 0) {
      yield
      left = TURN_ROWS
    }
    let next: Buffer | undefined
    objects.scan(reader, bucket, { start, end }, (key, head) => {
      if (left-- <= 0) {
        next = Buffer.from(key)
        return false
      }
      if (folded && startsWith(key, folded)) {
        // Short groups are cheaper to walk than to seek over.
        if (++seenInFold < SKIP_AFTER) return true
        next = prefixEnd(folded)
        return false
      }
      folded = undefined
      if (rows++ === rowsMax) {
        more = true
        return false
      }
      if (rows === rowsMax) last = Buffer.from(key)
      if (!isObjectHead(head)) {
        out.hidden(key, head)
        // A page does not end behind this one: as a marker it would mean all that the common prefix folds.
        if (rows === rowsMax && folds && isCommonPrefix(key, prefix, delimiter)) rows--
        return true
      }
      if (entries === limit) {
        more = true
        last = undefined
        return false
      }
      entries++
      const cut = folds ? key.indexOf(delimiter, prefix.length) : -1
      if (cut < 0) out.entry(key, head, true)
      else {
        folded = Buffer.from(key.subarray(0, cut + delimiter.length))
        seenInFold = 0
        out.fold(folded, key, head)
        if (last) last = folded
      }
      return true
    })
    start = next
  }
  return out.finish(more, more ? last : undefined)
}

/** A page as one replica sent it. */
export interface Page {
  entries: PageEntry[]
  more: boolean
  /** Where the page ends if not with its last entry: a key, or a common prefix. */
  position: Buffer | undefined
}

/** [more u8][digest of what is not shown][length of the position u16] */
const HEADER_BYTES = 19
const DIGEST_BYTES = 16

/** Reads a page, full or not. @throws CarportError InvalidArgument if it is cut short */
export function readPage(page: Buffer): Page {
  if (page.length < HEADER_BYTES) throw cutShort()
  const end = page.length - page.readUInt16BE(HEADER_BYTES - 2)
  const entries = readEntries(page, HEADER_BYTES, end)
  return { more: page[0] === 1, entries, position: end < page.length ? page.subarray(end) : undefined }
}

/**
 * Reads a page in the form of the first release: [more u8] and the entries that are shown. It accounts for nothing else.
 * @throws CarportError InvalidArgument if it is cut short
 */
export function readEarlierPage(page: Buffer): Page {
  if (page.length === 0) throw cutShort()
  return { more: page[0] === 1, entries: readEntries(page, 1, page.length), position: undefined }
}

/** A page that is not full and has no position, in the form of the first release. The buffer of the page is used. */
export function toEarlierPage(page: Buffer): Buffer {
  for (const { head } of readPage(page).entries) if (head) head[0]! &= ~UNSETTLED
  const at = HEADER_BYTES - 1
  page[at] = page[0]!
  return page.subarray(at)
}

function cutShort(): CarportError {
  return new CarportError('InvalidArgument', 'page of a listing is cut short')
}

function readEntries(page: Buffer, from: number, end: number): PageEntry[] {
  const entries: PageEntry[] = []
  let at = from
  while (at < end) {
    if (at + 2 > end) throw cutShort()
    const keyEnd = at + 2 + page.readUInt16BE(at)
    if (keyEnd + 2 > end) throw cutShort()
    const headBytes = page.readUInt16BE(keyEnd)
    const headEnd = keyEnd + 2 + headBytes
    if (headEnd > end) throw cutShort()
    entries.push({
      key: page.subarray(at + 2, keyEnd),
      head: headBytes > 0 ? page.subarray(keyEnd + 2, headEnd) : undefined,
    })
    at = headEnd
  }
  return entries
}

/** An entry of a full page. */
export interface FullEntry {
  key: Buffer
  kind: 'object' | 'prefix' | 'hidden'
  /** Equal on replicas that mean the same. */
  proof: Buffer
  /** The entry of a plain page. */
  shown: PageEntry
}

/** What the entry of a full page means. */
export function fullEntry({ key, head }: PageEntry): FullEntry {
  const flags = head?.[0] ?? FOLD
  if (flags & FOLD) return { key, kind: 'prefix', proof: head ?? key, shown: { key, head: undefined } }
  const kind = flags & HIDDEN ? 'hidden' : 'object'
  return { key, kind, proof: head!.subarray(0, ORDER_BYTES), shown: { key, head } }
}

/** Whether a key is the common prefix that it would be folded into. */
function isCommonPrefix(key: Buffer, prefix: Buffer, delimiter: Buffer): boolean {
  const at = key.indexOf(delimiter, prefix.length)
  return at >= 0 && at + delimiter.length === key.length
}

function startsWith(key: Buffer, prefix: Buffer): boolean {
  return key.length >= prefix.length && key.compare(prefix, 0, prefix.length, 0, prefix.length) === 0
}

/** Set in the first byte of a page's head (the format number) if the version is its key's current one. */
const LATEST = 0x80
/** Set there in full pages: the row is not shown; the entry is a common prefix, and what follows is a key below it. */
const HIDDEN = 0x40
const FOLD = 0x20
/** Set there if the version became current again and has to be read by itself before it is shown; see promotion.ts. */
const UNSETTLED = 0x10

/** Whether an entry of a page of versions is the current version of its key. */
export function isLatest(entry: PageEntry): boolean {
  return entry.head !== undefined && (entry.head[0]! & LATEST) !== 0
}

/** Whether the version of an entry has to be read by itself before it is shown. */
export function isUnsettledEntry({ head }: PageEntry): boolean {
  return head !== undefined && (head[0]! & (UNSETTLED | FOLD)) === UNSETTLED
}

function isUnsettledHead(head: Buffer): boolean {
  return headGeneration(head) > 0 && isUnsettled(decodeHead(head, () => undefined))
}

/** A buffer that grows, with entries [key length u16][key][value length u16][value]. */
class EntryBuffer {
  bytes = Buffer.allocUnsafeSlow(16 * 1024)
  at = HEADER_BYTES

  /** Returns where the value begins. */
  add(key: Buffer, value: Buffer | undefined, valueBytes: number): number {
    const needed = this.at + 4 + key.length + valueBytes
    if (needed > this.bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
      this.bytes.copy(grown, 0, 0, this.at)
      this.bytes = grown
    }
    let at = this.bytes.writeUInt16BE(key.length, this.at)
    at += key.copy(this.bytes, at)
    at = this.bytes.writeUInt16BE(valueBytes, at)
    const valueAt = at
    if (value) at += value.copy(this.bytes, at, 0, valueBytes)
    this.at = at
    return valueAt
  }
}

/** Writes a page, or a full page. */
export class PageWriter {
  readonly #shown = new EntryBuffer()
  #hidden: EntryBuffer | undefined

  /** @param accounts whether the page accounts for rows that are not shown; without a bound of these it had to hold any number */
  constructor(
    private readonly full: boolean,
    private readonly accounts = true,
  ) {}

  /**
   * A version that is shown. Heads are cut to what listings show.
   * @param isCurrent it is the current one
   * @param isMarked the page tells current versions from others
   */
  entry(key: Buffer, head: Buffer, isCurrent: boolean, isMarked = false): void {
    const at = this.#shown.add(key, head, listedBytes(head))
    if (isCurrent && isMarked) this.#shown.bytes[at]! |= LATEST
    if (isCurrent && isUnsettledHead(head)) this.#shown.bytes[at]! |= UNSETTLED
  }

  /** A row that was met, and is not shown. */
  hidden(key: Buffer, head: Buffer): void {
    if (!this.accounts) return
    const at = this.#account().add(key, head, ORDER_BYTES)
    if (this.full) this.#shown.bytes[at]! |= HIDDEN
  }

  /** A common prefix, with the first row below it. */
  fold(prefix: Buffer, key: Buffer, head: Buffer): void {
    if (!this.full) {
      this.#shown.add(prefix, undefined, 0)
      this.#account().add(key, head, ORDER_BYTES)
      return
    }
    const witness = Buffer.concat([head.subarray(0, ORDER_BYTES), key])
    witness[0]! |= FOLD
    this.#shown.add(prefix, witness, witness.length)
  }

  /** @param position where the page ends, if not with its last entry */
  finish(more: boolean, position?: Buffer): Buffer {
    const { bytes, at } = this.#shown
    bytes[0] = more ? 1 : 0
    bytes.fill(0, 1, HEADER_BYTES)
    const hidden = this.#hidden
    if (hidden) sha256(hidden.bytes.subarray(HEADER_BYTES, hidden.at)).copy(bytes, 1, 0, DIGEST_BYTES)
    if (!position) return bytes.subarray(0, at)
    bytes.writeUInt16BE(position.length, HEADER_BYTES - 2)
    return Buffer.concat([bytes.subarray(0, at), position])
  }

  #account(): EntryBuffer {
    if (this.full) return this.#shown
    this.#hidden ??= new EntryBuffer()
    return this.#hidden
  }
}
