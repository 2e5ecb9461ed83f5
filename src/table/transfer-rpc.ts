import type { Db, Tx } from '../db/db.js'
import type { NodeId, RpcReply, Transport } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import { inParts } from './in-parts.js'
import { LeafChanges } from './leaves.js'
import type { LocalTable } from './local.js'
import { decodeMark, decodeMarkList, decodeMarks, encodeMarks } from './marks.js'
import { applyRows, methodOf } from './replica.js'
import { HASH_BYTES } from './row-keys.js'
import { type Row, type WireRow, wireBytes } from './rows.js'
import { copyOf, type Standing } from './standing.js'
import { HASHES_MAX, REPAIR_BYTES_MAX, REPAIR_ROWS_MAX } from './sync-rpc.js'

const ABSENT = Buffer.alloc(HASH_BYTES)

/**
 * Serves the transfer of rows between copies, and the collection of tombstones. Whatever moves a row from one copy to
 * another carries the marks that the giving copy had when the row was read, and they are checked in the transaction that
 * takes it: so a row whose deletion was collected never comes back, however late the message is.
 */
export class TransferReplica<E> {
  readonly #name: string

  constructor(
    private readonly local: LocalTable<E>,
    private readonly env: { db: Db; transport: Transport },
    private readonly standing: Standing,
  ) {
    this.#name = local.schema.name
    const { transport } = env
    transport.handle(methodOf(this.#name, 'offer'), (body) => this.#offer(body))
    transport.handle(methodOf(this.#name, 'hint'), (body) => this.#hint(body))
    transport.handle(methodOf(this.#name, 'push'), (body) => this.#push(body))
    transport.handle(methodOf(this.#name, 'fetch'), (body, { from }) => this.#fetch(body, from))
    transport.handle(methodOf(this.#name, 'row-hashes'), (body) => this.#rowHashes(body))
    transport.handle(methodOf(this.#name, 'confirm'), (body) => this.#confirm(body))
    transport.handle(methodOf(this.#name, 'drop'), (body) => this.#drop(body))
    transport.handle(methodOf(this.#name, 'collect'), () => this.#collect())
  }

  /**
   * [[[copy, marks], ...], rows] → null, or the row keys of conditional rows that a promise keeps out (this node lets them be
   * voted on again). The rows of whole copies that have these marks.
   */
  async #offer(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body) || !Array.isArray(body[0])) throw this.#malformed('offer')
    const sources = new Map((body[0] as unknown[][]).map(([copy, marks]) => [copy, decodeMarks(marks)]))
    const rows = this.local.codec.parseAll(body[1])
    for (const row of rows) if (!sources.has(this.#copyOf(row.partition))) throw this.#malformed('offer')
    const held = await this.#apply(rows, (tx) => {
      for (const [copy, marks] of sources) this.standing.checkSource(tx, copy as number, marks)
    })
    return { body: held.length > 0 ? held : null }
  }

  /** [rows] → null. Writes that this replica missed, kept by their coordinator for less time than tombstones are. */
  async #hint(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body)) throw this.#malformed('hint')
    await this.#apply(this.local.codec.parseAll(body[0]), () => {})
    return { body: null }
  }

  /**
   * [rows] → null. The rows of a node of an earlier release. It has taken part in no collection, so nothing is taken from
   * it into a copy that has.
   */
  async #push(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body) || body.length !== 1) throw this.#malformed('push')
    const rows = this.local.codec.parseAll(body[0])
    const copies = new Set(rows.map((row) => this.#copyOf(row.partition)))
    await this.#apply(rows, (tx) => {
      for (const copy of copies) this.standing.checkSource(tx, copy, decodeMarks([null, []]))
    })
    return { body: null }
  }

  /** Returns the keys of rows that promises keep out. */
  async #apply(rows: readonly Row<E>[], check: (tx: Tx) => void): Promise<Buffer[]> {
    const done = inParts(this.env.db, rows, (tx, part) => {
      check(tx)
      const refused: Row<E>[] = []
      applyRows(tx, this.local, part, refused)
      return refused
    })
    const keys = rows.map((row) => row.key)
    const refused = (await this.local.underWay.follow(keys, done)).flat()
    // A node that sends a row here may drop its own copy: it must not believe that this node has it.
    if (!refused.every((row) => this.local.promises?.wasHeld(row))) throw this.#damaged()
    return refused.map((row) => row.key)
  }

  /**
   * [row keys of one copy] → [marks, rows (null for absent ones) for as many of the first keys as fit, at least one]
   * @throws CarportError NotCaughtUp if this copy is not whole; LayoutNotReady if the caller is no replica, as far as this
   * node knows: a collection that it does not ask could go through meanwhile
   */
  #fetch(body: unknown, from: NodeId): RpcReply {
    if (!Array.isArray(body) || !Array.isArray(body[0]) || body[0].length === 0)
      throw this.#malformed('fetch')
    const keys = (body[0] as unknown[]).map((key) => this.local.codec.checkRowKey(key))
    const copy = this.#oneCopy(keys)
    this.#checkWhole(copy)
    if (!this.standing.isHolder(copy, from)) {
      throw new CarportError('LayoutNotReady', 'the caller does not hold that partition')
    }
    const { db } = this.env
    const rows: (WireRow | null)[] = []
    let bytes = 0
    for (const key of keys) {
      const stored = this.local.encoded(db, key)
      const row = stored ? this.local.codec.wire(key, stored.head, stored.body) : null
      bytes += row ? wireBytes(row) : 1
      if (rows.length > 0 && (bytes > REPAIR_BYTES_MAX || rows.length >= REPAIR_ROWS_MAX)) break
      rows.push(row)
    }
    return { body: [encodeMarks(this.standing.marksIn(db, copy)), rows] }
  }

  /** [row keys of one copy] → their hashes, zeroes for absent rows, durable. @throws CarportError as `fetch` */
  async #rowHashes(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body) || !Array.isArray(body[0]) || body[0].length > HASHES_MAX)
      throw this.#malformed('row-hashes')
    const keys = (body[0] as unknown[]).map((key) => this.local.codec.checkRowKey(key))
    if (keys.length === 0) return { body: Buffer.alloc(0) }
    this.#checkWhole(this.#oneCopy(keys))
    const hashes = await this.env.db.transact((tx) =>
      keys.map((key) => {
        const hash = this.local.rowHash(tx, key)
        // A damaged row is not absent.
        if (!hash && tx.has(this.local.trees.head, key)) throw this.#damaged()
        return hash ?? ABSENT
      }),
    )
    return { body: Buffer.concat(hashes) }
  }

  /**
   * [mark, nodes that take part, tombstones of one copy, earlier marks that came to nothing] → 0 when this copy has them, or
   * later rows, and remembers the mark; else the greatest number of a mark known here, which the next attempt must exceed.
   * Nodes of earlier releases tell of no marks that came to nothing.
   * @throws CarportError LayoutNotReady if some replica is not asked
   */
  async #confirm(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body) || !Array.isArray(body[1])) throw this.#malformed('confirm')
    const mark = decodeMark(body[0])
    const takesPart = new Set(body[1] as unknown[])
    const rows = this.local.codec.parseAll(body[2])
    const gone = body[3] === undefined ? [] : decodeMarkList(body[3])
    if (rows.length === 0) throw this.#malformed('confirm')
    const copy = this.#oneCopy(rows.map((row) => row.key))
    this.#checkOwn(copy)
    const done = this.env.db.transact((tx) => {
      // In the transaction: a replica that this node gave rows to meanwhile is known to it by now.
      if (!this.standing.holders(copy).every((node) => takesPart.has(node))) {
        throw new CarportError('LayoutNotReady', 'the collection of tombstones does not ask every replica')
      }
      const newest = this.standing.prepare(tx, copy, mark, gone)
      if (newest > 0) return newest
      const refused: Row<E>[] = []
      applyRows(tx, this.local, rows, refused)
      if (refused.length > 0) throw this.#damaged()
      return 0
    })
    return {
      body: await this.local.underWay.follow(
        rows.map((row) => row.key),
        done,
      ),
    }
  }

  /** [mark, row keys, concatenated hashes] → null, when those that are still these very tombstones are gone. */
  async #drop(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body) || !Array.isArray(body[1]) || !Buffer.isBuffer(body[2]))
      throw this.#malformed('drop')
    const mark = decodeMark(body[0])
    const keys = (body[1] as unknown[]).map((key) => this.local.codec.checkRowKey(key))
    const hashes = body[2]
    if (keys.length === 0 || keys.length > HASHES_MAX || hashes.length !== keys.length * HASH_BYTES) {
      throw this.#malformed('drop')
    }
    const copy = this.#oneCopy(keys)
    await this.env.db.transact((tx) => {
      this.standing.collect(tx, copy, mark)
      const items = keys.map((key, i) => ({
        key,
        hash: hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
      }))
      dropTombstones(tx, this.local, items)
    })
    return { body: null }
  }

  /** A node of an earlier release would collect without marks. */
  #collect(): never {
    throw new CarportError('Conflict', 'tombstones are collected when all nodes run a release that marks it')
  }

  #oneCopy(keys: readonly Buffer[]): number {
    const partition = keys[0]![0]!
    if (keys.some((key) => key[0] !== partition)) throw this.#malformed('request: rows of several partitions')
    return this.#copyOf(partition)
  }

  #copyOf(partition: number): number {
    return copyOf(this.local.schema, partition)
  }

  #checkOwn(copy: number): void {
    if (this.standing.isOwn(copy)) return
    throw new CarportError('LayoutNotReady', `partition ${copy} is not on this node`)
  }

  #checkWhole(copy: number): void {
    this.#checkOwn(copy)
    this.standing.checkVote(copy)
  }

  #damaged(): CarportError {
    return new CarportError('Corrupted', `table ${this.#name}: this node's copy of the row is damaged`)
  }

  #malformed(method: string): CarportError {
    return new CarportError('InvalidArgument', `malformed ${methodOf(this.#name, method)}`)
  }
}

/** Drops rows that are still tombstones of these hashes. */
export function dropTombstones<E>(
  tx: Tx,
  local: LocalTable<E>,
  items: readonly { key: Buffer; hash: Buffer }[],
): void {
  const leaves = new LeafChanges()
  for (const { key, hash } of items) {
    // First, since a row that is none any more may be long.
    if (!local.rowHash(tx, key)?.equals(hash)) continue
    const row = local.encoded(tx, key)
    if (!row) continue
    const entry = local.codec.decodeStored(row.head, () => row.body)
    if (local.schema.isTombstone(entry)) local.drop(tx, key, hash, leaves)
  }
  leaves.flush(tx, local.trees)
}
