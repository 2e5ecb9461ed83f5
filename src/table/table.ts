import { majority, type Placement, type QuorumCaller } from '../cluster/placement.js'
import type { Db } from '../db/db.js'
import { type NodeId, Priority, type Transport } from '../net/transport.js'
import type { Clock, Hlc } from '../util/clock.js'
import { CarportError, errorCode } from '../util/errors.js'
import { eachLimited } from '../util/limited.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { LocalTable } from './local.js'
import { allAgree, type Copy, mergePages } from './range-merge.js'
import { applyRows, methodOf, pageFingerprint } from './replica.js'
import { judgeWrite, parseCopy, parseHead, parseLater, parsePage } from './replies.js'
import { successor } from './row-keys.js'
import { batchesOf, type Row, type WireRow } from './rows.js'
import type { TableSchema } from './schema.js'
import { headOf } from './seal.js'

/** What tables need of their node. */
export interface TableEnv {
  readonly db: Db
  readonly transport: Transport
  readonly quorum: QuorumCaller
  readonly placement: Placement
  readonly clock: Clock
  readonly random: Random
  readonly hlc: Hlc
  readonly log: Log
}

/** Keeps the writes that a replica missed, to send them again (see queue.ts). */
export interface MissedWrites {
  add(node: NodeId, table: string, rows: readonly WireRow[]): void
}

export interface ReadOptions {
  /** Also load bodies (default true). */
  body?: boolean
  /** See TableSchema.moving. */
  replacedBy?: Buffer
}

export interface RangeQuery {
  /** First sort key, inclusive. */
  start?: Buffer
  /** End, exclusive. */
  end?: Buffer
  reverse?: boolean
  limit: number
  /** Also load bodies (default false). */
  body?: boolean
  /** See TableSchema.moving. `start` must be given then. */
  replacedBy?: Buffer
}

const BATCH_BYTES_MAX = 1 << 20
const BATCH_ROWS_MAX = 1000
const BATCHES_IN_FLIGHT = 4
const FETCHES_IN_FLIGHT = 16
/** How often a read starts over because the row changes. */
const ROUNDS_MAX = 8
const KEPT_CHANGING = 'a row kept changing while it was read'
/** Deadline of one call for a row, in ms; and of one with a batch or a page, which takes its time on slow links. */
const CALL_TIMEOUT_MS = 10_000
const BULK_TIMEOUT_MS = 30_000

/**
 * A replicated table. Writes go to all replicas and are acknowledged by a quorum of each live layout version;
 * reads ask a quorum, merge, and write back what too few of the replicas had before they answer, so that once
 * read, a value stays read.
 */
export class Table<E> {
  readonly schema: TableSchema<E>
  readonly #insertMethod: string
  readonly #getMethod: string
  readonly #rangeMethod: string

  constructor(
    readonly local: LocalTable<E>,
    private readonly env: TableEnv,
    private readonly missed: MissedWrites,
  ) {
    this.schema = local.schema
    this.#insertMethod = methodOf(this.schema.name, 'insert')
    this.#getMethod = methodOf(this.schema.name, 'get')
    this.#rangeMethod = methodOf(this.schema.name, 'range')
  }

  /**
   * Quorum write of one row. Resolves with 0 once it is durable on a quorum, even if later rows have replaced it there
   * already: no such row was on a quorum when this call began. Resolves with the latest time (HLC, µs) of a row that
   * hides it if so many replicas never had it that no read has shown it: write again with a later time then.
   * Otherwise it must not be written again: who has read it, and then what hides it, would read it once more.
   * @throws CarportError QuorumUnavailable: the row may or may not become visible, or too few answered to tell the
   * one from the other; LayoutNotReady
   */
  async insert(entry: E): Promise<number> {
    const row = this.local.codec.encode(entry)
    const later = await this.#write(row.partition, [this.local.codec.toWire(row)], Priority.high, true)
    if (later > 0) this.env.hlc.observe(later)
    return later
  }

  /**
   * Quorum write of many rows, in several messages; resolves when all are durable on a quorum.
   * @throws CarportError like `insert`; some rows may have been written then.
   */
  async insertMany(entries: readonly E[]): Promise<void> {
    const byPartition = new Map<number, WireRow[]>()
    for (const entry of entries) {
      const row = this.local.codec.encode(entry)
      const rows = byPartition.get(row.partition)
      if (rows) rows.push(this.local.codec.toWire(row))
      else byPartition.set(row.partition, [this.local.codec.toWire(row)])
    }
    await this.#writeBatches(byPartition, Priority.normal)
  }

  /**
   * The row, tombstones included. Sharded tables: read from a quorum; full tables: from the own copy.
   * @throws CarportError QuorumUnavailable, LayoutNotReady
   */
  async get(partitionKey: Buffer, sortKey: Buffer, options?: ReadOptions): Promise<E | undefined> {
    return this.read(partitionKey, sortKey, options)
  }

  /** As `get`, but answers at once, and throws, where no other node is to be asked and nothing to be waited for. */
  read(partitionKey: Buffer, sortKey: Buffer, options?: ReadOptions): E | undefined | Promise<E | undefined> {
    const withBody = options?.body !== false
    const replacedBy = options?.replacedBy
    const key = this.local.codec.keyOf(partitionKey, sortKey)
    if (this.schema.placement === 'full') return this.#getOwnOrAsk(key, withBody)
    const partition = key[0]!
    if (!replacedBy && this.#isReadQuorum(partition) && !this.local.underWay.covers(key)) {
      return this.#getOwn(key, withBody)
    }
    const { placement } = this.env
    return this.#quorumGet(
      () => placement.readSet(partition),
      () => placement.readQuorum,
      key,
      withBody,
      replacedBy,
    ).then(({ row }) => row?.entry)
  }

  /**
   * Full tables: asks a majority of all nodes, and merges the answer into the own copy. For what the own copy does
   * not know: a key made a moment ago elsewhere.
   * @throws CarportError QuorumUnavailable
   */
  async getFromQuorum(partitionKey: Buffer, sortKey: Buffer): Promise<E | undefined> {
    if (this.schema.placement !== 'full') return this.get(partitionKey, sortKey)
    const { placement, db } = this.env
    const key = this.local.codec.keyOf(partitionKey, sortKey)
    const { row } = await this.#quorumGet(
      () => placement.controlReadSet(),
      (nodes) => majority(nodes.length),
      key,
      true,
    )
    if (!row) return undefined
    if (!this.local.holds(db, key, row.head)) {
      await this.local.underWay.follow(
        [row.key],
        db.transact((tx) => applyRows(tx, this.local, [row])),
      )
    }
    return row.entry
  }

  /**
   * Rows of a partition key in the order of their sort keys, tombstones included: `limit` counts them. Read from a
   * quorum and written back like `get`; full tables: from the own copy.
   * @throws CarportError QuorumUnavailable, LayoutNotReady
   */
  async range(partitionKey: Buffer, query: RangeQuery): Promise<E[]> {
    if (this.schema.placement === 'full') return this.#rangeLocal(partitionKey, query)
    const entries: E[] = []
    let rest: RangeQuery = query
    while (entries.length < query.limit) {
      const { rows, next } = await this.#quorumPage(partitionKey, {
        ...rest,
        limit: query.limit - entries.length,
      })
      for (const entry of rows) entries.push(entry)
      if (!next) break
      rest = query.reverse ? { ...rest, end: next } : { ...rest, start: successor(next) }
    }
    return entries
  }

  /** Whether this node's copy is all that a read of the partition asks for. */
  #isReadQuorum(partition: number): boolean {
    const { placement, quorum } = this.env
    if (placement.readQuorum !== 1) return false
    const nodes = placement.readSet(partition)
    return nodes.length === 1 && nodes[0] === quorum.self
  }

  /** For full tables: a majority is asked where the own copy is damaged. */
  #getOwnOrAsk(key: Buffer, withBody: boolean): E | undefined | Promise<E | undefined> {
    try {
      return this.#getOwn(key, withBody)
    } catch (error) {
      const { placement, quorum } = this.env
      const others = placement.controlReadSet().some((node) => node !== quorum.self)
      if (errorCode(error) !== 'Corrupted' || !others) throw error
      const at = 1 + this.schema.partitionKeyBytes
      return this.getFromQuorum(key.subarray(1, at), key.subarray(at))
    }
  }

  #getOwn(key: Buffer, withBody: boolean): E | undefined {
    const { db } = this.env
    const { codec, stored } = this.local
    const value = stored.value(db, key)
    if (!value) return undefined
    const body = withBody ? stored.body(db, key, value) : undefined
    return codec.decodeStored(headOf(value), () => body)
  }

  #rangeLocal(partitionKey: Buffer, query: RangeQuery): E[] {
    const { db } = this.env
    const { codec, stored } = this.local
    const entries: E[] = []
    for (const { key, value } of this.local.values(db, partitionKey, query)) {
      const body = query.body ? stored.body(db, key, value) : undefined
      entries.push(codec.decodeStored(headOf(value), () => body))
    }
    return entries
  }

  /** Sends rows of one partition. The sets are taken in the same turn in which the write begins. */
  async #write(partition: number, rows: WireRow[], priority: Priority, judged = false): Promise<number> {
    const { placement, quorum } = this.env
    const full = this.schema.placement === 'full'
    let sets = full ? placement.controlSets() : placement.writeSets(partition)
    if (sets.length === 0 || sets[0]!.length === 0) throw layoutNotReady()
    let needed: number | readonly number[] = placement.writeQuorum
    if (full) {
      needed = sets.map((set) => majority(set.length))
      const all = placement.allNodes()
      if (sets.length > 1 || sets[0]!.length < all.length) {
        needed = [...needed, 0]
        sets = [...sets, all]
      } else needed = needed[0]!
    }
    let acknowledged = false
    let failed: NodeId[] | undefined
    const replies = await quorum.write(sets, this.#insertMethod, [placement.layoutVersion, rows], {
      quorum: needed,
      timeoutMs: rows.length > 1 ? BULK_TIMEOUT_MS : CALL_TIMEOUT_MS,
      priority,
      ...(judged && { judge: judgeWrite }),
      onFailure: (node, error) => {
        if (errorCode(error) === 'InvalidArgument') return
        if (acknowledged) this.missed.add(node, this.schema.name, rows)
        else if (failed) failed.push(node)
        else failed = [node]
      },
    })
    acknowledged = true
    if (failed) for (const node of failed as NodeId[]) this.missed.add(node, this.schema.name, rows)
    let later = 0
    for (const { body } of replies) {
      if (body !== null && !(judged && judgeWrite(body) === 'taken'))
        later = Math.max(later, parseLater(body))
    }
    return later
  }

  async #writeBatches(byPartition: Map<number, WireRow[]>, priority: Priority): Promise<void> {
    const batches: { partition: number; rows: WireRow[] }[] = []
    for (const [partition, all] of byPartition) {
      for (const rows of batchesOf(all, BATCH_BYTES_MAX, BATCH_ROWS_MAX)) batches.push({ partition, rows })
    }
    await eachLimited(batches, BATCHES_IN_FLIGHT, ({ partition, rows }) =>
      this.#write(partition, rows, priority),
    )
  }

  /**
   * Reads until what was found is (or was) the copy of a whole quorum: only then may it be shown. A row that later
   * ones keep from a quorum is not: its writer is told that nobody has read it, and writes it again.
   * @param nodesOf the replicas to read from, anew for each try
   */
  async #quorumGet(
    nodesOf: () => readonly NodeId[],
    quorumOf: (nodes: readonly NodeId[]) => number,
    key: Buffer,
    withBody: boolean,
    replacedBy?: Buffer,
  ): Promise<{ row: Row<E> | undefined }> {
    const { quorum } = this.env
    let mayFail = true
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const nodes = nodesOf()
      if (nodes.length === 0) throw layoutNotReady()
      const query = this.#getQuery(key, withBody ? this.#nearest(nodes) : null, replacedBy)
      const replies = await quorum.read(nodes, this.#getMethod, query, {
        quorum: quorumOf(nodes),
        timeoutMs: CALL_TIMEOUT_MS,
        priority: Priority.high,
      })
      const copies = replies.map(({ node, body }) => parseCopy(node, body))
      const { row, holders } = await this.#resolve(key, copies, withBody, replacedBy)
      if (!row || holders === copies.length || holders >= this.#writeQuorum()) return { row }
      try {
        const wire = [this.local.codec.toWire(row)]
        if ((await this.#write(row.partition, wire, Priority.high, true)) === 0) return { row }
      } catch (error) {
        // Perhaps only since a later row is on its way, which the next try finds.
        if (!mayFail) throw error
        mayFail = false
      }
    }
    throw new CarportError('QuorumUnavailable', KEPT_CHANGING)
  }

  async #quorumPage(
    partitionKey: Buffer,
    query: RangeQuery,
  ): Promise<{ rows: E[]; next: Buffer | undefined }> {
    const { placement, quorum } = this.env
    const { codec } = this.local
    const partition = codec.partitionOf(partitionKey)
    const nodes = placement.readSet(partition)
    if (nodes.length === 0) throw layoutNotReady()
    const options = { quorum: placement.readQuorum, timeoutMs: BULK_TIMEOUT_MS, priority: Priority.high }
    const ask = (pageFrom: NodeId | null) =>
      quorum.read(
        nodes,
        this.#rangeMethod,
        [
          partitionKey,
          query.start ?? null,
          query.end ?? null,
          query.reverse === true,
          query.limit,
          query.body === true,
          pageFrom,
          ...(query.replacedBy ? [query.replacedBy] : []),
        ],
        options,
      )

    // One replica sends the page, the others a fingerprint of theirs, which is nearly always the same.
    const nearest = this.#nearest(nodes)
    const replies = await ask(nearest)
    const first = replies.find(({ node }) => node === nearest)
    if (first) {
      const page = parsePage(first.node, first.body)
      const print = replies.length > 1 ? pageFingerprint(page) : undefined
      if (
        replies.every(({ body }) => body === first.body || (Buffer.isBuffer(body) && body.equals(print!)))
      ) {
        const rows = page.rows.map((row) => parseHead(codec, row.head, row.body))
        return { rows, next: page.more ? page.rows.at(-1)!.sortKey : undefined }
      }
    }

    const pages = (await ask(null)).map(({ node, body }) => parsePage(node, body))
    const merged = mergePages(pages, query.reverse === true, query.limit)
    const rows: E[] = new Array(merged.keys.length)
    const writeBack: WireRow[] = []
    await eachLimited([...merged.keys.keys()], FETCHES_IN_FLIGHT, async (i) => {
      const { sortKey, copies } = merged.keys[i]!
      const { row, holders } = await this.#resolve(
        codec.keyOf(partitionKey, sortKey),
        copies,
        query.body === true,
        query.replacedBy,
      )
      if (!row) return
      rows[i] = row.entry
      if (holders < copies.length && holders < this.#writeQuorum()) writeBack.push(codec.toWire(row))
    })
    if (writeBack.length > 0) await this.#writeBatches(new Map([[partition, writeBack]]), Priority.high)
    return { rows: rows.filter((row) => row !== undefined), next: merged.next }
  }

  /**
   * The merge of the copies, and how many of them hold exactly it. Bodies that the merge, the reader or a
   * write-back needs are fetched.
   */
  async #resolve(
    key: Buffer,
    copies: Copy[],
    withBody: boolean,
    replacedBy: Buffer | undefined,
  ): Promise<{ row: Row<E> | undefined; holders: number }> {
    const { codec } = this.local
    for (let round = 0; ; round++) {
      if (round === ROUNDS_MAX) throw new CarportError('QuorumUnavailable', KEPT_CHANGING)
      const agree = allAgree(copies)
      if (agree) {
        if (copies[0]?.head === undefined) return { row: undefined, holders: copies.length }
        const copy = withBody ? copies.find((each) => each.body || !each.hasBody) : copies[0]
        if (copy) return { row: this.#parse(key, copy), holders: copies.length }
      }
      // One copy of each distinct head, one that came with its body if there is one.
      const present = copies.filter((copy) => copy.head !== undefined)
      const distinct: Copy[] = []
      for (const copy of present) {
        const i = distinct.findIndex((other) => other.head!.equals(copy.head!))
        if (i < 0) distinct.push(copy)
        else if (!distinct[i]!.body && copy.body) distinct[i] = copy
      }
      const bare = distinct.filter((copy) => copy.hasBody && !copy.body)
      if (bare.length > 0) {
        // What is fetched may be later than what was seen: judge anew.
        const fetched = await Promise.all(bare.map((copy) => this.#fetch(key, copy, present, replacedBy)))
        copies = copies.map((copy) => fetched.find((other) => other.node === copy.node) ?? copy)
        continue
      }
      let row = this.#parse(key, distinct[0]!)
      for (const copy of distinct.slice(1)) {
        const other = this.#parse(key, copy)
        const merged = this.schema.merge(row.entry, other.entry)
        if (merged === other.entry) row = other
        else if (merged !== row.entry) row = codec.encode(merged)
      }
      const holders = copies.reduce((n, copy) => n + (copy.head?.equals(row.head) ? 1 : 0), 0)
      return { row, holders }
    }
  }

  #parse(key: Buffer, copy: Copy): Row<E> {
    try {
      return this.local.codec.parseParts(key, copy.head!, copy.body)
    } catch (cause) {
      const what = `table ${this.schema.name}: node ${copy.node.slice(0, 16)} sent a row that does not decode`
      throw new CarportError('Corrupted', what, { cause })
    }
  }

  /** A copy with its body, from its node or another one that had the same head. */
  async #fetch(
    key: Buffer,
    copy: Copy,
    present: readonly Copy[],
    replacedBy: Buffer | undefined,
  ): Promise<Copy> {
    const nodes = present.filter((other) => other.head!.equals(copy.head!)).map((other) => other.node)
    let failure: unknown
    for (const node of this.env.quorum.nearestFirst(nodes)) {
      try {
        const reply = await this.env.quorum.call(
          node,
          this.#getMethod,
          this.#getQuery(key, node, replacedBy),
          {
            timeoutMs: CALL_TIMEOUT_MS,
            priority: Priority.high,
          },
        )
        return parseCopy(node, reply.body)
      } catch (error) {
        failure ??= error
      }
    }
    throw new CarportError('QuorumUnavailable', `${this.#getMethod}: no replica sends the body`, {
      cause: failure,
    })
  }

  /** What a replica is asked for one row (see Replica). */
  #getQuery(key: Buffer, bodyFrom: NodeId | null, replacedBy: Buffer | undefined): unknown[] {
    const at = 1 + this.schema.partitionKeyBytes
    return [key.subarray(1, at), key.subarray(at), bodyFrom, ...(replacedBy ? [replacedBy] : [])]
  }

  #nearest(nodes: readonly NodeId[]): NodeId {
    const { quorum } = this.env
    return nodes.includes(quorum.self) ? quorum.self : quorum.nearestFirst(nodes)[0]!
  }

  #writeQuorum(): number {
    const { placement } = this.env
    return this.schema.placement === 'full'
      ? majority(placement.controlReadSet().length)
      : placement.writeQuorum
  }
}

function layoutNotReady(): CarportError {
  return new CarportError('LayoutNotReady', 'no layout is applied yet')
}
