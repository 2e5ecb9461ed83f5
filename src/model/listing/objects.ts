import type { Placement, QuorumCaller, QuorumCallOptions } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import { Priority, type RpcReply, type Transport } from '../../net/transport.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import { isUnknownMethod } from '../../table/standing-rpc.js'
import type { Table } from '../../table/table.js'
import type { Clock } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import { sha256 } from '../content/hashing.js'
import { bucketPartition } from '../sort-keys.js'
import { encodeHead } from '../versions/codec.js'
import { boundedStart, isKeyWithinBounds } from '../versions/key-bounds.js'
import type { VersionRecord } from '../versions/record.js'
import {
  buildPage,
  type FullEntry,
  fullEntry,
  isUnsettledEntry,
  PAGE_ROWS_MAX,
  type Page,
  type PageEntry,
  type PageRequest,
  readEarlierPage,
  readPage,
  toEarlierPage,
} from './page.js'
import { inTurns } from './turns.js'

const METHODS: PageMethods = { today: 'model/page', earlier: 'model/list' }
const TIMEOUT_MS = 15_000
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
    deps.transport.handle(METHODS.today, (body) => this.#serve(body, false))
    deps.transport.handle(METHODS.earlier, (body) => this.#serve(body, true))
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

  /** @param isEarlier whether to answer in the form of the first release, whose pages look at any number of rows */
  #serve(body: unknown, isEarlier: boolean): RpcReply | Promise<RpcReply> {
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
    const { db, objects, transport, clock } = this.deps
    const rowsMax = isEarlier ? Number.POSITIVE_INFINITY : PAGE_ROWS_MAX
    const page = inTurns(
      buildPage(db, objects.local, request, pageFrom === null && !isEarlier, rowsMax),
      clock,
    )
    const answer = (page: Buffer) => {
      const built = isEarlier ? toEarlierPage(page) : page
      const isWhole = pageFrom === null || pageFrom === transport.self
      return objects.local.whenDurable(request.bucket, { body: isWhole ? built : sha256(built) })
    }
    return page instanceof Promise ? page.then(answer) : answer(page)
  }
}

/** How replicas are asked for pages: the first release has a call of another name, and pages of another form. */
export interface PageMethods {
  today: string
  earlier: string
}

interface Pages {
  agreed: Page | undefined
  pages: Page[]
}

/**
 * The page on which a quorum of a bucket's replicas agrees, or else full pages of all of them. The nearest replica sends its
 * page, the others only its SHA-256. `request` is followed by the node whose page is wanted (null: full pages of all).
 *
 * In a cluster that is upgraded node by node, too few replicas may know today's call: all are asked for pages of the first
 * release then, which every release has. These do not account for deleted keys, so until the upgrade is done listings promise what
 * they promised there.
 */
export async function pagesByQuorum(
  deps: { quorum: QuorumCaller; placement: Placement },
  { today, earlier }: PageMethods,
  bucket: Buffer,
  request: readonly unknown[],
): Promise<Pages> {
  let isUnknown = false
  const onFailure = (_: unknown, error: unknown) => {
    if (isUnknownMethod(error)) isUnknown = true
  }
  try {
    return await pagesBy(deps, { method: today, read: readPage, onFailure }, bucket, request)
  } catch (error) {
    if (!isUnknown) throw error
    return pagesBy(deps, { method: earlier, read: readEarlierPage }, bucket, request)
  }
}

async function pagesBy(
  { placement, quorum }: { quorum: QuorumCaller; placement: Placement },
  call: { method: string; read: (page: Buffer) => Page; onFailure?: QuorumCallOptions['onFailure'] },
  bucket: Buffer,
  request: readonly unknown[],
): Promise<Pages> {
  const { method, read, onFailure } = call
  const nodes = placement.readSet(bucketPartition(bucket))
  const options = {
    quorum: placement.readQuorum,
    timeoutMs: TIMEOUT_MS,
    priority: Priority.high,
    ...(onFailure && { onFailure }),
  }
  const pageFrom = quorum.nearestFirst(nodes)[0]
  const replies = await quorum.read(nodes, method, [...request, pageFrom], options)
  const page = replies.find((r) => r.node === pageFrom)?.body
  if (Buffer.isBuffer(page)) {
    const mark = replies.length > 1 ? sha256(page) : undefined
    const agrees = (body: unknown) => body === page || (Buffer.isBuffer(body) && body.equals(mark!))
    if (replies.every((r) => agrees(r.body))) return { agreed: read(page), pages: [] }
  }
  // The replicas disagree, or the nearest one did not answer: all send their page.
  const all = await quorum.read(nodes, method, [...request, null], options)
  const pages = all.map(({ body }) => {
    if (!Buffer.isBuffer(body)) throw new CarportError('RemoteError', 'malformed page of a listing')
    return read(body)
  })
  return { agreed: undefined, pages }
}

/**
 * @throws CarportError LayoutNotReady if this node is no replica of the bucket, NotCaughtUp if its copy may lack rows: it must
 * not answer "nothing here"
 */
export function checkHolds(
  deps: { placement: Placement; transport: Transport; objects: Table<VersionRecord> },
  bucket: Buffer,
): void {
  const { placement, transport, objects } = deps
  if (placement.storageSet(bucketPartition(bucket)).includes(transport.self)) {
    objects.checkVote(bucket)
    return
  }
  throw new CarportError(
    'LayoutNotReady',
    'this node does not hold that bucket, or does not know yet that it should',
  )
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
