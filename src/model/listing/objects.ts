import type { Placement, QuorumCaller } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import { Priority, type RpcReply, type Transport } from '../../net/transport.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import { CarportError } from '../../util/errors.js'
import { sha256 } from '../content/hashing.js'
import { bucketPartition } from '../sort-keys.js'
import { encodeHead } from '../versions/codec.js'
import { boundedStart, isKeyWithinBounds } from '../versions/key-bounds.js'
import type { VersionRecord } from '../versions/record.js'
import { buildPage, type PageEntry, type PageRequest, readPage, sameEntry } from './page.js'

const METHOD = 'model/list'
const TIMEOUT_MS = 15_000
const MAX_LIMIT = 1001
/** Keys of a disputed common prefix read per step until a live one is found. */
const PROBE_ROWS = 100

/** A page of a listing, as a quorum of the replicas sees it. */
export interface ListPage {
  entries: PageEntry[]
  /** Whether there is more after the last entry. */
  more: boolean
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
      transport: Transport
      quorum: QuorumCaller
      placement: Placement
    },
  ) {
    deps.transport.handle(METHOD, (body) => this.#serve(body))
  }

  /** Live keys and common prefixes from `start` on. @throws QuorumUnavailable */
  async page(request: PageRequest): Promise<ListPage> {
    if (request.limit === 0 || !isKeyWithinBounds(request.prefix)) return { entries: [], more: false }
    return this.#page({ ...request, start: boundedStart(request.start) })
  }

  async #page(request: PageRequest): Promise<ListPage> {
    const { placement, quorum } = this.deps
    const nodes = placement.readSet(bucketPartition(request.bucket))
    const options = { quorum: placement.readQuorum, timeoutMs: TIMEOUT_MS, priority: Priority.high }
    const pageFrom = quorum.nearestFirst(nodes)[0]
    const replies = await quorum.read(nodes, METHOD, [...wire(request), pageFrom], options)
    const page = replies.find((r) => r.node === pageFrom)
    if (page && Buffer.isBuffer(page.body)) {
      const bytes = page.body
      if (replies.length === 1) return readPage(bytes)
      const mark = sha256(bytes)
      if (replies.every((r) => r === page || (Buffer.isBuffer(r.body) && r.body.equals(mark))))
        return readPage(bytes)
    }
    // The replicas disagree, or the nearest one did not answer: all send their page.
    const pages = await quorum.read(nodes, METHOD, [...wire(request), null], options)
    return this.#reconcile(
      request,
      pages.map(({ body }) => {
        if (!Buffer.isBuffer(body)) throw new CarportError('RemoteError', 'malformed page of a listing')
        return readPage(body)
      }),
    )
  }

  /** Keeps the entries on which all pages agree, and asks a quorum about every other one. */
  async #reconcile(
    request: PageRequest,
    pages: { more: boolean; entries: PageEntry[] }[],
  ): Promise<ListPage> {
    const end = commonEnd(pages)
    const seen = new Map<string, { entry: PageEntry; votes: number; agreed: boolean }>()
    for (const page of pages) {
      for (const entry of page.entries) {
        if (end && entry.key.compare(end) > 0) break
        const name = `${entry.head ? 'k' : 'p'}${entry.key.toString('latin1')}`
        const known = seen.get(name)
        if (!known) seen.set(name, { entry, votes: 1, agreed: true })
        else {
          known.votes++
          known.agreed &&= sameEntry(known.entry, entry)
        }
      }
    }
    const resolved = await Promise.all(
      [...seen.values()].map(({ entry, votes, agreed }) =>
        votes === pages.length && agreed ? entry : this.#resolve(request.bucket, entry),
      ),
    )
    const entries = resolved.filter((e) => e !== undefined).sort((a, b) => a.key.compare(b.key))
    const more = end !== undefined || entries.length > request.limit
    if (entries.length === 0 && end) return this.#page({ ...request, start: successor(end) })
    return { entries: entries.slice(0, request.limit), more }
  }

  async #resolve(bucket: Buffer, entry: PageEntry): Promise<PageEntry | undefined> {
    const { objects } = this.deps
    if (entry.head) {
      const row = await objects.get(bucket, entry.key, { body: false })
      return row?.state === 'object' ? { key: entry.key, head: encodeHead(row) } : undefined
    }
    const end = prefixEnd(entry.key)
    let start = entry.key
    while (true) {
      const rows = await objects.range(bucket, { start, ...(end && { end }), limit: PROBE_ROWS })
      if (rows.some((row) => row.state === 'object')) return entry
      if (rows.length < PROBE_ROWS) return undefined
      start = successor(rows.at(-1)!.key)
    }
  }

  #serve(body: unknown): RpcReply | Promise<RpcReply> {
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
    const page = buildPage(this.deps.db, this.deps.objects.local, {
      bucket: bucket as Buffer,
      prefix: prefix as Buffer,
      delimiter: delimiter as Buffer,
      start: start as Buffer,
      limit,
    })
    const reply = { body: pageFrom === null || pageFrom === this.deps.transport.self ? page : sha256(page) }
    return this.deps.objects.local.whenDurable(bucket as Buffer, reply)
  }
}

/**
 * Pages that a quorum of a bucket's replicas sent: one if they all have the same, else each one's. The nearest replica
 * sends its page, the others only its SHA-256. `request` is followed by the node whose page is wanted (null: all).
 */
export async function pagesByQuorum(
  deps: { quorum: QuorumCaller; placement: Placement },
  method: string,
  bucket: Buffer,
  request: readonly unknown[],
): Promise<{ more: boolean; entries: PageEntry[] }[]> {
  const { placement, quorum } = deps
  const nodes = placement.readSet(bucketPartition(bucket))
  const options = { quorum: placement.readQuorum, timeoutMs: TIMEOUT_MS, priority: Priority.high }
  const pageFrom = quorum.nearestFirst(nodes)[0]
  const replies = await quorum.read(nodes, method, [...request, pageFrom], options)
  const page = replies.find((r) => r.node === pageFrom)?.body
  if (Buffer.isBuffer(page)) {
    if (replies.length === 1) return [readPage(page)]
    const mark = sha256(page)
    const agrees = (body: unknown) => body === page || (Buffer.isBuffer(body) && body.equals(mark))
    if (replies.every((r) => agrees(r.body))) return [readPage(page)]
  }
  // The replicas disagree, or the nearest one did not answer: all send their page.
  const all = await quorum.read(nodes, method, [...request, null], options)
  return all.map(({ body }) => {
    if (!Buffer.isBuffer(body)) throw new CarportError('RemoteError', 'malformed page of a listing')
    return readPage(body)
  })
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

/** The last key about which all replicas said something; undefined if all came to the end. */
export function commonEnd(pages: readonly { more: boolean; entries: PageEntry[] }[]): Buffer | undefined {
  let end: Buffer | undefined
  for (const page of pages) {
    const last = page.entries.at(-1)
    if (page.more && last && (!end || last.key.compare(end) < 0)) end = last.key
  }
  return end
}

function wire(request: PageRequest): unknown[] {
  return [request.bucket, request.prefix, request.delimiter, request.start, request.limit]
}
