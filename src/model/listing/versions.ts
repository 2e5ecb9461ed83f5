import type { Placement, QuorumCaller } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import type { Transport } from '../../net/transport.js'
import type { Table } from '../../table/table.js'
import type { Clock } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import { isOlder } from '../sort-keys.js'
import { encodeHead } from '../versions/codec.js'
import { boundedStart, isKeyWithinBounds } from '../versions/key-bounds.js'
import type { Objects } from '../versions/objects.js'
import type { VersionRecord } from '../versions/record.js'
import { live } from '../versions/selector.js'
import { PROBES_MAX, type ProbeBudget, RESOLVED_AT_ONCE, STEPS_MAX } from './objects.js'
import { fullEntry, isLatest, isUnsettledEntry, PAGE_ROWS_MAX, type Page, type PageEntry } from './page.js'
import { checkHolds, type PageAnswer, type PageMethods, pagesByQuorum, servePages } from './quorum-pages.js'
import {
  buildVersionPage,
  commonPosition,
  nextPosition,
  type VersionEntry,
  type VersionPageRequest,
  type VersionPosition,
} from './version-page.js'
import { liveBelow } from './version-probe.js'

const METHODS: PageMethods = { today: 'model/version-page', earlier: 'model/list-versions' }
const MAX_LIMIT = 1001
const ID_BYTES = 16

/** A page of versions; common prefixes have no head. */
export interface VersionPage {
  entries: VersionEntry[]
  more: boolean
  /** Where the next page begins, if that is not behind the last entry. Always there if a page without entries has more. */
  next?: VersionPosition | undefined
}

/** What a quorum has of one key from a position on. */
interface KeyVersions {
  entries: VersionEntry[]
  /** Where the search ended, if before the end of the key. */
  next?: VersionPosition | undefined
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
    servePages(deps, METHODS, (body) => this.#answer(body))
  }

  /**
   * Versions from a position on, by key and then newest first. A page may have no entries and more to come: one request looks at
   * so many rows at the most.
   * @throws QuorumUnavailable
   */
  async page(
    request: VersionPageRequest,
    budget: ProbeBudget = { probes: PROBES_MAX },
  ): Promise<VersionPage> {
    if (request.limit === 0 || !isKeyWithinBounds(request.prefix)) return { entries: [], more: false }
    const start = boundedStart(request.start)
    // A text longer than any key has no versions.
    const afterVersion = start === request.start ? request.afterVersion : Buffer.alloc(0)
    let at: VersionPosition = { start, afterVersion }
    for (let step = 1; ; step++) {
      const page = await this.#step({ ...request, ...at }, budget)
      if (page.entries.length > 0 || !page.next || step === STEPS_MAX || budget.probes <= 0) return page
      at = page.next
    }
  }

  async #step(request: VersionPageRequest, budget: ProbeBudget): Promise<VersionPage> {
    const { bucket, prefix, delimiter, start, afterVersion, limit } = request
    const wire = [bucket, prefix, delimiter, start, afterVersion, limit]
    const { agreed, pages } = await pagesByQuorum(this.deps, METHODS, bucket, wire)
    if (!agreed) return this.#reconcile(request, pages, budget)
    if (agreed.entries.some(isUnsettledEntry)) return this.#reconcile(request, [agreed], budget)
    return { entries: agreed.entries.map(toVersionEntry), more: agreed.more, next: nextPosition(agreed) }
  }

  /** Whether a bucket has neither versions nor delete markers. @throws QuorumUnavailable */
  async isEmpty(bucket: Buffer): Promise<boolean> {
    const none = Buffer.alloc(0)
    let at: VersionPosition | undefined = { start: none, afterVersion: none }
    while (at) {
      const page: VersionPage = await this.page({ bucket, prefix: none, delimiter: none, ...at, limit: 1 })
      if (page.entries.length > 0) return false
      at = page.next
    }
    return true
  }

  async #reconcile(request: VersionPageRequest, pages: Page[], budget: ProbeBudget): Promise<VersionPage> {
    const next = commonPosition(pages)
    const end = commonEnd(pages)
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
    const entries: VersionEntry[] = []
    let cut: VersionPosition | undefined
    await eachLimited([...groups.values()], RESOLVED_AT_ONCE, async (group) => {
      const found = await this.#resolve(request, group, end, budget)
      for (const entry of found.entries) entries.push(entry)
      if (found.next && (!cut || found.next.start.compare(cut.start) < 0)) cut = found.next
    })
    entries.sort((a, b) => a.key.compare(b.key))
    const kept = entries.filter(({ key }) => !cut || key.compare(cut.start) <= 0)
    if (kept.length > request.limit) return { entries: kept.slice(0, request.limit), more: true }
    const more = cut ?? next
    // What pages have of their last key is a part of it, and a quorum was asked for all: the next page is behind the last entry.
    return { entries: kept, more: more !== undefined, next: cut ?? (kept.length === 0 ? next : undefined) }
  }

  async #resolve(
    request: VersionPageRequest,
    group: Group,
    end: Buffer | undefined,
    budget: ProbeBudget,
  ): Promise<KeyVersions> {
    const { key, entries, texts, isUnsettled } = group
    // A page may end in the middle of a key's versions.
    const agreed = !isUnsettled && texts.every((text) => text === texts[0]) && !(end && key.equals(end))
    if (agreed) return { entries }
    if (!texts.some((text) => text.startsWith('/'))) return this.#resolveKey(request, key)
    const { isLive, unknownFrom } = await liveBelow(this.deps, request, key, budget)
    return { entries: isLive ? [{ key, head: undefined, latest: false }] : [], next: unknownFrom }
  }

  async #resolveKey(request: VersionPageRequest, key: Buffer): Promise<KeyVersions> {
    const { store } = this.deps
    const { bucket, limit } = request
    const marker = request.start.equals(key) && request.afterVersion.length > 0 && request.afterVersion
    const row = await store.current(bucket, key)
    const current = live(row)
    const after = marker || undefined
    const found = await store.noncurrent.list(bucket, key, row, { after, limit, rowsMax: PAGE_ROWS_MAX })
    const { versions, cut } = found
    const isNext = current && (!after || isOlder(current.id, after)) && !(cut && isOlder(current.id, cut))
    if (isNext) versions.push(current)
    versions.sort((a, b) => (isOlder(a.id, b.id) ? 1 : -1))
    return {
      entries: versions.map((version) => ({ key, head: encodeHead(version), latest: version === current })),
      next: cut && { start: key, afterVersion: cut },
    }
  }

  /** What a request asks of this node. @throws CarportError InvalidArgument; see checkHolds */
  #answer(body: unknown): PageAnswer {
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
    return {
      pageFrom,
      build: (isFull, rowsMax) => buildVersionPage(this.deps.db, tables, request, isFull, rowsMax),
      whenDurable: (reply) => {
        const afterObjects = tables.objects.whenDurable(request.bucket, reply)
        if (!(afterObjects instanceof Promise)) return tables.versions.whenDurable(request.bucket, reply)
        return afterObjects.then(() => tables.versions.whenDurable(request.bucket, reply))
      },
    }
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
    const last = lastKey(page)
    if (last && (!end || last.compare(end) < 0)) end = last
  }
  return end
}

function lastKey(page: Page): Buffer | undefined {
  if (!page.more) return undefined
  if (page.position) return page.position.subarray(0, -ID_BYTES)
  return page.entries.findLast((entry) => fullEntry(entry).kind !== 'hidden')?.key
}

function toVersionEntry(entry: PageEntry): VersionEntry {
  return { ...entry, latest: isLatest(entry) }
}

function malformed(): CarportError {
  return new CarportError('InvalidArgument', 'malformed request for a listing of versions')
}
