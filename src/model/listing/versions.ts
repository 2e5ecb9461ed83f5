import type { Placement, QuorumCaller } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import type { RpcReply, Transport } from '../../net/transport.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import type { Clock } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import { sha256 } from '../content/hashing.js'
import { encodeHead } from '../versions/codec.js'
import { boundedStart, isKeyWithinBounds } from '../versions/key-bounds.js'
import type { Objects } from '../versions/objects.js'
import type { VersionRecord } from '../versions/record.js'
import { checkHolds, commonNext, pagesByQuorum } from './objects.js'
import { fullEntry, isLatest, isUnsettledEntry, type Page, type PageEntry } from './page.js'
import { inTurns } from './turns.js'
import { buildVersionPage, entriesOf, type VersionEntry, type VersionPageRequest } from './version-page.js'

const METHOD = 'model/list-versions'
const MAX_LIMIT = 1001
const PROBE_ROWS = 100

/** A page of versions; common prefixes have no head. */
export interface VersionPage {
  entries: VersionEntry[]
  more: boolean
}

/** Listings of all versions and delete markers; works as Listing does, key by key where replicas differ. */
export class VersionListing {
  constructor(
    private readonly deps: {
      db: Db
      objects: Table<VersionRecord>
      versions: Table<VersionRecord>
      store: Objects
      transport: Transport
      quorum: QuorumCaller
      placement: Placement
      clock: Clock
    },
  ) {
    deps.transport.handle(METHOD, (body) => this.#serve(body))
  }

  /** Versions from a position on, by key and then newest first. @throws QuorumUnavailable */
  async page(request: VersionPageRequest): Promise<VersionPage> {
    const { bucket, prefix, delimiter, limit } = request
    if (limit === 0 || !isKeyWithinBounds(prefix)) return { entries: [], more: false }
    const start = boundedStart(request.start)
    // A text longer than any key has no versions.
    const afterVersion = start === request.start ? request.afterVersion : Buffer.alloc(0)
    const { agreed, pages } = await pagesByQuorum(this.deps, METHOD, bucket, [
      bucket,
      prefix,
      delimiter,
      start,
      afterVersion,
      limit,
    ])
    if (!agreed) return this.#reconcile(request, pages)
    if (agreed.entries.some(isUnsettledEntry)) return this.#reconcile(request, [agreed])
    return { entries: agreed.entries.map(toVersionEntry), more: agreed.more }
  }

  /** Whether a bucket has neither versions nor delete markers. @throws QuorumUnavailable */
  async isEmpty(bucket: Buffer): Promise<boolean> {
    const none = Buffer.alloc(0)
    const { entries } = await this.page({
      ...{ bucket, prefix: none, delimiter: none, start: none, afterVersion: none },
      limit: 1,
    })
    return entries.length === 0
  }

  async #reconcile(request: VersionPageRequest, pages: Page[]): Promise<VersionPage> {
    const shown = pages.map((page) => ({
      ...page,
      entries: page.entries.filter((entry) => fullEntry(entry).kind !== 'hidden'),
    }))
    const next = commonNext(shown)
    const end = commonEnd(shown)
    // The rows of a key as each replica has them, as one text to compare.
    const groups = new Map<string, Group>()
    for (const [i, page] of pages.entries()) {
      for (const raw of page.entries) {
        // Rows that are not shown may be from further on.
        if (end && raw.key.compare(end) > 0) continue
        const { key, kind, proof, shown: entry } = fullEntry(raw)
        const name = `${kind === 'prefix' ? 'p' : 'k'}${key.toString('latin1')}`
        let group = groups.get(name)
        if (!group) {
          group = { key, entries: [], texts: pages.map(() => ''), isUnsettled: false }
          groups.set(name, group)
        }
        if (isUnsettledEntry(entry)) group.isUnsettled = true
        const text = kind === 'object' ? entry.head! : proof
        group.texts[i] += `${kind === 'prefix' ? '/' : ''}${text.toString('latin1')}|`
        if (i === 0 && kind !== 'hidden') group.entries.push(toVersionEntry(entry))
      }
    }
    const resolved = await Promise.all(
      [...groups.values()].map(({ key, entries, texts, isUnsettled }) => {
        // A page may end in the middle of a key's versions.
        const agreed = !isUnsettled && texts.every((text) => text === texts[0]) && !(end && key.equals(end))
        if (agreed) return entries
        return texts.some((text) => text.startsWith('/'))
          ? this.#resolvePrefix(request.bucket, key)
          : this.#resolveKey(request, key)
      }),
    )
    const entries = resolved.flat().sort((a, b) => a.key.compare(b.key))
    if (entries.length === 0 && next)
      return this.page({ ...request, start: next, afterVersion: Buffer.alloc(0) })
    return {
      entries: entries.slice(0, request.limit),
      more: next !== undefined || entries.length > request.limit,
    }
  }

  async #resolveKey(request: VersionPageRequest, key: Buffer): Promise<VersionEntry[]> {
    const { store } = this.deps
    const [current, noncurrent] = await Promise.all([
      store.get(request.bucket, key, undefined, { body: false }),
      store.noncurrent(request.bucket, key),
    ])
    const others = current ? noncurrent.filter((v) => !v.id.equals(current.id)) : noncurrent
    return entriesOf(
      { key, current: current && encodeHead(current), noncurrent: others.map(encodeHead) },
      request,
    )
  }

  async #resolvePrefix(bucket: Buffer, prefix: Buffer): Promise<VersionEntry[]> {
    const end = prefixEnd(prefix)
    for (const table of [this.deps.objects, this.deps.versions]) {
      let start = prefix
      while (true) {
        const rows = await table.range(bucket, { start, ...(end && { end }), limit: PROBE_ROWS })
        if (rows.some((row) => row.state !== 'tombstone'))
          return [{ key: prefix, head: undefined, latest: false }]
        if (rows.length < PROBE_ROWS) break
        start = successor(table.schema.sortKey(rows.at(-1)!))
      }
    }
    return []
  }

  #serve(body: unknown): RpcReply | Promise<RpcReply> {
    if (!Array.isArray(body) || body.length !== 7) throw malformed()
    const [bucket, prefix, delimiter, start, afterVersion, limit, pageFrom] = body as unknown[]
    if (
      ![bucket, prefix, delimiter, start, afterVersion].every(Buffer.isBuffer) ||
      (bucket as Buffer).length !== 16
    ) {
      throw malformed()
    }
    if (typeof limit !== 'number' || !(limit >= 1 && limit <= MAX_LIMIT)) throw malformed()
    const tables = { objects: this.deps.objects.local, versions: this.deps.versions.local }
    checkHolds(this.deps, bucket as Buffer)
    const request = {
      bucket: bucket as Buffer,
      prefix: prefix as Buffer,
      delimiter: delimiter as Buffer,
      start: start as Buffer,
      afterVersion: afterVersion as Buffer,
      limit,
    }
    const { db, transport, clock } = this.deps
    const page = inTurns(buildVersionPage(db, tables, request, pageFrom === null), clock)
    const answer = (built: Buffer) => {
      const isWhole = pageFrom === null || pageFrom === transport.self
      const reply = { body: isWhole ? built : sha256(built) }
      const afterObjects = tables.objects.whenDurable(request.bucket, reply)
      if (!(afterObjects instanceof Promise)) return tables.versions.whenDurable(request.bucket, reply)
      return afterObjects.then(() => tables.versions.whenDurable(request.bucket, reply))
    }
    return page instanceof Promise ? page.then(answer) : answer(page)
  }
}

/** The rows of a key, or a common prefix, as the replicas sent them. */
interface Group {
  key: Buffer
  /** Of the first replica. */
  entries: VersionEntry[]
  /** One for each replica, to compare. */
  texts: string[]
  isUnsettled: boolean
}

/** The last key about which all replicas said something; undefined if all came to the end. */
function commonEnd(pages: readonly Page[]): Buffer | undefined {
  let end: Buffer | undefined
  for (const page of pages) {
    const last = page.entries.at(-1)
    if (page.more && last && (!end || last.key.compare(end) < 0)) end = last.key
  }
  return end
}

function toVersionEntry(entry: PageEntry): VersionEntry {
  return { ...entry, latest: isLatest(entry) }
}

function malformed(): CarportError {
  return new CarportError('InvalidArgument', 'malformed request for a listing of versions')
}
