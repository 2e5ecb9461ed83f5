import { Priority } from '../net/transport.js'
import { errorCode } from '../util/errors.js'
import { type Change, ConditionalWriter, notSupported } from './conditional.js'
import type { MissedWrites, TableEnv } from './env.js'
import type { LocalTable } from './local.js'
import { PageReader, type RangeQuery } from './quorum-pages.js'
import { RowReader } from './quorum-read.js'
import { type Attempt, type HeldRows, RowWriter, undecided } from './quorum-write.js'
import { applyRows, methodOf } from './replica.js'
import { successor } from './row-keys.js'
import type { Row, WireRow } from './rows.js'
import type { TableSchema } from './schema.js'
import { headOf } from './seal.js'
import { copyOf, type Standing } from './standing.js'
import { isWanted, type Wanted } from './wanted.js'

export type { Change } from './conditional.js'
export type { MissedWrites, TableEnv } from './env.js'
export type { RangeQuery } from './quorum-pages.js'
export type { Attempt } from './quorum-write.js'

export interface ReadOptions {
  /** Also load bodies (default true). */
  body?: boolean
  /** The content that the reader has already (TableSchema.contentId): a row with that one comes without its body. */
  known?: Buffer
  /** See TableSchema.moving. */
  replacedBy?: Buffer
  /** Sharded tables: take the copy of any one replica, which may be an old one. Not together with `replacedBy`. */
  anyReplica?: boolean
  /** Ask as many replicas as acknowledge a write, also where reads ask fewer. */
  certain?: boolean
  /** Whether what too few replicas had is written back before the answer (default true): else a later read may go back. */
  writeBack?: boolean
}

/**
 * A replicated table. Writes go to all replicas and are acknowledged by a quorum of each live layout version;
 * reads ask a quorum, merge, and write back what too few of the replicas had before they answer, so that once
 * read, a value stays read.
 */
export class Table<E> {
  readonly schema: TableSchema<E>
  readonly #writer: RowWriter<E>
  readonly #reader: RowReader<E>
  readonly #pages: PageReader<E>
  readonly #conditional: ConditionalWriter<E> | undefined

  constructor(
    readonly local: LocalTable<E>,
    private readonly env: TableEnv,
    missed: MissedWrites,
    private readonly standing: Standing,
  ) {
    this.schema = local.schema
    const finish = (key: Buffer) => this.finish(key)
    this.#reader = new RowReader(local, env, () => this.#writer, finish)
    this.#writer = new RowWriter(local, env, missed, (row) => this.#reader.latest(row), standing)
    const { promises } = local
    if (promises) this.#conditional = new ConditionalWriter(local, promises, env, missed, this.#writer)
    this.#pages = new PageReader(local, env, this.#reader, this.#writer)
  }

  /** @throws CarportError NotCaughtUp if this node's copy of the rows of a partition key must not count in a read */
  checkVote(partitionKey: Buffer): void {
    this.standing.checkVote(copyOf(this.schema, this.local.codec.partitionOf(partitionKey)))
  }

  /**
   * Quorum write of one row. Resolves with 0 once it is durable on a quorum, even if later rows have replaced it there
   * already: no such row was on a quorum when this call began. Resolves with the latest time (HLC, µs) of a row that
   * hides it if so many replicas never had it that no read has shown it: only then may it be written again, with a later
   * time. Do not retry otherwise: a client that saw this row and then its successor would see it return.
   * @throws CarportError QuorumUnavailable: the row may or may not become visible; LayoutNotReady, ClockSkew
   */
  async insert(entry: E): Promise<number> {
    this.#checkClock()
    const row = this.local.codec.encode(entry)
    const { verdict, laterUs } = await this.#writer.write(row)
    if (verdict === 'undecided') throw undecided(methodOf(this.schema.name, 'insert'))
    if (verdict !== 'overruled') return 0
    this.env.hlc.observe(laterUs)
    return laterUs
  }

  /**
   * Quorum write of a row that takes the place of one that was read. Resolves with whether it did; if not, a later row is
   * there or on its way, this one may have been seen before it, and the caller has to look again.
   * @throws CarportError QuorumUnavailable, LayoutNotReady
   */
  async replace(entry: E): Promise<boolean> {
    this.#checkClock()
    const row = this.local.codec.encode(entry)
    return (await this.#writer.write(row, { mayRepeat: true })).verdict === 'taken'
  }

  /**
   * Quorum write of a row that wins over every row acknowledged before this call. `make` is called with the time (HLC,
   * µs) to be later than: 0 at first, and more if that was not late enough.
   * @returns the row that took effect, and whether it was replaced while it was written, by a row as late, before a
   * quorum had it: then it can be found only where it was moved by that one, which is perhaps on too few replicas
   * @throws CarportError QuorumUnavailable: the row may or may not become visible; LayoutNotReady; Conflict if rows came
   * from a future far away
   */
  async insertLatest(
    make: (laterUs: number) => Promise<Attempt<E>>,
  ): Promise<{ entry: E; replaced: boolean }> {
    this.#checkClock()
    return this.#writer.writeLatest(make)
  }

  /**
   * Writes a row that depends on the one before it, as one step: see ConditionalWriter.
   * @returns the row that took effect
   * @throws what `change.decide` throws, if nothing was written; CarportError Conflict if others kept being in the way, and
   * nothing was written; QuorumUnavailable if it may or may not take effect; LayoutNotReady, ClockSkew, NotSupported
   */
  async change(partitionKey: Buffer, sortKey: Buffer, change: Change<E>): Promise<E> {
    if (!this.#conditional) throw notSupported()
    return this.#conditional.change(this.local.codec.keyOf(partitionKey, sortKey), change)
  }

  /** @throws CarportError NotSupported while a node is known that cannot read the formats of rows that came with conditional ones */
  checkFormats(): void {
    this.env.mayChange?.()
  }

  /**
   * Makes the newest row of a row key the copy of a quorum, where a conditional write left it on few replicas.
   * @throws CarportError QuorumUnavailable, Conflict, LayoutNotReady
   */
  async finish(rowKey: Buffer): Promise<void> {
    await this.#conditional?.finish(rowKey)
  }

  /**
   * Quorum write of many rows, in several messages; resolves when all are durable on a quorum.
   * @throws CarportError like `insert`; some rows may have been written then.
   */
  async insertMany(entries: readonly E[]): Promise<void> {
    this.#checkClock()
    const byPartition = new Map<number, WireRow[]>()
    for (const entry of entries) {
      const row = this.local.codec.encode(entry)
      const rows = byPartition.get(row.partition)
      if (rows) rows.push(this.local.codec.toWire(row))
      else byPartition.set(row.partition, [this.local.codec.toWire(row)])
    }
    await this.#writer.writeMany(byPartition, Priority.normal)
  }

  /**
   * Quorum write of rows of one partition key that one replica has stored already; resolves when all are durable on a quorum. Of
   * tables whose rows hide none (TableSchema.hiddenBy).
   * @throws CarportError like `insert`; some rows may have been written then.
   */
  async spread(rows: readonly Row<E>[], held: HeldRows): Promise<void> {
    this.#checkClock()
    const [first] = rows
    if (rows.length === 1) return this.#writer.spread(first!, held)
    const wire = rows.map((row) => this.local.codec.toWire(row))
    await this.#writer.writeMany(new Map([[first!.partition, wire]]), Priority.normal, held)
  }

  /** @throws CarportError ClockSkew if rows carry a time, and this node's clock is off */
  #checkClock(): void {
    if (this.schema.timeUs) this.env.hlc.peers.checkMayStamp()
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
    const wanted: Wanted = options?.body !== false && (options?.known ?? true)
    const replacedBy = options?.replacedBy
    const key = this.local.codec.keyOf(partitionKey, sortKey)
    if (this.schema.placement === 'full') return this.#getOwnOrAsk(key, wanted)
    const partition = key[0]!
    if (!replacedBy && this.#isReadQuorum(partition) && !this.local.underWay.covers(key)) {
      return this.#getOwn(key, wanted)
    }
    const row = options?.anyReplica
      ? this.#reader.getAny(key, wanted)
      : this.#reader.get(key, wanted, replacedBy, options?.writeBack, this.#neededOf(options))
    return row.then((found) => found?.entry)
  }

  #neededOf(options: ReadOptions | undefined): number {
    const { readQuorum, writeQuorum } = this.env.placement
    return options?.certain ? Math.max(readQuorum, writeQuorum) : readQuorum
  }

  /**
   * Full tables: asks a majority of all nodes, and merges the answer into the own copy. For what the own copy does
   * not know: a key made a moment ago elsewhere.
   * @throws CarportError QuorumUnavailable
   */
  async getFromQuorum(partitionKey: Buffer, sortKey: Buffer): Promise<E | undefined> {
    if (this.schema.placement !== 'full') return this.get(partitionKey, sortKey)
    const { db } = this.env
    const key = this.local.codec.keyOf(partitionKey, sortKey)
    const row = await this.#reader.get(key, true)
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
      const { rows, next } = await this.#pages.page(partitionKey, {
        ...rest,
        limit: query.limit - entries.length,
      })
      for (const entry of rows) entries.push(entry)
      if (!next) break
      rest = query.reverse ? { ...rest, end: next } : { ...rest, start: successor(next) }
    }
    return entries
  }

  /**
   * As `range`, but one page, which a replica cuts off where it gets long: rows, and the sort key of the last one looked at
   * if there may be more behind it. Sharded tables only.
   * @throws CarportError QuorumUnavailable, LayoutNotReady
   */
  page(partitionKey: Buffer, query: RangeQuery): Promise<{ rows: E[]; next: Buffer | undefined }> {
    return this.#pages.page(partitionKey, query)
  }

  /** Whether this node's copy is all that a read of the partition asks for. */
  #isReadQuorum(partition: number): boolean {
    const { placement, quorum } = this.env
    if (placement.readQuorum !== 1) return false
    const nodes = placement.readSet(partition)
    return nodes.length === 1 && nodes[0] === quorum.self
  }

  /** For full tables: a majority is asked where the own copy is damaged. */
  #getOwnOrAsk(key: Buffer, wanted: Wanted): E | undefined | Promise<E | undefined> {
    try {
      return this.#getOwn(key, wanted)
    } catch (error) {
      const { placement, quorum } = this.env
      const others = placement.controlReadSet().some((node) => node !== quorum.self)
      if (errorCode(error) !== 'Corrupted' || !others) throw error
      const at = 1 + this.schema.partitionKeyBytes
      return this.getFromQuorum(key.subarray(1, at), key.subarray(at))
    }
  }

  #getOwn(key: Buffer, wanted: Wanted): E | undefined {
    const { db } = this.env
    const { codec, stored } = this.local
    const value = stored.value(db, key)
    if (!value) return undefined
    const head = headOf(value)
    const body = isWanted(this.schema, wanted, head) ? stored.body(db, key, value) : undefined
    return codec.decodeStored(head, () => body)
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
}
