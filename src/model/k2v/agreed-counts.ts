import { Priority, type RpcReply } from '../../net/transport.js'
import { headOf } from '../../table/seal.js'
import type { Table, TableEnv } from '../../table/table.js'
import { CarportError } from '../../util/errors.js'
import { bucketPartition } from '../sort-keys.js'
import { recentlyChanged } from './commits.js'
import {
  countsOf,
  isSame,
  minus,
  NO_COUNTS,
  type PartitionCounts,
  parseCounts,
  plus,
  readCounts,
  wireCounts,
} from './counts.js'
import { type K2vItem, mergeItems } from './item.js'
import { malformed } from './malformed.js'
import { checkKeys, rowSortKey } from './table.js'

const METHOD = 'k2v/recent'
const TIMEOUT_MS = 10_000
/** Writes under way, and those that a replica has missed a moment ago, are not older than this, in µs. */
const RECENT_US = 10_000_000
const RECENT_MAX = 500
const ROUNDS_MAX = 3

/** One replica's counts of a partition key, and its copies of the items that were named or have changed a moment ago. */
interface Reply {
  readonly counts: PartitionCounts
  /** By sort key (latin1). Undefined if too many have changed. */
  readonly items:
    | ReadonlyMap<string, { readonly sortKey: Buffer; readonly item: K2vItem | undefined }>
    | undefined
}

/**
 * The counts of a partition key with any number of items, while it is written. All replicas are asked. If so many agree that they
 * are a read quorum, every acknowledged write is counted. Otherwise each one tells which items have changed a moment ago: if the
 * counts agree without these, they are those of the others and of the merge of these.
 */
export class AgreedCounts {
  constructor(
    private readonly env: Pick<TableEnv, 'db' | 'transport' | 'quorum' | 'placement' | 'hlc'>,
    private readonly items: Table<K2vItem>,
  ) {
    env.transport.handle(METHOD, (body) => this.#serve(body))
  }

  /** Undefined if replicas differ in more than that, or too few answer. */
  async find(bucket: Buffer, partitionKey: Buffer): Promise<PartitionCounts | undefined> {
    const { placement, hlc } = this.env
    const sinceUs = hlc.now() - RECENT_US
    const named = new Map<string, Buffer>()
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const body = [bucket, partitionKey, sinceUs, [...named.values()]]
      const replies = await this.#ask(bucket, body)
      const same = agreed(
        replies.map(({ counts }) => counts),
        placement.readQuorum,
      )
      if (same) return same
      if (replies.some(({ items }) => items === undefined)) return undefined
      if (round > 0) {
        const rest = agreed(replies.map(withoutItems), placement.readQuorum)
        if (rest) return countsOfAll(replies).reduce(plus, rest)
      }
      for (const { items } of replies) for (const [name, { sortKey }] of items!) named.set(name, sortKey)
      if (named.size > RECENT_MAX) return undefined
    }
    return undefined
  }

  async #ask(bucket: Buffer, body: unknown): Promise<Reply[]> {
    const { placement, quorum } = this.env
    const nodes = placement.readSet(bucketPartition(bucket))
    const options = { timeoutMs: TIMEOUT_MS, priority: Priority.high }
    const settled = await Promise.allSettled(
      nodes.map(async (node) => this.#parse(bucket, (await quorum.call(node, METHOD, body, options)).body)),
    )
    return settled.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  }

  #parse(bucket: Buffer, body: unknown): Reply {
    const malformedReply = () => new CarportError('RemoteError', 'a replica sent malformed counts')
    if (!Array.isArray(body) || body.length !== 2) throw malformedReply()
    const counts = parseCounts(body[0])
    if (body[1] === null) return { counts, items: undefined }
    if (!Array.isArray(body[1])) throw malformedReply()
    const { codec } = this.items.local
    const items = new Map<string, { sortKey: Buffer; item: K2vItem | undefined }>()
    for (const sent of body[1] as unknown[]) {
      if (!Array.isArray(sent) || !Buffer.isBuffer(sent[0])) throw malformedReply()
      const [rowKey, head] = sent as [Buffer, unknown]
      if (head !== null && !Buffer.isBuffer(head)) throw malformedReply()
      const key = codec.keyOf(bucket, rowKey)
      const item = head === null ? undefined : codec.parseParts(key, head, undefined).entry
      items.set(rowKey.toString('latin1'), { sortKey: rowKey, item })
    }
    return { counts, items }
  }

  /**
   * [bucket, partition key, time (HLC, µs), sort keys of rows] → [counts, [[sort key of a row, head | null] …] of the rows that
   * were named and those that changed after the time, or null if these are too many]
   */
  #serve(body: unknown): RpcReply | Promise<RpcReply> {
    if (!Array.isArray(body) || body.length !== 4) throw malformed(METHOD)
    const [bucket, partitionKey, sinceUs, named] = body as unknown[]
    if (!Buffer.isBuffer(bucket) || bucket.length !== 16 || !Buffer.isBuffer(partitionKey))
      throw malformed(METHOD)
    if (!Number.isSafeInteger(sinceUs) || (sinceUs as number) < 0 || !Array.isArray(named))
      throw malformed(METHOD)
    if (named.length > RECENT_MAX || !named.every(Buffer.isBuffer)) throw malformed(METHOD)
    checkKeys(partitionKey, Buffer.alloc(0))
    const { db, placement, transport } = this.env
    const { local } = this.items
    if (!placement.storageSet(bucketPartition(bucket)).includes(transport.self)) {
      throw new CarportError('LayoutNotReady', 'this node does not hold that bucket')
    }
    this.items.checkVote(bucket)
    const counts = wireCounts(readCounts(db, Buffer.concat([bucket, partitionKey])))
    const changed = recentlyChanged(db, { bucket, partitionKey }, sinceUs as number, RECENT_MAX)
    if (!changed) return local.whenDurable(bucket, { body: [counts, null] })
    const rows = new Map<string, Buffer>()
    for (const sortKey of changed.values()) {
      const row = rowSortKey({ partitionKey, sortKey })
      rows.set(row.toString('latin1'), row)
    }
    for (const row of named as Buffer[]) rows.set(row.toString('latin1'), row)
    const found = [...rows.values()].map((row) => {
      const value = local.stored.value(db, local.codec.keyOf(bucket, row))
      return [row, value ? headOf(value) : null]
    })
    return local.whenDurable(bucket, { body: [counts, found] })
  }
}

/** What so many of them are. */
function agreed(all: readonly PartitionCounts[], quorum: number): PartitionCounts | undefined {
  return all.find((each) => all.filter((other) => isSame(each, other)).length >= quorum)
}

function withoutItems({ counts, items }: Reply): PartitionCounts {
  let rest = counts
  for (const { item } of items!.values()) rest = minus(rest, countsOf(item))
  return rest
}

/** The counts of each item that some replica has named, as all of them together have it. */
function countsOfAll(replies: readonly Reply[]): PartitionCounts[] {
  const merged = new Map<string, K2vItem>()
  for (const { items } of replies) {
    for (const [name, { item }] of items!) {
      if (!item) continue
      const known = merged.get(name)
      merged.set(name, known ? mergeItems(known, item) : item)
    }
  }
  return [NO_COUNTS, ...[...merged.values()].map(countsOf)]
}
