import type { Reader } from '../../db/db.js'
import type { LocalTable } from '../../table/local.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import { keyOfSortKey, newestFirst, terminatedKey } from '../sort-keys.js'
import { headCreatedUs, headId, isLiveHead } from '../versions/codec.js'
import type { VersionRecord } from '../versions/record.js'
import { type PageEntry, PageWriter } from './page.js'
import { TURN_ROWS, type Turns } from './turns.js'

/** A request to one replica: versions and delete markers of a bucket from a position on. */
export interface VersionPageRequest {
  bucket: Buffer
  prefix: Buffer
  delimiter: Buffer
  /** First key, inclusive. */
  start: Buffer
  /** In the first key, versions up to and including this one are left out; empty: none. */
  afterVersion: Buffer
  limit: number
}

/** All versions of one key, newest first; the first is the current one if it comes from the object table. */
export interface KeyVersions {
  key: Buffer
  /** Heads; undefined current means that the key only has noncurrent versions. */
  current: Buffer | undefined
  noncurrent: Buffer[]
}

/** Walks keys with their versions on this node's copy, in order of keys. 'turn' says that the turn is used up. */
function* walkKeyVersions(
  reader: Reader,
  tables: { objects: LocalTable<VersionRecord>; versions: LocalTable<VersionRecord> },
  bucket: Buffer,
  range: { start: Buffer; end: Buffer | undefined },
  turn: Turn,
  hidden: (key: Buffer, head: Buffer) => void,
): Generator<KeyVersions | 'turn', void, void> {
  const { end } = range
  const versionsEnd = end && terminatedKey(end).subarray(0, -1)
  const objects = new LiveRows(
    (start) => tables.objects.heads(reader, bucket, { start, end }),
    range.start,
    hidden,
  )
  const versions = new LiveRows(
    (start) => tables.versions.heads(reader, bucket, { start, end: versionsEnd }),
    terminatedKey(range.start).subarray(0, -1),
    (sortKey, head) => hidden(keyOfSortKey(sortKey, 16), head),
  )
  function* rowOf(rows: LiveRows): Generator<'turn', HeadRow | undefined, void> {
    for (;;) {
      const row = rows.peek(turn)
      if (row !== 'later') return row
      objects.endTurn()
      versions.endTurn()
      yield 'turn'
    }
  }
  for (;;) {
    const object = yield* rowOf(objects)
    let version = yield* rowOf(versions)
    if (!object && !version) return
    const versionKey = version && keyOfSortKey(version.sortKey, 16)
    const order = !object ? 1 : !versionKey ? -1 : object.sortKey.compare(versionKey)
    const key = order <= 0 ? object!.sortKey : versionKey!
    const current = order <= 0 ? object!.head : undefined
    if (order <= 0) objects.shift()
    const noncurrent: Buffer[] = []
    while (version && keyOfSortKey(version.sortKey, 16).equals(key)) {
      // A version that became current again is still in the version table.
      if (!current || !headId(version.head).equals(headId(current))) noncurrent.push(version.head)
      versions.shift()
      version = yield* rowOf(versions)
    }
    if (noncurrent.length > 1) noncurrent.sort(newestHeadFirst)
    yield { key, current, noncurrent }
  }
}

/** Newest first; the null version's slot is out of order in the table. */
function newestHeadFirst(a: Buffer, b: Buffer): number {
  return headCreatedUs(b) - headCreatedUs(a) || headId(b).compare(headId(a))
}

type HeadRow = { sortKey: Buffer; head: Buffer }

/** Rows that a walk may still look at in this turn of the event loop. */
interface Turn {
  rowsLeft: number
}

/** Live rows of a table from a position on. A cursor lasts for one turn; the position stays. */
class LiveRows {
  #rows: Iterator<HeadRow> | undefined
  #row: HeadRow | undefined
  #isEnded = false

  /**
   * @param open opens a cursor at a sort key, inclusive
   * @param hidden told of each row that is passed over
   */
  constructor(
    private readonly open: (start: Buffer) => Iterator<HeadRow>,
    private start: Buffer,
    private readonly hidden: (sortKey: Buffer, head: Buffer) => void,
  ) {}

  /** The row at the position, undefined at the end; 'later' if the turn is used up before it is known. */
  peek(turn: Turn): HeadRow | undefined | 'later' {
    while (!this.#row && !this.#isEnded) {
      this.#rows ??= this.open(this.start)
      const { done, value } = this.#rows.next()
      if (done) this.#isEnded = true
      else if (turn.rowsLeft-- <= 0) {
        this.start = Buffer.from(value.sortKey)
        return 'later'
      } else if (isLiveHead(value.head)) {
        this.#row = { sortKey: Buffer.from(value.sortKey), head: Buffer.from(value.head) }
        this.start = this.#row.sortKey
      } else this.hidden(value.sortKey, value.head)
    }
    return this.#row
  }

  /** Goes on behind the row at the position. */
  shift(): void {
    this.start = successor(this.#row!.sortKey)
    this.#row = undefined
  }

  /** Lets go of the cursor. */
  endTurn(): void {
    this.#rows?.return?.()
    this.#rows = undefined
  }
}

/** A page of this node's copy, encoded as by buildPage; see LATEST for how the current version is told. */
export function* buildVersionPage(
  reader: Reader,
  tables: { objects: LocalTable<VersionRecord>; versions: LocalTable<VersionRecord> },
  request: VersionPageRequest,
  full = false,
): Turns<Buffer> {
  const { bucket, prefix, delimiter, limit } = request
  const turn: Turn = { rowsLeft: TURN_ROWS }
  const out = new PageWriter(full)
  const hidden = (key: Buffer, head: Buffer) => out.hidden(key, head)
  const end = prefixEnd(prefix)
  let entries = 0
  let start: Buffer | undefined = request.start.compare(prefix) > 0 ? request.start : prefix
  while (start) {
    let restart: Buffer | undefined
    for (const versions of walkKeyVersions(reader, tables, bucket, { start, end }, turn, hidden)) {
      if (versions === 'turn') {
        yield
        turn.rowsLeft = TURN_ROWS
        continue
      }
      const cut = delimiter.length > 0 ? versions.key.indexOf(delimiter, prefix.length) : -1
      if (cut >= 0) {
        if (entries === limit) return out.finish(true)
        const folded = versions.key.subarray(0, cut + delimiter.length)
        out.fold(folded, versions.key, versions.current ?? versions.noncurrent[0]!)
        entries++
        restart = prefixEnd(folded)
        break
      }
      for (const entry of entriesOf(versions, request)) {
        if (entries === limit) return out.finish(true)
        out.entry(entry.key, entry.head!, entry.latest, true)
        entries++
      }
    }
    start = restart
  }
  return out.finish(false)
}

/** A version in a page. */
export interface VersionEntry extends PageEntry {
  latest: boolean
}

/** The entries of a key that a request is to show: all, or those behind its position. */
export function entriesOf(versions: KeyVersions, request: VersionPageRequest): VersionEntry[] {
  const all: VersionEntry[] = versions.noncurrent.map((head) => ({ key: versions.key, head, latest: false }))
  if (versions.current) all.unshift({ key: versions.key, head: versions.current, latest: true })
  if (request.afterVersion.length === 0 || !versions.key.equals(request.start)) return all
  const at = all.findIndex((entry) => headId(entry.head!).equals(request.afterVersion))
  if (at >= 0) return all.slice(at + 1)
  // That version is gone since: go on with what is older.
  const position = newestFirst(request.afterVersion)
  return all.filter((entry) => newestFirst(headId(entry.head!)).compare(position) > 0)
}
