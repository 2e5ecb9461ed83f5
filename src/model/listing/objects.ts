import type { Placement, QuorumCaller } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import type { Transport } from '../../net/transport.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import type { Clock } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import { encodeHead } from '../versions/codec.js'
import { boundedStart, isKeyWithinBounds } from '../versions/key-bounds.js'
import type { VersionRecord } from '../versions/record.js'
import {
  buildPage,
  type FullEntry,
  fullEntry,
  isUnsettledEntry,
  type Page,
  type PageEntry,
  type PageRequest,
} from './page.js'
import { checkHolds, type PageAnswer, type PageMethods, pagesByQuorum, servePages } from './quorum-pages.js'

const METHODS: PageMethods = { today: 'model/page', earlier: 'model/list' }
const MAX_LIMIT = 1001
/** Keys of a disputed common prefix read per step until a live one is found. */
export const PROBE_ROWS = 100
/** Such steps of one request, but for the first of each prefix. */
export const PROBES_MAX = 50
/** Entries that are asked about at once. */
export const RESOLVED_AT_ONCE = 32
/** Pages of the replicas that one request looks at until it finds an entry. */
export const STEPS_MAX = 10

/** A part of a page, and where to go on; undefined at the end. */
interface Step {
  entries: PageEntry[]
  next: Buffer | undefined
}

/** How many steps a request may still take to look for live keys below disputed common prefixes. */
export interface ProbeBudget {
  probes: number
}

/** What is known of a disputed entry: what to show of it, or the key from which on that is not known yet. */
interface Resolved {
  shown?: PageEntry
  unknownFrom?: Buffer
}

/** A page of a listing, as a quorum of the replicas sees it. */
export interface ListPage {
  entries: PageEntry[]
  /** Whether there is more after the last entry. */
  more: boolean
  /** The first key of the next page; undefined if there is no more. */
  next?: Buffer | undefined
}

/**
 * Listings of current versions. The nearest replica sends its page, the others a fingerprint of theirs: one round trip,
 * and one copy of the data. Where pages differ (writes under way, a replica that was away) only the entries that differ
 * are read again, row by row, by quorum.
 */
export class Listing {
  constructor(
    private readonly deps: {
      db: Db
      objects: Table<VersionRecord>
      /** See Objects.current. */
      current: (bucket: Buffer, key: Buffer) => Promise<VersionRecord | undefined>
      transport: Transport
      quorum: QuorumCaller
      placement: Placement
      clock: Clock
    },
  ) {
    servePages(deps, METHODS, (body) => this.#answer(body))
  }

  /**
   * Live keys and common prefixes from `start` on. A page may have no entries and more to come: one request looks at so many
   * rows at the most.
   * @throws QuorumUnavailable
   */
  async page(request: PageRequest, budget: ProbeBudget = { probes: PROBES_MAX }): Promise<ListPage> {
    if (request.limit === 0 || !isKeyWithinBounds(request.prefix)) return { entries: [], more: false }
    let start = boundedStart(request.start)
    for (let step = 1; ; step++) {
      const { entries, next }: Step = await this.#step({ ...request, start }, budget)
      if (entries.length > 0 || !next || step === STEPS_MAX || budget.probes <= 0)
        return { entries, more: next !== undefined, next }
      start = next
    }
  }

  async #step(request: PageRequest, budget: ProbeBudget): Promise<Step> {
    const { agreed, pages } = await pagesByQuorum(this.deps, METHODS, request.bucket, wire(request))
    if (!agreed) return this.#reconcile(request, pages, budget)
    if (agreed.entries.some(isUnsettledEntry)) return this.#reconcile(request, [agreed], budget)
    return { entries: agreed.entries, next: nextStart(agreed) }
  }

  /** Keeps the entries on which all pages agree, and asks a quorum about every other one. */
  async #reconcile(request: PageRequest, pages: Page[], budget: ProbeBudget): Promise<Step> {
    const next = commonNext(pages)
    const seen = new Map<string, { entry: FullEntry; votes: number; agreed: boolean }>()
    for (const page of pages) {
      for (const raw of page.entries) {
        if (next && raw.key.compare(next) >= 0) break
        const entry = fullEntry(raw)
        const name = `${entry.kind === 'prefix' ? 'p' : 'k'}${entry.key.toString('latin1')}`
        const known = seen.get(name)
        if (!known) seen.set(name, { entry, votes: 1, agreed: true })
        else {
          known.votes++
          known.agreed &&= known.entry.proof.equals(entry.proof)
        }
      }
    }
    const entries: PageEntry[] = []
    // What is behind the first prefix of which too much is deleted is left to the next page.
    let cut: Buffer | undefined
    await eachLimited([...seen.values()], RESOLVED_AT_ONCE, async ({ entry, votes, agreed }) => {
      const isAgreed = votes === pages.length && agreed && !isUnsettledEntry(entry.shown)
      const resolved = isAgreed ? { shown: entry.shown } : await this.#resolve(request, entry, budget)
      const { shown, unknownFrom } = resolved as Resolved
      if (unknownFrom && (!cut || unknownFrom.compare(cut) < 0)) cut = unknownFrom
      if (shown && !(isAgreed && entry.kind === 'hidden')) entries.push(shown)
    })
    entries.sort((a, b) => a.key.compare(b.key))
    const known = cut ? entries.filter(({ key }) => key.compare(cut!) < 0) : entries
    if (known.length <= request.limit) return { entries: known, next: cut ?? next }
    const kept = known.slice(0, request.limit)
    return { entries: kept, next: behind(kept.at(-1)!) }
  }

  /** What a quorum shows of an entry. Of a prefix, perhaps only up to a key: below may be any number of deleted rows. */
  async #resolve(request: PageRequest, entry: FullEntry, budget: ProbeBudget): Promise<Resolved> {
    const { objects, current } = this.deps
    const { bucket } = request
    if (entry.kind !== 'prefix') {
      const row = await current(bucket, entry.key)
      return row?.state === 'object' ? { shown: { key: entry.key, head: encodeHead(row) } } : {}
    }
    const end = prefixEnd(entry.key)
    // The page before this one may have ended below the prefix.
    let start = request.start.compare(entry.key) > 0 ? request.start : entry.key
    while (true) {
      const rows = await objects.range(bucket, { start, ...(end && { end }), limit: PROBE_ROWS })
      if (rows.some((row) => row.state === 'object')) return { shown: entry.shown }
      if (rows.length < PROBE_ROWS) return {}
      start = successor(rows.at(-1)!.key)
      if (--budget.probes <= 0) return { unknownFrom: start }
    }
  }

  /** What a request asks of this node. @throws CarportError InvalidArgument; see checkHolds */
  #answer(body: unknown): PageAnswer {
    if (!Array.isArray(body) || body.length !== 6)
      throw new CarportError('InvalidArgument', 'malformed listing request')
    const [bucket, prefix, delimiter, start, limit, pageFrom] = body as unknown[]
    if (![bucket, prefix, delimiter, start].every(Buffer.isBuffer) || (bucket as Buffer).length !== 16) {
      throw new CarportError('InvalidArgument', 'malformed listing request')
    }
    if (typeof limit !== 'number' || !(limit >= 1 && limit <= MAX_LIMIT)) {
      throw new CarportError('InvalidArgument', 'limit of a listing is out of range')
    }
    checkHolds(this.deps, bucket as Buffer)
    const request = {
      bucket: bucket as Buffer,
      prefix: prefix as Buffer,
      delimiter: delimiter as Buffer,
      start: start as Buffer,
      limit,
    }
    const { db, objects } = this.deps
    return {
      pageFrom,
      build: (isFull, rowsMax) => buildPage(db, objects.local, request, isFull, rowsMax),
      whenDurable: (reply) => objects.local.whenDurable(request.bucket, reply),
    }
  }
}

/** Where to go on behind an entry. */
function behind(entry: PageEntry): Buffer | undefined {
  return entry.head ? successor(entry.key) : prefixEnd(entry.key)
}

/** Where to go on after a page; undefined if it came to the end. */
export function nextStart({ more, entries, position }: Page): Buffer | undefined {
  if (!more) return undefined
  const last = entries.at(-1)
  // A position that is a common prefix is that of the last entry.
  if (position && !last?.key.equals(position)) return successor(position)
  if (!last) return undefined
  const isFold = last.head === undefined || fullEntry(last).kind === 'prefix'
  return isFold ? prefixEnd(last.key) : successor(last.key)
}

/** Where to go on after what all pages speak of; undefined if all came to the end. */
export function commonNext(pages: readonly Page[]): Buffer | undefined {
  let least: Buffer | undefined
  for (const page of pages) {
    const next = nextStart(page)
    if (next && (!least || next.compare(least) < 0)) least = next
  }
  return least
}

function wire(request: PageRequest): unknown[] {
  return [request.bucket, request.prefix, request.delimiter, request.start, request.limit]
}
