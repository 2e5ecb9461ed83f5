import type { Placement, QuorumCaller } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import { Priority, type RpcReply, type Transport } from '../../net/transport.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import { CarportError } from '../../util/errors.js'
import { bucketPartition } from '../sort-keys.js'
import { countsOf, type IndexEntry, indexRange, isSame, NO_COUNTS, type PartitionCounts } from './counts.js'
import type { K2vItem } from './item.js'
import type { KeyRange } from './ranges.js'
import { behind } from './ranges.js'
import { partitionPrefix } from './table.js'

const METHOD = 'k2v/index'
const TIMEOUT_MS = 30_000
const PAGE_MAX = 1000
/** Partition keys with so many items are counted anew by a quorum where replicas disagree; and so many of them in a page. */
const RECOUNTED_ITEMS_MAX = 1000
const RECOUNTED_KEYS_MAX = 50

interface Page {
  readonly entries: IndexEntry[]
  readonly more: boolean
}

/**
 * The partition keys of a bucket. Each replica counts its own copy; nearly always they agree. Where they do not, some are
 * behind, and the items themselves are read by quorum, which also brings the replicas up to date.
 */
export class IndexPages {
  constructor(
    private readonly deps: {
      db: Db
      transport: Transport
      quorum: QuorumCaller
      placement: Placement
      items: Table<K2vItem>
    },
  ) {
    deps.transport.handle(METHOD, (body) => this.#serve(body))
  }

  /**
   * At most `limit` partition keys of a range that have items, and where to go on.
   * @throws CarportError QuorumUnavailable, LayoutNotReady
   */
  async page(
    bucket: Buffer,
    range: KeyRange,
    options: { reverse: boolean; limit: number },
  ): Promise<{ entries: IndexEntry[]; rest: KeyRange | undefined }> {
    const { placement, quorum } = this.deps
    const limit = Math.min(options.limit, PAGE_MAX)
    const nodes = placement.readSet(bucketPartition(bucket))
    if (nodes.length === 0) throw new CarportError('LayoutNotReady', 'no layout is applied yet')
    const body = [bucket, range.start, range.end ?? null, options.reverse, limit]
    const replies = await quorum.read(nodes, METHOD, body, {
      quorum: placement.readQuorum,
      timeoutMs: TIMEOUT_MS,
      priority: Priority.high,
    })
    const pages = replies.map((reply) => parsePage(reply.body))
    const { keys, last } = merge(pages, options.reverse, limit)
    const entries: IndexEntry[] = []
    let recounts = 0
    for (const { partitionKey, counts } of keys) {
      let agreed = counts[0]!
      if (!counts.every((other) => isSame(other, agreed))) {
        agreed = counts.reduce((most, other) => (isFuller(other, most) ? other : most))
        const mayCount = agreed.entries <= RECOUNTED_ITEMS_MAX && recounts++ < RECOUNTED_KEYS_MAX
        if (mayCount) agreed = await this.recount(bucket, partitionKey)
      }
      if (agreed.entries > 0) entries.push({ partitionKey, ...agreed })
    }
    return { entries, rest: last && behind(range, last, options.reverse) }
  }

  /** Counts the items of a partition key as a quorum has them. @throws CarportError QuorumUnavailable */
  async recount(bucket: Buffer, partitionKey: Buffer): Promise<PartitionCounts> {
    const prefix = partitionPrefix(partitionKey)
    const end = prefixEnd(prefix)!
    let counts = NO_COUNTS
    let start: Buffer | undefined = prefix
    while (start) {
      const { rows, next }: { rows: K2vItem[]; next: Buffer | undefined } = await this.deps.items.page(
        bucket,
        {
          start,
          end,
          limit: PAGE_MAX,
        },
      )
      for (const row of rows) {
        const one = countsOf(row)
        counts = {
          entries: counts.entries + one.entries,
          conflicts: counts.conflicts + one.conflicts,
          values: counts.values + one.values,
          bytes: counts.bytes + one.bytes,
        }
      }
      start = next && successor(next)
    }
    return counts
  }

  /** [bucket, start, end | null, reverse, limit] → [[partition key, entries, conflicts, values, bytes] …, more] */
  #serve(body: unknown): RpcReply | Promise<RpcReply> {
    const { db, items, placement, transport } = this.deps
    if (!Array.isArray(body) || body.length !== 5) throw malformed()
    const [bucket, start, end, reverse, limit] = body as unknown[]
    if (!Buffer.isBuffer(bucket) || bucket.length !== 16 || !Buffer.isBuffer(start)) throw malformed()
    if (!(end === null || Buffer.isBuffer(end)) || !Number.isInteger(limit) || !((limit as number) >= 1)) {
      throw malformed()
    }
    if (!placement.storageSet(bucketPartition(bucket)).includes(transport.self)) {
      throw new CarportError('LayoutNotReady', 'this node does not hold that bucket')
    }
    items.checkVote(bucket)
    const most = Math.min(limit as number, PAGE_MAX)
    const query = { start, end: end ?? undefined, reverse: reverse === true, limit: most + 1 }
    const found = [...indexRange(db, bucket, query)]
    const entries = found.slice(0, most)
    const rows = entries.map((e) => [e.partitionKey, e.entries, e.conflicts, e.values, e.bytes])
    return items.local.whenDurable(bucket, { body: [rows, found.length > most] })
  }
}

function isFuller(a: PartitionCounts, b: PartitionCounts): boolean {
  return (a.entries - b.entries || a.values - b.values || a.bytes - b.bytes) > 0
}

/** The counts of each partition key that all pages speak for, and the last one of these if there may be more. */
function merge(
  pages: readonly Page[],
  reverse: boolean,
  limit: number,
): { keys: { partitionKey: Buffer; counts: PartitionCounts[] }[]; last: Buffer | undefined } {
  const order = (a: Buffer, b: Buffer) => (reverse ? b.compare(a) : a.compare(b))
  let last: Buffer | undefined
  const byKey = new Map<string, { partitionKey: Buffer; counts: PartitionCounts[] }>()
  for (const [i, page] of pages.entries()) {
    for (const entry of page.entries) {
      const name = entry.partitionKey.toString('latin1')
      let known = byKey.get(name)
      if (!known) {
        known = { partitionKey: entry.partitionKey, counts: pages.map(() => NO_COUNTS) }
        byKey.set(name, known)
      }
      known.counts[i] = entry
    }
    const end = page.entries.at(-1)?.partitionKey
    if (page.more && end && (!last || order(end, last) < 0)) last = end
  }
  let keys = [...byKey.values()].sort((a, b) => order(a.partitionKey, b.partitionKey))
  if (last) keys = keys.filter(({ partitionKey }) => order(partitionKey, last!) <= 0)
  if (keys.length > limit) {
    keys = keys.slice(0, limit)
    last = keys.at(-1)!.partitionKey
  }
  return { keys, last }
}

function parsePage(body: unknown): Page {
  const isPage = Array.isArray(body) && body.length === 2 && Array.isArray(body[0])
  if (!isPage) throw new CarportError('RemoteError', 'a replica sent a malformed page of the index')
  const entries = (body[0] as unknown[]).map((row): IndexEntry => {
    if (!Array.isArray(row) || !Buffer.isBuffer(row[0]) || !row.slice(1).every(Number.isSafeInteger)) {
      throw new CarportError('RemoteError', 'a replica sent a malformed page of the index')
    }
    const [partitionKey, items, conflicts, values, bytes] = row
    return { partitionKey, entries: items, conflicts, values, bytes }
  })
  return { entries, more: body[1] === true }
}

function malformed(): CarportError {
  return new CarportError('InvalidArgument', `malformed ${METHOD}`)
}
