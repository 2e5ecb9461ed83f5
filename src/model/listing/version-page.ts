import type { Reader } from '../../db/db.js'
import type { LocalTable } from '../../table/local.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import { isOlder, keyOfSortKey, NULL_SLOT, newestFirst, terminatedKey, versionSortKey } from '../sort-keys.js'
import { headId, isLiveHead } from '../versions/codec.js'
import type { VersionRecord } from '../versions/record.js'
import { fullEntry, PAGE_ROWS_MAX, type Page, type PageEntry, PageWriter } from './page.js'
import { TURN_ROWS, type Turns } from './turns.js'

const ID_BYTES = 16
const NO_VERSION = Buffer.alloc(0)
/** Stands in a page's position for "behind all versions of the key": no version is as old. */
const ALL_VERSIONS = Buffer.alloc(ID_BYTES)

/** A place in the order of a listing of versions: by key, and newest first within a key. */
export interface VersionPosition {
  /** First key, inclusive. */
  start: Buffer
  /** In the first key, versions up to and including this one are left out; empty: none. */
  afterVersion: Buffer
}

/** A request to one replica: versions and delete markers of a bucket from a position on. */
export interface VersionPageRequest extends VersionPosition {
  bucket: Buffer
  prefix: Buffer
  delimiter: Buffer
  limit: number
}

/** A version in a page. */
export interface VersionEntry extends PageEntry {
  latest: boolean
}

interface Tables {
  objects: LocalTable<VersionRecord>
  versions: LocalTable<VersionRecord>
}

/** Newest first, by id, which is the order in which the versions were written. */
function newestHeadFirst(a: Buffer, b: Buffer): number {
  return newestFirst(headId(a)).compare(newestFirst(headId(b)))
}

/**
 * A page of this node's copy, encoded as by buildPage; see LATEST for how the current version is told. Of a key with very
 * many versions only as many are held at a time as the page has room for.
 * @param rowsMax rows of each table that the page looks at, whatever it finds: the next page goes on from there
 */
export function buildVersionPage(
  reader: Reader,
  tables: Tables,
  request: VersionPageRequest,
  full = false,
  rowsMax = PAGE_ROWS_MAX,
): Turns<Buffer> {
  return new VersionWalk(reader, tables, request, full, rowsMax).run()
}

class VersionWalk {
  readonly #turn: Turn = { rowsLeft: TURN_ROWS }
  readonly #out: PageWriter
  readonly #objects: LiveRows
  readonly #versions: LiveRows
  #entries = 0

  constructor(
    private readonly reader: Reader,
    private readonly tables: Tables,
    private readonly request: VersionPageRequest,
    full: boolean,
    rowsMax: number,
  ) {
    const { bucket, prefix } = request
    this.#out = new PageWriter(full, Number.isFinite(rowsMax))
    const hidden = (key: Buffer, head: Buffer) => this.#out.hidden(key, head)
    const end = prefixEnd(prefix)
    this.#objects = new LiveRows(
      (start) => tables.objects.heads(reader, bucket, { start, end }),
      hidden,
      rowsMax,
    )
    const versionsEnd = end && terminatedKey(end).subarray(0, -1)
    this.#versions = new LiveRows(
      (start) => tables.versions.heads(reader, bucket, { start, end: versionsEnd }),
      (sortKey, head) => hidden(keyOfSortKey(sortKey, ID_BYTES), head),
      rowsMax,
    )
  }

  /** Walks, and lets go of its cursors however it ends: an open one keeps the database from using pages again. */
  *run(): Turns<Buffer> {
    try {
      return yield* this.#walk()
    } finally {
      this.#objects.endTurn()
      this.#versions.endTurn()
    }
  }

  *#walk(): Turns<Buffer> {
    const { prefix, delimiter, limit } = this.request
    const out = this.#out
    let folded: Buffer | undefined
    let done: Buffer | undefined
    this.#seekStart()
    for (;;) {
      const object = yield* this.#rowOf(this.#objects)
      const version = yield* this.#rowOf(this.#versions)
      let key = firstOf(object?.sortKey, version && keyOfSortKey(version.sortKey, ID_BYTES))
      const cut = this.#cut()
      let head = version?.head
      // Of the key at which a walk was cut, and of those behind it, rows may be missing.
      if (cut && (!key || key.compare(cut.key) > 0)) {
        if (folded && cut.key.subarray(0, folded.length).equals(folded)) return out.finish(true)
        // Of that key, the null version may belong before the cut.
        head = done?.equals(cut.key) ? undefined : this.#nullBefore(cut)
        if (!head) return out.finish(true, Buffer.concat([cut.key, cut.id]))
        key = cut.key
      }
      if (!key) return out.finish(false)
      done = key
      const isCurrent = object?.sortKey.equals(key) === true
      const fold = delimiter.length > 0 ? key.indexOf(delimiter, prefix.length) : -1
      if (fold >= 0) {
        if (this.#entries === limit) return out.finish(true)
        folded = key.subarray(0, fold + delimiter.length)
        out.fold(folded, key, isCurrent ? object.head : head!)
        this.#entries++
        const next = prefixEnd(folded)
        if (!next) return out.finish(false)
        this.#seek(next)
        continue
      }
      if (isCurrent) this.#objects.shift()
      const current = isCurrent ? object.head : undefined
      for (const head of yield* this.#versionsOf(key, current)) {
        if (this.#entries === limit) return out.finish(true)
        out.entry(key, head, head === current, true)
        this.#entries++
      }
    }
  }

  /** Goes to where the page begins. */
  #seekStart(): void {
    const { prefix, start, afterVersion } = this.request
    this.#seek(start.compare(prefix) > 0 ? start : prefix)
    if (afterVersion.length === 0 || start.compare(prefix) < 0) return
    this.#versions.seek(successor(versionSortKey(start, afterVersion, false)))
  }

  #seek(key: Buffer): void {
    this.#objects.seek(key)
    this.#versions.seek(terminatedKey(key).subarray(0, -1))
  }

  *#rowOf(rows: LiveRows): Generator<void, HeadRow | undefined, void> {
    for (;;) {
      const row = rows.peek(this.#turn)
      if (row !== 'later') return row
      this.#objects.endTurn()
      this.#versions.endTurn()
      yield
      this.#turn.rowsLeft = TURN_ROWS
    }
  }

  /** The place up to which both tables were looked at; undefined if both may be looked at further. */
  #cut(): { key: Buffer; id: Buffer } | undefined {
    const byObjects = this.#objects.cutAt && { key: this.#objects.cutAt, id: ALL_VERSIONS }
    const sortKey = this.#versions.cutAt
    if (!sortKey) return byObjects
    const slot = sortKey.subarray(-ID_BYTES)
    const id = slot.equals(NULL_SLOT) ? ALL_VERSIONS : newestFirst(slot)
    const byVersions = { key: keyOfSortKey(sortKey, ID_BYTES), id }
    return byObjects && byObjects.key.compare(byVersions.key) < 0 ? byObjects : byVersions
  }

  /** The versions of a key from the position on, newest first; at least one more than there is room for if there are more. */
  *#versionsOf(key: Buffer, current: Buffer | undefined): Generator<void, Buffer[], void> {
    const room = this.request.limit - this.#entries
    const found: Buffer[] = []
    let lookedUpTo: Buffer | undefined
    for (;;) {
      const version = yield* this.#rowOf(this.#versions)
      if (!version || !keyOfSortKey(version.sortKey, ID_BYTES).equals(key)) break
      this.#versions.shift()
      const id = headId(version.head)
      // A version that became current again is still in the version table.
      if ((current && id.equals(headId(current))) || !this.#isAsked(key, id)) continue
      found.push(version.head)
      if (found.length > room) {
        lookedUpTo = id
        break
      }
    }
    const cut = this.#cut()
    if (cut?.key.equals(key)) lookedUpTo ??= cut.id
    const isNext = (id: Buffer) => this.#isAsked(key, id) && !(lookedUpTo && isOlder(id, lookedUpTo))
    if (current && isNext(headId(current))) found.push(current)
    // The null version's slot is the last one, whatever its age: it is looked up where the others are not all known.
    const nullHead = lookedUpTo && this.#nullHead(key)
    const isIn = (id: Buffer) => [...found, current].some((head) => head && headId(head).equals(id))
    if (nullHead && isNext(headId(nullHead)) && !isIn(headId(nullHead))) found.push(nullHead)
    return found.sort(newestHeadFirst)
  }

  /** Whether a version of a key is behind the position of the request. */
  #isAsked(key: Buffer, id: Buffer): boolean {
    const { start, afterVersion } = this.request
    return afterVersion.length === 0 || !key.equals(start) || isOlder(id, afterVersion)
  }

  /** The null version of the key at which a walk was cut, if it belongs before that. */
  #nullBefore({ key, id }: { key: Buffer; id: Buffer }): Buffer | undefined {
    const head = id.equals(ALL_VERSIONS) ? undefined : this.#nullHead(key)
    return head && this.#isAsked(key, headId(head)) && !isOlder(headId(head), id) ? head : undefined
  }

  #nullHead(key: Buffer): Buffer | undefined {
    const slot = versionSortKey(key, NULL_SLOT, true)
    const head = this.tables.versions.peekHead(this.reader, this.request.bucket, slot)
    return head && isLiveHead(head) ? Buffer.from(head) : undefined
  }
}

function firstOf(a: Buffer | undefined, b: Buffer | undefined): Buffer | undefined {
  return a && b ? (a.compare(b) <= 0 ? a : b) : (a ?? b)
}

type HeadRow = { sortKey: Buffer; head: Buffer }

/** Rows that a walk may still look at in this turn of the event loop. */
interface Turn {
  rowsLeft: number
}

/** Live rows of a table from a position on. A cursor lasts for one turn; the position stays. */
class LiveRows {
  #start: Buffer = NO_VERSION
  #rows: Iterator<HeadRow> | undefined
  #row: HeadRow | undefined
  #isEnded = false
  #last: Buffer | undefined
  /** The sort key of the last row that was looked at, if there were more than may be: there is no row behind it. */
  cutAt: Buffer | undefined

  /**
   * @param open opens a cursor at a sort key, inclusive
   * @param hidden told of each row that is passed over
   * @param rowsLeft rows that may be looked at
   */
  constructor(
    private readonly open: (start: Buffer) => Iterator<HeadRow>,
    private readonly hidden: (sortKey: Buffer, head: Buffer) => void,
    private rowsLeft: number,
  ) {}

  /** Goes on to a sort key, unless the row at the position is behind it, or the walk was cut. */
  seek(start: Buffer): void {
    if (this.#row && this.#row.sortKey.compare(start) >= 0) return
    this.endTurn()
    this.#start = start
    this.#row = undefined
    this.#isEnded = this.cutAt !== undefined
  }

  /** The row at the position, undefined at the end; 'later' if the turn is used up before it is known. */
  peek(turn: Turn): HeadRow | undefined | 'later' {
    while (!this.#row && !this.#isEnded) {
      this.#rows ??= this.open(this.#start)
      const { done, value } = this.#rows.next()
      if (done) this.#isEnded = true
      else if (turn.rowsLeft-- <= 0) {
        this.#start = Buffer.from(value.sortKey)
        return 'later'
      } else if (this.rowsLeft <= 0) {
        this.cutAt = this.#last
        this.#isEnded = true
      } else {
        if (--this.rowsLeft === 0) this.#last = Buffer.from(value.sortKey)
        if (isLiveHead(value.head)) {
          this.#row = { sortKey: Buffer.from(value.sortKey), head: Buffer.from(value.head) }
          this.#start = this.#row.sortKey
        } else this.hidden(value.sortKey, value.head)
      }
    }
    return this.#row
  }

  /** Goes on behind the row at the position. */
  shift(): void {
    this.#start = successor(this.#row!.sortKey)
    this.#row = undefined
  }

  /** Lets go of the cursor. */
  endTurn(): void {
    this.#rows?.return?.()
    this.#rows = undefined
  }
}

/** Where to go on after a page, full or not; undefined if it came to the end. */
export function nextPosition({ more, entries, position }: Page): VersionPosition | undefined {
  if (!more) return undefined
  if (position) {
    const key = position.subarray(0, -ID_BYTES)
    const id = position.subarray(-ID_BYTES)
    if (id.equals(ALL_VERSIONS)) return { start: successor(key), afterVersion: NO_VERSION }
    return { start: key, afterVersion: id }
  }
  const last = entries.findLast((entry) => fullEntry(entry).kind !== 'hidden')
  if (!last) return undefined
  const isFold = last.head === undefined || fullEntry(last).kind === 'prefix'
  if (!isFold) return { start: last.key, afterVersion: headId(last.head!) }
  const start = prefixEnd(last.key)
  return start && { start, afterVersion: NO_VERSION }
}

/** Where to go on after what all pages speak of; undefined if all came to the end. */
export function commonPosition(pages: readonly Page[]): VersionPosition | undefined {
  let least: VersionPosition | undefined
  for (const page of pages) {
    const next = nextPosition(page)
    if (next && (!least || isBefore(next, least))) least = next
  }
  return least
}

/** Whether a position stands before another one. */
export function isBefore(a: VersionPosition, b: VersionPosition): boolean {
  const order = a.start.compare(b.start)
  if (order !== 0) return order < 0
  if (a.afterVersion.length === 0 || b.afterVersion.length === 0)
    return a.afterVersion.length < b.afterVersion.length
  return isOlder(b.afterVersion, a.afterVersion)
}
