import type { Reader } from '../../db/db.js'
import type { LocalTable } from '../../table/local.js'
import { prefixEnd } from '../../table/row-keys.js'
import { keyOfSortKey, newestFirst, terminatedKey } from '../sort-keys.js'
import { headCreatedUs, headId, isLiveHead } from '../versions/codec.js'
import type { VersionRecord } from '../versions/record.js'
import { type PageEntry, PageWriter } from './page.js'

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

/** Walks keys with their versions on this node's copy, in order of keys. Consume it before yielding to the event loop. */
function* walkKeyVersions(
  reader: Reader,
  tables: { objects: LocalTable<VersionRecord>; versions: LocalTable<VersionRecord> },
  bucket: Buffer,
  range: { start: Buffer; end: Buffer | undefined },
  hidden: (key: Buffer, head: Buffer) => void = () => {},
): Generator<KeyVersions> {
  const objects = tables.objects.heads(reader, bucket, range)
  const versions = tables.versions.heads(reader, bucket, {
    start: terminatedKey(range.start).subarray(0, -1),
    end: range.end && terminatedKey(range.end).subarray(0, -1),
  })
  const nextObject = () => nextLive(objects, hidden)
  const nextVersion = () => nextLive(versions, (sortKey, head) => hidden(keyOfSortKey(sortKey, 16), head))
  let object = nextObject()
  let version = nextVersion()
  while (object || version) {
    const versionKey = version && keyOfSortKey(version.sortKey, 16)
    const order = !object ? 1 : !versionKey ? -1 : object.sortKey.compare(versionKey)
    const key = Buffer.from(order <= 0 ? object!.sortKey : versionKey!)
    const current = order <= 0 ? Buffer.from(object!.head) : undefined
    if (order <= 0) object = nextObject()
    const noncurrent: Buffer[] = []
    while (version && keyOfSortKey(version.sortKey, 16).equals(key)) {
      // A version that became current again is still in the version table.
      if (!current || !headId(version.head).equals(headId(current)))
        noncurrent.push(Buffer.from(version.head))
      version = nextVersion()
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

function nextLive(
  rows: Iterator<HeadRow>,
  hidden: (sortKey: Buffer, head: Buffer) => void,
): HeadRow | undefined {
  for (let next = rows.next(); !next.done; next = rows.next()) {
    const { sortKey, head } = next.value
    if (isLiveHead(head)) return next.value
    hidden(sortKey, head)
  }
  return undefined
}

/** A page of this node's copy, encoded as by buildPage; see LATEST for how the current version is told. */
export function buildVersionPage(
  reader: Reader,
  tables: { objects: LocalTable<VersionRecord>; versions: LocalTable<VersionRecord> },
  request: VersionPageRequest,
  full = false,
): Buffer {
  const { bucket, prefix, delimiter, limit } = request
  const out = new PageWriter(full)
  const hidden = (key: Buffer, head: Buffer) => out.hidden(key, head)
  const end = prefixEnd(prefix)
  let entries = 0
  let start: Buffer | undefined = request.start.compare(prefix) > 0 ? request.start : prefix
  while (start) {
    let restart: Buffer | undefined
    for (const versions of walkKeyVersions(reader, tables, bucket, { start, end }, hidden)) {
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
