import type { Tx } from '../../db/db.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import type { Table, TableEnv } from '../../table/table.js'
import type { TableSet } from '../../table/tables.js'
import { UpdateAtReplica } from '../../table/update-at-replica.js'
import { CarportError } from '../../util/errors.js'
import { bucketPartition } from '../sort-keys.js'
import { decodeClock, EMPTY_CLOCK, encodeClock, timeOf, type VectorClock } from './causality.js'
import { indexCommits } from './commits.js'
import { countChange, type IndexEntry } from './counts.js'
import { DotSource } from './dots.js'
import { IndexPages } from './index-pages.js'
import {
  changeOf,
  checkSize,
  clockOf,
  isDeleted,
  type K2vItem,
  mergeItems,
  VALUE_BYTES_MAX,
  valuesOf,
} from './item.js'
import { type KeyQuery, type KeyRange, rangeOf } from './ranges.js'
import { checkKeys, k2vItemTable, partitionPrefix, rowSortKey } from './table.js'

/** One write of an item. */
export interface ItemWrite {
  readonly partitionKey: Buffer
  readonly sortKey: Buffer
  /** What its writer has seen, which the write makes obsolete; undefined if nothing. */
  readonly context: VectorClock | undefined
  /** Null deletes. */
  readonly content: Buffer | null
}

/** Items of one partition key. */
export interface ItemQuery extends KeyQuery {
  readonly partitionKey: Buffer
  readonly limit?: number | undefined
  /** Only items with several values. */
  readonly conflictsOnly?: boolean
  /** Also items of which only deletions are left. */
  readonly tombstones?: boolean
  /** See ReadOptions. */
  readonly writeBack?: boolean
}

/** What one request may look at, and bring back; it is used up as pages are read. */
export class ReadBudget {
  constructor(
    public rows = 20_000,
    public bytes = 8 << 20,
  ) {}

  get isSpent(): boolean {
    return this.rows <= 0 || this.bytes <= 0
  }
}

const PAGE_ROWS_MAX = 200
const PAGE_ROWS_MIN = 8
const INDEX_KEYS_MAX = 10_000
/** Rows that a ReadIndex may read to compare replicas. */
const COMPARED_ROWS_MAX = 20_000

/** The items of all buckets. */
export class K2vStore {
  readonly items: Table<K2vItem>
  readonly index: IndexPages
  readonly #dots: DotSource
  readonly #updates: UpdateAtReplica<K2vItem, ItemWrite>
  /** Told of each change of an item here, once it is durable. */
  onCommitted: ((item: K2vItem) => void) | undefined

  constructor(
    private readonly env: TableEnv,
    tables: TableSet,
  ) {
    this.#dots = new DotSource(env.random)
    tables.standing.onJoined((tx, copy) => this.#dots.renew(tx, copy))
    this.items = tables.add(k2vItemTable((tx, before, after) => this.#changed(tx, before, after)))
    this.#updates = new UpdateAtReplica<K2vItem, ItemWrite>(this.items, env, tables.standing, {
      sortKey: rowSortKey,
      bytes: ({ partitionKey, sortKey, content }) =>
        partitionKey.length + sortKey.length + (content?.length ?? 0) + 100,
      encode: ({ partitionKey, sortKey, context, content }) => [
        partitionKey,
        sortKey,
        context ? encodeClock(context) : null,
        content,
      ],
      decode: decodeWrite,
      change: (tx, bucket, current, write) => this.#change(tx, bucket, current, write),
    })
    this.index = new IndexPages(env, this.items)
  }

  /**
   * Before each request: while a node of an earlier release is in the cluster, items could be written to some replicas alone.
   * @throws CarportError NotSupported
   */
  checkKnown(): void {
    this.env.mayUseK2v?.()
  }

  /** Runs in the transaction of each change of an item on this node. */
  #changed(tx: Tx, before: K2vItem | undefined, after: K2vItem | undefined): void {
    countChange(tx, before, after)
    indexCommits(tx, before, after)
    if (after) tx.onCommit(() => this.onCommitted?.(after))
  }

  #change(tx: Tx, bucket: Buffer, current: K2vItem | undefined, write: ItemWrite): K2vItem {
    const { hlc } = this.env
    const context = write.context ?? EMPTY_CLOCK
    const known = current ? clockOf(current) : EMPTY_CLOCK
    const latestUs = hlc.peers.latestUs() + hlc.peers.maxDriftMs * 1000
    for (const [origin, time] of context) {
      if (time <= latestUs || time <= timeOf(known, origin)) continue
      throw new CarportError('InvalidArgument', 'the causality token is of a time to come')
    }
    const { origin, time } = this.#dots.next(tx, bucketPartition(bucket), hlc.now(), (own) =>
      Math.max(timeOf(known, own), timeOf(context, own)),
    )
    const key = { bucket, partitionKey: write.partitionKey, sortKey: write.sortKey }
    const change = changeOf(key, current, { origin, time, context, content: write.content })
    checkSize(current ? mergeItems(current, change) : change)
    return change
  }

  /**
   * Writes items, one after the other, and resolves when they are durable on a quorum. This is no transaction: if it
   * fails, some may take effect, at once or later, and those that were repeated may be there twice.
   * @throws CarportError InvalidArgument for keys or values that are too long, and tokens of a time to come; Conflict for
   * items with too many concurrent values; QuorumUnavailable, LayoutNotReady, ClockSkew
   */
  async write(bucket: Buffer, writes: readonly ItemWrite[]): Promise<void> {
    for (const write of writes) checkWrite(write)
    if (writes.length > 0) await this.#updates.write(bucket, writes)
  }

  /** An item, deletions included. @throws CarportError QuorumUnavailable, LayoutNotReady */
  async read(
    bucket: Buffer,
    key: Pick<K2vItem, 'partitionKey' | 'sortKey'>,
    options?: { writeBack?: boolean },
  ): Promise<K2vItem | undefined> {
    return this.readAtOnce(bucket, key, options)
  }

  /** As `read`, but answers at once, and throws, where no other node is to be asked and nothing to be waited for. */
  readAtOnce(
    bucket: Buffer,
    key: Pick<K2vItem, 'partitionKey' | 'sortKey'>,
    options: { writeBack?: boolean } = {},
  ): K2vItem | undefined | Promise<K2vItem | undefined> {
    checkKeys(key.partitionKey, key.sortKey)
    return this.items.read(bucket, rowSortKey(key), options)
  }

  /**
   * Items of a range in the order of their sort keys. `nextStart` is the sort key from which the rest can be had: that of
   * the first item beyond the limit, or of a row that this request could not look at any more.
   * @throws CarportError InvalidArgument, QuorumUnavailable, LayoutNotReady
   */
  async list(
    bucket: Buffer,
    query: ItemQuery,
    budget = new ReadBudget(),
  ): Promise<{ items: K2vItem[]; nextStart: Buffer | undefined }> {
    const items: K2vItem[] = []
    const { limit = Number.POSITIVE_INFINITY } = query
    for await (const item of this.#walk(bucket, query, () => limit - items.length + 1)) {
      if (budget.isSpent) return { items, nextStart: item.sortKey }
      budget.rows--
      const values = valuesOf(item)
      if (!query.tombstones && isDeleted(item)) continue
      if (query.conflictsOnly && values.length < 2) continue
      if (items.length >= limit) return { items, nextStart: item.sortKey }
      items.push(item)
      for (const { size } of values) budget.bytes -= Math.max(0, size) + 64
    }
    return { items, nextStart: undefined }
  }

  /**
   * Deletes what is there in a range, and returns how many items that were. `signal` ends it early.
   * @throws as `write`; what was deleted until then stays deleted
   */
  async deleteRange(bucket: Buffer, query: Omit<ItemQuery, 'limit'>, signal?: AbortSignal): Promise<number> {
    let deleted = 0
    let batch: ItemWrite[] = []
    const flush = async () => {
      await this.write(bucket, batch)
      deleted += batch.length
      batch = []
    }
    for await (const item of this.#walk(bucket, query, () => PAGE_ROWS_MAX, false)) {
      if (signal?.aborted) break
      if (isDeleted(item)) continue
      const { partitionKey, sortKey } = item
      batch.push({ partitionKey, sortKey, context: clockOf(item), content: null })
      if (batch.length >= PAGE_ROWS_MAX) await flush()
    }
    await flush()
    return deleted
  }

  /** All rows of a range, page by page. @param wanted how many more are likely to be asked for */
  async *#walk(
    bucket: Buffer,
    query: ItemQuery,
    wanted: () => number,
    body = true,
  ): AsyncGenerator<K2vItem, void, void> {
    checkKeys(query.partitionKey, query.start ?? Buffer.alloc(0))
    const reverse = query.reverse === true
    const sortKeys = rangeOf(query)
    if (!sortKeys) return
    let range: KeyRange | undefined = rowRange(query.partitionKey, sortKeys)
    while (range) {
      const { start, end }: KeyRange = range
      if (end && start.compare(end) >= 0) return
      const { rows, next }: { rows: K2vItem[]; next: Buffer | undefined } = await this.items.page(bucket, {
        start,
        ...(end && { end }),
        reverse,
        body,
        limit: Math.min(PAGE_ROWS_MAX, Math.max(PAGE_ROWS_MIN, wanted())),
        ...(query.writeBack === false && { writeBack: false }),
      })
      yield* rows
      range = next && (reverse ? { start, end: next } : { start: successor(next), end })
    }
  }

  /**
   * Partition keys that have items, with their counts. `nextStart` is the first one beyond the limit, or one whose replicas differ
   * in more items than this request may still compare, `comparedRowsMax` in all.
   * @throws CarportError InvalidArgument, LayoutNotReady; QuorumUnavailable also if the first one is such a partition key
   */
  async readIndex(
    bucket: Buffer,
    query: KeyQuery & { limit?: number | undefined },
    comparedRowsMax = COMPARED_ROWS_MAX,
  ): Promise<{ entries: IndexEntry[]; nextStart: Buffer | undefined }> {
    const entries: IndexEntry[] = []
    const budget = { rows: comparedRowsMax }
    const limit = Math.min(query.limit ?? INDEX_KEYS_MAX, INDEX_KEYS_MAX)
    const reverse = query.reverse === true
    let range: KeyRange | undefined = rangeOf(query)
    while (range && entries.length <= limit) {
      const wanted = limit + 1 - entries.length
      const page: Awaited<ReturnType<IndexPages['page']>> = await this.index.page(
        bucket,
        range,
        { reverse, limit: wanted },
        budget,
      )
      entries.push(...page.entries)
      if (page.cut && entries.length <= limit) {
        if (entries.length > 0) return { entries, nextStart: page.cut }
        throw new CarportError(
          'QuorumUnavailable',
          'replicas of a partition key differ, and are being compared',
        )
      }
      range = page.rest
    }
    return { entries: entries.slice(0, limit), nextStart: entries[limit]?.partitionKey }
  }

  /** Whether a bucket has no item. @throws CarportError QuorumUnavailable, LayoutNotReady */
  async isEmpty(bucket: Buffer): Promise<boolean> {
    const { entries } = await this.readIndex(bucket, { limit: 1 })
    return entries.length === 0
  }
}

export function k2vNotSupported(): CarportError {
  return new CarportError(
    'NotSupported',
    'K2V needs all nodes of the cluster to run a release that knows it: upgrade the others first',
  )
}

/** The rows of a partition key whose sort keys are in a range. */
export function rowRange(partitionKey: Buffer, { start, end }: KeyRange): KeyRange {
  const prefix = partitionPrefix(partitionKey)
  return {
    start: Buffer.concat([prefix, start]),
    end: end ? Buffer.concat([prefix, end]) : prefixEnd(prefix),
  }
}

/** @throws CarportError InvalidArgument */
function checkWrite({ partitionKey, sortKey, content }: ItemWrite): void {
  checkKeys(partitionKey, sortKey)
  if (content && content.length > VALUE_BYTES_MAX) {
    throw new CarportError('InvalidArgument', `a value has at most ${VALUE_BYTES_MAX} bytes`)
  }
}

/** A write as another node sent it. @throws CarportError InvalidArgument */
function decodeWrite(sent: unknown): ItemWrite {
  const malformed = () => new CarportError('InvalidArgument', 'malformed write of a K2V item')
  if (!Array.isArray(sent) || sent.length !== 4) throw malformed()
  const [partitionKey, sortKey, context, content] = sent as unknown[]
  if (!Buffer.isBuffer(partitionKey) || !Buffer.isBuffer(sortKey)) throw malformed()
  if (content !== null && !Buffer.isBuffer(content)) throw malformed()
  const clock = context === null ? undefined : decodeClock(context)
  const write: ItemWrite = { partitionKey, sortKey, context: clock, content }
  checkWrite(write)
  return write
}
