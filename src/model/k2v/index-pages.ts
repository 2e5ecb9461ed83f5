import { Priority, type RpcReply } from '../../net/transport.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import type { Table, TableEnv } from '../../table/table.js'
import { CarportError } from '../../util/errors.js'
import { bucketPartition } from '../sort-keys.js'
import { AgreedCounts } from './agreed-counts.js'
import {
  countsOf,
  type IndexEntry,
  indexRange,
  isSame,
  NO_COUNTS,
  type PartitionCounts,
  parseCounts,
  plus,
  wireCounts,
} from './counts.js'
import type { K2vItem } from './item.js'
import { malformed } from './malformed.js'
import type { KeyRange } from './ranges.js'
import { behind } from './ranges.js'
import { partitionPrefix } from './table.js'

const METHOD = 'k2v/index'
const TIMEOUT_MS = 30_000
const PAGE_MAX = 1000
/** Partition keys with so many items are compared item by item at once where replicas disagree, which also repairs them. */
const RECOUNTED_ITEMS_MAX = 1000
/** Partition keys of which is known how far their replicas have been compared. */
const BEGUN_MAX = 1000

interface Page {
  readonly entries: IndexEntry[]
  readonly more: boolean
}

/** Rows that a request may still read to compare replicas. */
export interface RowBudget {
  rows: number
}

/**
 * The partition keys of a bucket. Each replica counts its own copy; nearly always they agree. Where they do not, some are
 * behind: AgreedCounts tells what is right of one that is written just now. Otherwise the items themselves are read by quorum, page
 * by page, which also brings the replicas up to date; a request that may read no more of them ends before that partition
 * key, and the next one goes on where it stopped.
 */
export class IndexPages {
  readonly #agreed: AgreedCounts
  /** How far the items of partition keys were compared, by bucket and partition key. */
  readonly #begun = new Map<string, Buffer>()

  constructor(
    private readonly env: Pick<TableEnv, 'db' | 'transport' | 'quorum' | 'placement' | 'hlc'>,
    private readonly items: Table<K2vItem>,
  ) {
    env.transport.handle(METHOD, (body) => this.#serve(body))
    this.#agreed = new AgreedCounts(env, items)
  }

  /**
   * At most `limit` partition keys of a range that have items, and where to go on; `cut` is the next one if the budget does not
   * suffice for it.
   * @throws CarportError QuorumUnavailable, LayoutNotReady
   */
  async page(
    bucket: Buffer,
    range: KeyRange,
    options: { reverse: boolean; limit: number },
    budget: RowBudget,
  ): Promise<{ entries: IndexEntry[]; rest: KeyRange | undefined; cut?: Buffer }> {
    const { placement, quorum } = this.env
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
    for (const { partitionKey, counts } of keys) {
      const [first] = counts
      const agree = counts.every((other) => isSame(other, first!))
      const right = agree ? first! : await this.#settle(bucket, partitionKey, counts, budget)
      if (!right) return { entries, rest: undefined, cut: partitionKey }
      if (right.entries > 0) entries.push({ partitionKey, ...right })
    }
    return { entries, rest: last && behind(range, last, options.reverse) }
  }

  /** The right counts where replicas differ; undefined if the budget is used up before they are known. */
  async #settle(
    bucket: Buffer,
    partitionKey: Buffer,
    counts: readonly PartitionCounts[],
    budget: RowBudget,
  ): Promise<PartitionCounts | undefined> {
    const isShort = counts.every(({ entries }) => entries <= RECOUNTED_ITEMS_MAX)
    const agreed = isShort ? undefined : await this.#agreed.find(bucket, partitionKey)
    return agreed ?? this.#recount(bucket, partitionKey, budget)
  }

  /**
   * Counts the items of a partition key as a quorum has them. Undefined if the budget is used up, and where others have counted
   * the beginning: then all is compared, and asking once more is enough.
   * @throws CarportError QuorumUnavailable
   */
  async #recount(
    bucket: Buffer,
    partitionKey: Buffer,
    budget: RowBudget,
  ): Promise<PartitionCounts | undefined> {
    const prefix = partitionPrefix(partitionKey)
    const end = prefixEnd(prefix)!
    const name = Buffer.concat([bucket, prefix]).toString('latin1')
    const begun = this.#begun.get(name)
    this.#begun.delete(name)
    let counts = NO_COUNTS
    let start: Buffer | undefined = begun ?? prefix
    while (start) {
      if (budget.rows <= 0) {
        if (this.#begun.size >= BEGUN_MAX) this.#begun.clear()
        this.#begun.set(name, start)
        return undefined
      }
      const { rows, next }: { rows: K2vItem[]; next: Buffer | undefined } = await this.items.page(bucket, {
        start,
        end,
        limit: PAGE_MAX,
      })
      budget.rows -= Math.max(1, rows.length)
      for (const row of rows) counts = plus(counts, countsOf(row))
      start = next && successor(next)
    }
    return begun ? undefined : counts
  }

  /** [bucket, start, end | null, reverse, limit] → [[partition key, counts] …, more] */
  #serve(body: unknown): RpcReply | Promise<RpcReply> {
    const { items } = this
    const { db, placement, transport } = this.env
    if (!Array.isArray(body) || body.length !== 5) throw malformed(METHOD)
    const [bucket, start, end, reverse, limit] = body as unknown[]
    if (!Buffer.isBuffer(bucket) || bucket.length !== 16 || !Buffer.isBuffer(start)) throw malformed(METHOD)
    if (!(end === null || Buffer.isBuffer(end)) || !Number.isInteger(limit) || !((limit as number) >= 1)) {
      throw malformed(METHOD)
    }
    if (!placement.storageSet(bucketPartition(bucket)).includes(transport.self)) {
      throw new CarportError('LayoutNotReady', 'this node does not hold that bucket')
    }
    items.checkVote(bucket)
    const most = Math.min(limit as number, PAGE_MAX)
    const query = { start, end: end ?? undefined, reverse: reverse === true, limit: most + 1 }
    const found = [...indexRange(db, bucket, query)]
    const entries = found.slice(0, most)
    const rows = entries.map((entry) => [entry.partitionKey, wireCounts(entry)])
    return items.local.whenDurable(bucket, { body: [rows, found.length > most] })
  }
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
    if (!Array.isArray(row) || !Buffer.isBuffer(row[0])) {
      throw new CarportError('RemoteError', 'a replica sent a malformed page of the index')
    }
    return { partitionKey: row[0], ...parseCounts(row[1]) }
  })
  return { entries, more: body[1] === true }
}
